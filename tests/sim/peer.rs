//! A browser's peer connection: str0m with its own SRTP, and the descriptions around it.

use crate::media::{self, Arrived, Media};
use crate::net::{Datagram, Event, Net};
use crate::sdp::Described;
use bridgehead::webrtc::browser::Browser as Engine;
use bridgehead::webrtc::{Dtls, Local};
use std::net::SocketAddr;
use std::time::Instant;
use str0m::rtp::RtpWrite;

/// A peer connection of one call.
pub struct Peer {
    engine: Engine,
    pub addresses: Vec<SocketAddr>,
    pub media: Media,
    pub connected: bool,
    version: u32,
    described: bool,
    armed: Option<Instant>,
    /// What its description said last.
    ufrag: String,
}

impl Peer {
    pub fn new(net: &mut Net, addresses: Vec<SocketAddr>, media: Media) -> Peer {
        let version = [Dtls::Auto, Dtls::V12, Dtls::V13][net.random.below(3) as usize];
        let mut engine = Engine::new(net.now.instant, &mut net.random, version, true, &addresses);
        let mut api = engine.rtc().direct_api();
        api.declare_media("0".into(), str0m::media::MediaKind::Audio);
        api.declare_stream_tx(media.ssrc.into(), None, "0".into(), None);
        Peer {
            engine,
            addresses,
            media,
            connected: false,
            version: 0,
            described: false,
            armed: None,
            ufrag: String::new(),
        }
    }

    /// Our description: offers say `actpass`, answers `active`.
    pub fn sdp(&mut self, setup: &str, direction: &str) -> String {
        let remote = self.engine.remote();
        self.version += 1;
        let print: Vec<String> = remote.fingerprints[0].1.iter().map(|byte| format!("{byte:02X}")).collect();
        let candidates =
            remote.candidates.iter().fold(String::new(), |all, one| all + &format!("a=candidate:{one}\r\n"));
        format!(
            "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 0 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
             a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:{setup}\r\na=mid:0\r\n\
             a={direction}\r\na=rtcp-mux\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:126 telephone-event/8000\r\n\
             a=ssrc:{} cname:page\r\n{candidates}",
            self.media.call,
            self.version,
            remote.ufrag,
            remote.pwd,
            print.join(":"),
            self.media.ssrc,
        )
    }

    /// New ICE credentials for the next description.
    pub fn restart(&mut self, net: &mut Net) {
        self.engine.restart(&mut net.random);
    }

    /// Takes in the gateway's description.
    pub fn describe(&mut self, net: &mut Net, sdp: &str) {
        let Some(described) = Described::read(sdp) else { net.fault(&format!("unreadable: {sdp}")) };
        net.check(described.types.contains(&0), || format!("no PCMU in {sdp}"));
        net.check(described.fingerprint.len() == 32 && !described.candidates.is_empty(), || sdp.to_owned());
        let again = std::mem::replace(&mut self.described, true);
        if again && described.ufrag == self.ufrag {
            return;
        }
        self.ufrag.clone_from(&described.ufrag);
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(&described.fingerprint);
        let local = Local {
            ufrag: described.ufrag,
            pwd: described.pwd,
            fingerprint,
            candidates: described.candidates,
        };
        if let (Some(ssrc), false) = (described.ssrc, again) {
            self.engine.rtc().direct_api().expect_stream_rx(ssrc.into(), None, "0".into(), None);
        }
        self.engine.describe(net.now.instant, &local);
    }

    pub fn receive(&mut self, net: &mut Net, datagram: &Datagram, to: SocketAddr) {
        self.engine.handle_datagram(net.now.instant, datagram.from, to, &datagram.data);
        self.after(net);
    }

    pub fn wake(&mut self, net: &mut Net) {
        self.armed = None;
        if self.engine.poll_timeout().is_some_and(|at| at <= net.now.instant) {
            self.engine.handle_timeout(net.now.instant);
        }
    }

    /// Sends what waits, hears what came. True where it became connected.
    pub fn after(&mut self, net: &mut Net) -> bool {
        while let Some(sent) = self.engine.poll_send() {
            net.send(sent.from, sent.to, sent.data);
        }
        let before = self.connected;
        while let Some(event) = self.engine.poll_event() {
            match event {
                str0m::Event::Connected => self.connected = true,
                str0m::Event::RtpPacket(packet) => {
                    let arrived = Arrived {
                        ssrc: *packet.header.ssrc,
                        sequence: packet.header.sequence_number,
                        timestamp: packet.header.timestamp,
                        payload_type: *packet.header.payload_type,
                        payload: &packet.payload,
                    };
                    net.check(arrived.payload_type == 0, || format!("payload type {}", arrived.payload_type));
                    self.media.hear(net, &arrived);
                    if self.media.crossed {
                        net.states.reach("rollover_edge_to_browser");
                    }
                }
                _ => {}
            }
        }
        self.connected && !before
    }

    /// Sees to it that it is woken.
    pub fn arm(&mut self, net: &mut Net, browser: usize, due: crate::browser::Due) {
        let wanted = self.engine.poll_timeout().map(|at| at.max(net.now.instant));
        if let Some(at) = wanted
            && self.armed.is_none_or(|armed| at < armed)
        {
            self.armed = Some(at);
            net.at(at, Event::Browser(browser, due));
        }
    }

    /// The next packet of sound.
    pub fn talk(&mut self, net: &mut Net) {
        let (sequence, timestamp, payload) = self.media.next();
        let ssrc = self.media.ssrc.into();
        let mut api = self.engine.rtc().direct_api();
        let Some(stream) = api.stream_tx(&ssrc) else { net.fault("the stream is gone") };
        stream.write_rtp(RtpWrite::new(0.into(), sequence.into(), timestamp, net.now.instant, payload));
        self.engine.handle_timeout(net.now.instant);
        self.after(net);
    }

    pub fn close(&mut self, net: &mut Net) {
        self.engine.close();
        self.after(net);
    }

    /// An address of ours on another port of the NAT.
    pub fn roam(&self, net: &mut Net, outside: SocketAddr) {
        if let Some(inside) = self.addresses.first() {
            net.nat.insert(*inside, outside);
        }
    }
}

/// Kept so that a page's sound has the pace of a phone's.
pub const EVERY_MS: u64 = media::EVERY_MS;
