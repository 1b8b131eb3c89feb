//! RTCP is ours on both sides: every leg is told what we send it and how we hear it, and what it says is kept.

use super::Output;
use super::config::Counters;
use super::leg::Leg;
use super::plane::{Plane, Timer};
use crate::base::{LegId, Now};
use crate::rtp::rtcp::{self, Ask, Block, Sending};
use std::time::Duration;

impl Plane {
    /// The time to the next report: from half to one and a half of the mean, over e − 3/2 (RFC 3550 section 6.3.1);
    /// half of it before the first.
    pub(super) fn pause(&mut self, first: bool) -> Duration {
        let mean = self.config.report.as_nanos() as f64 * if first { 0.5 } else { 1.0 };
        let factor = (0.5 + self.random.below(1 << 20) as f64 / (1 << 20) as f64) / 1.218_28;
        Duration::from_nanos((mean * factor) as u64)
    }

    pub(super) fn on_report_timer(&mut self, now: Now, id: LegId) {
        let pause = self.pause(false);
        let timer = self.timers.insert(now.instant + pause, Timer::Report(id));
        let Some(leg) = self.leg_mut(id) else {
            self.timers.cancel(timer);
            return;
        };
        leg.timer = Some(timer);
        // A leg that neither sends nor is heard has nothing to report.
        if leg.outbound.packets > 0 || leg.inbound.reception.is_some() {
            self.write(now, id, false);
        }
    }

    /// The leg is closed: whoever it sent to learns it (RFC 3550 section 6.3.7).
    pub(super) fn write_bye(&mut self, now: Now, id: LegId) {
        if self.leg_mut(id).is_some_and(|leg| leg.outbound.packets > 0) {
            self.write(now, id, true);
        }
    }

    fn write(&mut self, now: Now, id: LegId, bye: bool) {
        let Plane { legs, slots, text, scratch, outputs, counters, .. } = self;
        let leg = slots.get(&id).and_then(|&slot| legs.get_mut(slot)).and_then(Option::as_deref_mut);
        let Some(leg) = leg else { return };
        let Some((socket, to)) = leg.rtcp_to() else {
            counters.rtcp_unsent += 1;
            return;
        };
        text.clear();
        leg.write(now, bye, text);
        let mut ready = scratch.fill(text);
        if leg.outbound.secure {
            let srtp = leg.outbound.srtp.as_deref_mut();
            ready &= srtp.is_some_and(|srtp| srtp.protect_rtcp(scratch).is_ok());
        }
        if ready {
            outputs.push_back(Output::Send { socket, to, data: scratch.bytes().to_vec() });
            counters.rtcp_sent += 1;
        } else {
            counters.rtcp_unsent += 1;
        }
    }

    /// Takes a party's RTCP, in the clear; `None` where it is malformed.
    pub(super) fn on_rtcp(&mut self, now: Now, slot: usize, bytes: &[u8]) -> Option<()> {
        let compound = rtcp::parse(bytes)?;
        let leg = self.legs.get_mut(slot)?.as_deref_mut()?;
        for packet in compound {
            leg.on_rtcp(now, packet, &mut self.counters);
        }
        Some(())
    }
}

impl Leg {
    fn write(&mut self, now: Now, bye: bool, out: &mut Vec<u8>) {
        let outbound = &mut self.outbound;
        // A sender is who has sent since its last report (RFC 3550 section 6.4 says: the last two).
        let sending = (outbound.packets > outbound.reported).then(|| Sending {
            ntp: now.ntp(),
            timestamp: outbound.timeline.moment(now.instant).unwrap_or_default(),
            packets: outbound.packets as u32,
            octets: outbound.octets as u32,
        });
        outbound.reported = outbound.packets;
        let block = self.inbound.reception.as_mut().map(|reception| reception.report(now.instant));
        rtcp::write_report(out, outbound.ssrc, sending.as_ref(), block.as_slice());
        rtcp::write_cname(out, outbound.ssrc, &self.cname);
        if bye {
            rtcp::write_bye(out, outbound.ssrc);
        }
    }

    fn on_rtcp(&mut self, now: Now, packet: rtcp::Packet<'_>, counters: &mut Counters) {
        match packet {
            rtcp::Packet::Report { ssrc, sending, blocks } => {
                if let (Some(sending), Some(reception)) = (sending, &mut self.inbound.reception)
                    && reception.ssrc == ssrc
                {
                    reception.on_report(now.instant, &sending);
                }
                let own = self.outbound.ssrc;
                for block in blocks.filter(|block| block.ssrc == own) {
                    self.on_block(now, &block);
                }
            }
            rtcp::Packet::Feedback { ask: Ask::Pli, .. } => counters.pli += 1,
            rtcp::Packet::Feedback { ask: Ask::Fir, .. } => counters.fir += 1,
            rtcp::Packet::Feedback { .. } => counters.feedback += 1,
            rtcp::Packet::Bye { .. } => counters.bye += 1,
            rtcp::Packet::Description { .. } | rtcp::Packet::Other { .. } => {}
        }
    }

    /// What the party says of what we send (RFC 3550 section 6.4.1).
    fn on_block(&mut self, now: Now, block: &Block) {
        self.remote_lost = block.lost;
        self.remote_jitter = block.jitter;
        if block.last_sr == 0 {
            return;
        }
        let units = ((now.ntp() >> 16) as u32).wrapping_sub(block.last_sr).wrapping_sub(block.delay);
        // More than a minute is a wrong clock or a lie.
        if units < 60 << 16 {
            self.round_trip = Some(Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16));
        }
    }
}
