//! A phone that calls (RFC 3261 section 13.2).

use super::leg::{Leg, State};
use super::{Due, Phone};
use crate::media::CALLER;
use crate::message::{Draft, Read};
use crate::net::{Net, gateway_sip, ms};
use crate::script::Script;
use sip_codec::Name;
use std::time::Duration;

impl Phone {
    /// Calls `uri` at the gateway.
    pub fn dial(&mut self, net: &mut Net, script: Script, uri: &str) {
        let number = self.legs.len();
        let (call_id, tag) = (self.fresh(net, "call"), self.fresh(net, "from"));
        let local_media = self.port(number);
        let media = Self::new_media(net, &script, CALLER);
        let local = format!("\"Call {0}\" <sip:c{0}@{1}>;tag={tag}", script.call, self.ip);
        let leg = Leg {
            outbound: true,
            state: State::Early,
            call_id,
            local,
            remote: format!("<{uri}>"),
            local_tag: tag,
            remote_tag: String::new(),
            target: uri.to_owned(),
            local_seq: 0,
            remote_seq: 0,
            invite: 0,
            cancelling: false,
            cancel_sent: false,
            answer: Vec::new(),
            code: 0,
            ok: Vec::new(),
            ok_seq: 0,
            ok_interval: Duration::ZERO,
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
            script,
        };
        self.legs.push(leg);
        self.invite(net, number);
        if let Some(after) = self.legs[number].script.cancel {
            self.due(net, after, Due::Cancel(number));
        }
    }

    fn invite(&mut self, net: &mut Net, number: usize) {
        let branch = self.fresh(net, "z9hG4bKphone");
        let (via, contact) = (self.sip().to_string(), format!("sip:{}@{}", self.name, self.sip()));
        let leg = &mut self.legs[number];
        leg.local_seq += 1;
        let mut headers = vec![(Name::Allow, "INVITE, ACK, CANCEL, BYE, OPTIONS")];
        if leg.script.reliable {
            headers.push((Name::Supported, "100rel"));
        }
        if leg.script.timer {
            headers.extend([(Name::Supported, "timer"), (Name::SessionExpires, "90;refresher=uac")]);
        }
        let body = (!leg.script.delayed).then(|| leg.sdp("sendrecv"));
        let bytes = Draft {
            method: "INVITE",
            uri: &leg.target,
            via: &via,
            branch: &branch,
            from: &leg.local,
            to: &leg.remote,
            call_id: &leg.call_id,
            cseq: leg.local_seq,
            contact: &contact,
            headers: &headers,
            body: body.as_deref(),
        }
        .write();
        self.legs[number].invite = self.begin(net, number, "INVITE", branch, bytes);
    }

    pub(super) fn cancel(&mut self, net: &mut Net, number: usize) {
        let leg = &mut self.legs[number];
        if leg.state != State::Early || !leg.outbound || leg.cancel_sent || leg.code != 0 {
            return;
        }
        leg.cancelling = true;
        let client = &self.clients[leg.invite];
        // Not before a provisional response (section 9.1).
        if !client.proceeding || client.done {
            return;
        }
        leg.cancel_sent = true;
        let (via, branch) = (self.sip().to_string(), client.branch.clone());
        let leg = &self.legs[number];
        let draft = Draft {
            method: "CANCEL",
            uri: &leg.target,
            via: &via,
            branch: &branch,
            from: &leg.local,
            to: &leg.remote,
            call_id: &leg.call_id,
            cseq: leg.local_seq,
            ..Draft::default()
        };
        let bytes = draft.write();
        self.begin(net, number, "CANCEL", branch, bytes);
    }

    pub(super) fn on_invite_response(&mut self, net: &mut Net, client: usize, number: usize, read: &Read) {
        let leg = &mut self.legs[number];
        if client != leg.invite {
            // The first of two INVITEs was refused; it may be said again.
            if read.code >= 300 {
                self.ack_refusal(net, client, read);
            }
            return;
        }
        if leg.code >= 200 {
            let same = leg.code == read.code && leg.answer == read.raw;
            net.check(read.code < 200 || same, || {
                format!("call {}: {} after {}", leg.script.call, read.code, leg.code)
            });
        }
        match read.code {
            100 => {}
            101..=199 if leg.code == 0 => self.on_progress(net, number, read),
            200..=299 => self.on_success(net, number, read),
            300.. => self.on_refusal(net, client, number, read),
            _ => {}
        }
        if self.legs[number].cancelling {
            self.cancel(net, number);
        }
    }

