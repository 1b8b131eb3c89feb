//! What a shard must be told, put together from the rooms' own configurations.

use crate::sip;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A named interface (design, section 4).
#[derive(Clone, Debug)]
pub struct Realm {
    /// Its name in configuration and logs.
    pub name: String,
    /// The network device (or VRF) to stay on.
    pub device: Option<String>,
    /// Where SIP over UDP listens; port 0 takes any, the same for all shards.
    pub sip: SocketAddr,
    /// What others must use to reach `sip`, where it differs.
    pub sip_advertised: Option<SocketAddr>,
    /// Where RTP sockets are bound.
    pub media: IpAddr,
    /// Differentiated services code point of SIP.
    pub sip_dscp: Option<u8>,
    /// Differentiated services code point of RTP.
    pub media_dscp: Option<u8>,
}

impl Realm {
    /// A realm with SIP at this address and media on the same interface.
    pub fn new(name: &str, sip: SocketAddr) -> Realm {
        Realm {
            name: name.to_owned(),
            device: None,
            sip,
            sip_advertised: None,
            media: sip.ip(),
            sip_dscp: None,
            media_dscp: None,
        }
    }
}

/// Where browsers' media arrives.
#[derive(Clone, Debug)]
pub struct WebMedia {
    /// Addresses to bind, one socket each on every shard.
    pub listen: Vec<IpAddr>,
    /// What browsers must use to reach the first of `listen`, where it differs.
    pub advertised: Option<IpAddr>,
    /// UDP port of shard 0; each further shard takes the next. 0 takes any.
    pub port: u16,
    /// Bytes wanted for a web socket's receive queue and for its send queue.
    pub buffer: usize,
}

/// Where browsers' signalling arrives.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where HTTP and WebSocket listen; port 0 takes any, the same for all shards. `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Other sites whose pages may use this gateway (`https://app.example`); `*` allows any.
    pub origins: Vec<String>,
    /// What `GET /v1/demo.json` says, where there is a demo.
    pub demo: Option<String>,
}

/// Bounds (design, section 8).
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// HTTP and WebSocket connections of one shard.
    pub connections: usize,
    /// UDP sockets of one shard.
    pub sockets: usize,
    /// Messages on the way from one shard to another.
    pub mailbox: usize,
    /// Handshake packets (DTLS and STUN) handled in one pass.
    pub handshakes: usize,
    /// Handshake packets kept for later passes.
    pub handshakes_waiting: usize,
    /// Outputs that the switchboard passes on in one pass.
    pub turns: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Caps {
            connections: 20_000,
            sockets: 32_768,
            mailbox: 1024,
            handshakes: 32,
            handshakes_waiting: 1024,
            turns: 4096,
        }
    }
}

/// One shard's configuration, the same for all shards.
#[derive(Clone, Debug)]
pub struct Config {
    /// Named interfaces, in the order of `RealmId`. At least one.
    pub realms: Vec<Realm>,
    /// Browsers' media.
    pub web_media: WebMedia,
    /// Browsers' signalling.
    pub http: Http,
    /// Browser users who have a SIP identity: how to register each upstream.
    pub registrations: Vec<sip::Registration>,
    /// Bounds.
    pub caps: Caps,
    /// The SIP stack's (`sip::Config` once that room has one).
    pub rooms: Arc<()>,
}
