//! What a page asks for, and what it makes of what it hears.

use super::{Asked, Call, Due, Page, State};
use crate::gateway::Gateway;
use crate::media::{CALLER, Media};
use crate::net::{Net, ms};
use crate::peer::Peer;
use crate::script::{Script, Then};
use serde_json::{Value, json};
use std::net::SocketAddr;

impl Page {
    /// Calls somebody, as soon as it is signed in.
    pub fn dial(&mut self, net: &mut Net, gateway: &mut Gateway, script: Script, to: &str) {
        if self.dead || self.gone {
            return;
        }
        if !self.signed_in {
            self.waiting.push((script, to.to_owned()));
            return;
        }
        let media = Media::new(net, script.call, CALLER, true);
        let mut peer = Peer::new(net, self.addresses(), media);
        let sdp = peer.sdp("actpass", "sendrecv");
        let key = format!("k{}-{}", script.call, self.calls.len());
        let cancel = script.cancel;
        self.calls.push(Call::new(key, true, script, Some(peer)));
        let call = self.calls.len() - 1;
        self.ask(net, gateway, "dial", Some(call), json!({"to": to, "sdp": sdp}));
        if let Some(after) = cancel {
            self.due(net, after, Due::Cancel(call));
        }
    }

    pub(super) fn on_reply(
        &mut self,
        net: &mut Net,
        gateway: &mut Gateway,
        asked: &Asked,
        ok: bool,
        message: &Value,
    ) {
        match (asked.kind, ok) {
            ("connect", true) => {
                self.signed_in = true;
                if self.wants_register {
                    self.ask(net, gateway, "register", None, json!({}));
                }
                for (script, to) in std::mem::take(&mut self.waiting) {
                    self.dial(net, gateway, script, &to);
                }
            }
            ("connect", false) => {
                let excused = gateway.is_draining();
                net.check(excused, || format!("sign-in is refused: {message}"));
                self.gone = true;
            }
            ("dial", false) => {
                net.check(gateway.is_draining(), || format!("dial is refused: {message}"));
                if let Some(call) = asked.call {
                    // No call was made of it, and no `ended` follows.
                    self.calls[call].ended = 1;
                    self.calls[call].over(net);
                }
            }
            ("update", true) => {
                let Some(call) = asked.call else { return };
                if let Some(peer) = &mut self.calls[call].peer {
                    peer.describe(net, message["sdp"].as_str().unwrap_or(""));
                }
                self.settle(net, call);
            }
            _ => {}
        }
    }

    pub(super) fn on_event(&mut self, net: &mut Net, gateway: &mut Gateway, kind: &str, message: &Value) {
        match kind {
            "registered" => self.registered = true,
            "unregistered" => self.registered = false,
            "closed" => self.gone = true,
            "incoming" => self.on_incoming(net, gateway, message),
            _ => {
                let key = message["call"].as_str().unwrap_or("");
                let Some(call) = self.calls.iter().position(|call| call.key == key) else {
                    net.fault(&format!("{kind} for a call that never was: {message}"));
                };
                self.on_call_event(net, gateway, call, kind, message);
            }
        }
    }

    fn on_call_event(
        &mut self,
        net: &mut Net,
        gateway: &mut Gateway,
        number: usize,
        kind: &str,
        message: &Value,
    ) {
        let call = &mut self.calls[number];
        net.check(call.ended == 0, || format!("{message} after the end"));
        let sdp = message["sdp"].as_str().unwrap_or("");
        match kind {
            "media" => {
                net.check(call.outgoing && !call.described, || format!("{message}"));
                call.described = true;
                if let Some(peer) = &mut call.peer {
                    peer.describe(net, sdp);
                }
                self.settle(net, number);
            }
            "ringing" => net.check(call.outgoing && call.state == State::Early, || format!("{message}")),
            "answered" => {
                net.check(call.outgoing && call.state == State::Early, || format!("{message}"));
                net.check(call.described, || "answered before media".to_owned());
                (call.state, call.answered) = (State::Up, true);
                self.begin_talk(net, number);
            }
            "update" => {
                let mut answer = String::new();
                if let Some(peer) = &mut call.peer {
                    peer.describe(net, sdp);
                    answer = peer.sdp("active", "sendrecv");
                }
                let kind = if call.state == State::Up { "accept" } else { "answer" };
                self.ask(net, gateway, kind, Some(number), json!({"sdp": answer}));
                self.settle(net, number);
            }
            "held" | "resumed" | "dtmf" | "info" => {
                net.check(call.state == State::Up, || format!("{message} in no answered call"));
            }
            "ended" => {
                call.ended += 1;
                message["reason"].as_str().unwrap_or("").clone_into(&mut call.reason);
                call.code = message["code"].as_u64().unwrap_or(9999);
                call.over(net);
            }
            "quality" => net.check(message["level"].is_string(), || format!("{message}")),
            other => net.fault(&format!("event {other}")),
        }
    }

