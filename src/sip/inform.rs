//! INFO both ways (RFC 6086), and third-party control by NOTIFY with `Event: talk` and `hold`.
//!
//! One INFO of ours is under way at a time, so that keys stay in order whatever is lost on the way.

use super::inbound::Request;
use super::leg::{Leg, LegKey, Purpose};
use super::stack::Ask;
use super::transaction::ClientId;
use super::{Flow, Stack};
use crate::base::{LegId, Now};
use crate::leg::{Cause, Control, Digit, Event, MOST_BODY, Notice, Reason, is_binary, passes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sip_codec::{Message, Method, Name};
use std::collections::VecDeque;
use std::time::Duration;

/// Event packages that a SIP server may notify us of.
pub(super) const EVENTS: &str = "talk, hold, message-summary, dialog, presence";
/// Bodies that INFO may carry.
const BODIES: &str = "application/dtmf-relay, application/dtmf, application/x-www-form-urlencoded, application/json, text/*, application/octet-stream";
/// Keys as a list of what is pressed and how long.
const RELAY: &str = "application/dtmf-relay";
/// INFO that waits for the one before, for each leg.
const MOST_WAITING: usize = 64;

/// What is told to a party by INFO, in order.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// The first is under way where `out` says so.
    waiting: VecDeque<Word>,
    out: Option<ClientId>,
    tries: u8,
}

#[derive(Debug)]
struct Word {
    /// INFO, or MESSAGE.
    method: Method<'static>,
    kind: String,
    body: Vec<u8>,
    receipt: Option<u64>,
}

impl Stack {
    /// The call machine tells the party something.
    pub(super) fn on_inform(&mut self, now: Now, key: LegKey, notice: &Notice) {
        let word = match notice {
            Notice::Digit(digit) => Word {
                method: Method::Info,
                kind: RELAY.to_owned(),
                body: format!("Signal={}\r\nDuration={}\r\n", digit.digit, digit.duration.as_millis())
                    .into_bytes(),
                receipt: None,
            },
            Notice::Body { kind, text, receipt } => {
                let body = if is_binary(kind) {
                    STANDARD.decode(text).unwrap_or_default()
                } else {
                    text.clone().into_bytes()
                };
                Word { method: Method::Info, kind: kind.clone(), body, receipt: *receipt }
            }
            Notice::Page { kind, text, receipt } => {
                let body = text.clone().into_bytes();
                Word { method: Method::Message, kind: kind.clone(), body, receipt: *receipt }
            }
            // Control comes from SIP servers, and a hold is told by a re-INVITE.
            Notice::Control(_) | Notice::Held(_) | Notice::Party(_) => return,
        };
        let Some(leg) = self.legs.get_mut(key) else { return };
        if leg.up().is_none() || leg.words.waiting.len() >= MOST_WAITING {
            let id = leg.id;
            self.counters.informs_dropped += 1;
            return self.tell_receipt(id, word.receipt, Err(Cause::Overloaded.into()));
        }
        leg.words.waiting.push_back(word);
        self.send_word(now, key);
    }

    /// Sends the next INFO, unless one is under way.
    fn send_word(&mut self, now: Now, key: LegKey) {
        while let Some(leg) = self.legs.get_mut(key).filter(|leg| leg.words.out.is_none()) {
            let main = leg.main;
            if leg.up().is_none() {
                return;
            }
            let Some(word) = leg.words.waiting.pop_front() else { return };
            let ask = Ask {
                method: word.method,
                purpose: Purpose::Inform,
                headers: &[],
                content: &word.kind,
                body: Some(&word.body),
            };
            let sent = self.request(now, key, main, ask);
            match (sent, self.legs.get_mut(key)) {
                (Some(sent), Some(leg)) => {
                    leg.words.out = Some(sent.client);
                    leg.words.waiting.push_front(word);
                }
                (_, leg) => {
                    let id = leg.map(|leg| leg.id);
                    self.counters.informs_dropped += 1;
                    if let Some(id) = id {
                        self.tell_receipt(id, word.receipt, Err(Cause::Failed.into()));
                    }
                }
            }
        }
    }

