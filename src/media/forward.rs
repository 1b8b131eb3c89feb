//! The way of a packet: from one party's socket to the other's, in the buffer that it came in.
//!
//! Nothing here allocates, locks or reads a clock. A web packet costs one look-up, of its source address; an RTP packet
//! none. SRTP is taken off even where the packet goes nowhere (a hold, nobody joined): the receiving rollover counter
//! follows the party at all times.

use super::config::Counters;
use super::digits::{Pressed, QUIET, Way};
use super::ear::Ear;
use super::formats::Payload;
use super::latch::Source;
use super::leg::{Inbound, Outbound};
use super::plane::{Plane, Timer, Use};
use super::segments::{Clocks, Conversion};
use super::srtp::Refused;
use super::timeline::Lost;
use super::{Event, Kind, Output, Verdict};
use crate::base::{LegId, Now, Packet, SocketId};
use crate::rtp::redundancy::Broken;
use crate::rtp::{Class, FIXED, Header, TelephoneEvent, classify, set_timestamp};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

/// The counter of a drop.
pub(super) type Why = fn(&mut Counters) -> &mut u64;

macro_rules! why {
    ($name:ident) => {
        (|counters: &mut Counters| &mut counters.$name) as Why
    };
}

pub(super) fn refused(why: Refused) -> Why {
    match why {
        Refused::Malformed => why!(dropped_malformed),
        Refused::Repeated => why!(dropped_repeated),
        Refused::Old => why!(dropped_old),
        Refused::Forged => why!(dropped_forged),
        Refused::Full => why!(dropped_sources),
        Refused::Clear | Refused::Exhausted | Refused::Long => why!(dropped_refused),
    }
}

fn lost(lost: Lost) -> Why {
    match lost {
        Lost::Repeated => why!(dropped_repeated),
        Lost::Old => why!(dropped_old),
        Lost::Leap => why!(dropped_leap),
    }
}

/// What an outgoing packet carried, for the counters.
struct Sent {
    socket: SocketId,
    to: SocketAddr,
    octets: usize,
    splice: bool,
}

impl Plane {
    /// Takes a datagram from the web socket: SRTP or SRTCP from an address that a leg's transport has verified.
    #[inline]
    pub fn handle_web(&mut self, now: Now, from: SocketAddr, packet: &mut Packet) -> Verdict {
        self.hear_web(now, self.web_ear(from), packet)
    }

    /// The same, where the ear is known ([`Plane::web_ear`]).
    #[inline]
    pub fn hear_web(&mut self, now: Now, ear: Ear, packet: &mut Packet) -> Verdict {
        let Use::Rtp(slot) = ear.what() else { return self.drop(why!(dropped_unverified)) };
        match classify(packet.bytes()) {
            Class::Rtp => {
                let sent = self.relay_web(now, slot, packet);
                self.conclude(sent)
            }
            Class::Rtcp => {
                let taken = self.take_web_rtcp(now, slot, packet);
                self.conclude_rtcp(taken)
            }
            _ => self.drop(why!(dropped_class)),
        }
    }

    /// Takes a datagram from one of the sockets that [`super::Output::Bind`] asked for.
    #[inline]
    pub fn handle_rtp(
        &mut self,
        now: Now,
        socket: SocketId,
        from: SocketAddr,
        packet: &mut Packet,
    ) -> Verdict {
        self.hear_rtp(now, self.rtp_ear(socket, from), from, packet)
    }

    /// The same, where the ear is known ([`Plane::rtp_ear`]).
    #[inline]
    pub fn hear_rtp(&mut self, now: Now, ear: Ear, from: SocketAddr, packet: &mut Packet) -> Verdict {
        match (ear.what(), classify(packet.bytes())) {
            (Use::Rtp(slot), Class::Rtp) => {
                let sent = self.relay_rtp(now, slot, from, packet);
                self.conclude(sent)
            }
            (Use::Raw(slot), _) => {
                let sent = self.relay_raw(now, slot, from, packet);
                self.conclude(sent)
            }
            (Use::Rtp(slot), Class::Rtcp) => {
                let taken = self.take_muxed_rtcp(now, slot, from, packet);
                self.conclude_rtcp(taken)
            }
            (Use::Rtcp(slot), Class::Rtcp) => {
                let taken = self.take_rtcp(now, slot, from, packet);
                self.conclude_rtcp(taken)
            }
            (Use::Shared, _) => self.drop(why!(dropped_source)),
            (Use::None | Use::Stock, _) => self.drop(why!(dropped_stale)),
            _ => self.drop(why!(dropped_class)),
        }
    }

