//! The same without a WebSocket: requests and polls.

use super::*;

fn exchange(slot: u32, number: u32) -> Exchange {
    Exchange { flow: flow(slot), number }
}

impl Desk {
    fn ask_http(&mut self, exchange: Exchange, what: Asked) {
        self.input(Input::Asked(Ask { exchange, source: None, what }));
    }

    fn response(&mut self) -> (Exchange, u16, Value) {
        match self.next() {
            Output::Respond { exchange, status, body } => {
                (exchange, status, serde_json::from_str(&body).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Opens a session by HTTP: its token.
    fn open(&mut self, user: &str, password: &str) -> String {
        self.ask_http(exchange(90, 1), Asked::Connect { body: connect(user, password).to_string() });
        let (to, status, ok) = self.response();
        assert_eq!((to, status, &ok["type"]), (exchange(90, 1), 200, &json!("ok")), "{ok}");
        ok["resume"].as_str().unwrap().to_owned()
    }

    /// A request: the answer, which comes first.
    fn post(&mut self, token: &str, request: &Value) -> Value {
        self.quiet();
        let what = Asked::Request { token: token.to_owned(), body: request.to_string() };
        self.ask_http(exchange(91, 5), what);
        let (to, status, answer) = self.response();
        assert_eq!((to, status), (exchange(91, 5), 200), "{answer}");
        answer
    }

    fn poll(&mut self, slot: u32, token: &str, cursor: u64) {
        let wait = Duration::from_secs(25);
        self.ask_http(exchange(slot, 1), Asked::Events { token: token.to_owned(), cursor, wait });
    }

    /// The events that answer a poll, by type.
    fn polled(&mut self, slot: u32) -> Vec<(u64, String)> {
        let (to, status, events) = self.response();
        assert_eq!((to, status), (exchange(slot, 1), 200), "{events}");
        let read =
            |event: &Value| (event["seq"].as_u64().unwrap(), event["type"].as_str().unwrap().to_owned());
        events.as_array().unwrap().iter().map(read).collect()
    }
}

fn said(events: &[(u64, &str)]) -> Vec<(u64, String)> {
    events.iter().map(|(seq, kind)| (*seq, (*kind).to_owned())).collect()
}

#[test]
fn a_whole_call_by_long_poll_alone() {
    let mut desk = Desk::new();
    let token = desk.open("alice", "wonder");
    desk.poll(1, &token, 0);
    desk.quiet();
    let dial = json!({"type": "dial", "id": 2, "call": "a", "to": "echo", "sdp": OFFER});
    assert_eq!(desk.post(&token, &dial)["type"], "ok");
    let Event::Incoming(incoming) = desk.event() else { panic!() };
    let leg = incoming.leg;
    // What happens at once comes at once.
    desk.command(Command::Progress { leg, code: 180, answer: Some(sdp("2")) });
    assert_eq!(desk.polled(1), said(&[(1, "media"), (2, "ringing")]));
    // What happens between two polls waits for the second.
    desk.command(Command::Answer { leg, session: None });
    desk.quiet();
    desk.poll(1, &token, 2);
    assert_eq!(desk.polled(1), said(&[(3, "answered")]));
    // An aborted poll loses nothing: the cursor has not moved.
    desk.poll(2, &token, 2);
    assert_eq!(desk.polled(2), said(&[(3, "answered")]));
    desk.poll(2, &token, 3);
    desk.pass(Duration::from_millis(24_999));
    desk.quiet();
    desk.pass(Duration::from_millis(1));
    assert_eq!(desk.polled(2), []);
    assert_eq!(desk.post(&token, &json!({"type": "hangup", "id": 3, "call": "a"}))["type"], "ok");
    assert_eq!(desk.ended().0, leg);
    desk.poll(2, &token, 3);
    assert_eq!(desk.polled(2), said(&[(4, "ended")]));
}

#[test]
fn a_call_rings_where_a_poll_waits_or_soon_will() {
    let mut desk = Desk::new();
    let token = desk.open("bob", "builder");
    desk.offer("bob");
    desk.quiet();
    desk.poll(1, &token, 0);
    assert_eq!(desk.polled(1), said(&[(1, "incoming")]));
    desk.poll(1, &token, 1);
    desk.offer("bob");
    assert_eq!(desk.polled(1), said(&[(2, "incoming")]));
}

#[test]
fn a_second_poll_ends_the_first_with_nothing() {
    let mut desk = Desk::new();
    let token = desk.open("alice", "wonder");
    desk.poll(1, &token, 0);
    desk.poll(2, &token, 0);
    assert_eq!(desk.polled(1), []);
    desk.quiet();
    desk.input(Input::Abandoned(exchange(1, 1)));
    desk.input(Input::Abandoned(exchange(2, 1)));
    desk.pass(Duration::from_secs(19));
    assert_eq!(desk.hub.sessions(), 1);
    desk.pass(Duration::from_secs(1));
    assert_eq!((desk.hub.sessions(), desk.hub.counters().sessions_lost), (0, 1));
}

#[test]
fn a_session_lives_while_it_polls_and_a_grace_longer() {
    let mut desk = Desk::new();
    let token = desk.open("alice", "wonder");
    for _ in 0..5 {
        desk.pass(Duration::from_secs(19));
        desk.poll(1, &token, 0);
        desk.pass(Duration::from_secs(25));
        assert_eq!(desk.polled(1), []);
    }
    desk.pass(Duration::from_secs(15));
    desk.post(&token, &json!({"type": "ping", "id": 9}));
    desk.pass(Duration::from_secs(19));
    assert_eq!(desk.hub.sessions(), 1);
    desk.pass(Duration::from_secs(1));
    assert_eq!(desk.hub.sessions(), 0);
    desk.poll(1, &token, 0);
    let (_, status, error) = desk.response();
    assert_eq!((status, &error["error"]), (401, &json!("unknown_session")));
}

#[test]
fn an_update_holds_its_response_until_it_is_decided() {
    let mut desk = Desk::new();
    let token = desk.open("alice", "wonder");
    let dial = json!({"type": "dial", "id": 2, "call": "a", "to": "echo", "sdp": OFFER});
    desk.post(&token, &dial);
    let Event::Incoming(incoming) = desk.event() else { panic!() };
    let leg = incoming.leg;
    desk.command(Command::Answer { leg, session: Some(sdp("2")) });
    let mut update = json!({"type": "update", "id": 3, "call": "a", "sdp": OFFER});
    let ask = |desk: &mut Desk, slot, update: &Value| {
        let what = Asked::Request { token: token.clone(), body: update.to_string() };
        desk.ask_http(exchange(slot, 1), what);
    };
    ask(&mut desk, 1, &update);
    assert!(matches!(desk.event(), Event::Offered { .. }));
    desk.quiet();
    // The exchange breaks; the request comes again, and yet again.
    desk.input(Input::Abandoned(exchange(1, 1)));
    update["again"] = json!(true);
    ask(&mut desk, 2, &update);
    desk.quiet();
    ask(&mut desk, 3, &update);
    let (to, status, error) = desk.response();
    assert_eq!((to, status, &error["error"]), (exchange(2, 1), 409, &json!("wrong_state")));
    desk.command(Command::Accept { leg, answer: sdp("7") });
    let (to, status, ok) = desk.response();
    assert_eq!((to, status), (exchange(3, 1), 200));
    assert!(ok["sdp"].as_str().unwrap().contains("o=- 7"));
    desk.quiet();
}

#[test]
fn a_browser_climbs_to_a_websocket_and_falls_back() {
    let mut desk = Desk::new();
    let token = desk.open("bob", "builder");
    desk.poll(1, &token, 0);
    let resume = |token: &str, cursor: u64| json!({"type": "connect", "id": 1, "version": 1, "resume": token, "cursor": cursor});
    desk.text(flow(2), &resume(&token, 0).to_string());
    assert_eq!(desk.polled(1), []);
    let (_, ok) = desk.sent();
    let token = ok["resume"].as_str().unwrap().to_owned();
    let (_, call) = desk.ring("bob", flow(2));
    desk.does(flow(2), &json!({"type": "ringing", "id": 2, "call": call}));
    desk.event();
    // The WebSocket is blocked after all: by HTTP again, on the same session, the call rings on.
    desk.ask_http(exchange(3, 1), Asked::Connect { body: resume(&token, 0).to_string() });
    desk.tells(flow(2), &json!({"type": "closed", "reason": "replaced"}));
    desk.closes(flow(2));
    let (_, status, ok) = desk.response();
    assert_eq!(status, 200);
    let token = ok["resume"].as_str().unwrap().to_owned();
    desk.poll(1, &token, 0);
    assert_eq!(desk.polled(1), said(&[(1, "incoming")]));
    assert_eq!(
        desk.post(&token, &json!({"type": "answer", "id": 4, "call": call, "sdp": OFFER}))["type"],
        "ok"
    );
    assert!(matches!(desk.event(), Event::Answered { .. }));
}

#[test]
fn what_opens_nothing_is_refused_with_a_status() {
    let mut desk = Desk::new();
    let bad = [
        (connect("alice", "x").to_string(), 401, "unauthorized"),
        ("{".to_owned(), 400, "bad_request"),
        (json!({"type": "ping", "id": 3}).to_string(), 401, "unauthorized"),
        (json!({"type": "connect", "id": 3, "version": 9}).to_string(), 400, "version"),
        (
            json!({"type": "connect", "id": 3, "version": 1, "resume": "x"}).to_string(),
            401,
            "unknown_session",
        ),
    ];
    for (body, expected, name) in bad {
        desk.ask_http(exchange(1, 1), Asked::Connect { body });
        let (_, status, error) = desk.response();
        assert_eq!((status, &error["error"]), (expected, &json!(name)));
    }
    for token in ["", "x", &"A".repeat(54)] {
        let what = Asked::Request { token: token.to_owned(), body: "{}".to_owned() };
        desk.ask_http(exchange(1, 2), what);
        assert_eq!(desk.response().1, 401);
    }
    desk.quiet();
}

#[test]
fn signing_out_by_http_ends_the_poll_that_waits() {
    let mut desk = Desk::new();
    let token = desk.open("alice", "wonder");
    desk.poll(1, &token, 0);
    assert_eq!(desk.post(&token, &json!({"type": "disconnect", "id": 2}))["type"], "ok");
    assert_eq!(desk.polled(1), said(&[(1, "closed")]));
    desk.quiet();
    assert_eq!(desk.hub.sessions(), 0);
}

#[test]
fn an_http_request_goes_home_once() {
    let name = (0..50).map(|n| format!("user{n}"));
    let name = name.into_iter().find(|name| Account::from(name.as_str()).home(4) == ShardId(2)).unwrap();
    let mut home = Desk::on(ShardId(2), 4, |config| config.add_user(&name, "any", ""));
    let mut landing = Desk::on(ShardId(0), 4, |_| ());
    let body = connect(&name, "any").to_string();
    landing.ask_http(exchange(1, 1), Asked::Connect { body });
    let Output::Forward { to, ask } = landing.next() else { panic!() };
    assert_eq!(to, ShardId(2));
    home.input(Input::Asked(ask));
    let token = home.response().2["resume"].as_str().unwrap().to_owned();
    landing.poll(1, &token, 0);
    let Output::Forward { to, ask } = landing.next() else { panic!() };
    assert_eq!(to, ShardId(2));
    home.input(Input::Asked(ask));
    home.quiet();
    // Forwarded to a shard that is not home either, it goes no further.
    let mut other = Desk::on(ShardId(3), 4, |_| ());
    other.poll(1, &token, 0);
    assert_eq!(other.response().1, 401);
}
