//! One dialog of a phone, and what became of it.

use super::reliable::Reliable;
use crate::media::Media;
use crate::script::Script;
use std::net::SocketAddr;
use std::time::Instant;

/// How far a leg is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Our INVITE is out, or theirs rings here.
    Early,
    /// Our 2xx waits for its ACK.
    Unacked,
    /// Established.
    Up,
    /// Our BYE is out.
    Leaving,
    /// Over.
    Over,
}

/// One party's view of a call.
#[derive(Debug)]
pub struct Leg {
    pub script: Script,
    pub outbound: bool,
    pub state: State,
    pub call_id: String,
    pub local: String,
    pub remote: String,
    pub local_tag: String,
    pub remote_tag: String,
    /// Request-URI of our requests.
    pub target: String,
    pub local_seq: u32,
    pub remote_seq: u32,
    /// The server transaction of their INVITE, or the client transaction of ours.
    pub invite: usize,
    /// Our CANCEL is wanted, or out.
    pub cancelling: bool,
    pub cancel_sent: bool,
    /// The final answer to our INVITE, whole.
    pub answer: Vec<u8>,
    pub code: u16,
    /// Our 2xx, sent until its ACK comes.
    pub ok: Vec<u8>,
    pub ok_seq: u32,
    pub ok_interval: std::time::Duration,
    pub ok_until: Option<Instant>,
    /// How many 2xx arrived for our INVITE.
    pub oks: u32,
    pub withheld: u8,
    /// Our reliable response.
    pub reliable: Option<Reliable>,
    /// The last of theirs that we acknowledged.
    pub rseq: u32,
    /// It answered our offer: their 2xx does not say it again.
    pub settled: bool,
    /// Our re-INVITE that is out.
    pub change: Option<usize>,
    pub wants_hold: bool,
    /// All our re-INVITEs.
    pub changes: Vec<usize>,
    /// Since when nobody may send to us.
    pub held_since: Option<Instant>,
    pub answered: bool,
    pub confirmed: bool,
    pub ended_by_peer: bool,
    pub local_media: SocketAddr,
    pub remote_media: Option<SocketAddr>,
    pub may_send: bool,
    pub talking: bool,
    pub media: Media,
    pub version: u32,
    pub up_at: Option<Instant>,
    pub over_at: Option<Instant>,
}

impl Leg {
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    pub fn is_reinvite(&self, client: usize) -> bool {
        self.changes.contains(&client)
    }

    /// Our description.
    pub fn sdp(&mut self, direction: &str) -> String {
        self.version += 1;
        let (ip, port) = (self.local_media.ip(), self.local_media.port());
        format!(
            "v=0\r\no=- {} {} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na={direction}\r\n",
            self.script.call, self.version
        )
    }

    /// Takes in their description; gives its direction.
    pub fn learn(&mut self, sdp: &str) -> Option<&'static str> {
        let described = crate::sdp::Described::read(sdp)?;
        if described.port != 0 {
            self.remote_media = Some(SocketAddr::new(described.ip?, described.port));
        }
        let direction = described.direction;
        self.may_send = matches!(direction, "sendrecv" | "recvonly");
        Some(direction)
    }
}
