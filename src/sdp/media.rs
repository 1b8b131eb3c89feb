//! A media description and its attributes.

use super::session::{Address, Bandwidth, Connection};
use std::fmt;

/// What a media line carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// `audio`.
    #[default]
    Audio,
    /// `video`.
    Video,
    /// `text`.
    Text,
    /// `application`.
    Application,
    /// `message`.
    Message,
    /// `image` (T.38).
    Image,
    /// Anything else.
    Other(String),
}

impl Kind {
    /// The token.
    pub fn as_str(&self) -> &str {
        match self {
            Kind::Audio => "audio",
            Kind::Video => "video",
            Kind::Text => "text",
            Kind::Application => "application",
            Kind::Message => "message",
            Kind::Image => "image",
            Kind::Other(name) => name,
        }
    }

    pub(super) fn from_token(token: &str) -> Kind {
        match token {
            "audio" => Kind::Audio,
            "video" => Kind::Video,
            "text" => Kind::Text,
            "application" => Kind::Application,
            "message" => Kind::Message,
            "image" => Kind::Image,
            other => Kind::Other(other.into()),
        }
    }
}

macro_rules! protocols {
    ($($(#[$doc:meta])* $name:ident $token:literal,)*) => {
        /// The transport protocol of a media line.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
        pub enum Protocol {
            $($(#[$doc])* $name,)*
            /// Anything else.
            Other(String),
        }

        impl Protocol {
            /// The token.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Protocol::$name => $token,)*
                    Protocol::Other(name) => name,
                }
            }

            pub(super) fn from_token(token: &str) -> Protocol {
                $(if token.eq_ignore_ascii_case($token) { return Protocol::$name; })*
                Protocol::Other(token.into())
            }
        }
    };
}

protocols! {
    /// Plain RTP (RFC 3551).
    #[default]
    RtpAvp "RTP/AVP",
    /// SRTP keyed by `a=crypto` (RFC 3711, RFC 4568).
    RtpSavp "RTP/SAVP",
    /// Plain RTP with feedback (RFC 4585).
    RtpAvpf "RTP/AVPF",
    /// SRTP with feedback (RFC 5124).
    RtpSavpf "RTP/SAVPF",
    /// SRTP keyed by DTLS (RFC 5764).
    UdpTlsRtpSavp "UDP/TLS/RTP/SAVP",
    /// SRTP keyed by DTLS, with feedback (RFC 5764): what browsers send.
    UdpTlsRtpSavpf "UDP/TLS/RTP/SAVPF",
    /// RTP over TCP (RFC 4571).
    TcpRtpAvp "TCP/RTP/AVP",
    /// SRTP keyed by DTLS, over TCP (RFC 7850).
    TcpDtlsRtpSavp "TCP/DTLS/RTP/SAVP",
    /// SRTP keyed by DTLS with feedback, over TCP (RFC 7850).
    TcpDtlsRtpSavpf "TCP/DTLS/RTP/SAVPF",
    /// Data channels (RFC 8841).
    UdpDtlsSctp "UDP/DTLS/SCTP",
    /// Data channels over TCP (RFC 8841).
    TcpDtlsSctp "TCP/DTLS/SCTP",
    /// Data channels, as written before RFC 8841.
    DtlsSctp "DTLS/SCTP",
    /// T.38 (ITU-T T.38 annex D).
    Udptl "udptl",
    /// T.38 over TCP, and others (RFC 4145).
    Tcp "TCP",
    /// TLS over TCP (RFC 8122).
    TcpTls "TCP/TLS",
}

impl Protocol {
    /// Whether its formats are RTP payload type numbers.
    pub fn is_rtp(&self) -> bool {
        let token = self.as_str();
        token.ends_with("RTP/AVP")
            || token.ends_with("RTP/AVPF")
            || token.ends_with("RTP/SAVP")
            || token.ends_with("RTP/SAVPF")
    }

    /// Whether its RTP is encrypted by name.
    pub fn is_secure(&self) -> bool {
        self.is_rtp() && (self.as_str().ends_with("/SAVP") || self.as_str().ends_with("/SAVPF"))
    }

    /// Whether its RTP has the feedback profile.
    pub fn has_feedback(&self) -> bool {
        self.is_rtp() && self.as_str().ends_with("AVPF")
    }
}

/// Which way media goes, as its writer sees it (RFC 8866 section 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// `sendrecv`.
    #[default]
    SendRecv,
    /// `sendonly`.
    SendOnly,
    /// `recvonly`.
    RecvOnly,
    /// `inactive`.
    Inactive,
}

impl Direction {
    /// From what the writer may send and receive.
    pub fn new(send: bool, receive: bool) -> Direction {
        match (send, receive) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// Whether the writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether the writer receives.
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The same, as the reader sees it.
    pub fn reversed(self) -> Direction {
        Direction::new(self.receives(), self.sends())
    }

    /// The attribute's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    pub(super) fn from_token(token: &str) -> Option<Direction> {
        [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive]
            .into_iter()
            .find(|direction| direction.as_str() == token)
    }
}

/// `a=setup` (RFC 4145 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setup {
    /// The writer begins.
    Active,
    /// The writer waits.
    Passive,
    /// Either; the answerer chooses.
    Actpass,
    /// Nothing yet.
    Holdconn,
}

impl Setup {
    /// The token.
    pub fn as_str(self) -> &'static str {
        match self {
            Setup::Active => "active",
            Setup::Passive => "passive",
            Setup::Actpass => "actpass",
            Setup::Holdconn => "holdconn",
        }
    }

    pub(super) fn from_token(token: &str) -> Option<Setup> {
        [Setup::Active, Setup::Passive, Setup::Actpass, Setup::Holdconn]
            .into_iter()
            .find(|setup| setup.as_str().eq_ignore_ascii_case(token))
    }
}

