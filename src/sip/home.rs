//! Which shard a message belongs to (design, section 4 "SIP in"), and the marks by which it is read back.
//!
//! Every branch and tag that we mint carries our shard's number as two hexadecimal digits: in a branch after the magic
//! cookie, in a tag at its start.

use super::{Flow, Transport};
use crate::base::{Key as _, Random, ShardId};
use crate::leg::{self, Account};
use sip_codec::{Key, Method, Name, Replaces};

/// RFC 3261 section 8.1.1.7.
const COOKIE: &str = "z9hG4bK";
/// What the user part of a contact that we registered begins with.
const OURS: &str = "u.";
/// And of one that we registered for a phone: our shard and a random part follow.
const PHONE: &str = "p.";

/// A branch of ours.
pub(super) fn branch(shard: ShardId, random: &mut Random) -> String {
    format!("{COOKIE}{:02x}{}", shard.0, random.token(18))
}

/// A tag of ours.
pub(super) fn tag(shard: ShardId, random: &mut Random) -> String {
    format!("{:02x}{}", shard.0, random.token(16))
}

/// The shard that a branch of ours names, of `shards`.
fn of_branch(branch: &str, shards: u8) -> Option<ShardId> {
    of_tag(branch.strip_prefix(COOKIE)?, shards)
}

/// The shard that a tag of ours names, of `shards`.
fn of_tag(tag: &str, shards: u8) -> Option<ShardId> {
    let digits = tag.get(..2).filter(|text| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))?;
    let shard = u8::from_str_radix(digits, 16).ok()?;
    (shard < shards).then_some(ShardId(shard))
}

/// The method and branch of a request of ours, out of as much of it as an ICMP error quotes. Routers may quote no more
/// than its first words: what does not reach the end of the branch says nothing, and neither does what is not ours. A
/// branch that nobody can guess is what a forged error lacks.
pub(super) fn quoted(data: &[u8]) -> Option<(Method<'_>, &str)> {
    // What is cut may end within a character.
    let text = data.utf8_chunks().next()?.valid();
    let (line, rest) = text.split_once("\r\n")?;
    let (method, _) = line.strip_suffix(" SIP/2.0")?.split_once(' ')?;
    // We write Via first, and its branch last but for `rport`.
    let via = rest.strip_prefix("Via: ")?;
    let (_, after) = via.split_once(";branch=")?;
    let end = after.find([';', ',', '\r', ' '])?;
    Some((Method::parse(method), after.get(..end)?))
}

/// The shard, of `shards`, whose request this is that came back by ICMP.
pub fn home_of_quoted(data: &[u8], shards: u8) -> Option<ShardId> {
    of_branch(quoted(data)?.1, shards)
}

/// The user part of the contact that we register for an account, unescaped.
pub(super) fn user(account: &Account) -> String {
    format!("{OURS}{}", account.name())
}

/// The account whose registered contact has this user part (as written, escapes and all).
pub(super) fn account(user: &str) -> Option<Account> {
    let user = sip_codec::unescape(user)?;
    let (prefix, name) = user.split_at_checked(OURS.len())?;
    (prefix.eq_ignore_ascii_case(OURS) && !name.is_empty()).then(|| Account::from(name))
}

/// The user part of a contact for a phone that registers through us.
pub(super) fn phone(shard: ShardId, random: &mut Random) -> String {
    format!("{PHONE}{:02x}{}", shard.0, random.token(20))
}

/// Whether a contact with this user part is one that we registered for a phone.
pub(super) fn is_phone(user: &str) -> bool {
    user.strip_prefix(PHONE).is_some_and(|rest| of_tag(rest, u8::MAX).is_some())
}

/// The shard, of `shards`, that knows the phones of this flow: that of the connection; over UDP whatever its address says,
/// so that all that comes from one phone meets.
fn of_guest(flow: &Flow, shards: u8) -> ShardId {
    match flow.transport {
        Transport::Udp => leg::home_of(flow.remote.to_string().as_bytes(), shards),
        _ => flow.id.shard(),
    }
}

/// The shard, of `shards`, on which this message's state lives.
///
/// Responses go by our branch; requests within a dialog by our To tag (their CANCEL has it too); an INVITE with
/// Replaces by our tag inside; requests to a contact that we registered by its account; all others by Call-ID, so
/// that retransmissions, merged requests, CANCEL, ACK and the retry after a challenge meet their first. A number of a
/// shard that doesn't exist counts as none: whoever gets the message finds nothing and answers 481. What may come from a
/// phone ([`super::Stack::is_guest`]) brings its flow along, which then takes the Call-ID's place.
pub fn home(data: &[u8], shards: u8, guest: Option<&Flow>) -> ShardId {
    let message = match sip_codec::Message::parse(data) {
        Ok(message) => message,
        // What was converted is UTF-8: this goes no deeper.
        Err(sip_codec::Error::NotUtf8) if let Some(data) = sip_codec::from_latin1(data) => {
            return home(&data, shards, guest);
        }
        Err(_) => return leg::home_of(b"", shards),
    };
    let Ok(key) = Key::read(&message) else {
        return leg::home_of(message.call_id().unwrap_or("").as_bytes(), shards);
    };
    let by_call = || match guest {
        Some(flow) => of_guest(flow, shards),
        None => leg::home_of(key.call_id.as_bytes(), shards),
    };
    if !key.is_request {
        return of_branch(key.branch, shards).unwrap_or_else(by_call);
    }
    if let Some(tag) = key.to_tag {
        return of_tag(tag, shards).unwrap_or_else(by_call);
    }
    let replaced = message
        .header(Name::Replaces)
        .and_then(|value| Replaces::parse(value).ok())
        .and_then(|replaces| of_tag(replaces.to_tag, shards));
    let registered = || {
        let user = message.uri().ok()?.user.filter(|_| guest.is_none())?;
        let phone = || of_tag(user.strip_prefix(PHONE)?, shards);
        account(user).map(|account| account.home(shards)).or_else(phone)
    };
    replaced.or_else(registered).unwrap_or_else(by_call)
}
