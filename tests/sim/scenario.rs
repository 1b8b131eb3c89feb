//! What happens in a seed: who calls whom, how, and what goes wrong.

use crate::net::{Event, GATEWAY, ms};
use crate::script::{Script, Then};
use crate::world::{CARRIER, PBX, Plan, USERS, World};
use bridgehead::base::Random;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How often mail between shards has little room.
const TIGHT: f64 = 0.15;

/// Something done to the world.
#[derive(Clone, Debug)]
pub enum Step {
    /// A phone calls a number.
    PhoneDials { phone: usize, script: Script, to: String },
    /// The server calls a browser user whom it has registered.
    PhoneDialsUser { script: Script, user: String },
    /// A page calls a number.
    PageDials { page: usize, script: Script, to: String },
    /// A page's connection breaks.
    Cut { page: usize },
    /// A page is closed.
    Close { page: usize },
    /// The gateway is about to stop.
    Drain,
    /// Everybody hangs up.
    HangUpAll,
    /// Bytes that are no SIP.
    Garbage { from: SocketAddr, data: Vec<u8> },
}

/// Who calls, or is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    Phone(usize),
    Page(usize),
    /// Whichever page of the user rings.
    User(usize),
}

/// A call that was planned, for the verdict.
#[derive(Clone, Debug)]
pub struct Planned {
    pub caller: Party,
    pub callee: Party,
    pub caller_script: Script,
    pub callee_script: Script,
}

impl Plan {
    /// What kind of world a seed makes.
    pub fn of(seed: u64, verbose: bool) -> Plan {
        let mut random = Random::from_number(seed ^ 0x5eed);
        let shards = 1 + (seed % 3) as u8;
        let tight = shards > 1 && random.chance(TIGHT);
        Plan {
            seed,
            shards,
            faulty: random.chance(0.7),
            verbose,
            ring_size: if tight { 1 + random.below(2) as usize } else { 1024 },
            mail_ms: if tight { 60 } else { random.below(4) },
            drain: ms(2000 + random.below(4000)),
        }
    }
}

fn maybe(random: &mut Random, chance: f64, from: u64, to: u64) -> Option<Duration> {
    random.chance(chance).then(|| ms(from + random.below(to - from)))
}

/// How the called party behaves.
fn callee(random: &mut Random, call: u32, page: bool) -> Script {
    let then = match random.below(20) {
        0..12 => Then::Answer(ms(random.below(2500))),
        12 => Then::Refuse(ms(random.below(1000)), 486),
        13 => Then::Refuse(ms(random.below(1000)), 603),
        14 if !page => Then::Refuse(ms(100), 503),
        15 | 16 => Then::RingOn,
        17 if !page => Then::Silent,
        _ => Then::Answer(ms(300)),
    };
    Script {
        then,
        ring: ms(10 + random.below(600)),
        early: !page && random.chance(0.25),
        reliable: !page && random.chance(0.3),
        forks: if !page && random.chance(0.15) { 2 } else { 1 },
        challenge: !page && random.chance(0.35),
        race: !page && random.chance(0.5),
        hold: maybe(random, 0.2, 500, 2500),
        hangup: maybe(random, 0.5, 500, 12_000),
        die: if page { maybe(random, 0.1, 500, 5000) } else { None },
        roam: if page { maybe(random, 0.15, 3000, 5000) } else { None },
        restart: if page { maybe(random, 0.15, 1500, 5000) } else { None },
        ..Script::new(call)
    }
}

/// How the caller behaves, given how the called party does.
fn caller(random: &mut Random, other: &Script, page: bool) -> Script {
    let cancels = match other.then {
        Then::RingOn => 0.6,
        _ if other.race => 0.4,
        _ => 0.15,
    };
    // Now and then both do the same at the same moment.
    let together = random.chance(0.3);
    let near = |after: Option<Duration>, random: &mut Random| after.map(|after| after + ms(random.below(40)));
    Script {
        withhold_acks: if !page && random.chance(0.25) { 1 + random.below(2) as u8 } else { 0 },
        reliable: !page && random.chance(0.3),
        timer: !page && random.chance(0.25),
        delayed: !page && random.chance(0.15),
        again: !page && random.chance(0.4),
        hold: if together { near(other.hold, random) } else { maybe(random, 0.2, 500, 2500) },
        hangup: if together { near(other.hangup, random) } else { maybe(random, 0.5, 1500, 12_000) },
        cancel: maybe(random, cancels, 20, 4000),
        die: if page { maybe(random, 0.1, 500, 5000) } else { None },
        roam: if page { maybe(random, 0.15, 3000, 5000) } else { None },
        restart: if page { maybe(random, 0.15, 1500, 5000) } else { None },
        ..Script::new(other.call)
    }
}