    fn on_incoming(&mut self, net: &mut Net, gateway: &mut Gateway, message: &Value) {
        let from = message["from"]["user"].as_str().unwrap_or("").to_owned();
        let Some(script) = self.scripts.get(&from).cloned() else {
            net.fault(&format!("page {}: nobody expects {message}", self.number));
        };
        let key = message["call"].as_str().unwrap_or("").to_owned();
        let offer = message["sdp"].as_str().unwrap_or("").to_owned();
        let mut call = Call::new(key, false, script.clone(), None);
        call.offer = offer;
        self.calls.push(call);
        let number = self.calls.len() - 1;
        let _ = gateway;
        self.due(net, script.ring, Due::Ring(number));
        match script.then {
            Then::Answer(after) | Then::Refuse(after, _) => {
                self.due(net, script.ring + after, Due::Act(number));
            }
            Then::RingOn | Then::Silent => {}
        }
    }

    pub(super) fn ring(&mut self, net: &mut Net, gateway: &mut Gateway, number: usize) {
        let call = &self.calls[number];
        if call.state == State::Early && call.script.then != Then::Silent {
            self.ask(net, gateway, "ringing", Some(number), json!({}));
        }
    }

    pub(super) fn act(&mut self, net: &mut Net, gateway: &mut Gateway, number: usize) {
        let call = &self.calls[number];
        if call.state != State::Early {
            return;
        }
        if let Then::Refuse(_, code) = call.script.then {
            let reason = if code == 486 { "busy" } else { "declined" };
            self.calls[number].hung_up = true;
            self.ask(net, gateway, "reject", Some(number), json!({"reason": reason}));
            return;
        }
        let media = Media::new(net, call.script.call, 0, true);
        let mut peer = Peer::new(net, self.addresses(), media);
        peer.describe(net, &self.calls[number].offer.clone());
        let sdp = peer.sdp("active", "sendrecv");
        let call = &mut self.calls[number];
        call.peer = Some(peer);
        (call.state, call.answered) = (State::Up, true);
        self.ask(net, gateway, "answer", Some(number), json!({"sdp": sdp}));
        self.settle(net, number);
        self.begin_talk(net, number);
    }

    fn begin_talk(&mut self, net: &mut Net, number: usize) {
        self.calls[number].up_at = Some(net.now.instant);
        let script = self.calls[number].script.clone();
        let plans = [
            (script.hangup, Due::Hangup(number)),
            (script.hold, Due::Hold(number)),
            (script.roam, Due::Roam(number)),
            (script.restart, Due::Restart(number)),
            (script.die, Due::Die),
        ];
        for (after, due) in plans {
            if let Some(after) = after {
                self.due(net, after, due);
            }
        }
    }

    pub(super) fn cancel(&mut self, net: &mut Net, gateway: &mut Gateway, number: usize) {
        if self.calls[number].state == State::Early {
            self.calls[number].hung_up = true;
            self.ask(net, gateway, "hangup", Some(number), json!({}));
        }
    }

    pub fn hang_up(&mut self, net: &mut Net, gateway: &mut Gateway, number: usize) {
        if !self.calls[number].is_over() && !self.calls[number].hung_up {
            self.calls[number].hung_up = true;
            self.ask(net, gateway, "hangup", Some(number), json!({}));
        }
    }

    fn update(&mut self, net: &mut Net, gateway: &mut Gateway, number: usize, direction: &str) {
        if let Some(peer) = &mut self.calls[number].peer {
            let sdp = peer.sdp("actpass", direction);
            self.ask(net, gateway, "update", Some(number), json!({"sdp": sdp}));
        }
    }

    pub(super) fn hold(&mut self, net: &mut Net, gateway: &mut Gateway, number: usize, hold: bool) {
        if self.calls[number].state != State::Up || self.calls[number].hung_up {
            return;
        }
        self.update(net, gateway, number, if hold { "sendonly" } else { "sendrecv" });
        if hold {
            net.states.reach("browser_hold");
            self.due(net, ms(2500), Due::Resume(number));
        }
    }

    /// The NAT gives its peer connection another port.
    pub(super) fn roam(&mut self, net: &mut Net, number: usize) {
        let Some(peer) = &self.calls[number].peer else { return };
        if !peer.connected {
            return;
        }
        net.note(|| format!("  page {} has another port", self.number));
        let outside = SocketAddr::new(self.ip, 60_000 + number as u16);
        peer.roam(net, outside);
        self.calls[number].roamed_at = Some((net.now.instant, peer_heard(&self.calls[number])));
    }

    pub(super) fn restart(&mut self, net: &mut Net, gateway: &mut Gateway, number: usize) {
        let call = &mut self.calls[number];
        if call.state != State::Up || call.hung_up {
            return;
        }
        if let Some(peer) = call.peer.as_mut().filter(|peer| peer.connected) {
            peer.restart(net);
            net.states.reach("ice_restart");
            self.update(net, gateway, number, "sendrecv");
        }
    }
}

fn peer_heard(call: &Call) -> u32 {
    call.peer.as_ref().map_or(0, |peer| peer.media.heard)
}