    fn on_progress(&mut self, net: &mut Net, number: usize, read: &Read) {
        if !self.acknowledge(net, number, read) {
            return;
        }
        let leg = &mut self.legs[number];
        net.check(!read.to_tag.is_empty(), || "a provisional response without a tag".to_owned());
        net.check(leg.remote_tag.is_empty() || leg.remote_tag == read.to_tag, || {
            "the gateway shows several early dialogs".to_owned()
        });
        leg.remote_tag.clone_from(&read.to_tag);
        if !read.body.is_empty() {
            leg.learn(&read.body);
            net.states.reach("early_media");
            self.start_media(net, number);
        }
    }

    fn on_success(&mut self, net: &mut Net, number: usize, read: &Read) {
        let leg = &mut self.legs[number];
        leg.oks += 1;
        if leg.code == 0 {
            let same = leg.remote_tag.is_empty() || leg.remote_tag == read.to_tag;
            net.check(same, || "the 2xx is of another dialog than the 1xx".to_owned());
            leg.code = read.code;
            leg.answer.clone_from(&read.raw);
            leg.remote_tag.clone_from(&read.to_tag);
            leg.remote.clone_from(&read.to);
            leg.target.clone_from(&read.contact);
            leg.answered = true;
            leg.state = State::Up;
            leg.up_at = Some(net.now.instant);
            net.check(!leg.settled || read.body.is_empty(), || {
                "what was acknowledged is said again".to_owned()
            });
            leg.learn(&read.body);
            let (unwanted, timer) = (leg.cancelling, leg.script.timer);
            if timer {
                let said = read.header(Name::SessionExpires);
                net.check(said.as_deref() == Some("90;refresher=uac"), || {
                    format!("Session-Expires: {said:?}")
                });
                self.due(net, ms(3_000), Due::Refresh(number));
            }
            self.begin_talk(net, number);
            self.ack_success(net, number);
            if unwanted {
                net.states.reach("cancel_race");
                self.hang_up(net, number);
            }
            return;
        }
        self.ack_success(net, number);
    }

    /// ACK of a 2xx, unless the script keeps it back.
    fn ack_success(&mut self, net: &mut Net, number: usize) {
        let leg = &mut self.legs[number];
        if leg.withheld < leg.script.withhold_acks {
            leg.withheld += 1;
            return;
        }
        if leg.withheld > 0 && leg.oks == u32::from(leg.withheld) + 1 {
            net.states.reach("lost_ack_recovered");
        }
        let body = (leg.script.delayed && !leg.settled).then(|| {
            leg.version = 0;
            leg.sdp("sendrecv")
        });
        let cseq = self.invite_seq(number);
        self.send_ack(net, number, cseq, body.as_deref());
    }

    fn invite_seq(&self, number: usize) -> u32 {
        let invite = self.legs[number].invite;
        Read::parse(&self.clients[invite].bytes).map_or(0, |read| read.cseq)
    }

    /// ACK of a 2xx: a request of its own (section 13.2.2.4).
    pub(super) fn send_ack(&mut self, net: &mut Net, number: usize, cseq: u32, body: Option<&str>) {
        let branch = self.fresh(net, "z9hG4bKack");
        let via = self.sip().to_string();
        let leg = &self.legs[number];
        let draft = Draft {
            method: "ACK",
            uri: &leg.target,
            via: &via,
            branch: &branch,
            from: &leg.local,
            to: &leg.remote,
            call_id: &leg.call_id,
            cseq,
            body,
            ..Draft::default()
        };
        let bytes = draft.write();
        net.send(self.sip(), gateway_sip(), bytes);
    }

    /// ACK of a refusal: within the transaction (section 17.1.1.3).
    pub(super) fn ack_refusal(&mut self, net: &mut Net, client: usize, read: &Read) {
        let Some(request) = Read::parse(&self.clients[client].bytes) else { return };
        let via = self.sip().to_string();
        let draft = Draft {
            method: "ACK",
            uri: &request.uri,
            via: &via,
            branch: &read.branch,
            from: &read.from,
            to: &read.to,
            call_id: &read.call_id,
            cseq: read.cseq,
            ..Draft::default()
        };
        let bytes = draft.write();
        net.send(self.sip(), gateway_sip(), bytes);
    }

    fn on_refusal(&mut self, net: &mut Net, client: usize, number: usize, read: &Read) {
        self.ack_refusal(net, client, read);
        let leg = &mut self.legs[number];
        if leg.code != 0 {
            return;
        }
        leg.code = read.code;
        leg.answer.clone_from(&read.raw);
        if leg.script.again && !leg.cancelling {
            leg.script.again = false;
            (leg.code, leg.answer, leg.remote_tag) = (0, Vec::new(), String::new());
            (leg.rseq, leg.settled) = (0, false);
            (leg.remote_media, leg.media) = (None, Self::new_media(net, &leg.script, CALLER));
            self.legs[number].local_media = self.port(number);
            return self.invite(net, number);
        }
        self.over(net, number);
    }
}
