//! What users do beside calls: texts (SIP MESSAGE), and watching what a SIP server tells of (SUBSCRIBE).

use super::Output;
use super::call::State;
use super::hub::Hub;
use super::message::{Caller, Carried, Event, Refusal, Request};
use super::party::parse_dialled;
use crate::base::{Map, SessionId};
use crate::leg::{self, Account, MOST_BODY, News, Notice, Package, Page, Reason, Watch, passes};
use std::sync::Arc;

/// Texts of one session that wait for their outcome.
const MOST_PAGES: usize = 16;
/// What one session watches.
const MOST_WATCHES: usize = 32;

/// A text that waits for its outcome: whose, and by which request.
type Paging = Map<u64, (SessionId, u64)>;

/// What is under way for all sessions of a shard.
#[derive(Debug, Default)]
pub(super) struct Errands {
    number: u64,
    pages: Paging,
    watches: Map<u64, Watched>,
    numbers: Map<Watch, u64>,
}

/// Something that is watched once upstream, whoever wants to hear of it.
#[derive(Debug)]
struct Watched {
    watch: Watch,
    /// Sessions, and their names for it.
    listeners: Vec<(SessionId, Arc<str>)>,
    /// The last that was told.
    last: Option<(String, String)>,
}

/// Messages that wait (RFC 3842).
#[derive(serde::Serialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Mwi {
    /// Some are new.
    waiting: bool,
    /// New voice messages.
    new: u32,
    /// Old ones.
    old: u32,
}

impl Mwi {
    /// Reads `application/simple-message-summary`.
    fn parse(text: &str) -> Option<Mwi> {
        let field = |wanted: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
        };
        let waiting = field("Messages-Waiting")?.eq_ignore_ascii_case("yes");
        let counts = field("Voice-Message").and_then(|value| value.split([' ', '(']).next()?.split_once('/'));
        let count = |text: &str| text.trim().parse().unwrap_or(0);
        let (new, old) = counts.map_or((0, 0), |(new, old)| (count(new), count(old)));
        Some(Mwi { waiting, new, old })
    }
}

impl Errands {
    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Whether a request waits for a text's outcome.
    pub(super) fn waits(&self, session: SessionId, request: u64) -> bool {
        self.pages.values().any(|waiting| *waiting == (session, request))
    }
}

impl Hub {
    /// Whether a user has a session that hears what it is told.
    pub fn is_there(&self, account: &Account) -> bool {
        let sessions = self.accounts.get(account).into_iter().flatten();
        sessions.filter_map(|id| self.sessions.get(*id)).any(super::session::Session::is_there)
    }

    /// `message`: a text, within a call or outside of one. Answered when the far side has taken it, or refused.
    pub(super) fn message(&mut self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let kind = request.content_type.as_deref().unwrap_or("text/plain");
        let text = request.body.as_deref().unwrap_or_default();
        if !passes(kind) || leg::is_binary(kind) {
            return Err(Refusal::BAD_TYPE);
        }
        if text.is_empty() || text.len() > MOST_BODY || text.contains('\0') {
            return Err(Refusal::BAD_BODY);
        }
        let (kind, text) = (kind.to_owned(), text.to_owned());
        if request.call.is_some() {
            let (leg, call) = self.call(session, request)?;
            if call.state != State::Talking {
                return Err(Refusal::WRONG_STATE);
            }
            if call.telling.len() >= MOST_PAGES {
                return Err(Refusal::TOO_MANY_TOLD);
            }
            call.telling.push(request.id);
            let notice = Box::new(Notice::Page { kind, text, receipt: Some(request.id) });
            self.say(leg::Event::Inform { leg, notice });
            return Ok(());
        }
        let party = request.to.as_deref().and_then(parse_dialled).ok_or(Refusal::BAD_CALLEE)?;
        let kept = self.sessions.get(session).ok_or(Refusal::WRONG_STATE)?;
        let (account, identity) = (kept.account.clone(), kept.identity.clone());
        if self.errands.pages.values().filter(|(owner, _)| *owner == session).count() >= MOST_PAGES {
            return Err(Refusal::TOO_MANY_TOLD);
        }
        let receipt = self.errands.next();
        self.errands.pages.insert(receipt, (session, request.id));
        let page = Page { account, party, kind, text };
        self.outbox.push_back(Output::Page { page, identity, receipt });
        Ok(())
    }

    /// What became of a text.
    pub(super) fn on_paged(&mut self, receipt: u64, outcome: Result<(), Reason>) {
        if let Some((session, id)) = self.errands.pages.remove(&receipt) {
            self.answer_later(session, id, outcome.map(|()| Carried::default()).map_err(Refusal::of));
        }
    }

    /// Somebody sends a user a text: all its sessions hear it.
    pub(super) fn on_page(&mut self, page: &Page) {
        for id in self.accounts.get(&page.account).cloned().unwrap_or_default() {
            let from = Some(Caller::from(&page.party));
            self.tell(id, &Event::Message { call: None, from, content_type: &page.kind, body: &page.text });
        }
    }

