//! Scripted calls: the call machine between fake rooms.

mod change;
mod early;
mod ending;
mod fax;
mod flow;
mod phones;
mod policy;
mod pulse;
mod redirect;
mod route;
mod storm;
mod talk;
mod transfer;

use super::*;
use crate::base::{Key, LegId, Machine, Map, Mint, Now, PeerId, Random, ShardId, Side};
use crate::leg::{
    Callee, Cause, Command, Dial, Event, Fork, Incoming, Party, Reason, Source, Target, TrunkId,
};
use crate::media::Agreed;
use crate::rtp::{Keys, Profile};
use crate::sdp::{Direction, Media, Session};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A call machine, with rooms that open what they are asked for and remember what they are told.
pub(super) struct Bench {
    pub(super) calls: Calls,
    pub(super) now: Now,
    mint: Mint,
    /// The rooms answer by themselves.
    pub(super) prompt: bool,
    /// What the rooms would answer, where they don't by themselves.
    pub(super) held: VecDeque<Input>,
    pub(super) legs: VecDeque<Command>,
    /// What browsers were told of quality.
    pub(super) told: VecDeque<Command>,
    /// What SIP parties were told of the other's half of `Session-ID`.
    pub(super) named: VecDeque<Command>,
    pub(super) web: VecDeque<webrtc::Command>,
    pub(super) media: VecDeque<media::Command>,
    pub(super) records: Vec<Record>,
    pub(super) peers: Map<PeerId, LegId>,
    pub(super) media_sides: Map<LegId, media::Kind>,
    pub(super) agreed: Map<LegId, Agreed>,
    /// When the transports say that they were last heard.
    pub(super) checked: Option<std::time::Instant>,
    /// What the media plane says of legs.
    pub(super) stats: Map<LegId, media::Stats>,
    /// Our ports towards SIP parties.
    ports: Map<LegId, u16>,
    next: u32,
}

