//! Where users are: address of record to contacts (RFC 3261 section 10).

use super::Config;
use crate::base::{Map, Now};
use sip_codec::{Message, Name, NameAddr};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// One contact of a user.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The contact's URI, as registered.
    pub uri: String,
    /// Where requests to it go.
    pub to: SocketAddr,
    /// Until when.
    pub until: Instant,
    call_id: String,
    cseq: u32,
}

/// All users' contacts. Users come from the configuration, contacts are capped: it can't grow.
#[derive(Debug, Default)]
pub struct Locations(Map<String, Vec<Binding>>);

/// Why a registration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400.
    Malformed,
    /// 423: granted for no shorter than this.
    TooBrief,
    /// 500: older than what stands (RFC 3261 section 10.3).
    Late,
}

/// Where a URI's host and port are; `None` where that would need DNS.
pub fn address(uri: &str) -> Option<SocketAddr> {
    let uri = sip_codec::Uri::parse(uri).ok().filter(sip_codec::Uri::is_sip)?;
    let ip: IpAddr = uri.host?.ip()?;
    Some((ip, uri.port.unwrap_or(5060)).into())
}

impl Locations {
    /// Those of a user that still stand, the newest first.
    pub fn find(&mut self, now: Now, user: &str) -> &[Binding] {
        match self.0.get_mut(user) {
            Some(bindings) => {
                bindings.retain(|binding| binding.until > now.instant);
                bindings
            }
            None => &[],
        }
    }

    /// Carries out a REGISTER of an authenticated user. All of it or nothing.
    pub fn register(
        &mut self,
        now: Now,
        config: &Config,
        user: &str,
        request: &Message<'_>,
        source: SocketAddr,
    ) -> Result<(), Refusal> {
        let call_id = request.call_id().map_err(|_| Refusal::Malformed)?;
        let cseq = request.cseq().map_err(|_| Refusal::Malformed)?.number;
        let general = request.number(Name::Expires).map_err(|_| Refusal::Malformed)?;
        let mut next = self.find(now, user).to_vec();
        let late = |old: &Binding| old.call_id == call_id && old.cseq >= cseq;
        if request.is_contact_star() {
            if general != Some(0) {
                return Err(Refusal::Malformed);
            }
            if next.iter().any(late) {
                return Err(Refusal::Late);
            }
            self.0.remove(user);
            return Ok(());
        }
        for contact in request.addresses(Name::Contact) {
            let contact = contact.map_err(|_| Refusal::Malformed)?;
            let seconds = contact.expires().or(general).unwrap_or(3600);
            let wished = Duration::from_secs(seconds.into()).min(config.longest);
            if seconds > 0 && wished < config.shortest {
                return Err(Refusal::TooBrief);
            }
            let old = next.iter().position(|binding| same(&binding.uri, &contact));
            if old.is_some_and(|old| late(&next.remove(old))) {
                return Err(Refusal::Late);
            }
            if seconds > 0 {
                next.insert(0, bind(now, &contact, wished, source, (call_id, cseq)));
                next.truncate(config.contacts.max(1));
            }
        }
        self.0.insert(user.to_owned(), next);
        Ok(())
    }
}

fn bind(
    now: Now,
    contact: &NameAddr<'_>,
    wished: Duration,
    source: SocketAddr,
    from: (&str, u32),
) -> Binding {
    Binding {
        uri: contact.uri.to_owned(),
        // A name would need DNS: what registered is then where it came from.
        to: address(contact.uri).unwrap_or(source),
        until: now.instant + wished,
        call_id: from.0.to_owned(),
        cseq: from.1,
    }
}

fn same(uri: &str, contact: &NameAddr<'_>) -> bool {
    match (sip_codec::Uri::parse(uri), contact.uri()) {
        (Ok(a), Ok(b)) => a.is_equivalent(&b),
        _ => uri == contact.uri,
    }
}
