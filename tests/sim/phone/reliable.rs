//! Reliable provisional responses (RFC 3262) and UPDATE (RFC 3311), as a phone does them.

use super::leg::State;
use super::{Due, Phone, T1, TIMEOUT};
use crate::message::{Draft, Read};
use crate::net::{Net, gateway_sip};
use sip_codec::{Name, RAck};
use std::time::{Duration, Instant};

/// A phone refreshes its session so often.
pub const REFRESH: Duration = Duration::from_secs(15);

/// A response of ours that waits for its PRACK, or has it.
#[derive(Clone, Debug)]
pub struct Reliable {
    pub rseq: u32,
    bytes: Vec<u8>,
    interval: Duration,
    until: Instant,
    pub acknowledged: bool,
    /// The answer waits for it, too.
    pub answer: bool,
}

impl Read {
    pub fn has_option(&self, name: Name<'static>, option: &str) -> bool {
        let message = sip_codec::Message::parse(&self.raw);
        message.is_ok_and(|message| message.has_token(name, option))
    }
}

impl Phone {
    /// Rings, and wants to know that it was heard.
    pub(super) fn ring_reliably(&mut self, net: &mut Net, number: usize, contact: &str, body: Option<&str>) {
        let leg = &self.legs[number];
        let (server, tag, code) = (leg.invite, leg.local_tag.clone(), if body.is_some() { 183 } else { 180 });
        let rseq = 1 + net.random.below(1_000) as u32;
        let text = rseq.to_string();
        let headers = [
            (Name::Contact, contact),
            (Name::Allow, "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE"),
            (Name::Require, "100rel"),
            (Name::RSeq, &*text),
        ];
        self.answer(net, server, code, &tag, &headers, body);
        self.legs[number].reliable = Some(Reliable {
            rseq,
            bytes: self.servers[server].response.clone(),
            interval: T1,
            until: net.now.instant + TIMEOUT,
            acknowledged: false,
            answer: false,
        });
        self.due(net, T1, Due::Progress(number));
    }

    pub(super) fn on_progress_again(&mut self, net: &mut Net, number: usize) {
        let from = self.sip();
        let leg = &mut self.legs[number];
        if leg.code != 0 || leg.state != State::Early {
            return;
        }
        let Some(reliable) = leg.reliable.as_mut().filter(|reliable| !reliable.acknowledged) else { return };
        if net.now.instant >= reliable.until {
            net.check(net.faulty, || "a reliable response is never acknowledged".to_owned());
            return self.refuse(net, number, 504);
        }
        net.send(from, gateway_sip(), reliable.bytes.clone());
        reliable.interval *= 2;
        let interval = reliable.interval;
        self.due(net, interval, Due::Progress(number));
    }

    pub(super) fn on_prack(&mut self, net: &mut Net, server: usize, number: usize, read: &Read) {
        let leg = &mut self.legs[number];
        let text = read.header(Name::RAck).unwrap_or_default();
        let rack = RAck::parse(&text).ok();
        let Some(reliable) = &mut leg.reliable else { net.fault("PRACK of nothing") };
        let fits =
            rack.is_some_and(|rack| rack.rseq == reliable.rseq && rack.cseq.method.as_str() == "INVITE");
        net.check(fits && !reliable.acknowledged, || format!("PRACK with RAck {text}"));
        reliable.acknowledged = true;
        let wanted = reliable.answer;
        net.states.reach("prack_from_gateway");
        self.answer(net, server, 200, "", &[], None);
        if wanted {
            self.accept(net, number);
        }
    }

    /// A reliable response to our INVITE. False where it came before.
    pub(super) fn acknowledge(&mut self, net: &mut Net, number: usize, read: &Read) -> bool {
        if !read.has_option(Name::Require, "100rel") {
            return true;
        }
        let leg = &mut self.legs[number];
        net.check(leg.script.reliable, || "100rel that nobody asked for".to_owned());
        let rseq = read.header(Name::RSeq).and_then(|value| value.parse::<u32>().ok()).unwrap_or(0);
        if leg.rseq != 0 && rseq != leg.rseq + 1 {
            net.check(net.faulty || rseq == leg.rseq, || format!("RSeq {rseq} after {}", leg.rseq));
            return false;
        }
        leg.rseq = rseq;
        // Their offer is answered in the PRACK, theirs to ours is not said again.
        let body = (leg.script.delayed && !leg.settled && !read.body.is_empty()).then(|| leg.sdp("sendrecv"));
        leg.settled |= !read.body.is_empty();
        leg.local_seq += 1;
        let seq = leg.local_seq;
        let branch = self.fresh(net, "z9hG4bKprack");
        let (via, invite) = (self.sip().to_string(), read.cseq);
        let rack = format!("{rseq} {invite} INVITE");
        let leg = &self.legs[number];
        let bytes = Draft {
            method: "PRACK",
            uri: &read.contact,
            via: &via,
            branch: &branch,
            from: &leg.local,
            to: &read.to,
            call_id: &leg.call_id,
            cseq: seq,
            headers: &[(Name::RAck, &rack)],
            body: body.as_deref(),
            ..Draft::default()
        }
        .write();
        self.begin(net, number, "PRACK", branch, bytes);
        true
    }

    pub(super) fn on_prack_response(&mut self, net: &mut Net, number: usize, read: &Read) {
        let leg = &self.legs[number];
        let excused = net.faulty || leg.state != State::Early || leg.cancelling;
        net.check(read.code == 200 || excused, || format!("PRACK gets {}", read.code));
        if read.code == 200 {
            net.states.reach("prack_to_gateway");
        }
    }

    /// Refreshes the session, without an offer.
    pub(super) fn refresh(&mut self, net: &mut Net, number: usize) {
        if self.legs[number].state != State::Up {
            return;
        }
        self.request(net, number, "UPDATE", None);
        self.due(net, REFRESH, Due::Refresh(number));
    }

    pub(super) fn on_refresh_response(&mut self, net: &mut Net, number: usize, read: &Read) {
        let leg = &self.legs[number];
        let excused = net.faulty || leg.ended_by_peer || leg.state != State::Up;
        net.check(read.code == 200 || excused, || format!("UPDATE gets {}", read.code));
        if read.code == 200 {
            net.states.reach("session_refreshed");
            let said = read.header(Name::SessionExpires);
            net.check(said.as_deref() == Some("90;refresher=uac"), || format!("Session-Expires: {said:?}"));
        }
    }
}
