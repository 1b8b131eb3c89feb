//! One connection: messages cut out of what comes (RFC 3261 section 18.3), keep-alives (RFC 5626 section 4.4.1), and
//! what waits to be sent. TCP or TLS beneath it is the owner's business.

use super::config::Streams;
use crate::base::{Deadline, Now, counters};
use sip_codec::{Error, Frame, MAX_SIZE, frame};
use std::collections::VecDeque;
use std::time::Instant;

const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";

/// What happened on a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// A whole message.
    Message(Vec<u8>),
    /// Something from which no message can be cut. What is left is swallowed for a while, so that an answer survives;
    /// then the connection ends.
    Broken {
        /// The header section, where there is one; it may be good enough to be answered.
        head: Vec<u8>,
        /// What is wrong.
        error: Error,
    },
    /// It is over. Said once; see [`Connection::wants_close`].
    Closed(Closed),
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// The far side closed it.
    Peer,
    /// We did: it was asked for, or idle.
    Done,
    /// No messages can be cut out of what it sends.
    Broken,
    /// It could not be made, or something took too long.
    Timeout,
    /// More waited to be sent than is allowed.
    Slow,
}

counters! {
    /// What connections counted. Sum them with [`Traffic::add`].
    pub struct Traffic {
        /// Messages that came.
        messages_in,
        /// Messages that were sent, or wait for it.
        messages_out,
        /// Pings that were answered.
        pings,
        /// Pings of ours that were answered.
        pongs,
        /// Connections closed since no message could be cut out of what came: no Content-Length, two, or one that is
        /// no number.
        broken,
        /// Those closed since a message was longer than 65,535 bytes.
        oversize,
        /// Those closed since a message did not end, or the first did not come.
        late,
        /// Those that were not up in time.
        unmade,
        /// Those closed since what they were sent did not go out.
        stuck,
        /// Those closed since too much waited to be sent.
        overfull,
        /// Those closed since a far side that answers pings did not.
        silent,
        /// Those closed since nothing came for long.
        idle,
    }
}

/// Who began a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Began {
    /// The far side.
    Far,
    /// We, for messages that name no trunk: it may end when it has nothing to do.
    Own,
    /// We, to a trunk: it is kept, and pinged.
    Kept,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Connecting,
    Open,
    /// Broken; what was asked may still be answered.
    Lingering,
    Closed,
}

/// The machine of one connection. After each `handle_*` poll [`Connection::poll_event`] until `None`, write
/// [`Connection::output`] and say how much went by [`Connection::consume_output`], close the socket once
/// [`Connection::wants_close`].
#[derive(Debug)]
pub struct Connection {
    config: Streams,
    began: Began,
    state: State,
    input: Vec<u8>,
    /// So many bytes of `input` were searched for the end of a header section.
    seen: usize,
    /// A message needs so many bytes.
    need: usize,
    output: Vec<u8>,
    taken: usize,
    events: VecDeque<Arrival>,
    /// When it is given up: not connected, no first message, or lingering.
    by: Option<Instant>,
    message_by: Option<Instant>,
    write_by: Option<Instant>,
    heard_at: Instant,
    ping_at: Option<Instant>,
    pong_by: Option<Instant>,
    /// The far side has answered a ping before: it is held to it. Many answer none.
    answers: bool,
    /// A lone CRLF came that was no pong: half of a ping.
    half: bool,
    traffic: Traffic,
}

impl Connection {
    /// One that the far side made, or that is being made.
    pub fn new(now: Now, began: Began, config: Streams) -> Connection {
        let (state, by) = match began {
            Began::Far => (State::Open, config.first),
            Began::Own => (State::Connecting, config.own_connect),
            Began::Kept => (State::Connecting, config.connect),
        };
        Connection {
            config,
            began,
            state,
            input: Vec::new(),
            seen: 0,
            need: 0,
            output: Vec::new(),
            taken: 0,
            events: VecDeque::new(),
            by: Some(now.instant + by),
            message_by: None,
            write_by: None,
            heard_at: now.instant,
            ping_at: None,
            pong_by: None,
            answers: false,
            half: false,
            traffic: Traffic::default(),
        }
    }

