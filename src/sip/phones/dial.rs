//! Calls to phones: down the flow that they are registered by.

use super::super::leg::{Able, Calling, Change, Leg, State, TICKS, Tick, Way};
use super::super::session_id::Names;
use super::super::session_timer::Clock;
use super::super::{Hop, Stack, digest, home, policy, uac};
use super::table::{PhoneKey, State as BindingState};
use super::{Line, nat};
use crate::base::Now;
use crate::leg::{Callee, Cause, Dial, Event, Party, Phone, TrunkId};
use crate::sip::inform::Words;
use sip_codec::{Address, Host, Uri};

impl Stack {
    /// The phone whose contact a trunk calls. `None`: there is none, or no way to it any more.
    pub(in crate::sip) fn called_phone(&self, trunk: TrunkId, token: &str) -> Option<Callee> {
        let phones = self.config.phones.as_ref().filter(|phones| phones.trunk == trunk)?;
        let key = self.phones.of_token(token)?;
        let binding = self.phones.get(key).filter(|binding| binding.state == BindingState::Bound)?;
        let (user, host) = binding.record.split_once('@')?;
        let party = Party {
            user: sip_codec::unescape(user).unwrap_or_default().into_owned(),
            host: host.to_owned(),
            display: String::new(),
        };
        Some(Callee::Phone { phone: binding.word(key, phones.trunk), party })
    }

    pub(in crate::sip) fn dial_phone(&mut self, now: Now, dial: &Dial, phone: Phone) -> Result<(), Cause> {
        let config = self.config.clone();
        let key = PhoneKey::from_number(phone.id);
        let binding = self.phones.get(key).filter(|binding| binding.state == BindingState::Bound);
        let binding = binding.ok_or(Cause::NoAnswer)?;
        let (uri, flow) = (binding.contact.clone(), binding.flow);
        let record = format!("sip:{}", binding.record);
        let (held, trunk) = (binding.account.is_some(), config.trunks.get(usize::from(phone.trunk.0)));
        let trunk = trunk.ok_or(Cause::NotFound)?;
        let (ring, domain) = (trunk.ring, trunk.domain.clone());
        let tag = home::tag(self.shard, &mut self.random);
        let listener = self.listener(flow.realm).ok_or(Cause::Unreachable)?;
        let contact = listener.contact(&tag, flow.transport, uri.starts_with("sips:"));
        let to = Address { display: "", uri: &record, tag: None }.to_string();
        let data = policy::allowed(&config.attach, &dial.data);
        // A phone is no part of a network that may know what the caller hides (RFC 3323).
        let hidden = dial.carried.privacy.hides_caller();
        let caller = if hidden { Party::default() } else { dial.caller.clone() };
        let near = dial.carried.session.unwrap_or_else(|| self.new_session_id());
        let hop = Hop { transport: flow.transport, address: flow.remote, name: None };
        let rest = std::collections::VecDeque::new();
        let way = Way { hop, rest, brief: false, answered: false, heard: false, user: tag.clone() };
        let calling = Calling { to, ..self.calling(dial, trunk, uri, (data, way)) };
        let leg = Leg {
            id: dial.leg,
            known: true,
            outbound: true,
            trunk: phone.trunk,
            credentials: None,
            keys: digest::Keys::default(),
            flow,
            call_id: self.random.token(24),
            local: format!("{};tag={tag}", uac::address(&caller, &domain)),
            local_tag: tag.into(),
            names: Names { far: None, near: Some(near) },
            why: None,
            contact,
            dialogs: Vec::new(),
            main: 0,
            state: State::Calling(calling),
            change: Change::Idle,
            able: Able::default(),
            clock: Clock::default(),
            refer: super::super::refer::Refer::default(),
            words: Words::default(),
            open: 0,
            timers: [None; TICKS],
            line: Some(Box::new(Line { phone: Some(key), held, ..Line::default() })),
        };
        if self.by_id.contains_key(&leg.id) {
            return Err(Cause::Failed);
        }
        let key = self.insert(leg).ok_or(Cause::Overloaded)?;
        self.link(key, dial.with);
        self.arm(now, key, Tick::Ring, ring);
        if let Err(cause) = self.send_invite(now, key, false) {
            self.finish(key, Some(cause.into()));
        }
        Ok(())
    }

    /// Puts right what a phone behind a NAT says of where it hears media.
    pub(in crate::sip) fn mend(&self, event: &mut Event) {
        let leg = self.by_id.get(&event.leg()).and_then(|key| self.legs.get(*key));
        let Some((leg, phone)) = leg.and_then(|leg| Some((leg, leg.phone()?))) else { return };
        let contact = self.phones.get(phone).and_then(|binding| Uri::parse(&binding.contact).ok());
        let said = contact.and_then(|uri| uri.host).and_then(Host::ip);
        let source = leg.flow.remote.ip().to_canonical();
        // One that knows its own address is trusted with that of its media.
        if said.is_none_or(|said| said.to_canonical() == source) {
            return;
        }
        let session = match event {
            Event::Incoming(incoming) => incoming.offer.as_mut(),
            Event::Progress { answer, .. } | Event::Answered { answer, .. } => answer.as_mut(),
            Event::Offered { offer, .. } => offer.as_mut(),
            Event::Accepted { answer, .. } => Some(answer),
            _ => None,
        };
        if let Some(session) = session {
            nat::mend(session, source);
        }
    }
}
