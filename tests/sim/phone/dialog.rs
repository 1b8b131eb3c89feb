//! What happens within a phone's dialogs: changes, BYE, and their crossings.

use super::leg::State;
use super::{Due, Phone};
use crate::message::{Draft, Read};
use crate::net::{Net, ms};
use sip_codec::Name;
use std::time::Duration;

impl Phone {
    /// The call is answered: what the script has in store begins.
    pub(super) fn begin_talk(&mut self, net: &mut Net, number: usize) {
        self.start_media(net, number);
        let script = self.legs[number].script.clone();
        if let Some(after) = script.hangup {
            self.due(net, after, Due::Hangup(number));
        }
        if let Some(after) = script.hold {
            self.due(net, after, Due::Hold(number));
        }
    }

    pub(super) fn over(&mut self, net: &mut Net, number: usize) {
        let leg = &mut self.legs[number];
        leg.state = State::Over;
        leg.over_at = Some(net.now.instant);
        leg.ok_until = None;
    }

    /// Sends a request within the dialog.
    pub(super) fn request(
        &mut self,
        net: &mut Net,
        number: usize,
        method: &'static str,
        body: Option<&str>,
    ) -> usize {
        let branch = self.fresh(net, "z9hG4bKdialog");
        let (via, contact) = (self.sip().to_string(), format!("sip:{}@{}", self.name, self.sip()));
        let leg = &mut self.legs[number];
        leg.local_seq += 1;
        let timer = [(Name::Supported, "timer"), (Name::SessionExpires, "90;refresher=uac")];
        // A re-INVITE refreshes the session as well.
        let refreshes = leg.script.timer && leg.outbound && matches!(method, "INVITE" | "UPDATE");
        let headers: &[_] = if refreshes { &timer } else { &[] };
        let draft = Draft {
            method,
            uri: &leg.target,
            via: &via,
            branch: &branch,
            from: &leg.local,
            to: &leg.remote,
            call_id: &leg.call_id,
            cseq: leg.local_seq,
            contact: if matches!(method, "INVITE" | "UPDATE") { &contact } else { "" },
            headers,
            body,
        };
        let bytes = draft.write();
        self.begin(net, number, method, branch, bytes)
    }

    pub fn hang_up(&mut self, net: &mut Net, number: usize) {
        let leg = &mut self.legs[number];
        if leg.state == State::Early && leg.outbound {
            return self.cancel(net, number);
        }
        if leg.state != State::Up {
            return;
        }
        leg.state = State::Leaving;
        leg.ok_until = None;
        self.request(net, number, "BYE", None);
    }

    pub(super) fn on_bye_response(&mut self, net: &mut Net, number: usize, read: &Read) {
        let leg = &self.legs[number];
        net.check(matches!(read.code, 200 | 481), || format!("BYE gets {}", read.code));
        net.check(read.code == 200 || leg.ended_by_peer || !leg.confirmed || net.faulty, || {
            format!("call {}: BYE gets 481", leg.script.call)
        });
        self.over(net, number);
    }

    /// A request of ours was never answered.
    pub(super) fn on_silence(&mut self, net: &mut Net, number: usize, method: &str) {
        net.check(net.faulty || method == "CANCEL", || format!("{method} is never answered"));
        match method {
            "BYE" => self.over(net, number),
            "INVITE" if self.legs[number].change.is_some() => self.legs[number].change = None,
            "INVITE" if self.legs[number].code == 0 => {
                self.legs[number].code = 408;
                self.over(net, number);
            }
            _ => {}
        }
    }

    /// Holds the call, or resumes it.
    pub(super) fn change(&mut self, net: &mut Net, number: usize, hold: bool) {
        let leg = &mut self.legs[number];
        if leg.state != State::Up || leg.change.is_some() {
            return;
        }
        leg.wants_hold = hold;
        if !hold {
            leg.held_since = None;
        }
        let body = leg.sdp(if hold { "sendonly" } else { "sendrecv" });
        let client = self.request(net, number, "INVITE", Some(&body));
        self.legs[number].change = Some(client);
        self.legs[number].changes.push(client);
    }

