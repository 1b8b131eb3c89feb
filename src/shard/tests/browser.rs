//! A browser's call to a phone through a whole shard on virtual time: JSON, SIP, ICE, DTLS, SRTP, RTP, hang-up.

use super::{UPGRADE, address, config, core};
use crate::base::{FlowId, Key, Now, Packet, Random, ShardId, SocketId};
use crate::leg::TrunkId;
use crate::media::srtp::{Receive, Send};
use crate::net::Batch;
use crate::shard::{Config, Core, Output, clock};
use crate::webrtc::browser::Browser;
use crate::webrtc::{Dtls, Local};
use crate::{call, media, sip};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const PHONE: &str = "203.0.113.9:5060";
const PHONE_MEDIA: &str = "203.0.113.9:7000";
const PAGE: &str = "203.0.113.5:4000";
/// The second web socket of the shard: the page reaches that one only.
const GATEWAY: &str = "198.51.100.1:10000";

/// A shard with one connected page and one phone.
struct World {
    core: Core,
    now: Now,
    flow: FlowId,
    page: Browser,
    texts: Vec<serde_json::Value>,
    sip: Vec<String>,
    /// RTP and SRTP that the shard sent, by destination.
    media: Vec<(SocketId, SocketAddr, Vec<u8>)>,
    sockets: u32,
    ports: Vec<(u16, SocketId)>,
    /// The page sent its first sound in the batch that ended its handshake.
    spoke: bool,
}

fn with_phone() -> Config {
    let mut config = config();
    let trunk = sip::Trunk::new("phone", address(PHONE));
    config.sip = Arc::new(sip::Config { trunks: vec![trunk], ..sip::Config::default() });
    let trunk =
        call::Trunk { name: "phone".to_owned(), codecs: call::codecs(&["pcmu"]), ..call::Trunk::default() };
    config.call = Arc::new(call::Config {
        trunks: vec![trunk],
        default_trunk: Some(TrunkId(0)),
        ..call::Config::default()
    });
    config.media = Arc::new(media::Config::default());
    config
}

impl World {
    fn new(dtls: Dtls) -> World {
        let now = clock();
        let mut core = core(&Arc::new(with_phone()), now, 0, 1);
        let flow = core.opened(now, address(PAGE)).unwrap();
        let page = Browser::new(now.instant, &mut Random::from_number(3), dtls, true, &[address(PAGE)]);
        let mut world = World {
            core,
            now,
            flow,
            page,
            texts: Vec::new(),
            sip: Vec::new(),
            media: Vec::new(),
            sockets: 100,
            ports: Vec::new(),
            spoke: false,
        };
        world.core.bytes(now, flow, UPGRADE);
        world.turn();
        world
    }

    /// Carries out all outputs, and lets shard and page talk until both are quiet.
    fn turn(&mut self) {
        loop {
            let quiet = self.outputs();
            let mut batch = Batch::default();
            while let Some(sent) = self.page.poll_send() {
                assert_eq!((sent.from, sent.to), (address(PAGE), address(GATEWAY)));
                batch.push(SocketId::new(ShardId(0), 0, 1), sent.from, &sent.data, false);
            }
            if let Some(keys) = self.page.keys().filter(|_| !self.spoke && !batch.is_empty()) {
                // Sound right behind the end of the handshake.
                self.spoke = true;
                let mut packet = Packet::default();
                packet.fill(&rtp(77, 0));
                Send::new(keys.profile, &keys.send, 4).protect(0, &mut packet).unwrap();
                batch.push(SocketId::new(ShardId(0), 0, 1), address(PAGE), packet.bytes(), false);
            }
            if quiet && batch.is_empty() {
                return;
            }
            self.core.receive(self.now, &mut batch);
        }
    }

    fn outputs(&mut self) -> bool {
        let mut quiet = true;
        while let Some(output) = self.core.poll_output() {
            quiet = false;
            match output {
                Output::Write { flow } => self.read_frames(flow),
                Output::Connect { flow, .. } => panic!("nobody is reached by {flow:?}"),
                Output::Bind { realm, port, .. } => {
                    self.sockets += 1;
                    let socket = SocketId::new(ShardId(0), 0, self.sockets);
                    self.ports.push((port, socket));
                    self.core.bound(self.now, realm, port, Some(socket));
                }
                Output::Send { socket, to, data } if to == address(PHONE) => {
                    assert_eq!(socket.slot(), 2);
                    self.sip.push(String::from_utf8(data).unwrap());
                }
                Output::Send { socket, to, data }
                    if to == address(PAGE) && !(128..192).contains(&data[0]) =>
                {
                    assert_eq!(socket.slot(), 1, "the page talks to the second web socket");
                    self.page.handle_datagram(self.now.instant, address(GATEWAY), to, &data);
                }
                Output::Send { socket, to, data } => self.media.push((socket, to, data)),
                Output::Unbind { .. }
                | Output::Close { .. }
                | Output::Record(_)
                | Output::Dns(_)
                | Output::Note(_) => {}
                Output::Mail { .. } => panic!("there is one shard"),
            }
        }
        self.core.check_invariants();
        quiet
    }