    pub(super) fn on_inform_response(
        &mut self,
        now: Now,
        flow: Flow,
        (key, id): (LegKey, ClientId),
        message: &Message<'_>,
        code: u16,
    ) {
        let words = self.legs.get_mut(key).map(|leg| &mut leg.words);
        let Some(words) = words.filter(|words| code >= 200 && words.out == Some(id)) else { return };
        words.out = None;
        let tries = words.tries;
        words.tries += 1;
        if !matches!(code, 401 | 407) || !self.learn(key, flow, message, tries) {
            let outcome = if code < 300 { Ok(()) } else { Err(Reason::from_code(code)) };
            self.end_word(key, outcome);
        }
        match code {
            // Theirs is gone (RFC 3261 section 12.2.1.2).
            481 => self.hang_up(now, key, Some(Reason::new(Cause::Expired, code))),
            _ => self.send_word(now, key),
        }
        self.counters.informs_refused += u64::from(code >= 300 && !matches!(code, 401 | 407));
    }

    /// Nobody answered. An INFO says nothing of the session: it goes on.
    pub(super) fn on_inform_silence(&mut self, now: Now, key: LegKey) {
        self.counters.informs_refused += 1;
        if let Some(leg) = self.legs.get_mut(key) {
            leg.words.out = None;
        }
        self.end_word(key, Err(Reason::from_code(408)));
        self.send_word(now, key);
    }

    fn end_word(&mut self, key: LegKey, outcome: Result<(), Reason>) {
        if let Some(leg) = self.legs.get_mut(key) {
            let (id, word) = (leg.id, leg.words.waiting.pop_front());
            leg.words.tries = 0;
            self.tell_receipt(id, word.and_then(|word| word.receipt), outcome);
        }
    }

    fn tell_receipt(&mut self, leg: LegId, receipt: Option<u64>, outcome: Result<(), Reason>) {
        if let Some(receipt) = receipt {
            self.tell(Event::Told { leg, receipt, outcome });
        }
    }

    /// INFO from the party.
    pub(super) fn on_info(&mut self, now: Now, request: &Request<'_, '_>, key: LegKey) {
        let message = request.message;
        if message.header(Name::InfoPackage).is_some() {
            // RFC 6086 section 4.2.2.
            return self.reply(now, request, 469, &[(Name::RecvInfo, "nil")]);
        }
        if message.body().is_empty() {
            // A probe whether we live.
            return self.reply(now, request, 200, &[]);
        }
        match notice(message) {
            Ok(notice) => {
                self.reply(now, request, 200, &[]);
                self.tell_notice(key, notice);
            }
            Err(415) => self.reply(now, request, 415, &[(Name::Accept, BODIES)]),
            Err(code) => self.reply(now, request, code, &[]),
        }
    }

    /// MESSAGE from the party.
    pub(super) fn on_page_within(&mut self, now: Now, request: &Request<'_, '_>, key: LegKey) {
        match notice(request.message) {
            Ok(Notice::Body { kind, text, .. }) if !is_binary(&kind) => {
                self.reply(now, request, 200, &[]);
                self.tell_notice(key, Notice::Page { kind, text, receipt: None });
            }
            Ok(_) | Err(415) => self.reply(now, request, 415, &[(Name::Accept, "text/*, application/json")]),
            Err(code) => self.reply(now, request, code, &[]),
        }
    }

    /// NOTIFY from the party, outside of any subscription.
    pub(super) fn on_notify(&mut self, now: Now, request: &Request<'_, '_>, key: LegKey) {
        let event = request.message.header(Name::Event).unwrap_or_default();
        let package = event.split(';').next().unwrap_or_default().trim();
        if package.eq_ignore_ascii_case("refer") {
            return self.on_refer_notify(now, request, key);
        }
        let known = [Control::Talk, Control::Hold];
        match known.into_iter().find(|control| control.name().eq_ignore_ascii_case(package)) {
            Some(control) => {
                self.reply(now, request, 200, &[]);
                self.tell_notice(key, Notice::Control(control));
            }
            None => self.reply(now, request, 489, &[(Name::AllowEvents, EVENTS)]),
        }
    }

    fn tell_notice(&mut self, key: LegKey, notice: Notice) {
        let known: Option<&Leg> = self.legs.get(key).filter(|leg| leg.known);
        if let Some(leg) = known.map(|leg| leg.id) {
            self.tell(Event::Inform { leg, notice: Box::new(notice) });
        }
    }
}

