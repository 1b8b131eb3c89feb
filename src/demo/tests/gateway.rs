//! The server and the gateway's own SIP stack, as the demo joins them.

use super::*;
use crate::base::{Key, Mint, RealmId, ShardId, Side};
use crate::leg::{Account, Callee, Cause, Command, Dial, Event, Party, Target, TrunkId};
use crate::sdp::Session;
use crate::sip::{self, Registration, Secret, Stack, Trunk};
use std::sync::Arc;

const GATEWAY: &str = "127.0.0.1:5060";

struct Pair {
    world: World,
    stack: Stack,
    mint: Mint,
    events: Vec<Event>,
    registered: Vec<(Account, bool)>,
}

fn registration(name: &str) -> Registration {
    Registration {
        account: name.into(),
        trunk: TrunkId(0),
        user: name.into(),
        auth_user: name.into(),
        password: Secret(format!("secret of {name}")),
    }
}

impl Pair {
    fn new() -> Pair {
        let mut pair = Pair::unregistered();
        for name in ["alice", "bob"] {
            pair.tell(sip::Input::Register(registration(name)));
        }
        pair
    }

    /// Nobody is registered; alice's secret is configured.
    fn unregistered() -> Pair {
        let mut random = Random::from_number(3);
        let config = sip::Config {
            trunks: vec![Trunk::new("demo", at(SERVER))],
            accounts: [("alice".into(), registration("alice"))].into_iter().collect(),
            ..sip::Config::default()
        };
        let mut stack = Stack::new(ShardId(0), 1, Arc::new(config), random.fork());
        stack.listen(RealmId(0), Key::new(ShardId(0), 0, 0), at(GATEWAY));
        Pair {
            world: World::new(),
            stack,
            mint: Mint::new(ShardId(0), true),
            events: Vec::new(),
            registered: Vec::new(),
        }
    }

    fn tell(&mut self, input: sip::Input<'_>) {
        self.stack.handle_input(self.world.now, input);
        loop {
            // What the gateway sends goes to the server, or (within a call of two of its users) to itself.
            let mut own = Vec::new();
            while let Some(output) = self.stack.poll_output() {
                match output {
                    sip::Output::Send { flow, data } if flow.remote == at(GATEWAY) => {
                        own.push((at(GATEWAY), data));
                    }
                    sip::Output::Send { flow, data } => {
                        assert_eq!(flow.remote, at(SERVER));
                        self.world.input(Input::Sip { from: at(GATEWAY), data: &data });
                    }
                    sip::Output::Connect { .. } => panic!("over UDP there is nothing to connect"),
                    sip::Output::Strikes { .. } | sip::Output::Ban { .. } => {}
                    sip::Output::Suspect { .. } | sip::Output::Locate(_) | sip::Output::Probed { .. } => {}
                    sip::Output::Event(event) => self.events.push(event),
                    sip::Output::Paged { .. }
                    | sip::Output::Page { .. }
                    | sip::Output::Watched { .. }
                    | sip::Output::Waiting { .. } => {}
                    sip::Output::Registered { account, state, .. } => {
                        self.registered.push((account, state.is_ok()));
                    }
                }
            }
            for (to, text) in self.world.sip.drain(..) {
                assert_eq!(to, at(GATEWAY));
                own.push((at(SERVER), text.into_bytes()));
            }
            if own.is_empty() {
                break;
            }
            for (remote, data) in own {
                let id = Key::new(ShardId(0), 0, 0);
                let flow = sip::Flow { id, transport: sip::Transport::Udp, remote, realm: RealmId(0) };
                self.stack.handle_input(self.world.now, sip::Input::Message { flow, data: &data });
            }
        }
    }

    fn dial(&mut self, user: &str) -> crate::leg::LegId {
        let leg = self.mint.leg(Side::Sip);
        let party = |user: &str| Party { user: user.into(), ..Party::default() };
        self.tell(sip::Input::Command(Command::Dial(Box::new(Dial {
            leg,
            target: Target::Trunk(TrunkId(0)),
            caller: party("alice"),
            callee: party(user),
            account: Some("alice".into()),
            identity: None,
            offer: Box::new(Session::parse(sdp("sendrecv", "0").as_bytes()).unwrap()),
            hops: 70,
            with: None,
            data: Vec::new(),
            carried: Box::default(),
            late: false,
            referral: None,
        }))));
        leg
    }

