//! A phone that is called (RFC 3261 section 13.3), or a proxy with several phones behind it.

use super::leg::{Leg, State};
use super::{Due, NONCE, Phone, T1, T2, TIMEOUT};
use crate::message::{Read, wrong_digest};
use crate::net::{Net, gateway_sip};
use crate::script::{Script, Then};
use sip_codec::Name;

impl Phone {
    pub(super) fn on_invite(&mut self, net: &mut Net, server: usize, read: &Read) {
        let Some(script) = self.scripts.get(&read.uri_user).cloned() else {
            return self.answer(net, server, 404, "nobody", &[], None);
        };
        if script.then == Then::Silent {
            return;
        }
        if script.challenge {
            if let Some(wrong) = self.unsigned(read) {
                net.check(read.header(Name::ProxyAuthorization).is_none(), || format!("INVITE: {wrong}"));
                let challenge =
                    format!("Digest realm=\"sim\", nonce=\"{NONCE}\", algorithm=MD5, qop=\"auth\"");
                return self.answer(net, server, 407, "chal", &[(Name::ProxyAuthenticate, &challenge)], None);
            }
            net.states.reach("invite_challenged");
        }
        let known = self.legs.iter().any(|leg| leg.call_id == read.call_id);
        net.check(!known, || format!("call {}: a second INVITE", script.call));
        self.answer(net, server, 100, "", &[], None);
        let first = self.legs.len();
        for fork in 0..script.forks {
            self.add_callee(net, server, read, &script, fork);
        }
        for leg in first..self.legs.len() {
            self.due(net, script.ring, Due::Ring(leg));
        }
        match script.then {
            Then::Answer(after) => {
                for leg in first..self.legs.len() {
                    self.due(net, script.ring + after, Due::Act(leg));
                }
            }
            Then::Refuse(after, _) => self.due(net, script.ring + after, Due::Act(first)),
            Then::RingOn | Then::Silent => {}
        }
    }

    /// Why an INVITE's credentials don't do.
    fn unsigned(&self, read: &Read) -> Option<String> {
        let by_trunk =
            wrong_digest(read, Name::ProxyAuthorization, NONCE, &self.password.0, &self.password.1)?;
        let users = self.registrar.iter().flat_map(|registrar| &registrar.users);
        let mut wrong =
            users.map(|(user, password)| wrong_digest(read, Name::ProxyAuthorization, NONCE, user, password));
        wrong.all(|wrong| wrong.is_some()).then_some(by_trunk)
    }

    fn add_callee(&mut self, net: &mut Net, server: usize, read: &Read, script: &Script, fork: u8) {
        let number = self.legs.len();
        let tag = self.fresh(net, "to");
        let local_media = self.port(number);
        // Parties of one call have different numbers; 1 is the caller's.
        let media = Self::new_media(net, script, 2 * fork);
        let mut leg = Leg {
            script: script.clone(),
            outbound: false,
            state: State::Early,
            call_id: read.call_id.clone(),
            local: format!("{};tag={tag}", read.to),
            remote: read.from.clone(),
            local_tag: tag,
            remote_tag: read.from_tag.clone(),
            target: read.contact.clone(),
            local_seq: 0,
            remote_seq: read.cseq,
            invite: server,
            cancelling: false,
            cancel_sent: false,
            answer: Vec::new(),
            code: 0,
            ok: Vec::new(),
            ok_seq: read.cseq,
            ok_interval: T1,
            ok_until: None,
            oks: 0,
            withheld: 0,
            reliable: None,
            rseq: 0,
            settled: false,
            change: None,
            wants_hold: false,
            changes: Vec::new(),
            held_since: None,
            answered: false,
            confirmed: false,
            ended_by_peer: false,
            local_media,
            remote_media: None,
            may_send: false,
            talking: false,
            media,
            version: 0,
            up_at: None,
            over_at: None,
        };
        net.check(leg.learn(&read.body).is_some(), || "an INVITE without an audio stream".to_owned());
        self.legs.push(leg);
    }

    pub(super) fn ring(&mut self, net: &mut Net, number: usize) {
        let contact = self.contact();
        let leg = &mut self.legs[number];
        if leg.state != State::Early || leg.code != 0 || leg.script.then == Then::Silent {
            return;
        }
        let (server, tag, early) = (leg.invite, leg.local_tag.clone(), leg.script.early);
        let body = early.then(|| leg.sdp("sendrecv"));
        let reliable =
            leg.script.reliable && self.servers[server].request.has_option(Name::Supported, "100rel");
        if reliable {
            self.ring_reliably(net, number, &contact, body.as_deref());
        } else {
            let code = if early { 183 } else { 180 };
            self.answer(net, server, code, &tag, &[(Name::Contact, &contact)], body.as_deref());
        }
        if early {
            self.start_media(net, number);
        }
    }

    fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.name, self.sip())
    }

    /// Answers or refuses.
    pub(super) fn act(&mut self, net: &mut Net, number: usize) {
        let leg = &self.legs[number];
        if leg.state != State::Early || leg.code != 0 {
            return;
        }
        match leg.script.then {
            Then::Answer(_) => self.accept(net, number),
            Then::Refuse(_, code) => self.refuse(net, number, code),
            Then::RingOn | Then::Silent => {}
        }
    }

    pub(super) fn refuse(&mut self, net: &mut Net, number: usize, code: u16) {
        let leg = &mut self.legs[number];
        leg.code = code;
        let (server, tag) = (leg.invite, leg.local_tag.clone());
        self.answer(net, server, code, &tag, &[], None);
        // It speaks for all phones behind it.
        for number in 0..self.legs.len() {
            if !self.legs[number].outbound && self.legs[number].invite == server {
                self.over(net, number);
            }
        }
    }

    pub(super) fn accept(&mut self, net: &mut Net, number: usize) {
        let contact = self.contact();
        let leg = &mut self.legs[number];
        if let Some(reliable) = leg.reliable.as_mut().filter(|reliable| !reliable.acknowledged) {
            reliable.answer = true;
            return;
        }
        (leg.code, leg.state, leg.answered) = (200, State::Unacked, true);
        leg.up_at = Some(net.now.instant);
        let (server, tag) = (leg.invite, leg.local_tag.clone());
        // With early media the same description as before (RFC 6337 section 3.1.1).
        leg.version = if leg.script.early { 0 } else { leg.version };
        // What was acknowledged is not said again.
        let told = leg.script.early && leg.reliable.is_some();
        let body = (!told).then(|| leg.sdp("sendrecv"));
        self.answer(net, server, 200, &tag, &[(Name::Contact, &contact)], body.as_deref());
        self.await_ack(net, number, server);
        self.start_media(net, number);
    }

    /// Sends a 2xx until its ACK comes (section 13.3.1.4).
    pub(super) fn await_ack(&mut self, net: &mut Net, number: usize, server: usize) {
        let leg = &mut self.legs[number];
        leg.ok.clone_from(&self.servers[server].response);
        leg.ok_seq = self.servers[server].request.cseq;
        leg.ok_interval = T1;
        leg.ok_until = Some(net.now.instant + TIMEOUT);
        self.due(net, T1, Due::Ok(number));
    }

    pub(super) fn on_ok_again(&mut self, net: &mut Net, number: usize) {
        let from = self.sip();
        let leg = &mut self.legs[number];
        let Some(until) = leg.ok_until else { return };
        if net.now.instant >= until {
            leg.ok_until = None;
            leg.state = State::Up;
            // Nobody is there: BYE, for good manners.
            return self.hang_up(net, number);
        }
        net.send(from, gateway_sip(), leg.ok.clone());
        leg.oks += 1;
        leg.ok_interval = (leg.ok_interval * 2).min(T2);
        let interval = leg.ok_interval;
        self.due(net, interval, Due::Ok(number));
    }

    pub(super) fn on_ok_acknowledged(&mut self, net: &mut Net, number: usize, read: &Read) {
        let leg = &mut self.legs[number];
        net.check(read.cseq == leg.ok_seq || leg.ok_until.is_none(), || {
            format!("ACK for CSeq {} instead of {}", read.cseq, leg.ok_seq)
        });
        if leg.ok_until.take().is_none() {
            return;
        }
        if leg.oks > 0 {
            net.states.reach("lost_2xx_recovered");
        }
        if leg.state == State::Unacked {
            leg.state = State::Up;
            leg.confirmed = true;
            net.states.reach("answered");
            if leg.cancelling {
                net.states.reach("cancel_race");
            }
            if leg.script.forks > 1 {
                net.states.reach("forked_2xx");
            }
            self.begin_talk(net, number);
        }
    }

    pub(super) fn on_cancel(&mut self, net: &mut Net, server: usize, read: &Read) {
        let invite = self.by_key.get(&read.transaction().replace(" CANCEL", " INVITE")).copied();
        let Some(invite) = invite else {
            return self.answer(net, server, 481, "none", &[], None);
        };
        self.answer(net, server, 200, "cancel", &[], None);
        let legs: Vec<usize> = (0..self.legs.len())
            .filter(|&leg| !self.legs[leg].outbound && self.legs[leg].invite == invite)
            .collect();
        for number in legs {
            let leg = &mut self.legs[number];
            leg.cancelling = true;
            if leg.state == State::Early && leg.code == 0 {
                if leg.script.race {
                    self.accept(net, number);
                } else {
                    net.states.reach("cancel");
                    self.refuse(net, number, 487);
                }
            }
        }
    }
}
