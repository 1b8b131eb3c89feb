//! A call's transport: its browser's ICE and DTLS, and the engine's ends once both sides are there.

use super::call::{Role, Stage};
use super::dtls::{self, Association};
use super::stun::{self, Kind};
use super::{Calls, RTP_BASE, Seating, WEB_BASE, ssrc};
use crate::engine::{Other, Wanted};
use std::net::SocketAddrV4;

/// Between two looks for the first packet.
const LOOK: u64 = 2_000_000;
/// After so long without an answer to a check, consent is lost (RFC 7675 section 5.1).
const CONSENT_LOST: u64 = 30_000_000_000;

impl Calls {
    /// Sends a check, where one is due.
    pub(super) fn check(&mut self, now: u64, place: usize) {
        let Some(call) = self.table[place].as_mut() else { return };
        if let Some((to, data)) = call.ice.poll_check(now, &mut self.random) {
            self.engine.send(call.web.port, call.web.address, to, &data);
        }
        if call.ice.done && now > call.ice.consented + CONSENT_LOST {
            return self.fail(place, "consent lost");
        }
        if call.dtls_at.is_some_and(|at| at <= now) {
            self.shake(now, place, None);
        }
    }

    /// STUN or DTLS arrived.
    pub(super) fn on_transport(&mut self, other: &Other) {
        let by_address =
            |base| (u32::from(other.to)).checked_sub(u32::from(base)).map(|place| place as usize);
        let place = match self.plan.web {
            Seating::Addresses if Some(other.port) == self.web_port => by_address(WEB_BASE),
            _ => self.by_port.get(&other.port).copied(),
        };
        let known = place.filter(|place| self.table.get(*place).is_some_and(Option::is_some));
        let Some(place) = known else {
            let rtp = Some(other.port) == self.rtp_port && by_address(RTP_BASE).is_some();
            return self.tally.wonder(if rtp {
                "datagram to a SIP party"
            } else {
                "datagram of a call that is over"
            });
        };
        match other.data.first() {
            Some(0..=3) => self.on_stun(other, place),
            Some(20..=63) => self.shake(other.at, place, Some(&other.data)),
            _ => self.tally.wonder("datagram of no known kind"),
        }
    }

    fn on_stun(&mut self, other: &Other, place: usize) {
        let Some(call) = self.table[place].as_mut() else { return };
        match stun::read(&other.data) {
            Kind::Success(transaction) => {
                if call.ice.on_success(other.at, transaction) {
                    let now = crate::engine::now();
                    call.dtls_began = now;
                    let instant = self.instant(now);
                    let association = Association::new(&self.identity, instant);
                    if let Some(call) = self.table[place].as_mut() {
                        call.dtls = Some(association);
                    }
                    self.shake(now, place, None);
                }
            }
            Kind::Request(transaction) => {
                let answer = stun::success(transaction, other.from, &call.ice.pwd);
                self.engine.send(call.web.port, call.web.address, other.from, &answer);
            }
            Kind::Other => self.tally.wonder("STUN that is no success"),
        }
    }

    /// A turn of the DTLS association.
    fn shake(&mut self, now: u64, place: usize, packet: Option<&[u8]>) {
        let instant = self.instant(now.max(crate::engine::now()));
        let Some(call) = self.table[place].as_mut() else { return };
        let Some(association) = &mut call.dtls else { return };
        let turn = match association.turn(instant, packet, &mut self.buffer[..]) {
            Ok(turn) => turn,
            // After the keys it only matters to the gateway, whose retransmissions may come late.
            Err(_) if call.keys.is_some() => {
                call.dtls_at = None;
                return;
            }
            Err(error) => return self.fail(place, &format!("DTLS: {error}")),
        };
        if let Some(to) = call.ice.remote() {
            for packet in &turn.packets {
                self.engine.send(call.web.port, call.web.address, to, packet);
            }
        }
        if turn.certificate.is_some_and(|certificate| dtls::digest(&certificate) != call.fingerprint) {
            return self.fail(place, "DTLS: another certificate than described");
        }
        if let Some(keys) = turn.keys {
            let now = crate::engine::now();
            call.keys = Some(keys);
            self.tally.handshakes += 1;
            self.tally.handshake.saturating_record(now.saturating_sub(call.dtls_began));
        }
        let at = turn.timeout.map(|at| self.nanoseconds(at));
        if let Some(call) = self.table[place].as_mut() {
            call.dtls_at = at.filter(|at| *at < call.dialled + 600_000_000_000);
        }
        self.join(place);
        self.settle(place);
    }

    /// Lets the parties hear each other, once both are there; or ends a call that was only to be set up.
    pub(super) fn join(&mut self, place: usize) {
        let Some(call) = self.table[place].as_mut() else { return };
        if call.stage != Stage::SettingUp
            || call.answered.is_none()
            || !call.acknowledged
            || call.ends.is_some()
        {
            return;
        }
        let shaken = call.keys.is_some() || call.role == Role::Signal;
        if call.role != Role::Talk && shaken {
            self.on_ready(place);
            return self.say_hangup(place);
        }
        let (Some(keys), Some(far), Some(near)) = (&call.keys, call.far, call.ice.remote()) else { return };
        let web = Wanted {
            port: call.web.port,
            address: call.web.address,
            remote: near,
            keys: Some(keys.clone()),
            payload_type: 0,
            ssrc: ssrc(call.number),
            rtcp: Some(near),
        };
        let rtp = Wanted {
            port: call.rtp.port,
            address: call.rtp.address,
            remote: far,
            keys: None,
            payload_type: 0,
            ssrc: ssrc(call.number) ^ 0x4000_0000,
            rtcp: Some(SocketAddrV4::new(*far.ip(), far.port() + 1)),
        };
        let ends = [self.engine.add(&web), self.engine.add(&rtp)];
        self.engine.pair(ends[0], ends[1]);
        call.ends = Some(ends);
        let now = crate::engine::now();
        call.look = Some(now + LOOK);
        self.settle(place);
    }

    /// Looks whether both parties have heard each other.
    pub(super) fn watch(&mut self, now: u64, place: usize) {
        let Some(call) = self.table[place].as_mut() else { return };
        let (Stage::SettingUp, Some([web, rtp])) = (call.stage, call.ends) else { return };
        let (Some(heard), Some(_)) = (self.engine.first_heard(web), self.engine.first_heard(rtp)) else {
            call.look = Some(now + LOOK);
            return;
        };
        call.stage = Stage::Talking;
        (call.deadline, call.look) = (u64::MAX, None);
        self.talking += 1;
        self.tally.heard.saturating_record(heard.saturating_sub(call.dialled));
        self.on_ready(place);
    }

    /// A call is what it was dialled to be.
    fn on_ready(&mut self, place: usize) {
        let Some(call) = self.table[place].as_ref() else { return };
        self.tally.connected += 1;
        self.tally.ready.saturating_record(crate::engine::now().saturating_sub(call.dialled));
    }
}