pub(super) fn config() -> Config {
    let trunk =
        |name: &str, codecs: Vec<crate::sdp::Codec>| Trunk { name: name.into(), codecs, ..Trunk::default() };
    Config {
        trunks: vec![trunk("pbx", codecs(&[])), trunk("carrier", codecs(&["pcma", "pcmu", "g729"]))],
        routes: vec![
            Route {
                from: RouteFrom::Trunk(TrunkId(0)),
                called: Pattern::prefix("+"),
                to: RouteTo::Trunk(TrunkId(1)),
                ..Route::default()
            },
            Route {
                called: Pattern::prefix("0900"),
                to: RouteTo::Reject(Cause::Forbidden.into()),
                ..Route::default()
            },
        ],
        default_trunk: Some(TrunkId(0)),
        first_reply: Some(Duration::from_secs(5)),
        calls: 4,
        calls_per_account: 2,
        ..Config::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
fn some_instant() -> std::time::Instant {
    std::time::Instant::now()
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with(config(), 1)
    }

    pub(super) fn with(config: Config, seed: u64) -> Bench {
        Bench {
            calls: Calls::new(ShardId(0), Arc::new(config), Random::from_number(seed)),
            now: Now { instant: some_instant(), unix: Duration::from_secs(1_000) },
            mint: Mint::new(ShardId(0), false),
            prompt: true,
            held: VecDeque::new(),
            legs: VecDeque::new(),
            told: VecDeque::new(),
            named: VecDeque::new(),
            web: VecDeque::new(),
            media: VecDeque::new(),
            records: Vec::new(),
            peers: Map::default(),
            media_sides: Map::default(),
            agreed: Map::default(),
            checked: None,
            stats: Map::default(),
            ports: Map::default(),
            next: 1,
        }
    }

    pub(super) fn push(&mut self, input: Input) {
        self.calls.handle_input(self.now, input);
        self.pump();
    }

    pub(super) fn event(&mut self, event: Event) {
        self.push(Input::Leg(event));
    }

    pub(super) fn wait(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.calls.handle_timeout(self.now);
        self.pump();
    }

    /// Hands outputs to the rooms, and their answers back, until all are quiet.
    pub(super) fn pump(&mut self) {
        loop {
            self.calls.check_invariants();
            while let Some(output) = self.calls.poll_output() {
                self.take(output);
            }
            if !self.prompt {
                break;
            }
            let Some(answer) = self.held.pop_front() else { break };
            self.calls.handle_input(self.now, answer);
        }
    }

    /// Lets one room answer that was not prompt.
    pub(super) fn release(&mut self) -> bool {
        let Some(answer) = self.held.pop_front() else { return false };
        self.calls.handle_input(self.now, answer);
        self.pump();
        true
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Leg(command) => {
                if let Some(session) = session_of(&command) {
                    let text = session.to_string();
                    assert_eq!(Session::parse(text.as_bytes()).as_ref(), Ok(session), "{text}");
                }
                // What is said of sound is beside the point of most tests.
                let queue = match command {
                    Command::Quality { .. } => &mut self.told,
                    Command::Named { .. } => &mut self.named,
                    _ => &mut self.legs,
                };
                queue.push_back(command);
            }
            Output::Web(command) => self.take_web(command),
            Output::Media(command) => self.take_media(command),
            Output::Record(record) => self.records.push(*record),
        }
    }

    fn take_web(&mut self, command: webrtc::Command) {
        match &command {
            webrtc::Command::Open { leg, .. } => {
                let peer = PeerId::new(ShardId(0), 0, self.next);
                self.next += 1;
                self.peers.insert(peer, *leg);
                self.held.push_back(Input::Web(opened(*leg, peer, self.next)));
            }
            webrtc::Command::Restart { peer } => {
                self.next += 1;
                let leg = self.peers[peer];
                self.held.push_back(Input::Web(opened(leg, *peer, self.next)));
            }
            webrtc::Command::Ask { peer } => {
                let (leg, at) = (self.peers[peer], self.checked);
                self.held.push_back(Input::Web(webrtc::Event::Heard { leg, peer: *peer, at }));
                return;
            }
            webrtc::Command::Describe { peer, .. } => assert!(self.peers.contains_key(peer)),
            // A second close may cross the first one's last words.
            webrtc::Command::Close { peer } => drop(self.peers.remove(peer)),
        }
        self.web.push_back(command);
    }

    fn take_media(&mut self, command: media::Command) {
        match &command {
            media::Command::Open { leg, kind } => {
                assert_eq!(self.media_sides.insert(*leg, *kind), None);
                self.next += 2;
                let address = (*kind != media::Kind::Web)
                    .then(|| ([198, 51, 100, 1], 16_384 + (self.next as u16 & 0x3ffe)).into());
                self.ports.extend(address.map(|address: std::net::SocketAddr| (*leg, address.port())));
                let cname = "bridge".to_string();
                self.held.push_back(Input::Media(media::Event::Opened {
                    leg: *leg,
                    address,
                    ssrc: self.next,
                    cname,
                }));
            }
            media::Command::Close { leg } => {
                assert!(self.media_sides.remove(leg).is_some(), "closed twice");
                self.agreed.remove(leg);
            }
            media::Command::Agree { leg, agreed } => {
                assert!(self.media_sides.contains_key(leg));
                assert!(agreed.formats.iter().all(|f| f.receive < 128 && f.send < 128));
                self.agreed.insert(*leg, (**agreed).clone());
            }
            media::Command::Press { leg, .. } => {
                assert!(
                    self.agreed[leg].send
                        && self.agreed[leg].formats.iter().any(|f| f.codec.name == "telephone-event")
                );
            }
            media::Command::Path { leg, .. }
            | media::Command::Keys { leg, .. }
            | media::Command::Play { leg, .. } => {
                assert!(self.media_sides.contains_key(leg));
            }
            media::Command::Ask { leg } => {
                assert!(self.media_sides.contains_key(leg));
                let stats = Box::new(self.stats.get(leg).cloned().unwrap_or_default());
                self.held.push_back(Input::Media(media::Event::Stats { leg: *leg, stats }));
                return;
            }
            media::Command::Join { a, b } => {
                assert!(self.media_sides.contains_key(a) && self.media_sides.contains_key(b));
            }
        }
        self.media.push_back(command);
    }

    pub(super) fn next_leg(&mut self) -> Command {
        self.legs.pop_front().expect("a command for a leg")
    }

    /// Forgets what browsers were told of holds.
    pub(super) fn ignore_notices(&mut self) {
        self.legs.retain(|command| !matches!(command, Command::Inform { .. }));
    }

    pub(super) fn quiet(&self) {
        assert!(self.legs.is_empty(), "{:?}", self.legs);
    }

    /// Nothing is left of any call.
    pub(super) fn empty(&self, records: usize) {
        assert!(self.calls.is_empty() && self.peers.is_empty() && self.media_sides.is_empty());
        assert_eq!(self.records.len(), records);
        self.quiet();
        self.calls.check_invariants();
    }

    pub(super) fn leg(&mut self, side: Side) -> LegId {
        self.mint.leg(side)
    }

    pub(super) fn incoming(
        &mut self,
        side: Side,
        source: Source,
        callee: Callee,
        offer: Option<&str>,
    ) -> LegId {
        let leg = self.leg(side);
        self.event(Event::Incoming(Box::new(Incoming {
            leg,
            source,
            identity: None,
            caller: Party { user: "caller".into(), ..Party::default() },
            callee,
            offer: offer.map(parsed),
            hops: 70,
            key: "key".into(),
            data: vec![("X-Case".into(), "7".into())],
            carried: Box::default(),
            reliable: false,
            replaces: None,
        })));
        leg
    }

    /// A browser dials; the called SIP leg is given too.
    pub(super) fn browser_dials(&mut self, offer: &str) -> (LegId, Dial) {
        let leg = self.incoming(Side::Web, Source::Account("alice".into()), dialled("bob"), Some(offer));
        let Command::Progress { code: 0, answer: Some(_), .. } = self.next_leg() else {
            panic!("no early answer")
        };
        (leg, self.dialled())
    }

    /// A browser is called from the first trunk.
    pub(super) fn browser_is_called(&mut self, offer: Option<&str>) -> (LegId, Dial) {
        let callee = Callee::Account("bob".into());
        let leg = self.incoming(Side::Sip, Source::Trunk(TrunkId(0)), callee, offer);
        (leg, self.dialled())
    }

    /// The first trunk calls the second.
    pub(super) fn trunk_dials(&mut self, offer: Option<&str>) -> (LegId, Dial) {
        let leg = self.incoming(Side::Sip, Source::Trunk(TrunkId(0)), dialled("+49"), offer);
        (leg, self.dialled())
    }

    pub(super) fn dialled(&mut self) -> Dial {
        match self.next_leg() {
            Command::Dial(dial) => *dial,
            other => panic!("{other:?} instead of a dial"),
        }
    }

    pub(super) fn progress(&mut self, leg: LegId, fork: u16, code: u16, answer: Option<&str>) {
        self.event(Event::Progress { leg, fork: Fork(fork), code, answer: answer.map(parsed) });
    }

    pub(super) fn answered(&mut self, leg: LegId, fork: u16, answer: Option<&str>) {
        self.event(Event::Answered { leg, fork: Fork(fork), answer: answer.map(parsed) });
    }

    pub(super) fn offered(&mut self, leg: LegId, offer: Option<&str>) {
        self.event(Event::Offered { leg, offer: offer.map(parsed) });
    }

    pub(super) fn accepted(&mut self, leg: LegId, answer: &str) {
        self.event(Event::Accepted { leg, answer: parsed(answer) });
    }

    pub(super) fn withdrawn(&mut self, leg: LegId) {
        self.event(Event::Withdrawn { leg });
    }

    pub(super) fn refused(&mut self, leg: LegId, cause: Cause) {
        self.event(Event::Refused { leg, reason: cause.into() });
    }

    pub(super) fn ended(&mut self, leg: LegId, reason: Reason) {
        self.event(Event::Ended { leg, reason });
    }

    /// The answer that an incoming leg had.
    pub(super) fn takes_answer(&mut self, leg: LegId) -> Option<Box<Session>> {
        match self.next_leg() {
            Command::Answer { leg: to, session } if to == leg => session,
            other => panic!("{other:?} instead of an answer to {leg:?}"),
        }
    }

    pub(super) fn takes_offer(&mut self, leg: LegId) -> Box<Session> {
        match self.next_leg() {
            Command::Offer { leg: to, offer } if to == leg => offer,
            other => panic!("{other:?} instead of an offer to {leg:?}"),
        }
    }

    pub(super) fn takes_acceptance(&mut self, leg: LegId) -> Box<Session> {
        match self.next_leg() {
            Command::Accept { leg: to, answer } if to == leg => answer,
            other => panic!("{other:?} instead of an acceptance to {leg:?}"),
        }
    }

    pub(super) fn takes_refusal(&mut self, leg: LegId) -> Reason {
        match self.next_leg() {
            Command::Refuse { leg: to, reason } if to == leg => reason,
            other => panic!("{other:?} instead of a refusal to {leg:?}"),
        }
    }

    pub(super) fn takes_end(&mut self, leg: LegId) -> Reason {
        match self.next_leg() {
            Command::End { leg: to, reason } if to == leg => reason,
            other => panic!("{other:?} instead of the end of {leg:?}"),
        }
    }

    pub(super) fn peer_of(&self, leg: LegId) -> PeerId {
        self.peers.iter().find(|(_, owner)| **owner == leg).map(|(peer, _)| *peer).unwrap()
    }

    /// Our port towards a leg's party.
    pub(super) fn media_port(&self, leg: LegId) -> u16 {
        self.ports[&leg]
    }

    /// The names of the codecs that stand agreed for a leg.
    pub(super) fn formats(&self, leg: LegId) -> Vec<String> {
        self.agreed[&leg].formats.iter().map(|f| format!("{}/{}", f.codec.name, f.codec.clock)).collect()
    }
}