    fn read_frames(&mut self, flow: FlowId) {
        let mut bytes = Vec::new();
        while !self.core.unsent(flow).is_empty() {
            bytes.extend_from_slice(self.core.unsent(flow));
            let count = self.core.unsent(flow).len();
            self.core.sent(self.now, flow, count);
        }
        while bytes.first() == Some(&0x81) {
            let (start, length) = match bytes[1] {
                126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
                127 => panic!("no text is that long"),
                short => (2, usize::from(short)),
            };
            self.texts.push(serde_json::from_slice(&bytes[start..start + length]).unwrap());
            bytes.drain(..start + length);
        }
    }

    /// Time passes, deadline by deadline.
    fn pass(&mut self, by: Duration) {
        let end = self.now.after(by);
        loop {
            let shard = self.core.poll_timeout().map(|deadline| deadline.at);
            let next = [shard, self.page.poll_timeout()].into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at < end.instant) else { break };
            let step = at.saturating_duration_since(self.now.instant).max(Duration::from_micros(10));
            self.now = self.now.after(step);
            self.core.handle_timeout(self.now);
            self.page.handle_timeout(self.now.instant);
            self.turn();
        }
        self.now = end;
    }

    fn say(&mut self, text: &serde_json::Value) {
        let text = text.to_string();
        let length = (text.len() as u16).to_be_bytes();
        let head = [0x81, 0xfe, length[0], length[1], 0, 0, 0, 0];
        self.core.bytes(self.now, self.flow, &[&head, text.as_bytes()].concat());
        self.turn();
    }

    fn heard(&self, kind: &str) -> Option<&serde_json::Value> {
        self.texts.iter().find(|text| text["type"] == kind)
    }

    fn phone_says(&mut self, text: &str) {
        self.core.message(self.now, SocketId::new(ShardId(0), 0, 2), address(PHONE), text.as_bytes());
        self.turn();
    }

    fn phone_heard(&self, start: &str) -> String {
        let found = self.sip.iter().rev().find(|text| text.starts_with(start));
        found.unwrap_or_else(|| panic!("no {start} in {:#?}", self.sip)).clone()
    }

    fn offer(&mut self) -> String {
        let remote = self.page.remote();
        let (hash, digest) = &remote.fingerprints[0];
        let digest: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
             a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{hash} {}\r\na=setup:actpass\r\na=mid:0\r\n\
             a=sendrecv\r\na=rtcp-mux\r\na=rtpmap:0 PCMU/8000\r\na=ssrc:77 cname:page\r\na=candidate:{}\r\n",
            remote.ufrag,
            remote.pwd,
            digest.join(":"),
            remote.candidates[0],
        )
    }

    /// Takes the gateway's answer as a page would; of its candidates only one is reachable.
    fn describe(&mut self, sdp: &str) {
        let value = |name: &str| sdp.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let digest = value("a=fingerprint:sha-256 ");
        let mut fingerprint = [0; 32];
        for (to, from) in fingerprint.iter_mut().zip(digest.split(':')) {
            *to = u8::from_str_radix(from, 16).unwrap();
        }
        assert!(sdp.contains("198.51.100.1 10000 typ host"), "{sdp}");
        let local = Local {
            ufrag: value("a=ice-ufrag:"),
            pwd: value("a=ice-pwd:"),
            fingerprint,
            candidates: vec![address(GATEWAY)],
        };
        self.page.describe(self.now.instant, &local);
        self.turn();
    }

    /// One datagram through the shard; what it sent in the same slot.
    fn forward(
        &mut self,
        socket: SocketId,
        from: SocketAddr,
        bytes: &[u8],
    ) -> (SocketId, SocketAddr, Vec<u8>) {
        let mut batch = Batch::default();
        batch.push(socket, from, bytes, false);
        self.core.receive(self.now, &mut batch);
        let sent = batch.sends().next().map(|slot| (slot.socket, slot.remote, slot.packet.bytes().to_vec()));
        self.turn();
        sent.expect("the packet is forwarded")
    }
}

fn header(message: &str, name: &str) -> String {
    let line = message.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
    line.and_then(|line| line.split_once(':')).unwrap().1.trim().to_owned()
}

fn respond(request: &str, status: &str, body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let to = header(request, "to");
    let tag = if to.contains(";tag=") { "" } else { ";tag=phone" };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:bob@{PHONE}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        header(request, "via"),
        header(request, "from"),
        header(request, "call-id"),
        header(request, "cseq"),
        body.len(),
    )
}

fn rtp(ssrc: u32, number: u16) -> Vec<u8> {
    let mut bytes = vec![0x55; 172];
    bytes[..4].copy_from_slice(&[0x80, 0, 0, number as u8]);
    bytes[4..8].copy_from_slice(&(u32::from(number) * 160).to_be_bytes());
    bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
    bytes
}

