//! Sessions by HTTP, and sessions that are come back to, over two shards whose mail is carried by hand.

use super::*;
use serde_json::{Value, json};

/// Two shards, and what their connections wrote.
struct Pair {
    shards: [Core; 2],
    now: Now,
    written: Vec<(FlowId, String)>,
    mails: usize,
}

impl Pair {
    fn new() -> Pair {
        let (config, now) = (Arc::new(config()), clock());
        let shards = [core(&config, now, 0, 2), core(&config, now, 1, 2)];
        Pair { shards, now, written: Vec::new(), mails: 0 }
    }

    /// Carries mail until both shards are quiet.
    fn turn(&mut self) {
        loop {
            let mut mails = Vec::new();
            for from in 0..2 {
                let heard = hear(&mut self.shards[from], self.now);
                let text =
                    |(flow, bytes): (FlowId, Vec<u8>)| (flow, String::from_utf8_lossy(&bytes).into_owned());
                self.written.extend(heard.written.into_iter().map(text));
                mails.extend(heard.mail.into_iter().map(|(to, mail)| (from as u8, to, mail)));
            }
            if mails.is_empty() {
                return;
            }
            self.mails += mails.len();
            for (from, to, mail) in mails {
                self.shards[usize::from(to.0)].mail(self.now, ShardId(from), mail);
            }
        }
    }

    fn open(&mut self, shard: usize) -> FlowId {
        self.shards[shard].opened(self.now, address("203.0.113.5:4000")).unwrap()
    }

    fn send(&mut self, flow: FlowId, bytes: &[u8]) {
        self.shards[usize::from(flow.shard().0)].bytes(self.now, flow, bytes);
        self.turn();
    }

    /// What a connection wrote since the last look: status and body.
    fn response(&mut self, flow: FlowId) -> Option<(u16, Value)> {
        let place = self.written.iter().position(|(other, _)| *other == flow)?;
        let (_, text) = self.written.remove(place);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("no-store"), "{head}");
        Some((head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap()))
    }

    fn post(&mut self, flow: FlowId, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(flow, request.as_bytes());
        self.response(flow).expect("an answer")
    }

    fn poll(&mut self, flow: FlowId, token: &str, cursor: u64) {
        let request = format!(
            "GET /v1/events?cursor={cursor}&wait=25 HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        self.send(flow, request.as_bytes());
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.shards.iter_mut().for_each(|shard| shard.handle_timeout(self.now));
        self.turn();
    }
}

fn connect(user: &str) -> Value {
    json!({"type": "connect", "id": 1, "version": 1, "user": user, "password": "secret"})
}

#[test]
fn a_poll_stays_where_it_landed_and_the_home_feeds_it() {
    let mut pair = Pair::new();
    let (requests, polls) = (pair.open(0), pair.open(0));
    let (status, ok) = pair.post(requests, "/v1/session", "", &connect(&user_of(1)));
    assert_eq!((status, &ok["type"]), (200, &json!("ok")));
    let token = ok["resume"].as_str().unwrap().to_owned();
    assert_eq!(ok["session"].as_str().unwrap().get(..2), Some("01"), "its home is shard 1");

    pair.poll(polls, &token, 0);
    assert!(pair.response(polls).is_none(), "it waits");
    // Nobody can register this user upstream, which is an event.
    let (status, ok) = pair.post(requests, "/v1/messages", &token, &json!({"type": "register", "id": 2}));
    assert_eq!((status, ok), (200, json!({"type": "ok", "id": 2})));
    let (status, events) = pair.response(polls).unwrap();
    assert_eq!((status, &events[0]["type"]), (200, &json!("unregistered")));
    assert!(pair.mails >= 6);

    // Given up and asked again on another shard, it says the same again; acknowledged, it waits.
    let near = pair.open(1);
    pair.poll(near, &token, 0);
    assert_eq!(pair.response(near).unwrap().1, events);
    pair.poll(near, &token, 1);
    assert!(pair.response(near).is_none());
    pair.poll(polls, &token, 1);
    assert_eq!(pair.response(near).unwrap(), (200, json!([])));
    pair.pass(Duration::from_secs(25));
    assert_eq!(pair.response(polls).unwrap(), (200, json!([])));
}

#[test]
fn a_poll_that_breaks_off_is_told_to_its_home() {
    let mut pair = Pair::new();
    let (requests, polls) = (pair.open(0), pair.open(0));
    let (_, ok) = pair.post(requests, "/v1/session", "", &connect(&user_of(1)));
    let token = ok["resume"].as_str().unwrap().to_owned();
    for broken in [true, false] {
        let flow = if broken { polls } else { pair.open(0) };
        pair.poll(flow, &token, 0);
        let mails = pair.mails;
        if broken {
            pair.shards[0].closed(pair.now, flow);
        } else {
            pair.shards[0].ended(pair.now, flow);
        }
        pair.turn();
        assert_eq!(pair.mails, mails + 1);
        assert_eq!(pair.shards[0].connections(), 1);
    }
    pair.pass(Duration::from_secs(61));
    let requests = pair.open(0);
    let (status, error) = pair.post(requests, "/v1/messages", &token, &json!({"type": "ping", "id": 2}));
    assert_eq!((status, &error["error"]), (401, &json!("unknown_session")));
}

#[test]
fn a_session_is_come_back_to_from_another_shard_by_another_way() {
    let mut pair = Pair::new();
    let first = pair.open(0);
    let (_, ok) = pair.post(first, "/v1/session", "", &connect(&user_of(0)));
    let token = ok["resume"].as_str().unwrap().to_owned();
    let socket = pair.open(1);
    pair.send(socket, UPGRADE);
    let resume = format!(r#"{{"type":"connect","id":1,"version":1,"resume":"{token}"}}"#);
    pair.send(socket, &frame(&resume));
    let (_, text) = pair.written.pop().unwrap();
    assert!(text.contains(r#""type":"ok""#) && text.contains("resume"), "{text}");
    // The old token opens the session until the new one was used.
    let (status, _) = pair.post(first, "/v1/messages", &token, &json!({"type": "ping", "id": 2}));
    assert_eq!(status, 200);
    assert_eq!(pair.shards[0].counters().steered_texts, 0);
    assert_eq!(pair.shards[1].counters().steered_texts, 1);
}

#[test]
fn a_request_without_room_on_its_way_is_answered_at_once() {
    let mut pair = Pair::new();
    let flow = pair.open(0);
    let body = connect(&user_of(1)).to_string();
    let request =
        format!("POST /v1/session HTTP/1.1\r\nHost: gw\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    pair.shards[0].bytes(pair.now, flow, request.as_bytes());
    let (to, mail) = hear(&mut pair.shards[0], pair.now).mail.pop().unwrap();
    pair.shards[0].shed(pair.now, to, mail);
    pair.turn();
    let (status, error) = pair.response(flow).unwrap();
    assert_eq!((status, &error["error"]), (503, &json!("overloaded")));
}
