//! A shard on loopback with media set up by hand: the far sides hold the keys, no signalling is needed.
#![allow(dead_code, reason = "tests and benches use different parts")]

use bridgehead::base::{LegId, Mint, Packet, Random, RealmId, ShardId, Side};
use bridgehead::media::srtp::{Receive, Send};
use bridgehead::media::{Agreed, Codec, Command, Event, Format, Kind};
use bridgehead::rtp::{Keys, Profile};
use bridgehead::shard::{Caps, Config, Http, Loop, Realm, WebMedia, clock, open};
use bridgehead::webrtc;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub const PROFILES: [Profile; 3] = [Profile::AesCm128Sha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm];

pub fn localhost(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

static RIGS: AtomicU64 = AtomicU64::new(0);

/// One shard, run by hand.
pub struct Rig {
    pub shard: Loop,
    pub web: SocketAddr,
    pub http: Option<SocketAddr>,
    mint: Mint,
    random: Random,
    /// How RTP parties are heard.
    kind: Kind,
}

/// One call's far ends of the media plane.
pub struct Bridge {
    pub web_leg: LegId,
    pub rtp_leg: LegId,
    /// What the browser sends with, and hears with.
    pub keys: Keys,
    /// Where the SIP side sends to.
    pub rtp: SocketAddr,
}

impl Rig {
    pub fn new(config: Config) -> Rig {
        let shared = config.media.realms[0].shared;
        let mut opened = open(&Arc::new(config), 1).unwrap();
        // Rigs of parallel tests begin at different ports of the one range.
        let number = RIGS.fetch_add(1, Ordering::Relaxed) << 32 | u64::from(std::process::id());
        let mut random = Random::from_number(number);
        let shard = Loop::new(opened.seats.remove(0), random.fork()).unwrap();
        Rig {
            shard,
            web: opened.bound.web[0][0],
            http: opened.bound.http,
            mint: Mint::new(ShardId(0), true),
            random,
            kind: if shared { Kind::Shared(RealmId(0)) } else { Kind::Rtp(RealmId(0)) },
        }
    }

    pub fn pass(&mut self) {
        self.shard.pass(Some(Duration::from_millis(20))).unwrap();
    }

    pub fn leg(&mut self, side: Side) -> LegId {
        self.mint.leg(side)
    }

    pub fn media(&mut self, command: Command) -> Vec<Event> {
        self.shard.core_mut().media(clock(), command)
    }

    /// A media side, once the plane has a port for it.
    pub fn open(&mut self, leg: LegId, kind: Kind) -> Option<SocketAddr> {
        // The plane keeps a stock of bound ports; a pass opens those that it asked for.
        for _ in 0..3 {
            self.shard.pass(Some(Duration::ZERO)).unwrap();
        }
        match &self.media(Command::Open { leg, kind })[..] {
            [Event::Opened { address, .. }] => *address,
            other => panic!("{leg:?}: {other:?}"),
        }
    }

    /// PCMU between two RTP parties. Gives the ports that they send to.
    pub fn relay(&mut self, a: SocketAddr, b: SocketAddr) -> [SocketAddr; 2] {
        let legs = [a, b].map(|party| {
            let leg = self.leg(Side::Sip);
            let port = self.open(leg, self.kind).unwrap();
            self.media(Command::Agree { leg, agreed: Box::new(agreed(Some(party))) });
            (leg, port)
        });
        self.media(Command::Join { a: legs[0].0, b: legs[1].0 });
        legs.map(|(_, port)| port)
    }

    /// PCMU between a browser with these keys at one address and an RTP party at the other.
    pub fn bridge(&mut self, profile: Profile, browser: SocketAddr, party: SocketAddr) -> Bridge {
        let (web_leg, rtp_leg) = (self.leg(Side::Web), self.leg(Side::Sip));
        let mut keys = Keys { profile, receive: [0; 46], send: [0; 46] };
        self.random.fill(&mut keys.receive);
        self.random.fill(&mut keys.send);
        self.open(web_leg, Kind::Web);
        let rtp = self.open(rtp_leg, self.kind).unwrap();
        self.media(Command::Agree { leg: web_leg, agreed: Box::new(agreed(None)) });
        self.media(Command::Agree { leg: rtp_leg, agreed: Box::new(agreed(Some(party))) });
        self.media(Command::Keys { leg: web_leg, keys: Box::new(keys.clone()) });
        self.media(Command::Path { leg: web_leg, address: browser });
        self.media(Command::Join { a: web_leg, b: rtp_leg });
        Bridge { web_leg, rtp_leg, keys, rtp }
    }
}

pub fn agreed(remote: Option<SocketAddr>) -> Agreed {
    let codec = Codec { name: "pcmu".to_owned(), clock: 8000, channels: 1 };
    Agreed {
        remote,
        remote_rtcp: None,
        rtcp_mux: remote.is_none(),
        send: true,
        receive: true,
        raw: false,
        formats: vec![Format { codec, receive: 0, send: 0 }],
        ptime_ms: 20,
    }
}

/// What a browser protects with and hears with: the gateway's keys, the other way round.
pub fn browser(keys: &Keys) -> (Send, Receive) {
    (Send::new(keys.profile, &keys.receive, 4), Receive::new(keys.profile, &keys.send, 4))
}

/// A PCMU packet of 20 ms.
pub fn rtp(packet: &mut Packet, ssrc: u32, number: u64) {
    let mut bytes = [0x55; 172];
    bytes[..2].copy_from_slice(&[0x80, 0]);
    bytes[2..4].copy_from_slice(&(number as u16).to_be_bytes());
    bytes[4..8].copy_from_slice(&(number as u32 * 160).to_be_bytes());
    bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
    assert!(packet.fill(&bytes));
}

/// The same with one port for all RTP parties.
pub fn sharing() -> Config {
    let mut config = config();
    let media = Arc::make_mut(&mut config.media);
    media.realms.iter_mut().for_each(|realm| realm.shared = true);
    config
}

/// One realm on loopback, any free ports.
pub fn config() -> Config {
    Config {
        realms: vec![Realm::new("loopback", localhost(0))],
        web_media: WebMedia { listen: vec![localhost(0).ip()], advertised: None, port: 0, buffer: 4 << 20 },
        http: Http { listen: Some(localhost(0)), ..Http::default() },
        sip_tls: bridgehead::shard::SipTls::default(),
        io_uring: true,
        caps: Caps::default(),
        trace: bridgehead::shard::TraceCaps::default(),
        connection: Arc::default(),
        sip: Arc::default(),
        signal: Arc::default(),
        call: Arc::default(),
        webrtc: Arc::new(webrtc::Config::new(webrtc::Identity::create(clock()).unwrap(), Vec::new())),
        media: Arc::default(),
    }
}
