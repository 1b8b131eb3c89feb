//! What a shard must be told, put together from the rooms' own configurations.

use super::trace::TraceCaps;
use crate::base::ShardId;
use crate::leg::TrunkId;
use crate::net::{Certificate, Trust};
use crate::{call, http, media, signal, sip, webrtc};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// A named interface (design, section 4).
#[derive(Clone, Debug)]
pub struct Realm {
    /// Its name in configuration and logs.
    pub name: String,
    /// The network device (or VRF) to stay on.
    pub device: Option<String>,
    /// Where SIP over UDP and TCP listens; port 0 takes any, the same for all shards.
    pub sip: SocketAddr,
    /// What others must use to reach `sip`, where it differs.
    pub sip_advertised: Option<SocketAddr>,
    /// SIP over TCP listens there, too.
    pub sip_tcp: bool,
    /// Where SIP over TLS listens, with [`SipTls::certificate`].
    pub sip_tls: Option<SocketAddr>,
    /// What others must use to reach `sip_tls`, where it differs.
    pub sip_tls_advertised: Option<SocketAddr>,
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
            sip_tcp: true,
            sip_tls: None,
            sip_tls_advertised: None,
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
#[derive(Clone, Debug, Default)]
pub struct Http {
    /// Where HTTP and WebSocket listen; port 0 takes any, the same for all shards. `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// All connections are under TLS, with this; plain where absent.
    pub certificate: Option<Certificate>,
    /// Other sites whose pages may use this gateway (`https://app.example`); `*` allows any.
    pub origins: Vec<String>,
    /// What `GET /v1/demo.json` says, where there is a demo.
    pub demo: Option<String>,
}

/// TLS under SIP.
#[derive(Clone, Debug, Default)]
pub struct SipTls {
    /// What listeners show. Without it they take no connection.
    pub certificate: Option<Certificate>,
    /// Whom connections to each trunk believe, by `TrunkId`; where absent, `others`.
    pub trunks: Vec<Option<Trust>>,
    /// Whom all others believe. Without it none is made.
    pub others: Option<Trust>,
}

impl SipTls {
    /// Whom a connection believes.
    pub(super) fn trust(&self, trunk: Option<TrunkId>) -> Option<&Trust> {
        let own = trunk.and_then(|trunk| self.trunks.get(usize::from(trunk.0)));
        own.and_then(Option::as_ref).or(self.others.as_ref())
    }
}

/// Bounds (design, section 8).
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// HTTP and WebSocket connections of one shard.
    pub connections: usize,
    /// SIP connections over TCP and TLS of one shard.
    pub sip_connections: usize,
    /// Those of one source that is no trunk's.
    pub sip_per_source: usize,
    /// Connections of one shard whose TLS is not up yet; more are closed at once.
    pub handshakes: usize,
    /// How long TLS may take to come up.
    pub handshake_time: Duration,
    /// UDP sockets of one shard.
    pub sockets: usize,
    /// Messages on the way from one shard to another.
    pub mailbox: usize,
    /// Outputs that the switchboard passes on in one pass.
    pub turns: usize,
    /// Percent of its time that a shard may be at work before it refuses new calls; 0: whatever it is.
    pub load: u8,
}

impl Default for Caps {
    fn default() -> Self {
        Caps {
            connections: 20_000,
            sip_connections: 20_000,
            sip_per_source: 1_000,
            handshakes: 512,
            handshake_time: Duration::from_secs(10),
            sockets: 32_768,
            mailbox: 1024,
            turns: 4096,
            load: 95,
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
    /// TLS under SIP.
    pub sip_tls: SipTls,
    /// Serve RTP sockets by `io_uring` where the kernel has it.
    pub io_uring: bool,
    /// Bounds.
    pub caps: Caps,
    /// What is kept of calls for whoever asks what happened.
    pub trace: TraceCaps,
    /// The connections'.
    pub connection: Arc<http::Config>,
    /// The SIP stack's.
    pub sip: Arc<sip::Config>,
    /// The browser sessions'.
    pub signal: Arc<signal::Config>,
    /// The calls'.
    pub call: Arc<call::Config>,
    /// The WebRTC transports', without candidates: each shard puts in its own.
    pub webrtc: Arc<webrtc::Config>,
    /// The media plane's, with the ports of all shards: each shard takes its slice.
    pub media: Arc<media::Config>,
}

impl Config {
    /// The media configuration of one shard: its slice of each realm's ports, beginning with an even one.
    pub(super) fn media_of(&self, shard: ShardId, shards: u8) -> media::Config {
        let mut config = media::Config::clone(&self.media);
        for realm in &mut config.realms {
            realm.ports = slice(&realm.ports, shard.0, shards);
        }
        config
    }
}

/// The part of a range of ports that a shard has, in whole pairs of even and odd.
pub fn slice(ports: &RangeInclusive<u16>, shard: u8, shards: u8) -> RangeInclusive<u16> {
    let first = u32::from(*ports.start()).next_multiple_of(2);
    let pairs = (u32::from(*ports.end()) + 1).saturating_sub(first) / 2;
    let share = pairs / u32::from(shards.max(1));
    let start = first + 2 * share * u32::from(shard);
    if share == 0 || start > u32::from(u16::MAX) {
        // An empty range.
        return RangeInclusive::new(1, 0);
    }
    start as u16..=(start + 2 * share - 1) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_have_whole_pairs_of_ports_and_share_none() {
        assert_eq!(slice(&(16384..=32767), 0, 1), 16384..=32767);
        assert_eq!(slice(&(10001..=10011), 0, 2), 10002..=10005);
        assert_eq!(slice(&(10001..=10011), 1, 2), 10006..=10009);
        assert_eq!(slice(&(65532..=65535), 1, 2), 65534..=65535);
        assert!(slice(&(10000..=10001), 1, 2).is_empty());
        assert!(slice(&(10001..=10001), 0, 1).is_empty());
    }
}