    #[cold]
    fn drop(&mut self, why: Why) -> Verdict {
        *why(&mut self.counters) += 1;
        Verdict::Drop
    }

    #[inline]
    fn conclude(&mut self, sent: Result<Sent, Why>) -> Verdict {
        match sent {
            Ok(sent) => {
                self.counters.forwarded += 1;
                self.counters.octets += sent.octets as u64;
                self.counters.splices += u64::from(sent.splice);
                Verdict::Send { socket: sent.socket, to: sent.to }
            }
            Err(why) => self.drop(why),
        }
    }

    fn conclude_rtcp(&mut self, taken: Result<(), Why>) -> Verdict {
        match taken {
            Ok(()) => {
                self.counters.rtcp_received += 1;
                Verdict::Taken
            }
            Err(why) => self.drop(why),
        }
    }

    #[inline]
    fn relay_web(&mut self, now: Now, slot: usize, packet: &mut Packet) -> Result<Sent, Why> {
        let leg = self.legs[slot].as_deref_mut().ok_or(why!(dropped_stale))?;
        let srtp = leg.inbound.srtp.as_deref_mut().ok_or(why!(dropped_no_keys))?;
        let header = srtp.unprotect(packet).map_err(refused)?;
        self.relay(now, slot, &header, packet)
    }

    #[inline]
    fn relay_rtp(
        &mut self,
        now: Now,
        slot: usize,
        from: SocketAddr,
        packet: &mut Packet,
    ) -> Result<Sent, Why> {
        let (policy, web) = (self.config.latch, self.web);
        let leg = self.legs[slot].as_deref_mut().ok_or(why!(dropped_stale))?;
        let header = Header::parse(packet.bytes()).ok_or(why!(dropped_malformed))?;
        match leg.inbound.latch.hear(now.instant, policy, from) {
            Source::Known => {}
            Source::Learned => {
                leg.aim(web);
                self.counters.latched += 1;
            }
            Source::Stranger => return Err(why!(dropped_source)),
            Source::Early => return Err(why!(dropped_early)),
        }
        self.relay(now, slot, &header, packet)
    }

    /// What is no RTP, to a partner that takes it as it is.
    #[inline(never)]
    fn relay_raw(&mut self, now: Now, slot: usize, from: SocketAddr, packet: &Packet) -> Result<Sent, Why> {
        let (policy, web) = (self.config.latch, self.web);
        let leg = self.legs[slot].as_deref_mut().ok_or(why!(dropped_stale))?;
        match leg.inbound.latch.hear(now.instant, policy, from) {
            Source::Known => {}
            Source::Learned => {
                leg.aim(web);
                self.counters.latched += 1;
            }
            Source::Stranger => return Err(why!(dropped_source)),
            Source::Early => return Err(why!(dropped_early)),
        }
        let octets = packet.bytes().len();
        leg.inbound.last_heard = Some(now.instant);
        leg.inbound.packets += 1;
        leg.inbound.octets += octets as u64;
        let partner = leg.inbound.partner;
        let to = partner.and_then(|partner| self.legs.get_mut(partner)?.as_deref_mut());
        let to = to.filter(|to| to.is_raw()).ok_or(why!(dropped_unjoined))?;
        let (socket, address) = to.outbound.to.ok_or(why!(dropped_no_path))?;
        to.outbound.packets += 1;
        to.outbound.octets += octets as u64;
        Ok(Sent { socket, to: address, octets, splice: false })
    }

    /// From the leg in this slot, in the clear, to its partner.
    #[inline]
    fn relay(&mut self, now: Now, slot: usize, header: &Header, packet: &mut Packet) -> Result<Sent, Why> {
        let arrived = self.arrived(now);
        let leg = self.legs[slot].as_deref_mut().ok_or(why!(dropped_stale))?;
        let range = header.payload(packet.bytes()).ok_or(why!(dropped_malformed))?;
        leg.inbound.last_heard = Some(now.instant);
        let payload = leg.inbound.payload(header.payload_type);
        let partner = leg.inbound.partner;
        let heard = leg.inbound.hear(arrived, header, payload, range.len());
        let to = partner.and_then(|partner| self.legs.get_mut(partner)?.as_deref_mut());
        if let Err(why) = heard {
            // Silence for the receiver: its timeline goes on from wherever the source will be.
            if let Some(to) = to {
                to.outbound.timeline.cut();
            }
            return Err(why);
        }
        let payload = payload.ok_or(why!(dropped_payload_type))?;
        if payload.beat.event {
            self.on_event(now, slot, header, packet.bytes().get(range.clone()), payload);
        }
        if payload.redundant && payload.send.is_some() {
            self.renumber(slot, range.clone(), payload.beat.clock, packet)?;
        }
        let to = partner.and_then(|partner| self.legs.get_mut(partner)?.as_deref_mut());
        let to = to.ok_or(why!(dropped_unjoined))?;
        to.outbound.send(now, header, range, payload, packet)
    }

