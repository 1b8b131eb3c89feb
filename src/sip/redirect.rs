//! Redirections (RFC 3261 sections 8.1.3.4 and 21.3): whom to call instead, as 300, 301 and 302 say. 305 and 380 name no
//! party, and are refusals.

use super::Stack;
use super::leg::{Leg, LegKey};
use crate::base::Now;
use crate::leg::{Event, Party, Reason};
use sip_codec::{Escaped, Host, Message, Name};

/// Contacts of one response that are looked at.
const MOST: usize = 10;

impl Stack {
    /// A 3xx to our INVITE.
    pub(super) fn on_redirected(&mut self, key: LegKey, message: &Message<'_>, code: u16) {
        let Some(leg) = self.legs.get(key) else { return };
        let (id, known) = (leg.id, leg.known);
        let to = self.named(leg, message);
        if to.is_empty() || !known {
            return self.finish(key, Some(Reason::from_code(code)));
        }
        self.finish(key, None);
        self.tell(Event::Redirected { leg: id, code, to });
    }

    /// The parties that a response names, best first (q, then the order of their lines).
    fn named(&self, leg: &Leg, message: &Message<'_>) -> Vec<Party> {
        let Some(trunk) = self.config.trunks.get(usize::from(leg.trunk.0)) else { return Vec::new() };
        let contacts = message.addresses(Name::Contact).take(MOST).filter_map(Result::ok);
        let mut named: Vec<(u16, Party)> = contacts
            .filter_map(|contact| {
                let uri = contact.uri().ok()?;
                let other = matches!(uri.scheme, sip_codec::Scheme::Other(_));
                let user = uri.user_text().filter(|user| !other && !user.is_empty())?;
                let own = match uri.host {
                    Some(Host::Ip(ip)) => self.is_source(leg.trunk, ip),
                    Some(host) => {
                        let domain = trunk.domain.rsplit_once(':').map_or(&*trunk.domain, |(host, _)| host);
                        host.to_string().eq_ignore_ascii_case(domain)
                    }
                    // A telephone number is at home anywhere.
                    None => true,
                };
                let host =
                    if own { String::new() } else { uri.host.map(|h| h.to_string()).unwrap_or_default() };
                let user = user.chars().filter(|c| !c.is_control()).collect();
                Some((contact.q().unwrap_or(1_000), Party { user, host, display: String::new() }))
            })
            .collect();
        named.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
        named.into_iter().map(|(_, party)| party).collect()
    }

    /// The caller shall call somebody else.
    pub(super) fn on_redirect(&mut self, now: Now, key: LegKey, code: u16, to: &[Party]) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let trunk = self.config.trunks.get(usize::from(leg.trunk.0));
        let domain = trunk.map(|trunk| trunk.domain.clone()).unwrap_or_default();
        let Some(server) = leg.ringing().map(|ringing| ringing.server) else { return };
        let contacts: Vec<String> = to
            .iter()
            .map(|party| {
                let host = if Host::parse(&party.host).is_some() { &party.host } else { &domain };
                format!("<sip:{}@{host}>", Escaped(&party.user))
            })
            .collect();
        let contacts = contacts.join(", ");
        self.respond(now, server, code, &[(Name::Contact, &contacts)], None);
        self.finish(key, None);
    }
}
