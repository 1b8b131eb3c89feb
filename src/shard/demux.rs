//! Who hears a datagram: by the socket that it came by, and on a web socket by its first byte (RFC 7983).

use super::core::{Core, Output};
use super::mail::Mail;
use super::trace::Way;
use crate::base::{Machine, Now, SocketId};
use crate::media::{Ear, Step, Verdict};
use crate::net::{self, Batch, Slot};
use crate::{sip, webrtc};
use std::net::SocketAddr;

/// Far addresses whose web socket is remembered, on a shard that has several.
const PATHS: usize = 1 << 16;

impl Core {
    /// Handles datagrams where they lie. Slots that are to be sent afterwards are marked `send`. True where all that
    /// came was media, and no machine but the plane has heard of it.
    pub fn receive(&mut self, now: Now, batch: &mut Batch) -> bool {
        self.locate(batch);
        let slots = batch.slots();
        let mut edition = self.plane.edition();
        // Each step for all of them, so that one waits for the memory of the others.
        for step in [Step::Hearer, Step::Cipher] {
            for slot in &mut *slots {
                self.plane.fetch(Ear::from_bits(slot.note), step, net::fetch);
            }
        }
        let mut media = true;
        for n in 0..slots.len() {
            slots[n].send = false;
            if self.plane.edition() != edition {
                // What came before it in this batch may have changed who hears it.
                edition = self.plane.edition();
                slots[n..].iter_mut().for_each(|slot| slot.note = self.ear(slot).to_bits());
            }
            media &= self.datagram(now, &mut slots[n]);
        }
        if !media || self.plane.has_output() || !self.is_settled() {
            self.settle(now);
            return false;
        }
        true
    }

    /// Finds who hears the datagrams that are not noted yet, and has what they need first fetched. [`Core::receive`] does
    /// so itself; who has more to receive before gains the time of that.
    pub(super) fn locate(&mut self, batch: &mut Batch) {
        let edition = self.plane.edition();
        let known = std::mem::replace(&mut self.located, edition) == edition;
        for slot in batch.slots().iter_mut().filter(|slot| slot.note == 0 || !known) {
            slot.note = self.ear(slot).to_bits();
            self.plane.fetch(Ear::from_bits(slot.note), Step::Speaker, net::fetch);
        }
    }

    /// A datagram will be received by this socket: has what it needs first fetched, if that is known by the socket.
    #[inline]
    pub(super) fn expect(&self, socket: SocketId) {
        self.plane.fetch(self.plane.socket_ear(socket), Step::Speaker, net::fetch);
    }

    /// The same a little later, for what it needs then.
    #[inline]
    pub(super) fn expect_more(&self, socket: SocketId) {
        self.plane.fetch(self.plane.socket_ear(socket), Step::Hearer, net::fetch);
    }

    /// Who hears a datagram, if it is media.
    #[inline]
    fn ear(&self, slot: &Slot) -> Ear {
        if self.places.web.iter().any(|place| place.socket == slot.socket) {
            match slot.packet.bytes().first() {
                Some(128..=191) => self.plane.web_ear(slot.remote),
                _ => Ear::NONE,
            }
        } else {
            self.plane.rtp_ear(slot.socket, slot.remote)
        }
    }

    /// False where it was no media.
    #[inline]
    fn datagram(&mut self, now: Now, slot: &mut Slot) -> bool {
        let mut media = true;
        let verdict = if let Some(place) = self.places.web.iter().find(|p| p.socket == slot.socket) {
            let local = place.local;
            match slot.packet.bytes().first() {
                Some(128..=191) => self.plane.hear_web(now, Ear::from_bits(slot.note), &mut slot.packet),
                // STUN and DTLS. The room has its own budget for handshakes in a pass.
                Some(&first @ (0..=3 | 20..=63)) => {
                    media = false;
                    let data = slot.packet.bytes();
                    self.peers.handle_input(now, webrtc::Input::Datagram { from: slot.remote, local, data });
                    if first > 3 {
                        // Keys that it brings are for what lies behind it in this batch, too.
                        self.settle(now);
                    }
                    Verdict::Taken
                }
                _ => {
                    self.counters.stray += 1;
                    Verdict::Drop
                }
            }
        } else if self.places.sip.iter().any(|place| place.socket == slot.socket) {
            media = false;
            self.on_sip(now, slot.socket, slot.remote, slot.packet.bytes());
            Verdict::Taken
        } else {
            self.plane.hear_rtp(now, Ear::from_bits(slot.note), slot.remote, &mut slot.packet)
        };
        if let Verdict::Send { socket, to } = verdict {
            (slot.socket, slot.remote, slot.send) = (self.web_socket(socket, to), to, true);
        }
        media
    }

