//! Turns one room's output into another's input until all are quiet.

use super::core::{Core, Output};
use super::mail::Mail;
use super::trace::Way;
use crate::base::{Key, Machine, Now, ShardId, Side};
use crate::{call, leg, media, signal, sip, webrtc};

impl Core {
    /// Passes outputs on until no room has any, or the pass has had its share; the rest goes on in the next pass.
    pub(super) fn settle(&mut self, now: Now) {
        if self.pass != now.instant {
            self.allow(now);
        }
        while self.turns > 0 {
            if !self.turn(now) {
                self.unsettled = None;
                return;
            }
            self.turns -= 1;
        }
        if self.unsettled.is_none() {
            self.counters.unsettled += 1;
            self.unsettled = Some(now.instant);
        }
    }

    /// A pass begins: the switchboard has its share of it anew.
    pub(super) fn allow(&mut self, now: Now) {
        self.pass = now.instant;
        self.turns = self.config.caps.turns.max(1);
    }

    /// Passes one output on; false where all are quiet. What frees a caller from waiting comes first.
    fn turn(&mut self, now: Now) -> bool {
        if let Some(output) = self.plane.poll_output() {
            self.on_media(now, output);
        } else if let Some(output) = self.peers.poll_output() {
            self.on_web(now, output);
        } else if let Some(output) = self.calls.poll_output() {
            self.on_call(now, output);
        } else if let Some(output) = self.stack.poll_output() {
            self.on_stack(now, output);
        } else if let Some(output) = self.hub.poll_output() {
            self.on_hub(now, output);
        } else if let Some(output) = self.scout.as_mut().and_then(Machine::poll_output) {
            self.on_scout(now, output);
        } else {
            return false;
        }
        true
    }

    pub(super) fn on_media(&mut self, now: Now, output: media::Output) {
        match output {
            media::Output::Event(event) => {
                self.tap_media(now, &event);
                self.calls.handle_input(now, call::Input::Media(event));
            }
            media::Output::Bind { realm, port, shared } => {
                self.outputs.push_back(Output::Bind { realm, port, shared });
            }
            media::Output::Unbind { socket } => self.outputs.push_back(Output::Unbind { socket }),
            media::Output::Send { socket, to, data } => {
                let socket = self.web_socket(socket, to);
                self.outputs.push_back(Output::Send { socket, to, data });
            }
        }
    }

    fn on_web(&mut self, now: Now, output: webrtc::Output) {
        match output {
            webrtc::Output::Event(event) => {
                self.tap_web(now, &event);
                self.calls.handle_input(now, call::Input::Web(event));
            }
            webrtc::Output::Send { from_local, to, data } => {
                let place = self.places.web.iter().find(|place| place.local == from_local);
                let Some(socket) = place.map(|place| place.socket) else {
                    self.counters.unroutable += 1;
                    return;
                };
                self.learn_path(to, socket);
                self.outputs.push_back(Output::Send { socket, to, data });
            }
        }
    }

    fn on_call(&mut self, now: Now, output: call::Output) {
        match output {
            call::Output::Leg(command) => self.on_command(now, command),
            call::Output::Web(command) => self.peers.handle_input(now, webrtc::Input::Command(command)),
            call::Output::Media(command) => {
                self.tap_plane(now, &command);
                self.plane.handle_command(now, command);
            }
            call::Output::Record(mut record) => {
                // The last numbers, until the legs' media sides are closed by the next commands.
                record.quality = [Some(record.incoming), record.outgoing].map(|leg| self.quality(leg?));
                self.tally.end(now, &record);
                self.traces.end(&record);
                self.outputs.push_back(Output::Record(record));
            }
        }
    }

    fn quality(&self, leg: leg::LegId) -> Option<Box<leg::Quality>> {
        self.plane.stats(leg).map(|stats| Box::new(stats.quality()))
    }

    fn on_command(&mut self, now: Now, command: leg::Command) {
        if let leg::Command::End { leg, .. } = command
            && leg.side() == Side::Web
            && let Some(quality) = self.quality(leg)
        {
            let last = leg::Command::Quality { leg, quality, sound: None };
            self.hub.handle_input(now, signal::Input::Command(last));
        }
        self.tap_command(now, &command);
        let leg = command.leg();
        let dials = matches!(command, leg::Command::Dial(_));
        match leg.side() {
            Side::Sip => {
                self.stack.handle_input(now, sip::Input::Command(command));
                if dials {
                    self.tap_dialled(leg);
                }
            }
            Side::Web => self.hub.handle_input(now, signal::Input::Command(command)),
        }
    }