/// ICE credentials and options (RFC 8839 sections 5.4 and 5.6).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Ice {
    /// `a=ice-ufrag`.
    pub ufrag: Option<String>,
    /// `a=ice-pwd`.
    pub pwd: Option<String>,
    /// `a=ice-options`.
    pub options: Vec<String>,
}

impl fmt::Debug for Ice {
    // The password never reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ice({:?}, {:?})", self.ufrag, self.options)
    }
}

/// `a=fingerprint` (RFC 8122 section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The hash function, in lower case.
    pub hash: String,
    /// The digest.
    pub digest: Vec<u8>,
}

/// `a=rtcp` (RFC 3605).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtcp {
    /// The port.
    pub port: u16,
    /// The address, where it is not that of RTP.
    pub address: Option<Address>,
}

/// `a=rtpmap` (RFC 8866 section 6.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtpmap {
    /// The payload type number.
    pub payload: u8,
    /// The encoding's name, as written.
    pub name: String,
    /// Clock rate in Hz.
    pub clock: u32,
    /// Channels; 1 where nothing is said.
    pub channels: u8,
}

/// `a=fmtp` (RFC 8866 section 6.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fmtp {
    /// The payload type number.
    pub payload: u8,
    /// The parameters, as written.
    pub value: String,
}

/// `a=rtcp-fb` (RFC 4585 section 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// The payload type number; `None` for all (`*`).
    pub payload: Option<u8>,
    /// `nack pli`, `ccm fir`, …
    pub value: String,
}

/// `a=extmap` (RFC 8285 section 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extmap {
    /// The local identifier.
    pub id: u16,
    /// Direction, where one is written.
    pub direction: Option<Direction>,
    /// The extension's URI, and its attributes after a space.
    pub uri: String,
}

/// `a=crypto` (RFC 4568 section 9.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Crypto {
    /// The tag.
    pub tag: u32,
    /// The suite, as `AES_CM_128_HMAC_SHA1_80`.
    pub suite: String,
    /// Key parameters and session parameters, as written.
    pub keys: String,
}

impl fmt::Debug for Crypto {
    // Keys never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crypto({}, {})", self.tag, self.suite)
    }
}

/// `a=ssrc` (RFC 5576 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssrc {
    /// The synchronization source.
    pub id: u32,
    /// What is said of it, as `cname:x`; may be empty.
    pub attribute: String,
}

/// An attribute that is not read here.
#[derive(Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The name.
    pub name: String,
    /// What follows the colon, where there is one.
    pub value: Option<String>,
}

impl fmt::Debug for Attribute {
    // Nobody has looked whether the value is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attribute({})", self.name)
    }
}

/// A media description: one `m=` line and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Media {
    /// What it carries.
    pub kind: Kind,
    /// The port; 0 where it is rejected (or `bundle-only`).
    pub port: u16,
    /// How many port pairs; 1 where nothing is said.
    pub ports: u16,
    /// The transport.
    pub protocol: Protocol,
    /// Payload type numbers in order of preference, where the transport is RTP.
    pub payloads: Vec<u8>,
    /// Formats, where it is not.
    pub formats: Vec<String>,
    /// `i=`.
    pub information: Option<String>,
    /// `c=`.
    pub connection: Option<Connection>,
    /// `b=`.
    pub bandwidths: Vec<Bandwidth>,
    /// Direction, where one is said.
    pub direction: Option<Direction>,
    /// `a=rtcp`.
    pub rtcp: Option<Rtcp>,
    /// `a=rtcp-mux` (RFC 5761).
    pub rtcp_mux: bool,
    /// `a=rtcp-mux-only` (RFC 8858).
    pub rtcp_mux_only: bool,
    /// `a=rtcp-rsize` (RFC 5506).
    pub rtcp_rsize: bool,
    /// `a=mid` (RFC 5888).
    pub mid: Option<String>,
    /// `a=bundle-only` (RFC 9143).
    pub bundle_only: bool,
    /// ICE credentials and options.
    pub ice: Ice,
    /// `a=candidate` values (RFC 8839 section 5.1), without the name; unread.
    pub candidates: Vec<String>,
    /// Candidates beyond [`super::MAX_CANDIDATES`]: not kept, not written.
    pub candidates_ignored: u32,
    /// `a=end-of-candidates` (RFC 8840).
    pub end_of_candidates: bool,
    /// `a=fingerprint`.
    pub fingerprints: Vec<Fingerprint>,
    /// `a=setup`.
    pub setup: Option<Setup>,
    /// `a=rtpmap`.
    pub rtpmaps: Vec<Rtpmap>,
    /// `a=fmtp`.
    pub fmtps: Vec<Fmtp>,
    /// `a=rtcp-fb`.
    pub feedback: Vec<Feedback>,
    /// `a=extmap`.
    pub extmaps: Vec<Extmap>,
    /// `a=extmap-allow-mixed`.
    pub extmap_allow_mixed: bool,
    /// `a=ptime` in milliseconds.
    pub ptime_ms: Option<u16>,
    /// `a=maxptime` in milliseconds.
    pub maxptime_ms: Option<u16>,
    /// `a=crypto`.
    pub cryptos: Vec<Crypto>,
    /// `a=ssrc`.
    pub ssrcs: Vec<Ssrc>,
    /// `a=msid` values (RFC 8830): stream, and track after a space.
    pub msids: Vec<String>,
    /// All other attributes, in order.
    pub other: Vec<Attribute>,
}

impl Media {
    /// Whether the description is refused or ended (RFC 3264 section 6).
    pub fn rejected(&self) -> bool {
        self.port == 0 && !self.bundle_only
    }

    /// The first unread attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.other.iter().find(|attribute| attribute.name == name)
    }
}