fn opened(leg: LegId, peer: PeerId, number: u32) -> webrtc::Event {
    let local = webrtc::Local {
        ufrag: format!("uf{number:04}"),
        pwd: format!("{number:024}"),
        fingerprint: [7; 32],
        candidates: vec!["203.0.113.5:10000".parse().unwrap()],
    };
    webrtc::Event::Opened { leg, peer, local: Box::new(local) }
}

fn session_of(command: &Command) -> Option<&Session> {
    match command {
        Command::Dial(dial) => Some(&dial.offer),
        Command::Progress { answer, .. } => answer.as_deref(),
        Command::Answer { session, .. } => session.as_deref(),
        Command::Offer { offer, .. } => Some(offer),
        Command::Accept { answer, .. } => Some(answer),
        Command::AcceptEarly { answer, .. } => answer.as_deref(),
        Command::Gate { .. }
        | Command::Refuse { .. }
        | Command::Quality { .. }
        | Command::Hold { .. }
        | Command::Named { .. }
        | Command::Told { .. }
        | Command::Inform { .. }
        | Command::Transfer { .. }
        | Command::Redirect { .. }
        | Command::Refer { .. }
        | Command::End { .. } => None,
    }
}

pub(super) fn parsed(text: &str) -> Box<Session> {
    Box::new(Session::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error:?} in {text}")))
}