    /// A leg speaks.
    fn on_leg(&mut self, now: Now, event: leg::Event) {
        self.tap_event(now, &event);
        let new = matches!(event, leg::Event::Incoming(_)).then(|| event.leg());
        self.calls.handle_input(now, call::Input::Leg(event));
        if let Some(leg) = new {
            self.tap_call(leg);
        }
    }

    fn on_stack(&mut self, now: Now, output: sip::Output) {
        match output {
            sip::Output::Event(event) => self.on_leg(now, event),
            sip::Output::Strikes { source, count } => {
                let to = leg::home_of(source.to_string().as_bytes(), self.shards);
                if to == self.shard {
                    self.stack.handle_input(now, sip::Input::Strikes { source, count });
                } else {
                    self.outputs.push_back(Output::Mail { to, mail: Mail::Strikes { source, count } });
                }
            }
            sip::Output::Ban { source } => {
                let others = (0..self.shards).map(ShardId).filter(|other| *other != self.shard);
                let mail = others.map(|to| Output::Mail { to, mail: Mail::Ban { source } });
                self.outputs.extend(mail);
            }
            sip::Output::Paged { receipt, outcome } => {
                self.hub.handle_input(now, signal::Input::Paged { receipt, outcome });
            }
            sip::Output::Page { page, receipt } => {
                let taken = self.hub.is_there(&page.account);
                if taken {
                    self.hub.handle_input(now, signal::Input::Page(page));
                }
                self.stack.handle_input(now, sip::Input::Taken { receipt, taken });
            }
            sip::Output::Watched { number, news } => {
                self.hub.handle_input(now, signal::Input::Watched { number, news });
            }
            sip::Output::Waiting { account, kind, text } => {
                self.hub.handle_input(now, signal::Input::Waiting { account, kind, text });
            }
            sip::Output::Suspect { trunk, hop, wait } => self.suspect(now, trunk, hop, wait),
            sip::Output::Locate(target) => self.seek(now, target),
            sip::Output::Probed { number, code } => self.probed(now, number, code),
            sip::Output::Registered { account, trunk, state } => {
                self.tally.registered(now, trunk, state);
                self.hub.handle_input(now, signal::Input::Registered { account, state });
            }
            sip::Output::Connect { flow, name, trunk } => self.connect(now, flow, name, trunk),
            sip::Output::Send { flow, data } => {
                self.traces.sip(now, Way::Out, flow.remote, &data);
                if flow.transport.is_stream() {
                    return self.send_by_flow(now, self.shard, flow, data);
                }
                // Whichever shard's listener brought it, ours of the same realm has the same address.
                let place = self.places.sip.iter().find(|place| place.realm == flow.realm);
                match place {
                    Some(place) => {
                        self.outputs.push_back(Output::Send { socket: place.socket, to: flow.remote, data });
                    }
                    None => self.counters.unroutable += 1,
                }
            }
        }
    }

    fn on_hub(&mut self, now: Now, output: signal::Output) {
        match output {
            signal::Output::Event(event) => self.on_leg(now, event),
            signal::Output::Send { flow, text } if flow.shard() == self.shard => {
                self.send_text(now, flow, &text);
            }
            signal::Output::Send { flow, text } => {
                self.outputs.push_back(Output::Mail { to: flow.shard(), mail: Mail::Write { flow, text } });
            }
            signal::Output::Close { flow } if flow.shard() == self.shard => self.close_connection(now, flow),
            signal::Output::Close { flow } => {
                self.outputs.push_back(Output::Mail { to: flow.shard(), mail: Mail::Close { flow } });
            }
            signal::Output::Move { flow, to, source, text } => self.move_text(flow, to, source, text),
            signal::Output::Respond { exchange, status, body } if exchange.flow.shard() == self.shard => {
                self.respond(now, exchange, status, body);
            }
            signal::Output::Respond { exchange, status, body } => {
                let mail = Mail::Respond { exchange, status, body };
                self.outputs.push_back(Output::Mail { to: exchange.flow.shard(), mail });
            }
            signal::Output::Forward { to, ask } => self.forward(to, ask),
            signal::Output::Register(account, identity) => self.register(now, account, identity.as_deref()),
            signal::Output::Page { page, identity, receipt } => {
                self.page(now, page, identity, receipt);
            }
            signal::Output::Watch { watch, identity, number } => {
                if let Some(trunk) = self.home_trunk(&watch.account, identity.as_deref()) {
                    let input = sip::Input::Watch { watch, identity, trunk, number };
                    self.stack.handle_input(now, input);
                } else {
                    let news = leg::News::Over("not_found");
                    self.hub.handle_input(now, signal::Input::Watched { number, news });
                }
            }
            signal::Output::Unwatch { number } => {
                self.stack.handle_input(now, sip::Input::Unwatch(number));
            }
            signal::Output::Unregister(account) => {
                self.stack.handle_input(now, sip::Input::Unregister(account));
            }
        }
    }