    /// It is up.
    pub fn handle_connected(&mut self, now: Now) {
        if self.state == State::Connecting {
            (self.state, self.by, self.heard_at) = (State::Open, None, now.instant);
            self.ping_at = (self.began == Began::Kept).then(|| now.instant + self.config.ping);
            self.watch_output(now);
        }
    }

    /// Takes bytes from the network.
    pub fn handle_bytes(&mut self, now: Now, bytes: &[u8]) {
        if self.state != State::Open {
            return;
        }
        self.heard_at = now.instant;
        self.input.extend_from_slice(bytes);
        let mut used = 0;
        while self.state == State::Open
            && let Some(count) = self.cut(now, used)
        {
            used += count;
            (self.seen, self.need, self.message_by) = (0, 0, None);
        }
        self.input.drain(..used.min(self.input.len()));
        if self.input.is_empty() {
            self.input = Vec::new();
        } else if self.message_by.is_none() {
            self.message_by = Some(now.instant + self.config.message);
        }
        self.watch_output(now);
    }

    /// Takes the next message or keep-alive; how many bytes it had.
    fn cut(&mut self, now: Now, from: usize) -> Option<usize> {
        let rest = self.input.get(from..).filter(|rest| !rest.is_empty())?;
        // Headers are looked at once, not with every fragment.
        let lines = rest.starts_with(b"\r");
        if !lines && self.need == 0 && rest.len() < MAX_SIZE {
            let start = self.seen.saturating_sub(3);
            let end = rest.get(start..)?.windows(4).any(|four| four == PING);
            if !end {
                self.seen = rest.len();
                return None;
            }
        }
        if rest.len() < self.need {
            return None;
        }
        match frame(rest) {
            Frame::Partial(need) => {
                self.need = if lines { 0 } else { need };
                None
            }
            Frame::Complete(count) => {
                let message = rest.get(..count)?.to_vec();
                self.half = false;
                self.by = None;
                self.traffic.messages_in += 1;
                self.events.push_back(Arrival::Message(message));
                Some(count)
            }
            Frame::KeepAlive(count) => {
                self.on_keep_alive(count);
                Some(count)
            }
            Frame::Bad { head, error } => {
                let head = rest.get(..head).unwrap_or_default().to_vec();
                self.on_broken(now, head, error);
                None
            }
        }
    }

    /// A ping, a pong, or half a ping: two CRLF may come one by one.
    fn on_keep_alive(&mut self, count: usize) {
        let pong = count == PONG.len() && self.pong_by.is_some();
        if pong {
            (self.pong_by, self.answers) = (None, true);
            self.traffic.pongs += 1;
        } else if count == PONG.len() && !self.half {
            self.half = true;
        } else {
            self.half = false;
            self.traffic.pings += 1;
            self.output.extend_from_slice(PONG);
        }
    }

    fn on_broken(&mut self, now: Now, head: Vec<u8>, error: Error) {
        let large = matches!(error, Error::TooLarge | Error::TooManyHeaders);
        *(if large { &mut self.traffic.oversize } else { &mut self.traffic.broken }) += 1;
        (self.input, self.message_by) = (Vec::new(), None);
        if head.is_empty() {
            return self.finish(Closed::Broken);
        }
        self.state = State::Lingering;
        self.by = Some(now.instant + self.config.linger);
        self.events.push_back(Arrival::Broken { head, error });
    }

    /// The far side has sent its last byte.
    pub fn handle_eof(&mut self) {
        self.finish(Closed::Peer);
    }

