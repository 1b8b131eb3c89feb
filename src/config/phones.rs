//! `[phones]`: SIP phones that register and call through the gateway. Its shape, what is wrong with it, and what the SIP
//! stack is told.

use super::File;
use crate::leg::{Account, Secret, TrunkId};
use crate::sip;
use serde::Deserialize;
use std::time::Duration;
use toml::Spanned;

/// What `transports` may say.
const TRANSPORTS: [(&str, sip::Transport); 5] = [
    ("udp", sip::Transport::Udp),
    ("tcp", sip::Transport::Tcp),
    ("tls", sip::Transport::Tls),
    ("ws", sip::Transport::Ws),
    ("wss", sip::Transport::Wss),
];

/// `[phones]`. Without `trunk` no phone may register.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Phones {
    /// The SIP server that knows them; they authenticate there, but for a `[[user]]` of that trunk, whom the gateway asks
    /// for that user's own password.
    pub trunk: Option<Spanned<String>>,
    /// The domains of their addresses; the trunk's domain where empty.
    pub domains: Vec<Spanned<String>>,
    /// By which transports they may come: `udp`, `tcp`, `tls`, `ws`, `wss`.
    pub transports: Vec<Spanned<String>>,
    /// Seconds after which a phone behind UDP must come back, so that its NAT remembers it.
    pub udp_expires_s: Spanned<u32>,
    /// Seconds between the packets that remind the NAT of a phone behind UDP.
    pub keepalive_s: Spanned<u32>,
    /// Phones at once, for the whole node.
    pub limit: u32,
}

impl Default for Phones {
    fn default() -> Self {
        let told = |value| Spanned::new(0..0, value);
        Phones {
            trunk: None,
            domains: Vec::new(),
            transports: TRANSPORTS.iter().map(|(name, _)| Spanned::new(0..0, (*name).to_owned())).collect(),
            udp_expires_s: told(60),
            keepalive_s: told(25),
            limit: 20_000,
        }
    }
}

/// What is wrong, and where.
pub(super) type Wrong = (std::ops::Range<usize>, String);

/// What is wrong with `[phones]`, its trunk's name left out.
pub(super) fn wrong(file: &File) -> Option<Wrong> {
    let phones = &file.phones;
    for name in &phones.transports {
        if !TRANSPORTS.iter().any(|(known, _)| known == name.get_ref()) {
            let what =
                format!("transports: {:?} is not known; choose among udp, tcp, tls, ws, wss", name.get_ref());
            return Some((name.span(), what));
        }
    }
    for domain in &phones.domains {
        if sip_codec::Host::parse(domain.get_ref()).is_none() {
            let what = format!("domains: {:?} is no domain; write it as \"example.org\"", domain.get_ref());
            return Some((domain.span(), what));
        }
    }
    for (key, value, least) in
        [("udp_expires_s", &phones.udp_expires_s, 10), ("keepalive_s", &phones.keepalive_s, 5)]
    {
        if !(least..=3_600).contains(value.get_ref()) {
            let what = format!("{key}: {} can't be had; use {least} to 3600", value.get_ref());
            return Some((value.span(), what));
        }
    }
    let first = phones.domains.first().filter(|_| phones.trunk.is_none())?;
    Some((first.span(), "domains: in [phones] no trunk is named; add trunk = \"NAME\"".into()))
}

/// What the SIP stack is told.
pub(super) fn plan(file: &File, shards: u8) -> Option<sip::Phones> {
    let name = file.phones.trunk.as_ref()?.get_ref();
    let n = file.trunk.iter().position(|trunk| trunk.name.get_ref() == name)?;
    let trunk = &file.trunk[n];
    let first = trunk.all_servers().first().map(|server| server.address.to_string()).unwrap_or_default();
    let own = if trunk.domain.is_empty() { first } else { trunk.domain.clone() };
    let host = |text: &str| match sip_codec::Uri::parse(&format!("sip:{text}")).ok().and_then(|uri| uri.host)
    {
        Some(host) => host.to_string().to_ascii_lowercase(),
        None => text.to_ascii_lowercase(),
    };
    let mut domains: Vec<String> =
        file.phones.domains.iter().map(|domain| domain.get_ref().to_ascii_lowercase()).collect();
    if domains.is_empty() {
        domains.push(host(&own));
    }
    let known = file.phones.transports.iter().filter_map(|name| {
        TRANSPORTS.iter().find(|(known, _)| known == name.get_ref()).map(|(_, transport)| *transport)
    });
    let here = file.user.iter().filter(|user| user.trunk.as_ref().is_some_and(|t| t.get_ref() == name));
    let users = here
        .map(|user| (Account::from(user.name.get_ref().as_str()), Secret(user.password.clone())))
        .collect();
    Some(sip::Phones {
        transports: known.collect(),
        users,
        udp_expires: Duration::from_secs((*file.phones.udp_expires_s.get_ref()).into()),
        keepalive: Duration::from_secs((*file.phones.keepalive_s.get_ref()).into()),
        most: file.phones.limit.div_ceil(u32::from(shards.max(1))) as usize,
        ..sip::Phones::new(TrunkId(n as u16), domains)
    })
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    const PBX: &str =
        "[[trunk]]\nname = \"pbx\"\naddress = \"192.0.2.1:5070\"\ndomain = \"Example.ORG:5070\"\n";

    #[test]
    fn phones_are_off_until_a_trunk_is_named_and_have_its_domain() {
        let plan = |text: &str| super::plan(&read("b.toml", &format!("{PBX}{text}")).unwrap(), 2);
        assert!(plan("").is_none());
        let phones = plan("[phones]\ntrunk = \"pbx\"\nlimit = 5").unwrap();
        assert_eq!((phones.domains, phones.most), (vec!["example.org".to_owned()], 3));
        assert_eq!(phones.transports.len(), 5);
        let phones =
            plan("[phones]\ntrunk = \"pbx\"\ndomains = [\"A.example\"]\ntransports = [\"ws\"]").unwrap();
        assert_eq!(phones.domains, ["a.example"]);
        assert_eq!(phones.transports, [sip::Transport::Ws]);
        let user = "[phones]\ntrunk = \"pbx\"\n[[user]]\nname = \"al\"\npassword = \"p\"\n";
        assert!(plan(user).unwrap().users.is_empty());
        assert_eq!(plan(&format!("{user}trunk = \"pbx\"")).unwrap().users[&"al".into()].0, "p");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_fix() {
        for (text, parts) in [
            ("[phones]\ntrunk = \"x\"", &["b.toml:2:", "trunk", "none"][..]),
            ("[phones]\n\ntransports = [\"sctp\"]", &["b.toml:3:", "transports", "choose among udp"]),
            ("[phones]\ndomains = [\"a b\"]", &["b.toml:2:", "domains", "example.org"]),
            ("[phones]\ndomains = [\"a.org\"]", &["b.toml:2:", "domains", "add trunk"]),
            ("[phones]\nudp_expires_s = 1", &["b.toml:2:", "udp_expires_s", "10 to 3600"]),
            ("[phones]\nkeepalive_s = 1", &["b.toml:2:", "keepalive_s", "5 to 3600"]),
            ("[phones]\ndomain = \"a\"", &["b.toml:2:", "domain", "domains"]),
        ] {
            let said = read("b.toml", text).unwrap_err().to_string();
            for part in parts {
                assert!(said.contains(part), "{said:?} lacks {part:?}");
            }
        }
    }
}
