//! The registrar of a scripted server: digest, bindings, expiry.

use super::{NONCE, Phone};
use crate::message::{Read, wrong_digest};
use crate::net::Net;
use sip_codec::Name;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Who is registered where.
#[derive(Debug, Default)]
pub struct Registrar {
    /// Passwords by user.
    pub users: BTreeMap<String, String>,
    /// Contact and expiry by user.
    pub bindings: BTreeMap<String, (String, Instant)>,
}

impl Registrar {
    /// Where a user is to be called.
    pub fn contact(&self, now: Instant, user: &str) -> Option<String> {
        let (contact, until) = self.bindings.get(user)?;
        (*until > now).then(|| contact.clone())
    }
}

impl Phone {
    pub(super) fn on_register(&mut self, net: &mut Net, server: usize, read: &Read) {
        net.check(self.registrar.is_some(), || format!("REGISTER at {}", self.name));
        let user =
            read.to.split("sip:").nth(1).and_then(|rest| rest.split('@').next()).unwrap_or("").to_owned();
        let password = self.registrar.as_ref().and_then(|registrar| registrar.users.get(&user)).cloned();
        let Some(password) = password else {
            return self.answer(net, server, 404, "reg", &[], None);
        };
        if let Some(wrong) = wrong_digest(read, Name::Authorization, NONCE, &user, &password) {
            net.check(read.header(Name::Authorization).is_none(), || format!("REGISTER of {user}: {wrong}"));
            let challenge = format!("Digest realm=\"sim\", nonce=\"{NONCE}\", algorithm=MD5, qop=\"auth\"");
            return self.answer(net, server, 401, "reg", &[(Name::WwwAuthenticate, &challenge)], None);
        }
        net.states.reach("register_challenged");
        let seconds: u64 = read.header(Name::Expires).and_then(|value| value.parse().ok()).unwrap_or(3600);
        let registrar = self.registrar.as_mut().expect("checked above");
        if seconds == 0 {
            net.states.reach("unregistered");
            registrar.bindings.remove(&user);
            return self.answer(net, server, 200, "reg", &[], None);
        }
        let seconds = seconds.min(120);
        let until = net.now.instant + Duration::from_secs(seconds);
        registrar.bindings.insert(user, (read.contact.clone(), until));
        let contact = format!("<{}>;expires={seconds}", read.contact);
        self.answer(net, server, 200, "reg", &[(Name::Contact, &contact)], None);
    }
}