    /// Redundant audio: what is inside has the numbers of this leg, too.
    #[inline(never)]
    fn renumber(&self, slot: usize, range: Range<usize>, clock: u32, packet: &mut Packet) -> Result<(), Why> {
        let leg = self.legs[slot].as_deref().ok_or(why!(dropped_stale))?;
        let payload = packet.bytes_mut().get_mut(range).ok_or(why!(dropped_malformed))?;
        leg.inbound.formats.renumber(clock, payload).map_err(|broken| match broken {
            Broken::Malformed => why!(dropped_malformed),
            Broken::Unknown => why!(dropped_codec),
        })
    }

    /// Tells a key when it is released.
    #[cold]
    fn on_event(&mut self, now: Now, slot: usize, header: &Header, bytes: Option<&[u8]>, payload: Payload) {
        let Some(leg) = self.legs.get_mut(slot).and_then(Option::as_deref_mut) else { return };
        let Some(report) = bytes.and_then(TelephoneEvent::parse) else { return };
        let way = Way { clock: payload.units, forwarded: payload.send.is_some() };
        let heard = leg.inbound.digits.hear(now.instant, header, report, way);
        self.counters.digits_refused += u64::from(heard.too_fast);
        let id = leg.id;
        if heard.begun && leg.inbound.key_timer.is_none() {
            leg.inbound.key_timer = Some(self.timers.insert(now.instant + QUIET, Timer::Key(id)));
        }
        for key in heard.keys.into_iter().flatten() {
            self.tell_key(id, key);
        }
    }

    fn tell_key(&mut self, leg: LegId, key: Pressed) {
        self.counters.digits += 1;
        let Pressed { digit, duration, forwarded } = key;
        self.outputs.push_back(Output::Event(Event::Digit { leg, digit, duration, forwarded }));
    }

    /// A key of which nothing more comes has been released.
    pub(super) fn on_key_timer(&mut self, now: Now, id: LegId) {
        let Some(leg) = self.leg_mut(id) else { return };
        leg.inbound.key_timer = None;
        let key = leg.inbound.digits.overdue(now.instant);
        if let Some(at) = leg.inbound.digits.quiet_at() {
            let timer = self.timers.insert(at, Timer::Key(id));
            if let Some(leg) = self.leg_mut(id) {
                leg.inbound.key_timer = Some(timer);
            }
        }
        if let Some(key) = key {
            self.tell_key(id, key);
        }
    }

    fn take_web_rtcp(&mut self, now: Now, slot: usize, packet: &mut Packet) -> Result<(), Why> {
        let leg = self.legs[slot].as_deref_mut().ok_or(why!(dropped_stale))?;
        let srtp = leg.inbound.srtp.as_deref_mut().ok_or(why!(dropped_no_keys))?;
        srtp.unprotect_rtcp(packet).map_err(refused)?;
        leg.inbound.last_heard = Some(now.instant);
        self.on_rtcp(now, slot, packet.bytes()).ok_or(why!(dropped_malformed))
    }

    fn take_muxed_rtcp(
        &mut self,
        now: Now,
        slot: usize,
        from: SocketAddr,
        packet: &Packet,
    ) -> Result<(), Why> {
        let leg = self.legs[slot].as_deref_mut().ok_or(why!(dropped_stale))?;
        if !leg.muxed() {
            return Err(why!(dropped_class));
        }
        // RTP alone teaches the address: what never sends it is not sent to elsewhere.
        if leg.inbound.latch.target() != Some(from) {
            return Err(why!(dropped_source));
        }
        leg.inbound.last_heard = Some(now.instant);
        self.on_rtcp(now, slot, packet.bytes()).ok_or(why!(dropped_malformed))
    }

    fn take_rtcp(&mut self, now: Now, slot: usize, from: SocketAddr, packet: &Packet) -> Result<(), Why> {
        let policy = self.config.latch;
        let leg = self.legs[slot].as_deref_mut().ok_or(why!(dropped_stale))?;
        debug_assert!(leg.kind != Kind::Web);
        match leg.inbound.rtcp_latch.hear(now.instant, policy, from) {
            Source::Known | Source::Learned => {}
            Source::Stranger => return Err(why!(dropped_source)),
            Source::Early => return Err(why!(dropped_early)),
        }
        leg.inbound.last_heard = Some(now.instant);
        self.on_rtcp(now, slot, packet.bytes()).ok_or(why!(dropped_malformed))
    }
}

