//! The phones that are registered through us: by the token in our contact, by their own, and by their flow.

use super::super::strikes::Strikes;
use super::super::transaction::keys;
use super::super::{Flow, Transport};
use super::Phones;
use super::guard::Guard;
use super::register::{AskKey, Asking};
use crate::base::{FlowId, Key, Map, Now, Random, ShardId, Slab, TimerId, Wheel};
use crate::leg::{self, Account};
use crate::sip::leg::LegKey;
use std::time::Instant;

keys! {
    /// A phone.
    PhoneKey;
}

impl PhoneKey {
    /// As the call machine knows it.
    pub fn number(self) -> u64 {
        u64::from(self.shard().0) << 56
            | u64::from(self.generation() & 0xff_ffff) << 32
            | u64::from(self.slot())
    }

    /// What [`Self::number`] gave.
    pub fn from_number(number: u64) -> PhoneKey {
        PhoneKey::new(ShardId((number >> 56) as u8), (number >> 32) as u32 & 0xff_ffff, number as u32)
    }
}

/// What is known of a phone.
#[derive(Debug)]
pub(in crate::sip) struct Binding {
    /// User part of our contact, by which the server reaches it.
    pub token: Box<str>,
    /// Its place in `by_name`.
    pub name: Box<str>,
    /// Address of record: `user@domain`, the domain in lower case.
    pub record: String,
    /// Its own contact's URI.
    pub contact: String,
    /// That contact's parameters which are the server's business.
    pub params: String,
    pub flow: Flow,
    /// The Call-ID of its REGISTER.
    pub call_id: String,
    /// The user whose secret we hold.
    pub account: Option<Account>,
    /// Our Call-ID and From tag towards the server.
    pub upstream: (String, String),
    pub state: State,
    /// Until when the server holds our contact, and for how many seconds it said so.
    pub until: Instant,
    pub granted: u32,
    /// Until when the phone must come back.
    pub lapse: Instant,
    /// The server took the registration without credentials: we may end it without any.
    pub open: bool,
    timer: Option<TimerId>,
}

/// How a phone is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sip) enum State {
    /// The server has not said yes.
    New,
    /// Registered.
    Bound,
    /// Gone without a word, while the server still holds our contact.
    Lost,
}

/// All phones of a shard.
#[derive(Debug)]
pub(in crate::sip) struct Table {
    bindings: Slab<PhoneKey, Binding>,
    by_token: Map<Box<str>, PhoneKey>,
    by_name: Map<Box<str>, PhoneKey>,
    by_flow: Map<Flow, Vec<PhoneKey>>,
    wheel: Wheel<PhoneKey>,
    /// REGISTERs that wait for the server.
    pub asking: Slab<AskKey, Asking>,
    /// Phones' INVITEs that were challenged, by Call-ID and From tag.
    pub challenged: Map<Box<str>, LegKey>,
    pub strikes: Strikes,
    pub guard: Guard,
    /// CSeq of our REGISTERs: rises over all of them.
    pub cseq: u32,
}

/// A flow as it is the same for every shard: a UDP socket with the far address.
pub(in crate::sip) fn way(flow: &Flow) -> Flow {
    match flow.transport {
        Transport::Udp => Flow { id: FlowId::from_bits(0), ..*flow },
        _ => *flow,
    }
}