    pub(super) fn on_change_response(
        &mut self,
        net: &mut Net,
        client: usize,
        number: usize,
        read: &Read,
        first: bool,
    ) {
        match read.code {
            ..200 => return,
            200..=299 => self.send_ack(net, number, read.cseq, None),
            _ => self.ack_refusal(net, client, read),
        }
        if !first {
            return;
        }
        let leg = &mut self.legs[number];
        leg.change = None;
        let hold = leg.wants_hold;
        match read.code {
            200..=299 => {
                let direction = leg.learn(&read.body);
                let allowed: &[_] =
                    if hold { &["recvonly", "inactive"] } else { &["sendrecv", "recvonly", "inactive"] };
                net.check(direction.is_some_and(|direction| allowed.contains(&direction)) || !hold, || {
                    format!("call {}: sendonly is answered with {direction:?}", leg.script.call)
                });
                if hold {
                    leg.held_since = Some(net.now.instant);
                    net.states.reach("hold");
                    self.due(net, ms(2500), Due::Resume(number));
                }
            }
            491 => {
                net.states.reach("glare_491");
                let tens = if leg.outbound { 210 + net.random.below(190) } else { net.random.below(200) };
                self.due(net, ms(10 * tens), Due::Retry(number));
            }
            500 if read.header(Name::RetryAfter).is_some() => {
                let seconds = read.header(Name::RetryAfter).and_then(|value| value.parse().ok()).unwrap_or(1);
                self.due(net, Duration::from_secs(seconds), Due::Retry(number));
            }
            481 => {
                let excused = leg.ended_by_peer || leg.state != State::Up || net.faulty;
                net.check(excused, || "a change of a standing call gets 481".to_owned());
                self.hang_up(net, number);
            }
            _ => {}
        }
    }

    pub(super) fn on_in_dialog(&mut self, net: &mut Net, server: usize, read: &Read) {
        let Some(number) = self.leg_of(read) else {
            net.fault(&format!("{} for a dialog that never was", read.method));
        };
        let leg = &mut self.legs[number];
        if read.cseq <= leg.remote_seq {
            // Overtaken by a later one.
            net.check(net.faulty, || format!("CSeq {} after {}", read.cseq, leg.remote_seq));
            return self.answer(net, server, 500, "", &[], None);
        }
        leg.remote_seq = read.cseq;
        if leg.remote_tag.is_empty() {
            leg.remote_tag.clone_from(&read.from_tag);
        }
        match read.method.as_str() {
            "BYE" => self.on_bye(net, server, number),
            _ if matches!(leg.state, State::Over | State::Leaving) => {
                self.answer(net, server, 481, "", &[], None);
            }
            "INVITE" => self.on_reinvite(net, server, number, read),
            "PRACK" => self.on_prack(net, server, number, read),
            "OPTIONS" | "INFO" | "UPDATE" => self.answer(net, server, 200, "", &[], None),
            method => net.fault(&format!("{method} in a dialog")),
        }
    }

    fn on_bye(&mut self, net: &mut Net, server: usize, number: usize) {
        self.answer(net, server, 200, "", &[], None);
        let leg = &mut self.legs[number];
        leg.ended_by_peer = true;
        match leg.state {
            // Our own BYE is on its way; its answer ends the leg.
            State::Leaving => net.states.reach("bye_crossing"),
            State::Over => {}
            _ => {
                if leg.script.forks > 1 && leg.media.heard == 0 {
                    net.states.reach("fork_late_answer_ended");
                }
                leg.confirmed |= leg.state == State::Unacked;
                self.over(net, number);
            }
        }
    }

    fn on_reinvite(&mut self, net: &mut Net, server: usize, number: usize, read: &Read) {
        let leg = &mut self.legs[number];
        if leg.change.is_some() {
            net.states.reach("glare_491");
            return self.answer(net, server, 491, "", &[], None);
        }
        if leg.ok_until.is_some() {
            return self.answer(net, server, 500, "", &[(Name::RetryAfter, "1")], None);
        }
        let answer = match (leg.learn(&read.body), leg.wants_hold) {
            (Some("sendonly" | "inactive"), true) | (Some("inactive"), _) => "inactive",
            (Some("sendonly"), _) => "recvonly",
            (Some("recvonly"), _) | (Some(_), true) => "sendonly",
            (Some(_), _) => "sendrecv",
            (None, _) => return self.answer(net, server, 488, "", &[], None),
        };
        let body = leg.sdp(answer);
        let contact = format!("<sip:{}@{}>", self.name, self.sip());
        self.answer(net, server, 200, "", &[(Name::Contact, &contact)], Some(&body));
        self.await_ack(net, number, server);
    }
}
