//! A hub, played from both sides: browsers' connections and the call machine. Every message that it sends is held
//! against `schema.json`, and its invariants are checked after every step.

mod attack;
mod control;
mod errand;
mod exchange;
mod flow;
mod resume;
mod schema;
mod session;
mod tabs;
mod token;

use super::*;
use crate::base::{Key, LegId, Machine, Mint, Now, Random, Side};
use crate::leg::{Account, Cause, Command, Dial, Event, Party, Reason, Target};
use crate::sdp;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\n\
    c=IN IP4 0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\na=mid:0\r\na=sendrecv\r\n";

fn sdp(id: &str) -> Box<sdp::Session> {
    let text = OFFER.replace("o=- 1", &format!("o=- {id}"));
    Box::new(sdp::Session::parse(text.as_bytes()).unwrap())
}

/// One shard's hub.
struct Desk {
    hub: Hub,
    now: Now,
    out: VecDeque<Output>,
    mint: Mint,
    /// Calls that lost (`false`) or found their browser.
    presence: Vec<(LegId, bool)>,
}

impl Desk {
    fn new() -> Desk {
        Desk::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Config)) -> Desk {
        Desk::on(ShardId(0), 1, change)
    }

    fn on(shard: ShardId, shards: u8, change: impl FnOnce(&mut Config)) -> Desk {
        let mut config = Config { grace: Duration::from_secs(20), ..Config::default() };
        config.add_user("alice", "wonder", "Alice L.");
        config.add_user("bob", "builder", "");
        config.ice_servers.push(IceServer { urls: vec!["stun:192.0.2.1".into()], ..IceServer::default() });
        change(&mut config);
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
        let instant = Instant::now();
        let now = Now { instant, unix: Duration::ZERO };
        let hub = Hub::new(shard, shards, Arc::new(config), Random::from_number(1));
        Desk { hub, now, out: VecDeque::new(), mint: Mint::new(shard, true), presence: Vec::new() }
    }

    fn input(&mut self, input: Input<'_>) {
        self.hub.handle_input(self.now, input);
        self.settle();
    }

    fn settle(&mut self) {
        self.hub.check_invariants();
        while let Some(output) = self.hub.poll_output() {
            match &output {
                Output::Send { text, .. } => schema::check_message(text),
                Output::Respond { body, .. } => match serde_json::from_str(body).unwrap() {
                    Value::Array(events) => {
                        for event in &events {
                            schema::check_message(&event.to_string());
                        }
                    }
                    _ => schema::check_message(body),
                },
                _ => {}
            }
            match output {
                // Said at each loss and return: beside the point of most tests.
                Output::Event(Event::Lost { leg }) => self.presence.push((leg, false)),
                Output::Event(Event::Found { leg }) => self.presence.push((leg, true)),
                output => self.out.push_back(output),
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.hub.handle_timeout(self.now);
        self.settle();
    }

    fn text(&mut self, flow: FlowId, text: &str) {
        self.input(Input::Message { flow, text });
    }

    /// A request with the next output, which must be the answer to it.
    fn ask(&mut self, flow: FlowId, request: &Value) -> Value {
        self.quiet();
        self.text(flow, &request.to_string());
        let (to, answer) = self.sent();
        assert_eq!(to, flow);
        assert_eq!(answer["id"], request["id"], "{answer}");
        answer
    }

    /// A request that is carried out.
    fn does(&mut self, flow: FlowId, request: &Value) -> Value {
        schema::check_request(request);
        let answer = self.ask(flow, request);
        assert_eq!(answer["type"], "ok", "{answer}");
        answer
    }

    /// A request that is refused: the error's name.
    fn fails(&mut self, flow: FlowId, request: &Value) -> String {
        let answer = self.ask(flow, request);
        assert_eq!(answer["type"], "error", "{answer}");
        answer["error"].as_str().unwrap().to_owned()
    }

    fn next(&mut self) -> Output {
        self.out.pop_front().expect("an output")
    }

    fn sent(&mut self) -> (FlowId, Value) {
        match self.next() {
            Output::Send { flow, text } => (flow, serde_json::from_str(&text).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// The next output is this event for the browser; its `seq` is given back.
    fn tells(&mut self, flow: FlowId, expected: &Value) -> u64 {
        let (to, mut event) = self.sent();
        let seq = event.as_object_mut().unwrap().remove("seq").unwrap().as_u64().unwrap();
        assert_eq!((to, &event), (flow, expected));
        seq
    }

    fn event(&mut self) -> Event {
        match self.next() {
            Output::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    fn ended(&mut self) -> (LegId, Reason) {
        match self.event() {
            Event::Ended { leg, reason } => (leg, reason),
            other => panic!("{other:?}"),
        }
    }

    fn closes(&mut self, flow: FlowId) {
        assert!(matches!(self.next(), Output::Close { flow: closed } if closed == flow));
    }

    fn quiet(&self) {
        assert!(self.out.is_empty(), "{:?}", self.out);
    }

    fn sign_in(&mut self, slot: u32, user: &str) -> FlowId {
        let flow = flow(slot);
        self.input(Input::Opened { flow, source: None });
        let password = if user == "alice" { "wonder" } else { "builder" };
        self.does(flow, &connect(user, password));
        flow
    }

    /// A call that the browser dials; its leg.
    fn dial(&mut self, flow: FlowId, call: &str) -> LegId {
        self.does(flow, &json!({"type": "dial", "id": 9, "call": call, "to": "echo", "sdp": OFFER}));
        match self.event() {
            Event::Incoming(incoming) => incoming.leg,
            other => panic!("{other:?}"),
        }
    }

    /// A dialled call that was answered.
    fn talk(&mut self, flow: FlowId, call: &str) -> LegId {
        let leg = self.dial(flow, call);
        self.command(Command::Answer { leg, session: Some(sdp("2")) });
        self.out.clear();
        leg
    }

    /// A call that rings at a user; its leg, and the browser's id of it.
    fn ring(&mut self, user: &str, flow: FlowId) -> (LegId, String) {
        let leg = self.offer(user);
        let (to, event) = self.sent();
        assert_eq!((to, event["type"].as_str()), (flow, Some("incoming")));
        (leg, event["call"].as_str().unwrap().to_owned())
    }

    /// The call machine dials a user.
    fn offer(&mut self, user: &str) -> LegId {
        let leg = self.mint.leg(Side::Web);
        let caller =
            Party { user: "+4930123".into(), host: "example.com".into(), display: "Some One".into() };
        let callee = Party { user: user.into(), ..Party::default() };
        self.command(Command::Dial(Box::new(Dial {
            leg,
            target: Target::Account(Account::from(user)),
            caller,
            callee,
            account: None,
            identity: None,
            offer: sdp("3"),
            hops: 69,
            with: None,
            data: vec![("X-Case".into(), "7".into())],
            carried: Box::default(),
            late: false,
            referral: None,
        })));
        leg
    }

    fn command(&mut self, command: Command) {
        self.input(Input::Command(command));
    }
}

fn flow(slot: u32) -> FlowId {
    FlowId::new(ShardId(0), 0, slot)
}

fn connect(user: &str, password: &str) -> Value {
    json!({"type": "connect", "id": 1, "version": 1, "user": user, "password": password})
}
