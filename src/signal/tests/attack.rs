//! What a browser should not send.

use super::*;

#[test]
fn bad_messages_are_answered_and_harm_nothing() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let deep = format!("{{\"type\":\"ping\",\"id\":1,\"x\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
    let cases = [
        ("", "bad_request", Value::Null),
        ("{", "bad_request", Value::Null),
        ("[]", "bad_request", Value::Null),
        ("null", "bad_request", Value::Null),
        ("{\"id\":4}", "bad_request", json!(4)),
        ("{\"type\":\"ping\"}", "bad_request", Value::Null),
        ("{\"type\":\"ping\",\"id\":-1}", "bad_request", Value::Null),
        ("{\"type\":\"ping\",\"id\":1.5}", "bad_request", Value::Null),
        ("{\"type\":\"ping\",\"id\":\"1\"}", "bad_request", Value::Null),
        ("{\"type\":\"dial\",\"id\":5,\"to\":[]}", "bad_request", json!(5)),
        ("{\"type\":\"ping\",\"id\":6,\"id\":7}", "bad_request", Value::Null),
        ("{\"type\":\"fly\",\"id\":8}", "unknown_type", json!(8)),
        ("{\"type\":\"ping\",\"id\":9} x", "bad_request", Value::Null),
        ("{\"type\":\"hangup\",\"id\":10}", "bad_request", json!(10)),
    ];
    for (text, error, id) in cases {
        desk.text(alice, text);
        let (_, answer) = desk.sent();
        assert_eq!((&answer["error"], &answer["id"]), (&json!(error), &id), "{text}");
    }
    desk.text(alice, &deep);
    assert_ne!(desk.sent().1, Value::Null);
    desk.text(alice, &format!("{{\"type\":\"ping\",\"id\":1,\"x\":\"{}\"}}", "x".repeat(65_536)));
    assert_eq!(desk.sent().1["error"], "bad_request");
    desk.does(alice, &json!({"type": "ping", "id": 2}));
    desk.quiet();
}

#[test]
fn what_is_dialled_must_name_somebody_and_the_offer_must_be_one() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let dial = |call: Value, to: Value, sdp: Value| json!({"type": "dial", "id": 2, "call": call, "to": to, "sdp": sdp});
    for to in ["", "bob\r\nVia: x", "sip:bob%0d%0a@x", &"a".repeat(256), "http://x", "\0"] {
        assert_eq!(desk.fails(alice, &dial("c".into(), to.into(), OFFER.into())), "bad_request", "{to:?}");
    }
    for call in ["", "a b", "a\n", "ä", &"a".repeat(65), "a/b"] {
        assert_eq!(
            desk.fails(alice, &dial(call.into(), "echo".into(), OFFER.into())),
            "bad_request",
            "{call:?}"
        );
    }
    for sdp in ["", "x", "v=0", &OFFER.replace("s=-", "s=\0"), &OFFER.replace("UDP/TLS", "\rUDP")] {
        assert_eq!(desk.fails(alice, &dial("c".into(), "echo".into(), sdp.into())), "bad_request", "{sdp:?}");
    }
    assert_eq!(desk.fails(alice, &json!({"type": "dial", "id": 2})), "bad_request");
    assert_eq!(desk.hub.calls(), 0);
}

#[test]
fn secrets_are_not_shown() {
    let mut desk = Desk::new();
    desk.sign_in(1, "alice");
    let shown = format!("{:?} {:?}", desk.hub, desk.hub.config);
    assert!(!shown.contains("wonder"));
    let request: message::Request = serde_json::from_str(&connect("alice", "wonder").to_string()).unwrap();
    assert!(!format!("{request:?}").contains("wonder"));
}

/// Whatever comes, in whatever order: no panic, invariants hold (checked by the desk after each step), every leg ends
/// exactly once, and no control character reaches a leg word.
#[test]
fn random_storms_never_harm() {
    for seed in 0..150 {
        let mut random = Random::from_number(seed);
        let mut storm = Storm::new();
        for _ in 0..200 {
            storm.step(&mut random);
        }
        storm.desk.input(Input::Stop);
        storm.judge();
        assert!(storm.legs.is_empty(), "seed {seed}: {:?}", storm.legs);
        assert_eq!((storm.desk.hub.sessions(), storm.desk.hub.calls()), (0, 0));
        storm.desk.pass(Duration::from_mins(1));
        assert!(storm.desk.hub.poll_timeout().is_none(), "seed {seed}");
    }
}

struct Storm {
    desk: Desk,
    /// Legs that the call machine knows.
    legs: Vec<LegId>,
    calls: Vec<String>,
}

impl Storm {
    fn new() -> Storm {
        let desk = Desk::with(|config| {
            config.max_calls_per_session = 3;
            config.max_sessions_per_user = 3;
            config.max_sessions = 5;
            config.max_unknown = 6;
        });
        Storm { desk, legs: Vec::new(), calls: vec!["a".into(), "b".into(), "c".into()] }
    }