impl World {
    /// Plans a seed's calls and mishaps.
    pub fn stage(&mut self) {
        let mut random = self.net.random.fork();
        let tabs = 1 + random.below(3);
        for _ in 0..tabs {
            let user = USERS[random.below(2) as usize];
            self.page(user);
        }
        for call in 1..=3 + random.below(4) as u32 {
            let at = ms(1500 + random.below(10_000));
            let step = self.plan_call(&mut random, call);
            self.net.after(at, Event::Step(step));
        }
        for page in 0..self.pages.len() {
            if random.chance(0.1) {
                self.net.after(ms(random.below(15_000)), Event::Step(Step::Cut { page }));
            }
        }
        if random.chance(0.12) {
            self.net.after(ms(3000 + random.below(9000)), Event::Step(Step::Drain));
        }
        for _ in 0..random.below(4) {
            let step = garbage(&mut random);
            self.net.after(ms(random.below(10_000)), Event::Step(step));
        }
    }

    fn plan_call(&mut self, random: &mut Random, call: u32) -> Step {
        let kind = random.below(4);
        let page = random.below(self.pages.len() as u64) as usize;
        let phone = random.below(2) as usize;
        // Pages know each other by name only: one call from each to each.
        let other = self.pages.iter().position(|other| other.user != self.pages[page].user);
        let other = other
            .filter(|&other| kind == 3 && !self.pages[other].scripts.contains_key(&self.pages[page].user));
        if let Some(other) = other {
            return self.plan_web_call(random, call, page, other);
        }
        let (from, to) = match kind {
            0 => (Party::Phone(phone), Party::Phone(1 - phone)),
            1 | 3 => (Party::Page(page), Party::Phone(phone)),
            _ => (Party::Phone(PBX), Party::User(page)),
        };
        let callee_script = callee(random, call, kind == 2);
        let caller_script = caller(random, &callee_script, kind == 1 || kind == 3);
        self.planned.push(Planned {
            caller: from,
            callee: to,
            caller_script: caller_script.clone(),
            callee_script: callee_script.clone(),
        });
        let number = |phone: usize| format!("{}{call}", if phone == CARRIER { "x" } else { "p" });
        if let Party::Phone(phone) = to {
            self.phones[phone].scripts.insert(number(phone), callee_script);
            return match from {
                Party::Page(page) => Step::PageDials { page, script: caller_script, to: number(phone) },
                _ => Step::PhoneDials { phone: 1 - phone, script: caller_script, to: number(phone) },
            };
        }
        let user = self.pages[page].user.clone();
        for page in self.pages.iter_mut().filter(|page| page.user == user) {
            page.scripts.insert(format!("c{call}"), callee_script.clone());
        }
        Step::PhoneDialsUser { script: caller_script, user }
    }
}

/// Whoever sends garbage; the last of them has the carrier's right to speak.
pub fn is_vandal(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V4(ip) if ip.octets()[..3] == [10, 0, 1] && ip.octets()[3] >= 200)
}

impl World {
    /// A call from a page to a page: out to the server, and back.
    fn plan_web_call(&mut self, random: &mut Random, call: u32, page: usize, other: usize) -> Step {
        let callee_script = callee(random, call, true);
        let caller_script = caller(random, &callee_script, true);
        self.planned.push(Planned {
            caller: Party::Page(page),
            callee: Party::User(other),
            caller_script: caller_script.clone(),
            callee_script: callee_script.clone(),
        });
        let (from, to) = (self.pages[page].user.clone(), self.pages[other].user.clone());
        for page in self.pages.iter_mut().filter(|page| page.user == to) {
            page.scripts.insert(from.clone(), callee_script.clone());
        }
        let number = format!("p{call}");
        self.phones[PBX].forwards.insert(number.clone(), to);
        Step::PageDials { page, script: caller_script, to: number }
    }
}

fn garbage(random: &mut Random) -> Step {
    let from = SocketAddr::from(([10, 0, 1, 200 + random.below(4) as u8], 5060));
    let mut data = match random.below(3) {
        0 => b"\r\n\r\n".to_vec(),
        1 => format!("INVITE sip:x@{GATEWAY} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.9;branch=z9hG4bKx\r\n\r\n")
            .into_bytes(),
        _ => format!(
            "OPTIONS sip:{GATEWAY} SIP/2.0\r\nCSeq: 99999999999 OPTIONS\r\nContent-Length: -1\r\n\r\n"
        )
        .into_bytes(),
    };
    if random.chance(0.5) && !data.is_empty() {
        let place = random.below(data.len() as u64) as usize;
        data[place] = random.u32() as u8;
    }
    Step::Garbage { from, data }
}
