//! The loop's connections: accepted, read and written, each in its turn.

use super::clock::instant;
use super::open::Speech;
use super::run::Loop;
use crate::base::{FlowId, Key, Now};
use crate::leg::TrunkId;
use crate::net::{self, ConnectOptions, Stream};
use crate::sip::{Flow, Transport};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Connections accepted in one pass.
const ACCEPTS: usize = 64;
/// Connections read and written in one pass.
const STREAMS: usize = 128;
/// Reads and writes of one connection in its turn.
const STREAM_TURNS: usize = 4;
/// TLS handshakes carried on in one pass, at up to a millisecond each (an RSA key's signature).
const HANDSHAKES: usize = 4;
/// Bytes read from connections in one pass: the shortest messages, and there are a thousand in so many bytes, take
/// some 3 ms.
const STREAM_BYTES: usize = 32 * 1024;
/// After so long in one pass the rest of the connections wait for the next, whatever took the time.
const STREAM_TIME: Duration = Duration::from_millis(3);
/// How long a listener rests when connections can't be accepted (no file descriptors, mostly).
const REST: Duration = Duration::from_millis(100);

impl Loop {
    /// Accepts connections; false where none may wait.
    pub(super) fn accept(&mut self, now: Now) -> bool {
        let mut any = false;
        for door in 0..self.doors.len() {
            any |= self.accept_at(now, door);
        }
        any
    }

    fn accept_at(&mut self, now: Now, door: usize) -> bool {
        let Some(speech) = self.doors.get(door).map(|door| door.speech) else { return false };
        for turn in 0..ACCEPTS {
            let Some(door) = self.doors.get_mut(door) else { return false };
            if door.accept_at.is_none_or(|at| at > now.instant) {
                return turn > 0;
            }
            match door.listener.accept() {
                Ok(Some((stream, remote))) => self.open_stream(now, speech, stream, remote),
                Ok(None) => door.accept_at = None,
                Err(_) => {
                    // The connection still waits and raises no new edge: try again, but don't spin.
                    self.counters.accept_failed += 1;
                    door.accept_at = Some(now.instant + REST);
                }
            }
        }
        true
    }

    fn open_stream(&mut self, now: Now, speech: Speech, mut stream: Stream, remote: SocketAddr) {
        self.counters.accepted += 1;
        let certificate = match speech {
            Speech::Web => self.certificate.as_ref(),
            Speech::Sip(_, Transport::Tls) => match &self.sip_tls.certificate {
                Some(certificate) => Some(certificate),
                None => return,
            },
            Speech::Sip(..) => None,
        };
        if let Some(certificate) = certificate
            && (self.shaking.len() >= self.config.caps.handshakes || !stream.secure(certificate))
        {
            self.counters.handshakes_full += 1;
            return;
        }
        let opened = match speech {
            Speech::Web => self.core.opened(now, remote),
            Speech::Sip(realm, transport) => self.core.sip_opened(now, realm, transport, remote),
        };
        if let Some(flow) = opened {
            self.seat_stream(now, flow, stream);
        }
    }

    /// Makes a connection that the core asked for.
    pub(super) fn connect(&mut self, now: Now, flow: Flow, name: Option<&str>, trunk: Option<TrunkId>) {
        let realm = self.config.realms.get(usize::from(flow.realm.0));
        let options = realm.map(|realm| ConnectOptions {
            remote: flow.remote,
            local: realm.sip.ip(),
            device: realm.device.clone(),
            dscp: realm.sip_dscp,
        });
        let stream = options.and_then(|options| Stream::connect(&options).ok());
        let secured = stream.and_then(|mut stream| {
            if flow.transport == Transport::Tls {
                let trust = self.sip_tls.trust(trunk)?;
                let address = flow.remote.ip().to_string();
                stream.secure_towards(trust, name.unwrap_or(&address)).then_some(stream)
            } else {
                Some(stream)
            }
        });
        if let Some(stream) = secured {
            self.seat_stream(now, flow.id, stream);
        } else {
            self.counters.connect_failed += 1;
            self.core.closed(now, flow.id);
        }
    }

    fn seat_stream(&mut self, now: Now, flow: FlowId, stream: Stream) {
        if self.poll.add_stream(flow, &stream).is_err() {
            self.counters.streams_failed += 1;
            self.core.closed(now, flow);
            return;
        }
        let slot = flow.slot() as usize;
        if slot >= self.streams.len() {
            self.streams.resize_with(slot + 1, || None);
        }
        if stream.is_handshaking() {
            self.shaking.insert(flow);
            self.handshakes.push_back((now.instant + self.config.caps.handshake_time, flow));
        }
        self.streams[slot] = Some((flow, stream));
        self.ready_streams.push(flow);
    }