impl Inbound {
    /// Counts a packet of the party; says why it goes no further.
    #[inline]
    fn hear(
        &mut self,
        arrived: Duration,
        header: &Header,
        payload: Option<Payload>,
        octets: usize,
    ) -> Result<(), Why> {
        if !self.agreed {
            return Err(why!(dropped_early));
        }
        if !self.open {
            return Err(why!(dropped_not_receiving));
        }
        let Some(payload) = payload else { return Ok(()) };
        self.packets += 1;
        self.octets += octets as u64;
        let clock = (!payload.beat.event).then_some(payload.beat.clock);
        if clock.is_some() {
            self.number = Some(header.payload_type);
        }
        match &mut self.reception {
            Some(reception) if reception.ssrc == header.ssrc => reception.hear(arrived, header, clock),
            reception => {
                self.lost += reception.as_ref().map_or(0, super::reception::Reception::lost);
                let mut new = super::reception::Reception::new(header, payload.beat.clock);
                new.hear(arrived, header, clock);
                *reception = Some(new);
            }
        }
        Ok(())
    }
}

impl Outbound {
    /// Rewrites, protects and addresses a packet.
    #[inline]
    fn send(
        &mut self,
        now: Now,
        header: &Header,
        range: Range<usize>,
        payload: Payload,
        packet: &mut Packet,
    ) -> Result<Sent, Why> {
        let number = match (self.open, payload.send) {
            (true, Some(number)) => number,
            (true, None) => return Err(why!(dropped_codec)),
            (false, _) => {
                self.timeline.cut();
                return Err(why!(dropped_not_sending));
            }
        };
        let ready = (!self.secure || self.srtp.is_some()).then_some(()).ok_or(why!(dropped_no_keys));
        let ready = ready.and_then(|()| self.to.ok_or(why!(dropped_no_path)));
        let (socket, to) = match ready {
            Ok(to) => to,
            Err(why) => {
                self.timeline.cut();
                return Err(why);
            }
        };
        let slot = self.timeline.place(now.instant, header, payload.beat).map_err(lost)?;
        let octets = range.len();
        rewrite(packet, header, range, number, slot, self.ssrc);
        if let Some((from, to)) = payload.rescale {
            let clocks = Clocks { from, to, stream: payload.beat.clock };
            rescale(&mut self.conversion, packet, header, clocks, slot.timestamp);
        }
        if let Some(srtp) = self.srtp.as_deref_mut() {
            let index = slot.index.checked_sub(self.base).ok_or(why!(dropped_refused))?;
            srtp.protect(index, packet).map_err(refused)?;
        }
        self.packets += 1;
        self.octets += octets as u64;
        self.clock = payload.beat.clock;
        if !payload.beat.event {
            self.number = Some(number);
        }
        Ok(Sent { socket, to, octets, splice: slot.splice })
    }
}

/// Puts a fixed header of ours right before the payload: CSRCs and extensions of theirs, on which nobody agreed, go by
/// the header moving, and padding by the end moving. The payload stays.
#[inline]
fn rewrite(
    packet: &mut Packet,
    header: &Header,
    range: Range<usize>,
    number: u8,
    slot: super::timeline::Slot,
    ssrc: u32,
) {
    packet.truncate(range.end);
    packet.shrink_front(range.start - FIXED);
    let head = Header {
        marker: header.marker || slot.splice,
        padding: false,
        payload_type: number,
        sequence: slot.index as u16,
        timestamp: slot.timestamp,
        ssrc,
        csrcs: 0,
        extended: false,
        length: FIXED,
    };
    packet.bytes_mut()[..FIXED].copy_from_slice(&head.write());
}

/// Puts an event's duration into the other clock's units (RFC 4733 section 2.3.5).
#[cold]
fn rescale(
    conversion: &mut Option<Conversion>,
    packet: &mut Packet,
    header: &Header,
    clocks: Clocks,
    timestamp: u32,
) {
    let bytes = packet.bytes_mut();
    let Some(report) = bytes.get(FIXED..).and_then(TelephoneEvent::parse) else { return };
    let (timestamp, report) = Conversion::convert(conversion, header, report, clocks, timestamp);
    set_timestamp(bytes, timestamp);
    if let Some(payload) = bytes.get_mut(FIXED..FIXED + TelephoneEvent::LENGTH) {
        payload.copy_from_slice(&report.write());
    }
}
