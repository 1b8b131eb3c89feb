//! A page's calls.

use crate::net::Net;
use crate::peer::Peer;
use crate::script::Script;
use std::net::SocketAddr;

/// How far a call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Dialled, or ringing here.
    Early,
    Up,
    /// The page has lost its connection: it won't hear how the call ends.
    Orphan,
    Over,
}

/// One call.
pub struct Call {
    pub key: String,
    pub outgoing: bool,
    pub script: Script,
    pub state: State,
    pub peer: Option<Peer>,
    /// What `incoming` offered.
    pub offer: String,
    pub described: bool,
    pub talking: bool,
    pub answered: bool,
    /// `ended` was heard so often.
    pub ended: u32,
    pub reason: String,
    pub code: u64,
    /// We said so first.
    pub hung_up: bool,
    pub lost: bool,
    pub heard: u32,
    pub up_at: Option<std::time::Instant>,
    pub over_at: Option<std::time::Instant>,
    /// When its address changed, and how much it had heard by then.
    pub roamed_at: Option<(std::time::Instant, u32)>,
}

impl Call {
    pub fn new(key: String, outgoing: bool, script: Script, peer: Option<Peer>) -> Call {
        Call {
            key,
            outgoing,
            script,
            state: State::Early,
            peer,
            offer: String::new(),
            described: false,
            talking: false,
            answered: false,
            ended: 0,
            reason: String::new(),
            code: 0,
            hung_up: false,
            lost: false,
            heard: 0,
            up_at: None,
            over_at: None,
            roamed_at: None,
        }
    }

    pub fn owns(&self, address: SocketAddr) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.addresses.contains(&address))
    }

    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The page lost its connection. Media goes on for a while, as in a page that hopes.
    pub fn orphan(&mut self, net: &mut Net) {
        if self.is_over() {
            return;
        }
        self.lost = true;
        self.over(net);
    }

    /// The browser died.
    pub fn die(&mut self) {
        self.lost |= !self.is_over();
        self.heard += self.peer.take().map_or(0, |peer| peer.media.heard);
        self.state = State::Over;
    }

    /// It ended.
    pub fn over(&mut self, net: &mut Net) {
        self.state = State::Over;
        self.over_at = Some(net.now.instant);
        if let Some(mut peer) = self.peer.take() {
            self.heard += peer.media.heard;
            let roamed =
                self.roamed_at.filter(|(at, _)| net.now.instant - *at > std::time::Duration::from_secs(7));
            if roamed.is_some_and(|(_, heard)| peer.media.heard > heard + 20) {
                net.states.reach("ice_path_change");
            }
            if peer.media.sent_across() {
                net.states.reach("rollover_edge_from_browser");
            }
            peer.close(net);
        }
    }
}