    /// `subscribe`. News follow as `notify`, the end as `unsubscribed`.
    pub(super) fn subscribe(&mut self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let key =
            request.watch.as_deref().filter(|key| super::call::is_call_id(key)).ok_or(Refusal::NO_WATCH)?;
        let package = request.event.as_deref().and_then(Package::named).ok_or(Refusal::BAD_EVENT)?;
        let target = match request.to.as_deref() {
            Some(to) => parse_dialled(to).ok_or(Refusal::BAD_CALLEE)?.user,
            None => String::new(),
        };
        let kept = self.sessions.get(session).ok_or(Refusal::WRONG_STATE)?;
        let (account, identity) = (kept.account.clone(), kept.identity.clone());
        let own = self.errands.watches.values().flat_map(|it| &it.listeners).filter(|it| it.0 == session);
        let mut names = own.map(|(_, name)| &**name);
        if names.clone().any(|name| name == key) {
            return Err(Refusal::WATCH_USED);
        }
        if names.by_ref().count() >= MOST_WATCHES {
            return Err(Refusal::TOO_MANY_WATCHES);
        }
        let watch = Watch { account, package, target };
        let known = self.errands.numbers.get(&watch).copied();
        let number = known.unwrap_or_else(|| self.errands.next());
        let new = Watched { watch: watch.clone(), listeners: Vec::new(), last: None };
        let watched = self.errands.watches.entry(number).or_insert(new);
        let key: Arc<str> = key.into();
        watched.listeners.push((session, key.clone()));
        let last = watched.last.clone();
        if known.is_none() {
            self.errands.numbers.insert(watch.clone(), number);
            self.outbox.push_back(Output::Watch { watch, identity, number });
        }
        if let Some((kind, text)) = last {
            self.tell_news(session, &key, package, (&kind, &text));
        }
        Ok(())
    }

    /// `unsubscribe`.
    pub(super) fn unsubscribe(&mut self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let key = request.watch.as_deref().ok_or(Refusal::NO_WATCH)?;
        self.leave_watches(session, |name| name == key).then_some(()).ok_or(Refusal::UNKNOWN_WATCH)
    }

    /// A session is over: nobody waits for what it asked for.
    pub(super) fn leave_errands(&mut self, session: SessionId) {
        self.leave_watches(session, |_| true);
        self.errands.pages.retain(|_, (owner, _)| *owner != session);
    }

    /// A session leaves what it watches under these names. True where there was any.
    fn leave_watches(&mut self, session: SessionId, is: impl Fn(&str) -> bool) -> bool {
        let mut left = false;
        let mut over = Vec::new();
        for (number, watched) in &mut self.errands.watches {
            let before = watched.listeners.len();
            watched.listeners.retain(|(owner, name)| *owner != session || !is(name));
            left |= watched.listeners.len() < before;
            if watched.listeners.is_empty() {
                over.push(*number);
            }
        }
        over.sort_unstable(); // a map's order may decide nothing
        for number in over {
            if let Some(watched) = self.errands.watches.remove(&number) {
                self.errands.numbers.remove(&watched.watch);
                self.outbox.push_back(Output::Unwatch { number });
            }
        }
        left
    }

    /// News of what is watched.
    pub(super) fn on_watched(&mut self, number: u64, news: News) {
        let Some(watched) = self.errands.watches.get_mut(&number) else { return };
        let (package, listeners) = (watched.watch.package, watched.listeners.clone());
        match news {
            News::State { kind, text } => {
                for (session, key) in listeners {
                    self.tell_news(session, &key, package, (&kind, &text));
                }
                if let Some(watched) = self.errands.watches.get_mut(&number) {
                    watched.last = Some((kind, text));
                }
            }
            News::Over(reason) => {
                if let Some(watched) = self.errands.watches.remove(&number) {
                    self.errands.numbers.remove(&watched.watch);
                }
                for (session, key) in listeners {
                    self.tell(session, &Event::Unsubscribed { watch: &key, reason });
                }
            }
        }
    }

    fn tell_news(&mut self, session: SessionId, key: &str, package: Package, (kind, text): (&str, &str)) {
        let mwi = (package == Package::MessageSummary).then(|| Mwi::parse(text)).flatten();
        let event = package.name();
        self.tell(session, &Event::Notify { watch: Some(key), event, content_type: kind, body: text, mwi });
    }

    /// Messages wait, told without a subscription.
    pub(super) fn on_waiting(&mut self, account: &Account, kind: &str, text: &str) {
        let (event, mwi) = (Package::MessageSummary.name(), Mwi::parse(text));
        for id in self.accounts.get(account).cloned().unwrap_or_default() {
            self.tell(id, &Event::Notify { watch: None, event, content_type: kind, body: text, mwi });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_messages_are_counted() {
        let text = "Messages-Waiting: yes\r\nMessage-Account: sip:a@b\r\nVoice-Message: 2/8 (0/2)\r\n";
        assert_eq!(Mwi::parse(text), Some(Mwi { waiting: true, new: 2, old: 8 }));
        assert_eq!(Mwi::parse("messages-waiting:no"), Some(Mwi::default()));
        assert_eq!(Mwi::parse("Voice-Message: 2/8"), None);
        let odd = Mwi::parse("Messages-Waiting: Yes\nVoice-Message: x/99999999999\n");
        assert_eq!(odd, Some(Mwi { waiting: true, new: 0, old: 0 }));
    }
}
