//! What a session can say again after a lost connection: events until they are acknowledged, and its latest answers.

use super::message::Event;
use std::collections::VecDeque;
use std::sync::Arc;

/// Answers that are remembered: a browser has few requests under way at once.
const ANSWERS: usize = 32;

/// An event that was said.
#[derive(Debug)]
struct Said {
    seq: u64,
    text: Arc<str>,
    about: About,
}

/// What an event is about: later ones can make it needless.
#[derive(Clone, PartialEq, Eq, Debug)]
enum About {
    /// A call begins.
    Begin(Arc<str>),
    /// A call goes on.
    Call(Arc<str>),
    /// A call is over.
    End(Arc<str>),
    /// Whether the user is registered.
    Registration,
    /// The session.
    Session,
}

impl About {
    fn of(event: &Event<'_>) -> About {
        match event {
            Event::Registered | Event::Unregistered { .. } => About::Registration,
            Event::Closed { .. } => About::Session,
            Event::Message { call: None, .. } | Event::Notify { .. } | Event::Unsubscribed { .. } => {
                About::Session
            }
            Event::Incoming { call, .. } => About::Begin((*call).into()),
            Event::Ended { call, .. } => About::End((*call).into()),
            Event::Media { call, .. }
            | Event::Ringing { call, .. }
            | Event::Answered { call }
            | Event::Quality { call, .. }
            | Event::Held { call }
            | Event::Resumed { call }
            | Event::Dtmf { call, .. }
            | Event::Info { call, .. }
            | Event::Control { call, .. }
            | Event::Transferring { call, .. }
            | Event::Party { call, .. }
            | Event::Message { call: Some(call), .. }
            | Event::Update { call, .. } => About::Call((*call).into()),
        }
    }
}

/// Events until they are acknowledged, and the latest answers.
#[derive(Debug, Default)]
pub(super) struct Kept {
    events: VecDeque<Said>,
    bytes: usize,
    /// The newest event that was forgotten unacknowledged.
    forgotten: u64,
    answers: VecDeque<(u64, String)>,
}

impl Kept {
    /// Keeps an event.
    pub(super) fn push(&mut self, seq: u64, event: &Event<'_>, text: Arc<str>) {
        self.bytes += text.len();
        self.events.push_back(Said { seq, text, about: About::of(event) });
    }

    /// The browser has all events up to this one.
    pub(super) fn acknowledge(&mut self, cursor: u64) {
        while self.events.front().is_some_and(|said| said.seq <= cursor) {
            self.pop();
        }
    }

    /// Whether nothing was forgotten that comes after a cursor.
    pub(super) fn reaches(&self, cursor: u64) -> bool {
        cursor >= self.forgotten
    }

    /// The events that wait for their acknowledgement, oldest first.
    pub(super) fn events(&self) -> impl Iterator<Item = &Arc<str>> {
        self.events.iter().map(|said| &said.text)
    }

