//! A turn of the loop: what came in over WebSockets and SIP, and whose time has come.

use super::agent::News;
use super::call::{Role, Stage};
use super::client::{self, Event, Said};
use super::sdp::Described;
use super::{Calls, HOUSEKEEPING};
use crate::engine::now;
use std::cmp::Reverse;
use std::io;
use std::time::Duration;

/// How long one turn may read WebSockets, in nanoseconds: packets must leave in time meanwhile.
const BUDGET: u64 = 500_000;

impl Calls {
    /// Does what can be done now, and sleeps until the engine's next tick.
    pub fn turn(&mut self) -> io::Result<()> {
        self.engine.pass()?;
        self.signalling()?;
        while let Some(other) = self.engine.poll_other() {
            if other.port == self.agent_port {
                let news = self.agent.on_datagram(other.at, other.from, &other.data);
                self.on_news(other.at, news);
            } else {
                self.on_transport(&other);
            }
        }
        let now = now();
        while let Some(Reverse((at, place))) = self.wakes.peek().copied() {
            if at > now {
                break;
            }
            self.wakes.pop();
            if self.table[place].as_ref().is_some_and(|call| call.wake == at) {
                self.on_wake(now, place);
            }
        }
        if now > self.cleaned + HOUSEKEEPING {
            self.cleaned = now;
            for news in self.agent.on_time(now) {
                self.on_news(now, Some(news));
            }
        }
        self.flush_agent();
        self.engine.rest();
        Ok(())
    }

    fn flush_agent(&mut self) {
        for (to, data) in self.agent.take_out() {
            self.engine.send(self.agent_port, std::net::Ipv4Addr::UNSPECIFIED, to, &data);
        }
    }

    fn signalling(&mut self) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            result => result?,
        }
        self.ready.extend(self.events.iter().map(|event| event.token().0));
        let end = now() + BUDGET;
        while let Some(place) = self.ready.pop_front() {
            self.clients[place].on_ready(&mut self.buffer[..]);
            while let Some(said) = self.clients[place].poll(now()) {
                self.on_said(place, said);
            }
            if now() > end {
                break;
            }
        }
        Ok(())
    }

    fn on_said(&mut self, place: usize, said: Said) {
        match said {
            Said::In { after, resumed } => {
                self.last_sign_in = now();
                self.tally.sign_in.saturating_record(after);
                self.tally.sessions += u64::from(!resumed);
                self.tally.resumed += u64::from(resumed);
                if self.clients[place].call.is_none() {
                    self.idle.push_back(place);
                }
            }
            Said::Gone(why) => {
                self.idle.retain(|other| *other != place);
                match self.clients[place].call {
                    Some(call) => self.fail(call, &format!("connection: {why}")),
                    None => self.tally.fail(&format!("connection: {why}")),
                }
            }
            Said::Event(event) => self.on_event(place, &event),
        }
    }

    fn on_event(&mut self, client: usize, event: &Event) {
        let now = now();
        let call = self.clients[client].call.filter(|place| {
            let number = self.table[*place].as_ref().map(|call| call.number);
            event.call.is_none() || event.call == number.map(|number| format!("c{number}"))
        });
        match (event.kind.as_str(), call) {
            ("ok" | "ringing" | "quality", _) => {}
            ("media", Some(place)) => self.on_answer_sdp(now, place, event.sdp.as_deref().unwrap_or("")),
            ("answered", Some(place)) => {
                if let Some(call) = self.table[place].as_mut() {
                    call.answered = Some(now);
                    self.tally.answered.saturating_record(now - call.dialled);
                }
                self.join(place);
            }
            ("ended", Some(place)) => {
                let ending = self.table[place].as_ref().is_some_and(|call| call.stage == Stage::Ending);
                if ending {
                    self.tally.ended += 1;
                    self.release(place);
                } else {
                    self.fail(place, &format!("ended: {}", event.reason.as_deref().unwrap_or("")));
                }
            }
            ("error", Some(place)) => {
                self.fail(place, &format!("error: {}", event.error.as_deref().unwrap_or("")));
            }
            ("closed", _) => {
                self.clients[client].stage = client::Stage::Gone;
                self.idle.retain(|other| *other != client);
                self.tally.fail(&format!("closed: {}", event.reason.as_deref().unwrap_or("")));
            }
            (kind, _) => self.tally.wonder(kind),
        }
    }

    fn on_answer_sdp(&mut self, now: u64, place: usize, sdp: &str) {
        let described = Described::read(sdp);
        let Some(call) = self.table[place].as_mut() else { return };
        if call.ice.remote().is_some() {
            return;
        }
        call.fingerprint.clone_from(&described.fingerprint);
        if call.ice.describe(now, &described) {
            if call.role == Role::Signal {
                call.ice.rest();
            }
            self.on_wake(now, place);
        } else {
            self.fail(place, "answer without ICE");
        }
    }

    fn on_news(&mut self, now: u64, news: Option<News>) {
        match news {
            Some(News::Invited { user, call_id, media }) => {
                let place = user.parse::<u64>().ok().and_then(|number| self.by_number.get(&number).copied());
                let Some(call) = place.and_then(|place| self.table[place].as_mut()) else {
                    return self.tally.wonder("INVITE for nobody");
                };
                call.invited = Some(now);
                call.far = Some(media);
                call.dialog = Some(call_id.clone());
                self.tally.invite.saturating_record(now.saturating_sub(call.dialled));
                let public = call.rtp.public;
                self.by_call_id.insert(call_id.clone(), place.unwrap_or_default());
                self.agent.accept(now, &call_id, public);
            }
            Some(News::Acknowledged(call_id)) => {
                let Some(place) = self.by_call_id.get(&call_id).copied() else { return };
                if let Some(call) = self.table[place].as_mut() {
                    call.acknowledged = true;
                }
                self.join(place);
            }
            Some(News::Unacknowledged(call_id)) => {
                if let Some(place) = self.by_call_id.get(&call_id).copied() {
                    self.fail(place, "no ACK");
                }
            }
            Some(News::Over(_)) | None => {}
        }
    }

    /// A call's time has come.
    pub(super) fn on_wake(&mut self, now: u64, place: usize) {
        let Some(call) = self.table[place].as_mut() else { return };
        call.wake = 0;
        if now >= call.deadline {
            match call.stage {
                Stage::SettingUp => {
                    let missing = call.missing();
                    return self.fail(place, missing);
                }
                Stage::Ending => return self.fail(place, "no end after hangup"),
                Stage::Draining => self.say_hangup(place),
                Stage::Talking => {}
            }
        }
        self.check(now, place);
        self.watch(now, place);
        self.settle(place);
    }

    /// A call failed: it is counted once, and ended where the gateway still has it.
    pub(super) fn fail(&mut self, place: usize, why: &str) {
        let Some(call) = self.table[place].as_ref() else { return };
        self.tally.fail(why);
        let (stage, client) = (call.stage, call.client);
        let number = call.number;
        if stage != Stage::Ending && !why.starts_with("ended") {
            self.clients[client].request(serde_json::json!({"type": "hangup", "call": format!("c{number}")}));
        }
        self.release(place);
    }
}