pub(super) fn dialled(user: &str) -> Callee {
    Callee::Dialled(Party { user: user.into(), ..Party::default() })
}

pub(super) fn keys() -> Keys {
    Keys { profile: Profile::AeadAes128Gcm, receive: [1; 46], send: [2; 46] }
}

const MAPS: &str = "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\n\
                    a=rtpmap:9 G722/8000\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n";

/// A browser's description, with these payload types, after `setup`.
pub(super) fn web_sdp(payloads: &str, setup: &str, ufrag: &str, rest: &str) -> String {
    let maps: String = MAPS
        .split_inclusive("\r\n")
        .filter(|line| {
            let number = line.split([':', ' ']).nth(1).unwrap_or("");
            payloads.split(' ').any(|payload| payload == number)
        })
        .collect();
    format!(
        "v=0\r\no=- 42 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF {payloads}\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:{ufrag}\r\n\
         a=ice-pwd:{ufrag}000000000000000000\r\na=fingerprint:sha-256 {}\r\na=setup:{setup}\r\na=rtcp-mux\r\n\
         a=rtcp-rsize\r\n{maps}{rest}",
        ["AB"; 32].join(":")
    )
}

/// Chromium's offer.
pub(super) fn web_offer() -> String {
    web_sdp("111 63 9 0 8 13 110 126", "actpass", "wxyz", "")
}

/// A phone's description, with these payload types and attributes.
pub(super) fn sip_sdp(payloads: &str, rest: &str) -> String {
    let mut maps = String::new();
    for (number, map) in [
        ("96", "opus/48000/2"),
        ("101", "telephone-event/8000"),
        ("102", "telephone-event/48000"),
        ("97", "opus/48000/2"),
    ] {
        if payloads.split(' ').any(|payload| payload == number) {
            maps += &["a=rtpmap:", number, " ", map, "\r\n"].concat();
        }
    }
    format!(
        "v=0\r\no=phone 1 1 IN IP4 192.0.2.9\r\ns=call\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP {payloads}\r\n{maps}{rest}"
    )
}

/// Numbers and codecs of a description's audio.
pub(super) fn listed(session: &Session) -> Vec<String> {
    let types = session.media[0].payload_types();
    types.iter().map(|p| format!("{} {}/{}", p.number, p.codec.name, p.codec.clock)).collect()
}

pub(super) fn audio(session: &Session) -> &Media {
    &session.media[0]
}

pub(super) fn way(session: &Session) -> Direction {
    session.direction(audio(session))
}
