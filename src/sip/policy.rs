//! What the operator says of a trunk beside how it is reached: what it is believed and told, what it may send.

use super::identity::{Asserting, Known, Telling, Trust};
use super::inbound::Request;
use super::reason::Reasons;
use super::rules::{self, Left, Rule};
use super::write::ALLOW;
use super::{Stack, Trunk};
use crate::leg::{Attach, Carried, Data, Dial, Party, TrunkId};
use sip_codec::{Message, Method, Name};

/// The policy toward a trunk.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whose word about callers counts.
    pub trust: Trust,
    /// By which header it is told who calls, where it is trusted.
    pub asserting: Asserting,
    /// What goes across of headers.
    pub rules: Vec<Rule>,
    /// What its codes mean.
    pub reasons: Reasons,
    /// The methods that it may send, beside ACK, BYE, CANCEL, PRACK and UPDATE, of which calls are made; all that we do
    /// where empty.
    pub methods: Vec<String>,
    /// The longest body that it may send, in bytes.
    pub max_body: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            trust: Trust::default(),
            asserting: Asserting::default(),
            rules: Vec::new(),
            reasons: Reasons::default(),
            methods: Vec::new(),
            max_body: sip_codec::MAX_SIZE,
        }
    }
}

/// Where a caller is: a header that points to a part of the body, or to a server.
const GEOLOCATION: Name<'static> = Name::Other("Geolocation");

/// What goes out with an INVITE beside what every INVITE has.
pub(super) struct Dressed {
    /// Who From says that it is.
    pub caller: Party,
    pub headers: Data,
}

impl Stack {
    pub(super) fn trunk_policy(&self, trunk: TrunkId) -> Option<&Policy> {
        self.config.trunks.get(usize::from(trunk.0)).map(|trunk| &trunk.policy)
    }

    fn count_left(&mut self, left: Left) {
        self.counters.headers_refused += left.refused;
        self.counters.headers_hidden += left.hidden;
    }

    /// Takes up what of an INVITE goes across beside its body and attached data. Who is no trunk but a phone is never
    /// believed. False: it demands a privacy that we don't have.
    pub(super) fn carry(
        &mut self,
        message: &Message<'_>,
        trunk: Option<TrunkId>,
        carried: &mut Carried,
    ) -> bool {
        let config = self.config.clone();
        let trunk = trunk.and_then(|trunk| config.trunks.get(usize::from(trunk.0)));
        let (trust, rules) =
            trunk.map_or((Trust::default(), &[][..]), |trunk| (trunk.policy.trust, &trunk.policy.rules[..]));
        let Some(Known { asserted, privacy, past }) = Known::read(message, trust) else { return false };
        let attached = |name: &str| config.attach.allows(name);
        let (headers, left) = rules::on_way_in(rules, message, attached);
        self.count_left(left);
        carried.headers = headers;
        self.rename_location(carried);
        let looked_at =
            |name: &str| config.watched.iter().any(|watched| Name::parse(watched) == Name::parse(name));
        let lines = message.iter().filter(|line| looked_at(line.name.as_str()));
        let seen = lines.map(|line| (line.name.as_str().to_owned(), rules::unfolded(line.value)));
        let seen: Data = seen.take(rules::MOST_LINES).collect();
        (carried.asserted, carried.privacy, carried.past) = (asserted, privacy, past);
        carried.seen = seen;
        true
    }

    /// Gives parts of the body names of our own, and the headers that point to them (RFC 6442 section 4.1): theirs tell
    /// which host made them.
    fn rename_location(&mut self, carried: &mut Carried) {
        for part in carried.parts.iter_mut().filter(|part| !part.id.is_empty()) {
            let old = part.id.trim_matches(['<', '>', ' ']).to_owned();
            let new = format!("{}@anonymous.invalid", self.random.token(12));
            part.id = format!("<{new}>");
            let pointing = carried.headers.iter_mut().filter(|(name, _)| Name::parse(name) == GEOLOCATION);
            for (_, value) in pointing {
                *value = value.replace(&format!("cid:{old}>"), &format!("cid:{new}>"));
            }
        }
    }

    /// How an INVITE to a trunk names its caller, and the headers that go with it. `own`: the browser user's own name
    /// there.
    pub(super) fn dress(&mut self, dial: &Dial, trunk: &Trunk, own: Option<&str>) -> Dressed {
        let Policy { trust, asserting, rules, .. } = &trunk.policy;
        let carried = &dial.carried;
        // The SIP server knows the user by the name that it has there, unless the operator's route says otherwise.
        let user = carried.presented.as_deref().or(own).unwrap_or(&dial.caller.user);
        let caller = Party { user: user.to_owned(), ..dial.caller.clone() };
        let asserted = dial.account.as_ref().map(|_| own.unwrap_or(&dial.caller.user));
        let named = asserted.map(|user| {
            let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect();
            Party { user: clean(user), host: String::new(), display: clean(&dial.caller.display) }
        });
        let telling =
            Telling { trust: *trust, asserting: *asserting, domain: &trunk.domain, own: named.as_ref() };
        let mut headers = allowed(&self.config.attach, &dial.data);
        headers.extend(carried.headers.iter().filter(|(_, value)| rules::is_value(value)).cloned());
        let unnamed = carried.privacy.user && !carried.privacy.none;
        headers.retain(|(name, _)| !(unnamed && super::identity::names_caller(name)));
        let left = rules::on_way_out(rules, &mut headers);
        self.count_left(left);
        let identity = telling.headers(dial);
        headers.extend(identity.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)));
        let hidden = telling.hides_from(carried.privacy);
        Dressed { caller: if hidden { Party::default() } else { caller }, headers }
    }

    /// Refuses a request that a trunk may not send: its method is not among those allowed to it, or its body is too
    /// long.
    pub(super) fn is_barred(&mut self, request: &Request<'_, '_>, trunk: TrunkId) -> bool {
        let Some(policy) = self.trunk_policy(trunk) else { return false };
        let ends = matches!(request.method, Method::Ack | Method::Bye | Method::Cancel);
        // What a call is made of, whose Allow and 100rel we wrote ourselves.
        let carries = ends || matches!(request.method, Method::Prack | Method::Update);
        let method = request.method.as_str();
        // What ends a call is never refused.
        let long = !ends && request.message.body().len() > policy.max_body;
        if carries || policy.methods.is_empty() || policy.methods.iter().any(|known| known == method) {
            if long {
                self.counters.long_bodies += 1;
                self.refuse(request, 413, &[]);
            }
            return long;
        }
        let known = |method: &&str| {
            matches!(*method, "ACK" | "BYE" | "CANCEL" | "PRACK" | "UPDATE")
                || policy.methods.iter().any(|m| m == method)
        };
        let allow = ALLOW.split(", ").filter(known).collect::<Vec<_>>().join(", ");
        self.counters.barred_methods += 1;
        self.refuse(request, 405, &[(Name::Allow, &allow)]);
        true
    }
}

/// What of attached headers goes out: only what the operator lets through, whoever attached it.
pub(super) fn allowed(attach: &Attach, data: &Data) -> Data {
    let mut out = Data::new();
    for (name, value) in data {
        attach.add(&mut out, name, value);
    }
    out
}