    fn register(&mut self, now: Now, account: leg::Account, identity: Option<&leg::Identity>) {
        let known = || self.config.sip.accounts.get(&account).cloned();
        let told = identity.map(|identity| sip::Registration::of(account.clone(), identity));
        if let Some(registration) = told.or_else(known) {
            self.stack.handle_input(now, sip::Input::Register(registration));
            return;
        }
        self.counters.unregistrable += 1;
        let state = Err(leg::Reason::from(leg::Cause::NotFound));
        self.hub.handle_input(now, signal::Input::Registered { account, state });
    }

    /// The SIP server of a browser user.
    fn home_trunk(&self, account: &leg::Account, identity: Option<&leg::Identity>) -> Option<leg::TrunkId> {
        let told = identity.map(|identity| identity.trunk);
        let known = || self.config.sip.accounts.get(account).map(|known| known.trunk);
        told.or_else(known).or(self.config.call.default_trunk)
    }

    /// A browser user sends a text: to its own SIP server, which knows the way.
    fn page(
        &mut self,
        now: Now,
        page: leg::Page,
        identity: Option<std::sync::Arc<leg::Identity>>,
        receipt: u64,
    ) {
        if let Some(trunk) = self.home_trunk(&page.account, identity.as_deref()) {
            self.stack.handle_input(now, sip::Input::Page { page, identity, trunk, receipt });
            return;
        }
        let outcome = Err(leg::Reason::from(leg::Cause::NotFound));
        self.hub.handle_input(now, signal::Input::Paged { receipt, outcome });
    }

    /// Another shard tells something.
    pub fn mail(&mut self, now: Now, from: ShardId, mail: Mail) {
        match mail {
            Mail::Sip { flow, data } => {
                self.traces.sip(now, Way::In, flow.remote, &data);
                self.stack.handle_input(now, sip::Input::Message { flow, data: &data });
            }
            Mail::Strikes { source, count } => {
                self.stack.handle_input(now, sip::Input::Strikes { source, count });
            }
            Mail::Ban { source } => self.stack.handle_input(now, sip::Input::Banned { source }),
            Mail::Send { flow, data } => self.send_by_flow(now, from, flow, data),
            Mail::Failed { flow } => self.stack.handle_input(now, sip::Input::Failed { flow }),
            Mail::Refused { quoted } => {
                self.stack.handle_input(now, sip::Input::Refused { quoted: &quoted });
            }
            Mail::Moved { flow, source, text } if flow.shard() == from => {
                self.hub.handle_input(now, signal::Input::Opened { flow, source });
                self.hub.handle_input(now, signal::Input::Message { flow, text: &text });
            }
            Mail::Text { flow, text } if flow.shard() == from => {
                self.hub.handle_input(now, signal::Input::Message { flow, text: &text });
            }
            Mail::Closed { flow } if flow.shard() == from => {
                self.hub.handle_input(now, signal::Input::Closed { flow });
            }
            Mail::Asked(ask) if ask.exchange.flow.shard() == from => {
                self.hub.handle_input(now, signal::Input::Asked(*ask));
            }
            Mail::Abandoned { exchange } if exchange.flow.shard() == from => {
                self.hub.handle_input(now, signal::Input::Abandoned(exchange));
            }
            mail @ (Mail::Suspect { .. }
            | Mail::Locate { .. }
            | Mail::Located { .. }
            | Mail::Servers { .. }) => {
                self.locating_mail(now, from, mail);
            }
            Mail::Respond { exchange, status, body } => self.respond(now, exchange, status, body),
            Mail::Write { flow, text } => self.send_text(now, flow, &text),
            Mail::Close { flow } => self.close_connection(now, flow),
            Mail::Moved { .. }
            | Mail::Text { .. }
            | Mail::Closed { .. }
            | Mail::Asked(_)
            | Mail::Abandoned { .. } => {
                debug_assert!(false, "mail about a third shard's flow");
            }
        }
        self.settle(now);
    }
}
