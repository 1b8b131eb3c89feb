//! Transfers (RFC 3515, RFC 5589): REFER both ways with the subscription that each implies, and whose place an INVITE
//! takes (Replaces, RFC 3891).

use super::inbound::Request;
use super::leg::{LegKey, Purpose, State, Tick};
use super::stack::Ask;
use super::transaction::ServerId;
use super::uas::party;
use super::{Flow, Stack};
use crate::base::{LegId, Now};
use crate::leg::{Cause, Dialog, Event, Party, Reason, Replaces, Stage, Transfer, TrunkId};
use sip_codec::{Escaped, Host, Message, Method, Name, NameAddr, Uri};
use std::time::Duration;

/// What a NOTIFY tells of a transfer.
const SIPFRAG: &str = "message/sipfrag;version=2.0";
/// How long we tell of a transfer, and wait to be told; it rings no longer.
const PATIENCE: Duration = Duration::from_mins(3);

/// Transfers of one leg.
#[derive(Debug, Default)]
pub(super) struct Refer {
    theirs: Option<Theirs>,
    ours: Option<Ours>,
    /// REFER that came: all but the first are told apart by number (RFC 3515 section 2.4.6).
    count: u32,
    /// The last NOTIFY is out.
    last_out: bool,
    /// BYE waits for the answer to it.
    closing: bool,
}

/// One that they ask for.
#[derive(Debug)]
struct Theirs {
    /// Their REFER, until it is answered.
    server: Option<ServerId>,
    cseq: u32,
    numbered: bool,
    /// They want to hear nothing of it (RFC 4488).
    quiet: bool,
    tries: u8,
}

/// One that we ask for.
#[derive(Debug)]
struct Ours {
    transfer: Transfer,
    tries: u8,
    accepted: bool,
}

/// A header's value as a URI's header field (RFC 3261 section 19.1.1).
fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte);
    value.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The value of Replaces.
pub(super) fn replaces(dialog: &Dialog) -> String {
    let Dialog { call_id, to_tag, from_tag, early_only } = dialog;
    let early = if *early_only { ";early-only" } else { "" };
    format!("{call_id};to-tag={to_tag};from-tag={from_tag}{early}")
}

/// The value of Referred-By: a party at `domain`, whatever host it had on the side that it comes from.
pub(super) fn referred_by(party: &Party, domain: &str) -> Option<String> {
    let hidden = Party { host: String::new(), ..party.clone() };
    (!party.user.is_empty()).then(|| format!("<{}>", uri_of(&hidden, domain)))
}

fn uri_of(party: &Party, domain: &str) -> String {
    let host = if Host::parse(&party.host).is_some() { &party.host } else { domain };
    let user: String = party.user.chars().filter(|c| !c.is_control()).collect();
    format!("sip:{}@{host}", Escaped(&user))
}

/// Where a REFER leads, or the code that refuses it.
fn target(message: &Message<'_>) -> Result<(Party, Option<Dialog>), u16> {
    let mut all = message.values(Name::ReferTo);
    let (Some(value), None) = (all.next(), all.next()) else { return Err(400) };
    let uri = NameAddr::parse(value).ok().and_then(|address| address.uri().ok()).ok_or(400_u16)?;
    if matches!(uri.scheme, sip_codec::Scheme::Other(_)) {
        return Err(416);
    }
    // Only calls are transferred.
    if uri.params.value("method").is_some_and(|method| method != "INVITE") {
        return Err(403);
    }
    let to = Party {
        user: uri
            .user_text()
            .map(|user| user.chars().filter(|c| !c.is_control()).collect())
            .unwrap_or_default(),
        host: uri.host.map(|host| host.to_string()).unwrap_or_default(),
        display: String::new(),
    };
    let field = uri.header_fields().find(|(name, _)| Name::parse(name) == Name::Replaces);
    match field {
        None if to.user.is_empty() => Err(404),
        None => Ok((to, None)),
        Some((_, value)) => {
            let value = sip_codec::unescape(value).ok_or(400_u16)?;
            let parsed = sip_codec::Replaces::parse(&value).map_err(|_| 400_u16)?;
            Ok((to, Some(dialog(&parsed))))
        }
    }
}