    /// Tells the core of a connection that it asked for, once it is up.
    fn note_risen(&mut self, now: Now, flow: FlowId) {
        if Self::stream(&mut self.streams, flow).is_some_and(Stream::has_risen) {
            self.core.connected(now, flow);
        }
    }

    /// Reads and writes connections; false where none is ready.
    pub(super) fn streams(&mut self, now: Now) -> bool {
        if self.ready_streams.len() == 0 {
            return false;
        }
        let mut handshakes = HANDSHAKES;
        let (mut budget, begin) = (STREAM_BYTES, instant());
        for _ in 0..STREAMS.min(self.ready_streams.len()) {
            let late = instant().saturating_duration_since(begin) >= STREAM_TIME;
            // What the machines have not yet passed on waits in memory: nothing is added to it.
            if budget == 0 || late || !self.core.is_settled() {
                break;
            }
            let Some(flow) = self.ready_streams.pop() else { break };
            let shaking = Self::stream(&mut self.streams, flow).is_some_and(|stream| stream.is_handshaking());
            if shaking && handshakes == 0 {
                self.ready_streams.push(flow);
                continue;
            }
            handshakes -= usize::from(shaking);
            self.write_stream(now, flow);
            self.read_stream(now, flow, &mut budget);
            let up = |stream: &mut Stream| !stream.is_handshaking();
            // One that failed with the end of its handshake is not counted any more.
            if Self::stream(&mut self.streams, flow).is_some_and(up) && self.shaking.remove(&flow) {
                self.counters.handshakes += 1;
                self.note_risen(now, flow);
            }
        }
        self.expire_handshakes(now);
        true
    }

    /// When the oldest handshake has had its time.
    pub(super) fn handshake_timeout(&self) -> Option<Instant> {
        self.handshakes.front().map(|(at, _)| *at)
    }

    /// Closes connections whose TLS took too long to come up.
    pub(super) fn expire_handshakes(&mut self, now: Now) {
        while let Some(&(at, flow)) = self.handshakes.front() {
            let shaking = Self::stream(&mut self.streams, flow).is_some_and(|stream| stream.is_handshaking());
            if shaking && at > now.instant {
                return;
            }
            self.handshakes.pop_front();
            if shaking {
                self.counters.handshakes_late += 1;
                self.close_stream(flow);
                self.core.closed(now, flow);
            }
        }
    }

    pub(super) fn stream(streams: &mut [Option<(FlowId, Stream)>], flow: FlowId) -> Option<&mut Stream> {
        match streams.get_mut(flow.slot() as usize) {
            Some(Some((id, stream))) if *id == flow => Some(stream),
            _ => None,
        }
    }

    fn read_stream(&mut self, now: Now, flow: FlowId, budget: &mut usize) {
        for _ in 0..STREAM_TURNS {
            if *budget == 0 || !self.core.is_settled() {
                break;
            }
            let Some(stream) = Self::stream(&mut self.streams, flow) else { return };
            let area = &mut self.buffer[..net::READ_SIZE.min(*budget)];
            match stream.read(area) {
                Ok(None) if stream.is_unread() => break,
                Ok(None) => return,
                Ok(Some(0)) => return self.core.ended(now, flow),
                Ok(Some(count)) => {
                    *budget -= count;
                    // Bytes may come with the end of the handshake.
                    if stream.has_risen() {
                        self.core.connected(now, flow);
                    }
                    self.core.bytes(now, flow, &area[..count]);
                }
                Err(_) => return self.fail_stream(now, flow),
            }
        }
        self.ready_streams.push(flow);
    }

    pub(super) fn write_stream(&mut self, now: Now, flow: FlowId) {
        if Self::stream(&mut self.streams, flow).is_some_and(|stream| stream.flush().is_err()) {
            return self.fail_stream(now, flow);
        }
        self.note_risen(now, flow);
        for _ in 0..STREAM_TURNS {
            let Some(stream) = Self::stream(&mut self.streams, flow) else { return };
            let bytes = self.core.unsent(flow);
            if bytes.is_empty() {
                return;
            }
            match stream.write(bytes) {
                Ok(None) => return,
                Ok(Some(count)) => self.core.sent(now, flow, count),
                Err(_) => return self.fail_stream(now, flow),
            }
        }
        self.ready_streams.push(flow);
    }

    pub(super) fn fail_stream(&mut self, now: Now, flow: FlowId) {
        self.counters.streams_failed += 1;
        self.close_stream(flow);
        self.core.closed(now, flow);
    }

    pub(super) fn close_stream(&mut self, flow: FlowId) {
        if let Some(stream) = Self::stream(&mut self.streams, flow) {
            self.shaking.remove(&flow);
            stream.shut();
            self.streams[flow.slot() as usize] = None;
        }
    }
}