fn connected(dtls: Dtls) -> World {
    let mut world = World::new(dtls);
    world.say(&serde_json::json!({
        "type": "connect", "id": 1, "version": 1, "user": "user0", "password": "secret",
    }));
    let offer = world.offer();
    world.say(&serde_json::json!({ "type": "dial", "id": 2, "call": "c1", "to": "bob", "sdp": offer }));
    let invite = world.phone_heard("INVITE");
    // Media comes up while it rings.
    let answer = world.heard("media").unwrap_or_else(|| panic!("{:?}", world.texts))["sdp"].clone();
    world.describe(answer.as_str().unwrap());
    world.phone_says(&respond(&invite, "180 Ringing", ""));
    world.pass(Duration::from_secs(1));
    assert!(world.heard("ringing").is_some());
    assert!(world.page.keys().is_some(), "the handshake is done");
    let early = world.core.plane().counters().dropped_no_keys;
    assert_eq!((world.spoke, early), (true, 0), "what came with the last of it is heard");
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 203.0.113.9\r\ns=-\r\nc=IN IP4 203.0.113.9\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n",
        address(PHONE_MEDIA).port()
    );
    world.phone_says(&respond(&invite, "200 OK", &body));
    assert!(world.heard("answered").is_some());
    world.phone_heard("ACK");
    world
}

#[test]
fn a_browser_calls_a_phone_and_both_are_heard() {
    for dtls in [Dtls::V12, Dtls::V13] {
        let mut world = connected(dtls);
        let keys = world.page.keys().unwrap();
        let mut send = Send::new(keys.profile, &keys.send, 4);
        let mut receive = Receive::new(keys.profile, &keys.receive, 4);
        let mut packet = Packet::default();
        packet.fill(&rtp(77, 1));
        send.protect(1, &mut packet).unwrap();
        let web = SocketId::new(ShardId(0), 0, 1);
        let (leg, to, bytes) = world.forward(web, address(PAGE), packet.bytes());
        assert_eq!((to, &bytes[12..]), (address(PHONE_MEDIA), &[0x55; 160][..]));
        // The INVITE named the port that the packet left by.
        let port = world.ports.iter().find(|(_, socket)| *socket == leg).unwrap().0;
        assert!(world.phone_heard("INVITE").contains(&format!("m=audio {port} ")));

        let (socket, to, bytes) = world.forward(leg, address(PHONE_MEDIA), &rtp(5, 1));
        assert_eq!((socket, to), (web, address(PAGE)), "by the web socket that the page uses");
        packet.fill(&bytes);
        receive.unprotect(&mut packet).unwrap();
        assert_eq!(packet.bytes()[12..], [0x55; 160]);

        world.say(&serde_json::json!({ "type": "hangup", "id": 3, "call": "c1" }));
        let bye = world.phone_heard("BYE");
        world.phone_says(&respond(&bye, "200 OK", ""));
        assert_eq!(world.core.calls(), 0);
    }
}

#[test]
fn a_trunk_without_a_route_is_unreachable_at_once() {
    let mut world = World::new(Dtls::V12);
    world.say(&serde_json::json!({
        "type": "connect", "id": 1, "version": 1, "user": "user0", "password": "secret",
    }));
    let offer = world.offer();
    world.say(&serde_json::json!({ "type": "dial", "id": 2, "call": "c1", "to": "bob", "sdp": offer }));
    world.phone_heard("INVITE");
    world.core.unsendable(world.now, SocketId::new(ShardId(0), 0, 2), address(PHONE));
    world.turn();
    assert_eq!(world.heard("ended").unwrap()["reason"], "unreachable");
}

#[test]
fn a_browser_that_is_gone_ends_its_call_within_its_grace() {
    let mut world = connected(Dtls::V12);
    world.core.closed(world.now, world.flow);
    world.page =
        Browser::new(world.now.instant, &mut Random::from_number(9), Dtls::V12, true, &[address(PAGE)]);
    world.pass(Duration::from_mins(1));
    world.phone_heard("BYE");
    assert_eq!(world.core.calls(), 0);
}

#[test]
fn draining_refuses_new_calls_and_ends_the_running_ones_at_the_deadline() {
    let mut world = connected(Dtls::V12);
    world.core.drain(world.now);
    world.turn();
    assert_eq!(world.core.calls(), 1);
    world.say(&serde_json::json!({ "type": "dial", "id": 9, "call": "c2", "to": "bob", "sdp": "v=0\r\n" }));
    let refused = world.texts.iter().find(|text| text["id"] == 9).unwrap();
    assert_eq!(refused["type"], "error");
    world.pass(call::Config::default().drain + Duration::from_secs(1));
    let bye = world.phone_heard("BYE");
    world.phone_says(&respond(&bye, "200 OK", ""));
    assert_eq!(world.core.calls(), 0);
}