    /// Lets every deadline that has passed act.
    pub fn handle_timeout(&mut self, now: Now) {
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now.instant);
        if passed(self.write_by) {
            self.traffic.stuck += 1;
            return self.abort(Closed::Timeout);
        }
        if passed(self.by) {
            return self.on_given_up();
        }
        if passed(self.message_by) {
            self.traffic.late += 1;
            return self.finish(Closed::Timeout);
        }
        if passed(self.pong_by) {
            self.pong_by = None;
            if self.answers {
                self.traffic.silent += 1;
                return self.abort(Closed::Timeout);
            }
        }
        if passed(self.idle_at()) {
            self.traffic.idle += 1;
            return self.finish(Closed::Done);
        }
        if passed(self.ping_at) {
            self.ping_at = Some(now.instant + self.config.ping);
            self.pong_by = self.pong_by.or(Some(now.instant + self.config.pong));
            self.output.extend_from_slice(PING);
            self.watch_output(now);
        }
    }

    fn on_given_up(&mut self) {
        match self.state {
            State::Connecting => {
                self.traffic.unmade += 1;
                self.abort(Closed::Timeout);
            }
            State::Open => {
                self.traffic.late += 1;
                self.finish(Closed::Timeout);
            }
            State::Lingering => self.finish(Closed::Broken),
            State::Closed => self.by = None,
        }
    }

    /// When it has nothing to do any more.
    fn idle_at(&self) -> Option<Instant> {
        let after = match self.began {
            Began::Kept => return None,
            Began::Own => self.config.own_idle,
            Began::Far => self.config.idle,
        };
        (self.state == State::Open).then(|| self.heard_at + after)
    }

    /// When [`Connection::handle_timeout`] is wanted, and why.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let deadlines = [
            (self.by, "sip_connection"),
            (self.message_by, "sip_message"),
            (self.write_by, "sip_write"),
            (self.ping_at, "sip_ping"),
            (self.pong_by, "sip_pong"),
            (self.idle_at(), "sip_idle"),
        ];
        let deadlines = deadlines.map(|(at, why)| at.map(|at| Deadline { at, why }));
        deadlines.into_iter().fold(None, Deadline::sooner)
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<Arrival> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            self.events.shrink_to(0);
        }
        event
    }

    /// Sends a message. It waits where the connection is not up yet. False where it is over, which has been or will be
    /// said; a far side that takes too little is cut off.
    pub fn send(&mut self, now: Now, message: &[u8]) -> bool {
        if self.state == State::Closed {
            return false;
        }
        self.traffic.messages_out += 1;
        self.output.extend_from_slice(message);
        // What goes out is a sign of life as good as a ping.
        self.ping_at = self.ping_at.map(|_| now.instant + self.config.ping);
        if self.began == Began::Own {
            self.heard_at = now.instant;
        }
        self.watch_output(now);
        self.state != State::Closed
    }

    /// The bytes to be sent next; empty where none wait, or none can go yet.
    pub fn output(&self) -> &[u8] {
        if self.state == State::Connecting { &[] } else { self.output.get(self.taken..).unwrap_or_default() }
    }

    /// Says that so many bytes of [`Connection::output`] were taken by the network.
    pub fn consume_output(&mut self, now: Now, count: usize) {
        self.taken = (self.taken + count).min(self.output.len());
        if self.taken == self.output.len() {
            (self.output, self.taken) = (Vec::new(), 0);
        }
        if count > 0 {
            self.write_by = None;
        }
        self.watch_output(now);
    }

    /// Ends it, after what waits to be sent.
    pub fn close(&mut self) {
        self.finish(Closed::Done);
    }

    /// Whether the socket should be closed now.
    pub fn wants_close(&self) -> bool {
        self.state == State::Closed && self.output().is_empty()
    }

    /// What was counted.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn watch_output(&mut self, now: Now) {
        let waits = self.output.len() - self.taken;
        if waits > self.config.max_output {
            self.traffic.overfull += 1;
            return self.abort(Closed::Slow);
        }
        if waits == 0 {
            self.write_by = None;
        } else if self.state != State::Connecting && self.write_by.is_none() {
            self.write_by = Some(now.instant + self.config.write);
        }
    }

    /// Ends it; what is queued still goes out, in the time that a write has.
    fn finish(&mut self, why: Closed) {
        if self.state == State::Closed {
            return;
        }
        if self.state == State::Connecting {
            self.output = Vec::new();
        }
        self.state = State::Closed;
        self.input = Vec::new();
        (self.by, self.message_by, self.ping_at, self.pong_by) = (None, None, None, None);
        self.events.push_back(Arrival::Closed(why));
    }

    /// Ends it at once.
    fn abort(&mut self, why: Closed) {
        self.finish(why);
        (self.output, self.taken, self.write_by) = (Vec::new(), 0, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const INVITE: &str = "INVITE sip:b@x SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 5\r\n\r\nv=0\r\n";
    const BYE: &str = "BYE sip:b@x SIP/2.0\r\nCall-ID: 2\r\nl: 0\r\n\r\n";

    fn start() -> Now {
        #[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
        let instant = Instant::now();
        Now { instant, unix: Duration::ZERO }
    }

    fn incoming(now: Now) -> Connection {
        Connection::new(now, Began::Far, Streams::default())
    }

    fn messages(connection: &mut Connection) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(event) = connection.poll_event() {
            match event {
                Arrival::Message(bytes) => all.push(String::from_utf8(bytes).unwrap()),
                other => all.push(format!("{other:?}")),
            }
        }
        all
    }

    fn wait(connection: &mut Connection, now: &mut Now, time: Duration) {
        *now = now.after(time);
        connection.handle_timeout(*now);
    }

    #[test]
    fn messages_come_whole_in_whatever_pieces_the_stream_has_them() {
        let stream = format!("{INVITE}\r\n\r\n{BYE}\r\n{INVITE}{BYE}");
        for size in 1..stream.len() {
            let now = start();
            let mut connection = incoming(now);
            for piece in stream.as_bytes().chunks(size) {
                connection.handle_bytes(now, piece);
            }
            assert_eq!(messages(&mut connection), [INVITE, BYE, INVITE, BYE], "in pieces of {size}");
            assert_eq!(connection.output(), PONG, "one ping was answered, in pieces of {size}");
        }
    }

    #[test]
    fn a_body_in_many_pieces_is_not_read_anew_with_each() {
        let now = start();
        let body = "x".repeat(60_000);
        let text = format!("MESSAGE sip:b@x SIP/2.0\r\nContent-Length: 60000\r\n\r\n{body}");
        let mut connection = incoming(now);
        for byte in text.as_bytes().chunks(1) {
            connection.handle_bytes(now, byte);
        }
        assert_eq!(messages(&mut connection), [text]);
    }

    #[test]
    fn a_length_that_is_none_is_answered_from_the_headers_and_ends_the_connection() {
        for (length, large) in [
            ("", false),
            ("Content-Length: 18446744073709551617\r\n", false),
            ("Content-Length: 4294967297\r\n", false),
            ("Content-Length: -1\r\n", false),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", false),
            ("Content-Length: 70000\r\n", true),
        ] {
            let mut now = start();
            let mut connection = incoming(now);
            let head = format!("BYE sip:b@x SIP/2.0\r\nCall-ID: 2\r\n{length}\r\n");
            connection.handle_bytes(now, format!("{head}hello{BYE}").as_bytes());
            let Some(Arrival::Broken { head: told, .. }) = connection.poll_event() else {
                panic!("{length}")
            };
            assert_eq!(told, head.as_bytes());
            assert!(connection.send(now, b"SIP/2.0 400 Bad Request\r\n\r\n") && !connection.wants_close());
            connection.handle_bytes(now, BYE.as_bytes());
            connection.consume_output(now, connection.output().len());
            wait(&mut connection, &mut now, Duration::from_secs(2));
            assert_eq!(messages(&mut connection), ["Closed(Broken)"]);
            assert!(connection.wants_close());
            let traffic = connection.traffic();
            assert_eq!((traffic.oversize, traffic.broken), (u64::from(large), u64::from(!large)), "{length}");
        }
    }

    #[test]
    fn headers_without_end_are_too_large() {
        let now = start();
        let mut connection = incoming(now);
        connection.handle_bytes(now, b"BYE sip:b@x SIP/2.0\r\n");
        for _ in 0..66 {
            connection.handle_bytes(now, &[b'x'; 1_000]);
        }
        assert_eq!(messages(&mut connection), ["Closed(Broken)"]);
        assert!(connection.wants_close());
    }

    #[test]
    fn who_begins_a_message_must_end_it_and_who_connects_must_begin_one() {
        let mut now = start();
        let mut slow = incoming(now);
        slow.handle_bytes(now, BYE.as_bytes());
        for _ in 0..9 {
            slow.handle_bytes(now, b"B");
            wait(&mut slow, &mut now, Duration::from_secs(1));
        }
        assert_eq!(messages(&mut slow), [BYE]);
        wait(&mut slow, &mut now, Duration::from_secs(1));
        assert_eq!(messages(&mut slow), ["Closed(Timeout)"]);
        let mut mute = incoming(now);
        wait(&mut mute, &mut now, Duration::from_secs(31));
        assert_eq!(messages(&mut mute), ["Closed(Timeout)"]);
        let mut fine = incoming(now);
        fine.handle_bytes(now, BYE.as_bytes());
        wait(&mut fine, &mut now, Duration::from_mins(50));
        assert_eq!(messages(&mut fine), [BYE]);
    }

    #[test]
    fn what_is_sent_waits_for_the_connection_and_is_lost_with_it() {
        let mut now = start();
        let mut up = Connection::new(now, Began::Own, Streams::default());
        assert!(up.send(now, b"one") && up.output().is_empty());
        up.handle_connected(now);
        assert_eq!(up.output(), b"one");
        let mut down = Connection::new(now, Began::Own, Streams::default());
        down.send(now, b"one");
        wait(&mut down, &mut now, Streams::default().connect);
        assert_eq!(messages(&mut down), ["Closed(Timeout)"]);
        assert!(down.wants_close() && !down.send(now, b"two"));
    }

    #[test]
    fn who_reads_nothing_is_cut_off() {
        let mut now = start();
        let mut stuck = incoming(now);
        stuck.send(now, b"one");
        wait(&mut stuck, &mut now, Streams::default().write);
        assert_eq!(messages(&mut stuck), ["Closed(Timeout)"]);
        let mut full = incoming(now);
        while full.send(now, &[b'x'; 10_000]) {}
        assert_eq!(full.traffic().overfull, 1);
        assert!(full.wants_close());
    }

    #[test]
    fn a_trunk_s_connection_is_pinged_and_held_to_the_answers_that_it_once_gave() {
        let (mut now, config) = (start(), Streams::default());
        let mut kept = Connection::new(now, Began::Kept, config);
        kept.handle_connected(now);
        for round in 0..3 {
            wait(&mut kept, &mut now, config.ping);
            assert_eq!(kept.output(), PING, "{round}");
            kept.consume_output(now, PING.len());
            wait(&mut kept, &mut now, config.pong);
            assert!(messages(&mut kept).is_empty(), "it never answers, as many don't");
        }
        wait(&mut kept, &mut now, config.ping);
        kept.consume_output(now, PING.len());
        kept.handle_bytes(now, PONG);
        assert_eq!(kept.traffic().pongs, 1);
        wait(&mut kept, &mut now, config.ping);
        wait(&mut kept, &mut now, config.pong);
        assert_eq!(messages(&mut kept), ["Closed(Timeout)"]);
    }
}