fn dialog(replaces: &sip_codec::Replaces<'_>) -> Dialog {
    Dialog {
        call_id: replaces.call_id.to_owned(),
        to_tag: replaces.to_tag.to_owned(),
        from_tag: replaces.from_tag.to_owned(),
        early_only: replaces.early_only,
    }
}

/// What a sipfrag says: the status code of its first line.
fn fragment(body: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(body).ok()?.trim_start();
    let rest = text.strip_prefix("SIP/2.0 ")?;
    let code = rest.get(..3)?.parse().ok()?;
    (100..700).contains(&code).then_some(code)
}

impl Stack {
    /// The leg that a dialog is, which the peer names by its own view of it: our tag is in To.
    fn leg_in(&self, dialog: &Dialog, trunk: TrunkId) -> Option<(LegKey, usize)> {
        let key = *self.by_tag.get(dialog.to_tag.as_str())?;
        let leg = self.legs.get(key)?;
        let same = leg.call_id == dialog.call_id && leg.trunk == trunk;
        Some((key, leg.dialog_of(&dialog.from_tag).filter(|_| same)?))
    }

    /// REFER within a dialog.
    pub(super) fn on_refer(&mut self, now: Now, request: &Request<'_, '_>, (key, fork): (LegKey, usize)) {
        let message = request.message;
        let (to, dialog) = match target(message) {
            Ok(target) => target,
            Err(code) => return self.reply(now, request, code, &[]),
        };
        let Some(leg) = self.legs.get_mut(key) else { return };
        let (id, trunk, main) = (leg.id, leg.trunk, leg.main == fork && leg.known);
        if leg.up().is_none() || !main || leg.refer.theirs.is_some() || leg.refer.ours.is_some() {
            return self.reply(now, request, if main { 491 } else { 403 }, &[]);
        }
        let replaces = dialog.map(|dialog| match self.leg_in(&dialog, trunk) {
            Some((other, _)) => {
                self.legs.get(other).map_or(Replaces::Dialog(dialog), |leg| Replaces::Leg(leg.id))
            }
            None => Replaces::Dialog(dialog),
        });
        let by = message
            .header(Name::ReferredBy)
            .and_then(|value| NameAddr::parse(value).ok())
            .map(|by| party(&by));
        let tag = super::home::tag(self.shard, &mut self.random);
        let Some(server) = self.serve(request, &tag) else { return };
        let quiet =
            message.header(Name::ReferSub).is_some_and(|value| value.trim().eq_ignore_ascii_case("false"));
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        if let Some(leg) = self.legs.get_mut(key) {
            let numbered = leg.refer.count > 0;
            leg.refer.count += 1;
            leg.refer.theirs = Some(Theirs { server: Some(server), cseq, numbered, quiet, tries: 0 });
        }
        let transfer = Box::new(Transfer { to, replaces, by });
        self.tell(Event::Transfer { leg: id, transfer });
    }