/// What an INFO tells, or the code that refuses it.
fn notice(message: &Message<'_>) -> Result<Notice, u16> {
    let kind = message.header(Name::ContentType).unwrap_or_default().trim();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let keys = matches!(&*essence, RELAY | "application/dtmf");
    let plain = message.values(Name::ContentEncoding).all(|name| name.eq_ignore_ascii_case("identity"));
    if !plain || !(keys || passes(kind)) {
        return Err(415);
    }
    if message.body().len() > MOST_BODY {
        return Err(413);
    }
    if is_binary(kind) {
        let text = STANDARD.encode(message.body());
        return Ok(Notice::Body { kind: kind.to_owned(), text, receipt: None });
    }
    let text = std::str::from_utf8(message.body()).ok().filter(|text| !text.contains('\0')).ok_or(400_u16)?;
    if !keys {
        return Ok(Notice::Body { kind: kind.to_owned(), text: text.to_owned(), receipt: None });
    }
    let digit = if essence == RELAY { relayed(text) } else { signal(text).map(|key| (key, Digit::USUAL)) };
    let (digit, duration) = digit.ok_or(400_u16)?;
    Ok(Notice::Digit(Digit { digit, duration, sounds: false, spelled: false }))
}

/// `Signal=5` and `Duration=160`, a line each.
fn relayed(text: &str) -> Option<(char, Duration)> {
    let value = |wanted: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let duration = match value("Duration") {
        Some(duration) => Duration::from_millis(duration.parse::<u64>().ok()?.clamp(40, 6_000)),
        None => Digit::USUAL,
    };
    Some((signal(value("Signal")?)?, duration))
}

/// A key by its own name, or by the number of its event, as some phones write it.
fn signal(text: &str) -> Option<char> {
    let text = text.trim();
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(key), None) => Digit::key(key),
        (Some('1'), Some(_)) => {
            let number: usize = text.parse().ok()?;
            "*#ABCD".chars().nth(number.checked_sub(10)?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, body: &[u8]) -> Result<Notice, u16> {
        let head = format!(
            "INFO sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let bytes = [head.as_bytes(), body].concat();
        notice(&Message::parse(&bytes).unwrap())
    }

    fn key(kind: &str, body: &str) -> Result<(char, u128), u16> {
        match read(kind, body.as_bytes())? {
            Notice::Digit(digit) => Ok((digit.digit, digit.duration.as_millis())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_are_read_in_every_spelling() {
        assert_eq!(key(RELAY, "Signal=5\r\nDuration=200\r\n"), Ok(('5', 200)));
        assert_eq!(key("Application/DTMF-Relay; x=y", "signal= *\nduration = 100"), Ok(('*', 100)));
        assert_eq!(key(RELAY, "Signal=11"), Ok(('#', 160)));
        assert_eq!(key(RELAY, "Duration=1\r\nSignal=a\r\n"), Ok(('A', 40)));
        assert_eq!(key(RELAY, "Signal=15\r\nDuration=99999999"), Ok(('D', 6_000)));
        assert_eq!(key("application/dtmf", "7"), Ok(('7', 160)));
        assert_eq!(key("application/dtmf", "10\r\n"), Ok(('*', 160)));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for body in [
            "Signal=",
            "Signal=16",
            "Signal=e",
            "5",
            "Signal=55",
            "Signal=5\r\nDuration=-1",
            "Signal=1\u{e9}",
        ] {
            assert_eq!(key(RELAY, body), Err(400), "{body:?}");
        }
        assert_eq!(key("application/dtmf", "Signal=5"), Err(400));
    }

    #[test]
    fn bodies_pass_by_type_size_and_text() {
        let body = Notice::Body {
            kind: "application/json".into(),
            text: "{\"a\":\"\u{e9}\"}\r\n".into(),
            receipt: None,
        };
        assert_eq!(read("application/json", "{\"a\":\"\u{e9}\"}\r\n".as_bytes()), Ok(body));
        assert_eq!(read("application/sdp", b"v=0"), Err(415));
        assert_eq!(read("image/png", b"x"), Err(415));
        assert_eq!(read("text/plain", b"\xff\xfe"), Err(400));
        assert_eq!(read("text/plain", b"a\0b"), Err(400));
        assert_eq!(read("text/plain", &[b'a'; MOST_BODY + 1]), Err(413));
        assert!(read("text/plain", &[b'a'; MOST_BODY]).is_ok());
    }
}