    fn step(&mut self, random: &mut Random) {
        let flow = flow(random.below(8) as u32);
        match random.below(20) {
            0 => self.desk.input(Input::Closed { flow }),
            1 => self
                .desk
                .input(Input::Opened { flow, source: Some([192, 0, 2, random.below(3) as u8].into()) }),
            2 => self.desk.pass(Duration::from_millis(random.below(15_000))),
            3 => {
                let state = if random.chance(0.5) { Ok(()) } else { Err(Reason::from_code(403)) };
                self.desk.input(Input::Registered { account: Account::from("alice"), state });
            }
            4 => {
                let leg = self.desk.offer(if random.chance(0.5) { "alice" } else { "bob" });
                self.legs.push(leg);
            }
            5..9 => self.command(random),
            9..12 => {
                let user = if random.chance(0.5) { ("alice", "wonder") } else { ("bob", "builder") };
                self.desk.text(flow, &connect(user.0, user.1).to_string());
            }
            _ => {
                let text = self.request(random);
                self.desk.text(flow, &text);
            }
        }
        self.judge();
    }

    fn command(&mut self, random: &mut Random) {
        if self.legs.is_empty() {
            return;
        }
        let leg = self.legs[random.below(self.legs.len() as u64) as usize];
        let answer = random.chance(0.5).then(|| sdp("2"));
        self.desk.command(match random.below(6) {
            0 => Command::Progress { leg, code: [0, 180, 183][random.below(3) as usize], answer },
            1 => Command::Answer { leg, session: answer },
            2 => Command::Offer { leg, offer: sdp("3") },
            3 => Command::Accept { leg, answer: sdp("3") },
            4 => Command::Refuse { leg, reason: Reason::from_code(488) },
            _ => {
                self.legs.retain(|other| *other != leg);
                Command::End { leg, reason: Cause::Hangup.into() }
            }
        });
    }

    fn request(&self, random: &mut Random) -> String {
        const KINDS: [&str; 13] = [
            "connect",
            "register",
            "unregister",
            "dial",
            "dial",
            "ringing",
            "answer",
            "reject",
            "hangup",
            "update",
            "accept",
            "ping",
            "fly",
        ];
        let kind = KINDS[random.below(13) as usize];
        let call = &self.calls[random.below(self.calls.len() as u64) as usize];
        let to = ["echo", "bob\r\n", "sip:a%0a@b", "tel:+1"][random.below(4) as usize];
        let sdp = [OFFER.to_owned(), OFFER.replace("s=-", "s=a\0b"), "v=0".into()][random.below(3) as usize]
            .clone();
        let mut request = json!({"type": kind, "id": random.below(9), "call": call, "to": to, "sdp": sdp});
        if random.chance(0.1) {
            request["call"] = json!("x\r\ny\0");
        }
        let mut text = request.to_string();
        if random.chance(0.1) {
            let place = random.below(text.len() as u64) as usize;
            if text.is_char_boundary(place) {
                text.truncate(place);
            }
        }
        text
    }

    /// Follows what came out, as the call machine would.
    fn judge(&mut self) {
        while let Some(output) = self.desk.out.pop_front() {
            match output {
                Output::Send { text, .. } => {
                    let value: Value = serde_json::from_str(&text).unwrap();
                    if value["type"] == "incoming" {
                        self.calls.push(value["call"].as_str().unwrap().to_owned());
                    }
                }
                Output::Event(event) => {
                    let shown = format!("{event:?}");
                    assert!(
                        !["\\r", "\\n", "\\0", "\\u{"].iter().any(|evil| shown.contains(evil)),
                        "{shown}"
                    );
                    let leg = event.leg();
                    match event {
                        Event::Incoming(_) => self.legs.push(leg),
                        Event::Ended { .. } => {
                            assert!(self.legs.contains(&leg), "a leg ends once");
                            self.legs.retain(|other| *other != leg);
                        }
                        _ => assert!(self.legs.contains(&leg), "nothing comes of a leg that is over"),
                    }
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_session_that_floods_is_refused_until_it_has_waited_and_others_are_not() {
    let mut desk = Desk::with(|config| {
        (config.message_interval, config.message_burst) = (Duration::from_millis(20), 10);
    });
    let (alice, bob) = (desk.sign_in(1, "alice"), desk.sign_in(2, "bob"));
    let ping = json!({"type": "ping", "id": 7});
    for _ in 0..10 {
        assert_eq!(desk.ask(alice, &ping)["type"], "ok");
    }
    for _ in 0..100 {
        assert_eq!(desk.ask(alice, &ping)["error"], "too_many");
    }
    assert_eq!(desk.ask(bob, &ping)["type"], "ok");
    assert_eq!(desk.hub.counters().flooding, 100);
    desk.pass(Duration::from_millis(20));
    assert_eq!(desk.ask(alice, &ping)["type"], "ok");
    assert_eq!(desk.ask(alice, &ping)["error"], "too_many");
    desk.pass(Duration::from_mins(1));
    for _ in 0..10 {
        assert_eq!(desk.ask(alice, &ping)["type"], "ok");
    }
    assert_eq!(desk.ask(alice, &ping)["error"], "too_many", "waiting saves up no more than a burst");
}