    /// The call machine's word for a transfer that they asked for.
    pub(super) fn on_transfer(&mut self, now: Now, key: LegKey, stage: Stage) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let contact = leg.contact.clone();
        let Some(theirs) = leg.refer.theirs.as_mut() else { return };
        if let Some(server) = theirs.server.take() {
            if let Stage::Failed(reason) = stage {
                leg.refer.theirs = None;
                let own = if (300..700).contains(&reason.code) { reason.code } else { reason.cause.code() };
                let code = if own < 300 { Cause::Declined.code() } else { own };
                return self.respond(now, server, code, &[], None);
            }
            let mut headers = vec![(Name::Contact, &*contact)];
            if theirs.quiet {
                headers.push((Name::ReferSub, "false"));
            }
            self.respond(now, server, 202, &headers, None);
        }
        self.notify_transfer(now, key, stage);
    }

    /// Tells how far it is, by NOTIFY.
    fn notify_transfer(&mut self, now: Now, key: LegKey, stage: Stage) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let main = leg.main;
        let Some(theirs) = &leg.refer.theirs else { return };
        let (code, last) = match stage {
            Stage::Trying(code) => (code, false),
            Stage::Done => (200, true),
            Stage::Failed(reason) if (300..700).contains(&reason.code) => (reason.code, true),
            Stage::Failed(_) => (603, true),
        };
        let quiet = theirs.quiet;
        let event = if theirs.numbered { format!("refer;id={}", theirs.cseq) } else { "refer".to_owned() };
        if last {
            leg.refer.theirs = None;
        }
        if quiet {
            return;
        }
        let active = format!("active;expires={}", PATIENCE.as_secs());
        let state = if last { "terminated;reason=noresource" } else { &active };
        let headers = [(Name::Event, &*event), (Name::SubscriptionState, state)];
        let body = format!("SIP/2.0 {code} {}\r\n", super::write::phrase(code));
        let purpose = Purpose::Notify(last);
        let ask = Ask {
            method: Method::Notify,
            purpose,
            headers: &headers,
            content: SIPFRAG,
            body: Some(body.as_bytes()),
        };
        let sent = self.request(now, key, main, ask).is_some();
        if let Some(leg) = self.legs.get_mut(key) {
            leg.refer.last_out |= sent && last;
        }
    }

    /// Their answer to a NOTIFY of ours, or none.
    pub(super) fn on_notify_response(
        &mut self,
        now: Now,
        flow: Flow,
        (key, last): (LegKey, bool),
        message: Option<&Message<'_>>,
        code: u16,
    ) {
        let Some(leg) = self.legs.get_mut(key).filter(|_| code >= 200) else { return };
        if let (401 | 407, false, Some(theirs), Some(message)) =
            (code, last, leg.refer.theirs.as_mut(), message)
        {
            let tries = theirs.tries;
            theirs.tries += 1;
            if self.learn(key, flow, message, tries) {
                self.notify_transfer(now, key, Stage::Trying(100));
            }
            return;
        }
        if last {
            leg.refer.last_out = false;
            if std::mem::take(&mut leg.refer.closing) {
                self.hang_up(now, key, None);
            }
        } else if code >= 300 {
            // They want to hear no more of it (RFC 6665 section 4.2.2).
            if let Some(theirs) = &mut leg.refer.theirs {
                theirs.quiet = true;
            }
        }
    }

    /// Whether BYE must wait until they know how their transfer went.
    pub(super) fn waits_for_notify(&mut self, key: LegKey) -> bool {
        let Some(leg) = self.legs.get_mut(key) else { return false };
        let waits = leg.refer.last_out && leg.up().is_some();
        leg.refer.closing |= waits;
        waits
    }

    /// The call machine asks the party to go elsewhere.
    pub(super) fn on_refer_command(&mut self, now: Now, key: LegKey, transfer: Transfer) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let id = leg.id;
        if leg.up().is_none() || leg.refer.ours.is_some() || leg.refer.theirs.is_some() {
            return self.referred(id, Stage::Failed(Cause::Pending.into()));
        }
        leg.refer.ours = Some(Ours { transfer, tries: 0, accepted: false });
        if let Err(cause) = self.send_refer(now, key) {
            self.end_refer(key, Err(cause.into()));
        }
    }

    fn send_refer(&mut self, now: Now, key: LegKey) -> Result<(), Cause> {
        let leg = self.legs.get(key).ok_or(Cause::Failed)?;
        let ours = leg.refer.ours.as_ref().ok_or(Cause::Failed)?;
        let domain = &self.config.trunks.get(usize::from(leg.trunk.0)).ok_or(Cause::Failed)?.domain;
        let to = match &ours.transfer.replaces {
            None => format!("<{}>", uri_of(&ours.transfer.to, domain)),
            Some(Replaces::Dialog(dialog)) => {
                format!("<{}?Replaces={}>", uri_of(&ours.transfer.to, domain), escaped(&replaces(dialog)))
            }
            Some(Replaces::Leg(other)) => self.refer_to_leg(*other).ok_or(Cause::Expired)?,
        };
        let own = || leg.local.split_once(";tag=").map(|(local, _)| local.to_owned());
        let by =
            ours.transfer.by.as_ref().and_then(|by| referred_by(by, domain)).or_else(own).unwrap_or_default();
        let (main, headers) = (leg.main, [(Name::ReferTo, &*to), (Name::ReferredBy, &*by)]);
        let ask = Ask {
            method: Method::Refer,
            purpose: Purpose::Refer,
            headers: &headers,
            content: "",
            body: None,
        };
        self.request(now, key, main, ask).map(|_| ()).ok_or(Cause::Overloaded)
    }

    /// Refer-To for somebody in a call of ours: where it is reached, and its dialog with us as it knows that itself.
    fn refer_to_leg(&self, other: LegId) -> Option<String> {
        let leg = self.legs.get(*self.by_id.get(&other)?).filter(|leg| matches!(leg.state, State::Up(_)))?;
        let dialog = leg.dialogs.get(leg.main)?;
        let theirs = Dialog {
            call_id: leg.call_id.clone(),
            to_tag: dialog.remote_tag.to_string(),
            from_tag: leg.local_tag.to_string(),
            early_only: false,
        };
        let target =
            Uri::parse(&dialog.target).ok().map(|uri| uri.text.split('?').next().unwrap_or_default())?;
        Some(format!("<{target}?Replaces={}>", escaped(&replaces(&theirs))))
    }

    fn referred(&mut self, leg: LegId, stage: Stage) {
        self.tell(Event::Referred { leg, stage });
    }

    /// A transfer of ours is over, one way or the other.
    fn end_refer(&mut self, key: LegKey, outcome: Result<(), Reason>) {
        let over = self.legs.get_mut(key).and_then(|leg| leg.refer.ours.take().map(|_| (leg.id, leg.known)));
        self.disarm(key, Tick::Refer);
        if let Some((id, true)) = over {
            self.referred(id, outcome.map_or_else(Stage::Failed, |()| Stage::Done));
        }
    }

    pub(super) fn on_refer_response(
        &mut self,
        now: Now,
        flow: Flow,
        key: LegKey,
        message: &Message<'_>,
        code: u16,
    ) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let id = leg.id;
        let Some(ours) = leg.refer.ours.as_mut().filter(|_| code >= 200) else { return };
        match code {
            200..=299 => {
                ours.accepted = true;
                // Without a subscription nobody will tell more (RFC 4488): it is taken for done.
                if message
                    .header(Name::ReferSub)
                    .is_some_and(|value| value.trim().eq_ignore_ascii_case("false"))
                {
                    return self.end_refer(key, Ok(()));
                }
                self.arm(now, key, Tick::Refer, PATIENCE);
                self.referred(id, Stage::Trying(100));
            }
            401 | 407 => {
                let tries = ours.tries;
                ours.tries += 1;
                let again = self.learn(key, flow, message, tries) && self.send_refer(now, key).is_ok();
                if !again {
                    self.end_refer(key, Err(Reason::from_code(code)));
                }
            }
            _ => {
                self.end_refer(key, Err(Reason::from_code(code)));
                if code == 481 {
                    self.hang_up(now, key, Some(Reason::new(Cause::Expired, code)));
                }
            }
        }
    }

    /// Nobody answered our REFER, or told what came of it.
    pub(super) fn on_refer_silence(&mut self, key: LegKey) {
        self.end_refer(key, Err(Reason::from_code(408)));
    }

    /// They hang up: who has taken our REFER has gone where it leads.
    pub(super) fn on_referred_gone(&mut self, key: LegKey) {
        let accepted =
            self.legs.get(key).and_then(|leg| leg.refer.ours.as_ref()).is_some_and(|ours| ours.accepted);
        if accepted {
            self.end_refer(key, Ok(()));
        }
    }

    /// NOTIFY of what came of our REFER.
    pub(super) fn on_refer_notify(&mut self, now: Now, request: &Request<'_, '_>, key: LegKey) {
        let Some(leg) = self.legs.get_mut(key).filter(|leg| leg.refer.ours.is_some()) else {
            return self.reply(now, request, 481, &[]);
        };
        let id = leg.id;
        let message = request.message;
        let state = message.header(Name::SubscriptionState).unwrap_or_default();
        let over = state.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("terminated");
        self.reply(now, request, 200, &[]);
        match fragment(message.body()) {
            Some(code @ 100..=199) if !over => self.referred(id, Stage::Trying(code)),
            Some(200..=299) => self.end_refer(key, Ok(())),
            Some(code @ 300..=699) => self.end_refer(key, Err(Reason::from_code(code))),
            // Ended without a word of how.
            _ if over => self.end_refer(key, Err(Cause::Failed.into())),
            _ => {}
        }
    }

    /// The leg whose place an INVITE takes, or the code that refuses it (RFC 3891 section 3).
    pub(super) fn replaced(&self, message: &Message<'_>, trunk: TrunkId) -> Result<Option<LegId>, u16> {
        let mut all = message.values(Name::Replaces);
        let (value, more) = (all.next(), all.next());
        let Some(value) = value else { return Ok(None) };
        let parsed = sip_codec::Replaces::parse(value).map_err(|_| 400_u16)?;
        if more.is_some() {
            return Err(400);
        }
        let found =
            self.leg_in(&dialog(&parsed), trunk).and_then(|(key, fork)| Some((self.legs.get(key)?, fork)));
        let Some((leg, fork)) = found else { return Err(481) };
        match &leg.state {
            State::Up(_) if parsed.early_only => Err(486),
            State::Up(_) if leg.main == fork && leg.known => Ok(Some(leg.id)),
            State::Calling(_) if leg.known => Ok(Some(leg.id)),
            // One that they began is not theirs to take; one that is over nobody's.
            State::Ringing(_) | State::Calling(_) => Err(481),
            State::Up(_) | State::Over => Err(603),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(refer_to: &str) -> Result<(Party, Option<Dialog>), u16> {
        let text = format!("REFER sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n{refer_to}\r\n");
        target(&Message::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_refer_leads_to_a_party_and_may_name_a_dialog() {
        let (to, dialog) = read("Refer-To: \"C\" <sip:c%40d@h.example:5070;user=phone>\r\n").unwrap();
        assert_eq!((to.user.as_str(), to.host.as_str(), dialog), ("c@d", "h.example", None));
        let (to, _) = read("r: tel:+4930\r\n").unwrap();
        assert_eq!(to.user, "+4930");
        let (_, dialog) =
            read("Refer-To: <sip:c@h?Replaces=90%40h%3Bto-tag%3D7743%3bfrom-tag%3D6472%3Bearly-only>\r\n")
                .unwrap();
        let expected = Dialog {
            call_id: "90@h".into(),
            to_tag: "7743".into(),
            from_tag: "6472".into(),
            early_only: true,
        };
        assert_eq!(dialog, Some(expected.clone()));
        let again =
            read(&format!("Refer-To: <sip:c@h?Replaces={}>\r\n", escaped(&replaces(&expected)))).unwrap();
        assert_eq!(again.1, Some(expected));
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        for (refer_to, code) in [
            ("", 400),
            ("Refer-To: <sip:a@b>\r\nRefer-To: <sip:c@d>\r\n", 400),
            ("Refer-To: <sip:c@h?Replaces=x>\r\n", 400),
            ("Refer-To: <sip:c@h?Replaces=%ff%fe>\r\n", 400),
            ("Refer-To: <mailto:a@b>\r\n", 416),
            ("Refer-To: <sip:a@b;method=SUBSCRIBE>\r\n", 403),
            ("Refer-To: <sip:h>\r\n", 404),
        ] {
            assert_eq!(read(refer_to), Err(code), "{refer_to}");
        }
    }

    #[test]
    fn fragments_are_read_by_their_first_line() {
        assert_eq!(fragment(b"SIP/2.0 200 OK\r\n"), Some(200));
        assert_eq!(fragment(b"SIP/2.0 180 Ringing\r\nTo: x\r\n"), Some(180));
        for body in [&b""[..], b"SIP/2.0 20", b"SIP/2.0 099 x", b"HTTP/1.1 200 OK", b"\xff"] {
            assert_eq!(fragment(body), None);
        }
    }
}
