//! A str0m browser against the room, over a network of our making, on virtual time.

mod attack;
mod handshake;
mod life;

use super::browser::{Browser, Sent};
use super::*;
use crate::base::{Machine, Mint, Now, Random, ShardId, Side};
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub fn now() -> Now {
    #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
    let instant = Instant::now();
    Now { instant, unix: Duration::from_secs(1_790_000_000) }
}

fn identity() -> Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| Identity::create(now()).unwrap()).clone()
}

fn gateway() -> SocketAddr {
    "127.0.0.1:10000".parse().unwrap()
}

fn config() -> Config {
    Config::new(identity(), vec![Candidate { advertised: gateway(), local: gateway() }])
}

fn home(n: u16) -> SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, 40_000 + n).into()
}

/// What the network does to a datagram: all copies that arrive, each after so many steps.
type Fate = Box<dyn FnMut(&Sent) -> Vec<u32>>;

struct World {
    now: Now,
    random: Random,
    mint: Mint,
    peers: Peers,
    browser: Browser,
    peer: Option<PeerId>,
    local: Option<Local>,
    events: VecDeque<Event>,
    verified: Vec<SocketAddr>,
    fate: Fate,
    // Steps until arrival; towards the gateway or not.
    flying: Vec<(u32, bool, Sent)>,
    /// Every datagram that the gateway sent.
    gateway_sent: Vec<Sent>,
}

impl World {
    fn new(config: Config, version: Dtls, client: bool) -> World {
        World::with_addresses(config, version, client, &[home(0)])
    }

    fn with_addresses(config: Config, version: Dtls, client: bool, addresses: &[SocketAddr]) -> World {
        let (now, mut random) = (now(), Random::from_number(5));
        let browser = Browser::new(now.instant, &mut random, version, client, addresses);
        World {
            now,
            peers: Peers::new(ShardId(2), Arc::new(config), random.fork()),
            random,
            mint: Mint::new(ShardId(2), false),
            browser,
            peer: None,
            local: None,
            events: VecDeque::new(),
            verified: Vec::new(),
            fate: Box::new(|_| vec![0]),
            flying: Vec::new(),
            gateway_sent: Vec::new(),
        }
    }

    fn command(&mut self, command: Command) {
        self.peers.handle_input(self.now, Input::Command(command));
        self.collect();
    }

    /// The browser offers, the gateway answers.
    fn open(&mut self) {
        let remote = Some(Box::new(self.browser.remote()));
        let leg = self.mint.leg(Side::Web);
        self.command(Command::Open { leg, remote });
        self.tell_browser();
    }

    fn tell_browser(&mut self) {
        let local = self.local.clone().expect("it is open");
        self.browser.describe(self.now.instant, &local);
    }

    fn fly(&mut self, to_gateway: bool, sent: &Sent) {
        for steps in (self.fate)(sent) {
            self.flying.push((steps, to_gateway, sent.clone()));
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.peers.poll_output() {
            match output {
                Output::Send { from_local, to, data } => {
                    let sent = Sent { from: from_local, to, data };
                    self.gateway_sent.push(sent.clone());
                    self.fly(false, &sent);
                }
                Output::Event(Event::Opened { peer, local, .. }) => {
                    (self.peer, self.local) = (Some(peer), Some(*local));
                }
                Output::Event(Event::Verified { address, .. }) => self.verified.push(address),
                Output::Event(event) => self.events.push_back(event),
            }
        }
        self.peers.check_invariants();
    }

    /// A datagram to the gateway, without the browser.
    fn inject(&mut self, from: SocketAddr, data: &[u8]) {
        let input = Input::Datagram { from, local: gateway(), data };
        self.peers.handle_input(self.now, input);
        self.collect();
    }

    /// Five milliseconds.
    fn step(&mut self) {
        self.now = self.now.after(Duration::from_millis(5));
        self.browser.handle_timeout(self.now.instant);
        while let Some(sent) = self.browser.poll_send() {
            self.fly(true, &sent);
        }
        if self.peers.poll_timeout().is_some_and(|deadline| deadline.at <= self.now.instant) {
            self.peers.handle_timeout(self.now);
            self.collect();
        }
        let flying = std::mem::take(&mut self.flying);
        for (steps, to_gateway, sent) in flying {
            if steps > 0 {
                self.flying.push((steps - 1, to_gateway, sent));
            } else if to_gateway {
                let input = Input::Datagram { from: sent.from, local: sent.to, data: &sent.data };
                self.peers.handle_input(self.now, input);
                self.collect();
            } else {
                self.browser.handle_datagram(self.now.instant, sent.from, sent.to, &sent.data);
            }
        }
    }

    /// Runs for so long, or until an event (that is no `Verified`) comes.
    fn event_within(&mut self, time: Duration) -> Option<Event> {
        for _ in 0..time.as_millis() / 5 {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            self.step();
        }
        self.events.pop_front()
    }

    fn run(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 5 {
            self.step();
        }
    }

    /// Both ends are up, and their keys agree.
    fn expect_connected(&mut self) -> Keys {
        let event = self.event_within(Duration::from_secs(30));
        let Some(Event::Connected { keys, .. }) = event else { panic!("not connected: {event:?}") };
        self.run(Duration::from_millis(200));
        let theirs = self.browser.keys().expect("the browser has keys, too");
        assert_eq!(keys.profile, theirs.profile);
        assert_eq!((keys.send, keys.receive), (theirs.receive, theirs.send));
        *keys
    }
}