    /// The socket to send by: where it is a web socket and there are several, the one that `to` is reached by.
    #[inline]
    pub(super) fn web_socket(&self, socket: SocketId, to: SocketAddr) -> SocketId {
        match &self.places.web[..] {
            [] | [_] => socket,
            places if places.iter().all(|place| place.socket != socket) => socket,
            _ => self.paths.get(&to).copied().unwrap_or(socket),
        }
    }

    /// Remembers by which web socket an address is reached. Only called for what `webrtc` sends, which is for
    /// authenticated addresses alone.
    pub(super) fn learn_path(&mut self, to: SocketAddr, socket: SocketId) {
        if self.places.web.len() < 2 {
            return;
        }
        // All paths are checked every few seconds, so that what is forgotten is soon known again.
        if self.paths.len() >= PATHS && !self.paths.contains_key(&to) {
            self.paths.clear();
        }
        self.paths.insert(to, socket);
    }

    /// Handles a SIP message of any length.
    pub fn message(&mut self, now: Now, socket: SocketId, remote: SocketAddr, data: &[u8]) {
        self.on_sip(now, socket, remote, data);
        self.settle(now);
    }

    /// What [`Output::Send`] asked for can't be sent: there is no way to the far side.
    pub fn unsendable(&mut self, now: Now, socket: SocketId, to: SocketAddr) {
        if let Some(flow) = self.flow(socket, to) {
            self.stack.handle_input(now, sip::Input::Failed { flow });
            self.settle(now);
        }
    }

    /// A datagram of ours came back, as much of it as was quoted: nobody is at `to`. The kernel tells any shard.
    pub fn refused(&mut self, now: Now, socket: SocketId, to: SocketAddr, quoted: &[u8]) {
        if self.flow(socket, to).is_none() {
            return;
        }
        match sip::home_of_quoted(quoted, self.shards) {
            Some(home) if home == self.shard => {
                self.stack.handle_input(now, sip::Input::Refused { quoted });
                self.settle(now);
            }
            Some(home) => {
                let mail = Mail::Refused { quoted: quoted.to_vec() };
                self.outputs.push_back(Output::Mail { to: home, mail });
            }
            None => {}
        }
    }

    fn flow(&self, socket: SocketId, remote: SocketAddr) -> Option<sip::Flow> {
        let mut places = self.places.sip.iter().zip(&self.sip_flows);
        let (place, &id) = places.find(|(place, _)| place.socket == socket)?;
        Some(sip::Flow { id, transport: sip::Transport::Udp, remote, realm: place.realm })
    }

    fn on_sip(&mut self, now: Now, socket: SocketId, remote: SocketAddr, data: &[u8]) {
        let Some(flow) = self.flow(socket, remote) else {
            self.counters.stray += 1;
            return;
        };
        if self.stack.is_banned(now, remote.ip()) {
            return;
        }
        if sip::is_stun(data) {
            let answer = sip::answer_stun(data, remote);
            *(if answer.is_some() { &mut self.counters.stun } else { &mut self.counters.stray }) += 1;
            self.outputs.extend(answer.map(|data| Output::Send { socket, to: remote, data }));
            return;
        }
        let guest = Some(&flow).filter(|flow| self.shards > 1 && self.stack.is_guest(flow));
        let home = if self.shards > 1 { sip::home(data, self.shards, guest) } else { self.shard };
        if home == self.shard {
            self.traces.sip(now, Way::In, remote, data);
            self.stack.handle_input(now, sip::Input::Message { flow, data });
        } else {
            self.counters.steered_sip += 1;
            let mail = Mail::Sip { flow, data: data.to_vec() };
            self.outputs.push_back(Output::Mail { to: home, mail });
        }
    }
}