    fn ended(&self) -> Option<Cause> {
        self.events.iter().find_map(|event| match event {
            Event::Ended { reason, .. } => Some(reason.cause),
            _ => None,
        })
    }
}

#[test]
fn the_gateway_registers_its_users() {
    let pair = Pair::new();
    assert_eq!(pair.registered, [("alice".into(), true), ("bob".into(), true)]);
    assert_eq!(pair.world.server.counters().registered, 2);
}

#[test]
fn a_browsers_call_to_echo_is_answered_and_hung_up() {
    let mut pair = Pair::new();
    let leg = pair.dial("echo");
    let answered = pair.events.iter().find_map(|event| match event {
        Event::Answered { answer, .. } => answer.clone(),
        _ => None,
    });
    assert_eq!(answered.expect("an answer").media[0].port, 20_000);
    assert_eq!(pair.world.server.counters().answered, 1);
    pair.tell(sip::Input::Command(Command::End { leg, reason: Cause::Hangup.into() }));
    assert_eq!((pair.world.server.calls(), pair.world.closed), (0, 1));
}

#[test]
fn a_user_whose_secret_is_configured_calls_without_being_registered() {
    let mut pair = Pair::unregistered();
    pair.dial("echo");
    assert!(pair.events.iter().any(|event| matches!(event, Event::Answered { .. })), "{:?}", pair.events);
}

#[test]
fn unknown_and_wrong_end_with_their_cause() {
    let mut pair = Pair::new();
    pair.dial("nobody");
    assert_eq!(pair.ended(), Some(Cause::NotFound));
}

#[test]
fn a_call_to_another_user_comes_back_to_the_gateway_and_either_end_ends_it() {
    let mut pair = Pair::new();
    let out = pair.dial("bob");
    let incoming = pair.events.iter().find_map(|event| match event {
        Event::Incoming(incoming) => Some(incoming.clone()),
        _ => None,
    });
    let incoming = incoming.expect("bob rings");
    assert_eq!(
        (incoming.callee.clone(), incoming.caller.user.as_str()),
        (Callee::Account("bob".into()), "alice")
    );
    let session = Some(Box::new(Session::parse(sdp("sendrecv", "0").as_bytes()).unwrap()));
    pair.tell(sip::Input::Command(Command::Progress { leg: incoming.leg, code: 180, answer: None }));
    assert!(
        pair.events
            .iter()
            .any(|event| matches!(event, Event::Progress { leg, code: 180, .. } if *leg == out))
    );
    pair.tell(sip::Input::Command(Command::Answer { leg: incoming.leg, session }));
    assert!(pair.events.iter().any(|event| matches!(event, Event::Answered { leg, .. } if *leg == out)));
    // BYE goes direct: the server hears nothing of it.
    let heard = pair.world.server.counters().received;
    pair.tell(sip::Input::Command(Command::End { leg: out, reason: Cause::Hangup.into() }));
    assert!(
        pair.events.iter().any(|event| matches!(event, Event::Ended { leg, .. } if *leg == incoming.leg))
    );
    assert_eq!(pair.world.server.counters().received, heard);
}

#[test]
fn a_cancelled_call_to_another_user_stops_ringing() {
    let mut pair = Pair::new();
    let out = pair.dial("bob");
    assert!(pair.events.iter().any(|event| matches!(event, Event::Incoming(_))));
    // The stack waits for a provisional response before it cancels (RFC 3261 section 9.1).
    let incoming = pair.events.iter().find_map(|event| match event {
        Event::Incoming(incoming) => Some(incoming.leg),
        _ => None,
    });
    let leg = incoming.unwrap();
    pair.tell(sip::Input::Command(Command::Progress { leg, code: 180, answer: None }));
    pair.tell(sip::Input::Command(Command::End { leg: out, reason: Cause::Cancelled.into() }));
    assert_eq!(pair.ended(), Some(Cause::Cancelled));
}