impl Table {
    pub fn new(shard: ShardId, config: Option<&Phones>, random: &mut Random) -> Table {
        let most = config.map_or(0, |config| config.most);
        Table {
            bindings: Slab::new(shard, most),
            by_token: Map::default(),
            by_name: Map::default(),
            by_flow: Map::default(),
            wheel: Wheel::default(),
            asking: Slab::new(shard, most),
            challenged: Map::default(),
            strikes: Strikes::default(),
            guard: Guard::new(random),
            cseq: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.bindings.len()
    }

    pub fn get(&self, key: PhoneKey) -> Option<&Binding> {
        self.bindings.get(key)
    }

    pub fn get_mut(&mut self, key: PhoneKey) -> Option<&mut Binding> {
        self.bindings.get_mut(key)
    }

    /// The phone whose contact, as we registered it, has this user part.
    pub fn of_token(&self, token: &str) -> Option<PhoneKey> {
        self.by_token.get(token).copied()
    }

    pub fn of_name(&self, name: &str) -> Option<PhoneKey> {
        self.by_name.get(name).copied()
    }

    /// The phones that are registered by this flow.
    pub fn on_flow(&self, flow: &Flow) -> impl Iterator<Item = (PhoneKey, &Binding)> {
        let keys = self.by_flow.get(&way(flow)).into_iter().flatten();
        keys.filter_map(|key| Some((*key, self.bindings.get(*key)?)))
            .filter(|(_, binding)| binding.state == State::Bound)
    }

    /// A new phone; `None` where there are too many.
    pub fn insert(&mut self, binding: Binding) -> Option<PhoneKey> {
        let (token, name, flow) = (binding.token.clone(), binding.name.clone(), way(&binding.flow));
        let key = self.bindings.insert(binding).ok()?;
        self.by_token.insert(token, key);
        self.by_name.insert(name, key);
        self.by_flow.entry(flow).or_default().push(key);
        Some(key)
    }

    pub fn remove(&mut self, key: PhoneKey) {
        self.arm(key, None);
        self.leave_flow(key);
        if let Some(binding) = self.bindings.remove(key) {
            self.by_token.remove(&binding.token);
            self.by_name.remove(&binding.name);
        }
    }

    /// The phone is on this flow from now on. True where that is another than before.
    pub fn move_to(&mut self, key: PhoneKey, flow: Flow) -> bool {
        self.leave_flow(key);
        self.by_flow.entry(way(&flow)).or_default().push(key);
        let Some(binding) = self.bindings.get_mut(key) else { return false };
        way(&std::mem::replace(&mut binding.flow, flow)) != way(&flow)
    }

    /// The phone is on no flow any more.
    pub fn leave_flow(&mut self, key: PhoneKey) {
        let Some(flow) = self.bindings.get(key).map(|binding| way(&binding.flow)) else { return };
        if let Some(keys) = self.by_flow.get_mut(&flow) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_flow.remove(&flow);
            }
        }
    }

    pub fn arm(&mut self, key: PhoneKey, at: Option<Instant>) {
        let Some(binding) = self.bindings.get_mut(key) else { return };
        if let Some(timer) = binding.timer.take() {
            self.wheel.cancel(timer);
        }
        binding.timer = at.map(|at| self.wheel.insert(at, key));
    }

    pub fn expire(&mut self, now: Now) -> Option<PhoneKey> {
        let key = self.wheel.expire(now.instant)?;
        if let Some(binding) = self.bindings.get_mut(key) {
            binding.timer = None;
        }
        Some(key)
    }

    pub fn next(&self) -> Option<Instant> {
        self.wheel.next()
    }

    pub fn check_invariants(&self) {
        assert_eq!(self.by_token.len(), self.bindings.len());
        assert_eq!(self.by_name.len(), self.bindings.len());
        for (key, binding) in self.bindings.iter() {
            assert_eq!(self.by_token.get(&binding.token), Some(&key));
            assert_eq!(self.by_name.get(&binding.name), Some(&key));
            let there = self.by_flow.get(&way(&binding.flow)).is_some_and(|keys| keys.contains(&key));
            assert_eq!(there, binding.state != State::Lost);
            assert!(binding.timer.is_some() || binding.state == State::New, "nobody looks at a phone again");
        }
    }
}

impl Binding {
    /// A phone that asks to be registered, on this flow.
    pub fn new(now: Now, (token, name): (Box<str>, Box<str>), flow: Flow, random: &mut Random) -> Binding {
        Binding {
            token,
            name,
            record: String::new(),
            contact: String::new(),
            params: String::new(),
            flow,
            call_id: String::new(),
            account: None,
            upstream: (random.token(24), random.token(16)),
            state: State::New,
            until: now.instant,
            granted: 0,
            lapse: now.instant,
            open: false,
            timer: None,
        }
    }

    /// As the call machine knows it.
    pub fn word(&self, key: PhoneKey, trunk: leg::TrunkId) -> leg::Phone {
        let web = matches!(self.flow.transport, Transport::Ws | Transport::Wss);
        leg::Phone { id: key.number(), trunk, web }
    }
}