    /// Those as one JSON array.
    pub(super) fn array(&self) -> String {
        let mut array = String::with_capacity(self.bytes + self.events.len() + 2);
        for (n, text) in self.events().enumerate() {
            array.push(if n == 0 { '[' } else { ',' });
            array.push_str(text);
        }
        array.push_str(if self.is_empty() { "[]" } else { "]" });
        array
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Makes room: what later events made needless goes first, then the oldest. True where events were forgotten that
    /// were not needless.
    pub(super) fn shrink(&mut self, max_events: usize, max_bytes: usize) -> bool {
        let over = |kept: &Kept| kept.events.len() > max_events || kept.bytes > max_bytes;
        if over(self) {
            self.collapse();
        }
        let mut forgot = false;
        while over(self) && self.events.len() > 1 {
            if let Some(said) = self.pop() {
                self.forgotten = said.seq;
                forgot = true;
            }
        }
        forgot
    }

    /// Of a call that is over only its end is kept, and not even that where its beginning was not heard; of the
    /// registration only the latest.
    fn collapse(&mut self) {
        let mut over: Vec<Arc<str>> = Vec::new();
        let mut unheard: Vec<Arc<str>> = Vec::new();
        let mut registration = false;
        let mut needed = VecDeque::with_capacity(self.events.len());
        for said in std::mem::take(&mut self.events).into_iter().rev() {
            let needless = match &said.about {
                About::Begin(call) if over.contains(call) => {
                    unheard.push(Arc::clone(call));
                    true
                }
                About::Call(call) => over.contains(call),
                About::Registration => std::mem::replace(&mut registration, true),
                About::End(call) => {
                    over.push(Arc::clone(call));
                    false
                }
                About::Begin(_) | About::Session => false,
            };
            if !needless {
                needed.push_front(said);
            }
        }
        // The gateway never uses an id of its own twice, so each of these ends belongs to its unheard beginning.
        needed.retain(|said| !matches!(&said.about, About::End(call) if unheard.contains(call)));
        self.bytes = needed.iter().map(|said| said.text.len()).sum();
        self.events = needed;
    }

    fn pop(&mut self) -> Option<Said> {
        let said = self.events.pop_front()?;
        self.bytes -= said.text.len();
        Some(said)
    }

    /// Remembers the answer to a request.
    pub(super) fn answered(&mut self, id: u64, text: &str) {
        if self.answers.len() >= ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back((id, text.to_owned()));
    }

    /// The latest answer to a request of this id.
    pub(super) fn answer(&self, id: u64) -> Option<&str> {
        self.answers.iter().rev().find(|(other, _)| *other == id).map(|(_, text)| text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Ringing;
    use super::*;
    use std::collections::BTreeMap;

    fn ended(call: &str) -> Event<'_> {
        Event::Ended { call, reason: "hangup", code: 0, stats: None }
    }

    fn kept(events: &[Event<'_>]) -> Kept {
        let mut kept = Kept::default();
        for (seq, event) in (1..).zip(events) {
            kept.push(seq, event, format!("{seq}").into());
        }
        kept
    }

    fn left(kept: &Kept) -> String {
        kept.events().map(|text| &**text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn events_stay_until_they_are_acknowledged() {
        let mut kept = kept(&[Event::Registered, ended("a"), ended("b")]);
        kept.acknowledge(1);
        assert_eq!(left(&kept), "2 3");
        kept.acknowledge(1);
        kept.acknowledge(0);
        assert!(!kept.is_empty() && kept.reaches(0));
        kept.acknowledge(u64::MAX);
        assert!(kept.is_empty());
        assert_eq!(kept.bytes, 0);
    }

    #[test]
    fn where_room_is_short_needless_events_go_first() {
        let nobody = crate::leg::Party::default();
        let incoming = |call| Event::Incoming {
            call,
            ringing: Ringing { from: (&nobody).into(), to: "x", sdp: "", data: BTreeMap::default() },
        };
        let mut kept = kept(&[
            Event::Registered,
            Event::Ringing { call: "a", code: 180 },
            incoming("in"),
            Event::Ringing { call: "b", code: 180 },
            ended("a"),
            Event::Registered,
            ended("in"),
            // The browser may use its own id again.
            Event::Ringing { call: "a", code: 180 },
        ]);
        assert!(!kept.shrink(8, 100));
        assert_eq!(left(&kept), "1 2 3 4 5 6 7 8");
        assert!(!kept.shrink(7, 100));
        assert_eq!(left(&kept), "4 5 6 8");
        assert!(kept.shrink(2, 100));
        assert_eq!(left(&kept), "6 8");
        assert!(kept.reaches(5) && !kept.reaches(4));
        assert!(kept.shrink(2, 1));
        assert_eq!(left(&kept), "8", "the newest stays");
    }

    #[test]
    fn the_latest_answers_are_remembered() {
        let mut kept = Kept::default();
        for id in 0..40 {
            kept.answered(id, &format!("{id}"));
        }
        kept.answered(39, "again");
        assert_eq!((kept.answer(39), kept.answer(20), kept.answer(3)), (Some("again"), Some("20"), None));
    }
}
