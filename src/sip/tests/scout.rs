//! The scout in virtual time: names, probes, suspicion.

use super::*;
use crate::dns::{self, Hosts, Settings};
use crate::sip::Target;

/// A scout whose trunk this makes.
struct World {
    now: Now,
    scout: Scout,
    /// What shards were told last.
    servers: Vec<Server>,
    told: usize,
    probes: Vec<(SocketAddr, u32)>,
    questions: Vec<dns::Output>,
    notes: Vec<Note>,
    located: Vec<Vec<SocketAddr>>,
}

impl World {
    fn new(entries: &[&str], probe: Option<Probe>) -> World {
        let entry = |text: &&str| {
            let target = Target::parse(text, Some(Transport::Udp)).unwrap();
            Entry { target, share: 1, standby: false }
        };
        let entries: Vec<Entry> = entries.iter().map(entry).collect();
        let trunk = Trunk { entries, probe, ..Trunk::new("trunk", at(B)) };
        let settings = Settings { attempts: 1, timeout: seconds(1), ..Settings::default() };
        let hosts = Hosts::parse("192.0.2.7 pbx.test\n192.0.2.8 pbx.test");
        let dns = dns::Config { settings, hosts, ..dns::Config::default() };
        let config = Arc::new(Config { trunks: vec![trunk], dns, ..Config::default() });
        let now = Net::new(1).now;
        let mut world = World {
            now,
            scout: Scout::new(now, config, Random::from_number(1)),
            servers: Vec::new(),
            told: 0,
            probes: Vec::new(),
            questions: Vec::new(),
            notes: Vec::new(),
            located: Vec::new(),
        };
        world.drain();
        world
    }

    fn drain(&mut self) {
        while let Some(output) = self.scout.poll_output() {
            match output {
                ScoutOutput::Dns(output) => self.questions.push(output),
                ScoutOutput::Probe { hop, number, .. } => self.probes.push((hop.address, number)),
                ScoutOutput::Servers { servers, .. } => {
                    self.servers = servers;
                    self.told += 1;
                }
                ScoutOutput::Located { hops, .. } => {
                    self.located.push(hops.iter().map(|hop| hop.address).collect());
                }
                ScoutOutput::Note(note) => self.notes.push(note),
            }
        }
        self.scout.check_invariants();
    }

    fn input(&mut self, input: ScoutInput<'_>) {
        self.scout.handle_input(self.now, input);
        self.drain();
    }

    /// Lets time pass; every probe is answered with this code, or by nobody.
    fn pass(&mut self, by: Duration, code: Option<u16>) {
        let end = self.now.after(by);
        loop {
            for (_, number) in std::mem::take(&mut self.probes) {
                if code.is_some() {
                    self.input(ScoutInput::Probed { number, code });
                }
            }
            let next = self.scout.poll_timeout().map(|deadline| deadline.at);
            let Some(next) = next.filter(|at| *at <= end.instant) else { break };
            self.now = self.now.after(next.saturating_duration_since(self.now.instant));
            self.scout.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn suspect(&mut self, address: &str, wait: Option<Duration>) {
        self.input(ScoutInput::Suspect { trunk: TrunkId(0), hop: Hop::udp(at(address)), wait });
    }

    /// Whether each server gets requests.
    fn usable(&self) -> Vec<bool> {
        self.scout.states(self.now).into_iter().map(|(_, _, up)| up).collect()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as it stands in a trunk")]
fn probe() -> Option<Probe> {
    Some(Probe { interval: seconds(20), down_after: 2, up_after: 2, ..Probe::default() })
}

#[test]
fn addresses_are_no_news_and_names_are_told_once_they_are_known() {
    let world = World::new(&[B], None);
    assert_eq!((world.told, world.questions.len(), world.usable()), (0, 0, vec![true]));
    let world = World::new(&["pbx.test:5060", B], None);
    let addresses: Vec<_> = world.servers.iter().map(|server| server.hop.address.to_string()).collect();
    assert_eq!(addresses, ["192.0.2.7:5060", "192.0.2.8:5060", B]);
    assert_eq!((world.told, world.servers[2].entry), (1, 1));
}

#[test]
fn a_name_that_leads_nowhere_is_noted_once_and_asked_for_again() {
    let mut world = World::new(&["gone.test", B], None);
    assert!(!world.questions.is_empty());
    world.pass(seconds(60), None);
    let lost = |note: &Note| matches!(note, Note::Name { why: Some(dns::Missing::Away), .. });
    assert!(world.notes.len() == 1 && lost(&world.notes[0]), "{:?}", world.notes);
    assert!(world.scout.dns_counters().failed > 3, "it is asked for again and again");
    assert_eq!(world.usable(), [true], "the other server goes on");
}

#[test]
fn probes_bring_a_server_down_and_back_by_their_thresholds() {
    let mut world = World::new(&[B], probe());
    world.pass(seconds(100), Some(200));
    assert_eq!((world.told, world.notes.len()), (0, 0));
    let before = world.now.instant;
    while world.usable() == [true] {
        world.pass(seconds(1), None);
    }
    let took = world.now.instant - before;
    assert!((seconds(9)..seconds(34)).contains(&took), "the second probe follows a failure soon: {took:?}");
    assert!(matches!(&world.notes[..], [Note::Server { up: false, .. }]));
    while world.usable() == [false] {
        world.pass(seconds(1), Some(404));
    }
    assert!(matches!(&world.notes[1..], [Note::Server { up: true, .. }]));
    let counters = world.scout.counters();
    assert_eq!((counters.downs, counters.ups, counters.probes_failed), (1, 1, 2));
}

#[test]
fn one_lost_probe_or_a_503_among_good_ones_changes_nothing() {
    let mut world = World::new(&[B], probe());
    world.pass(seconds(30), Some(200));
    for _ in 0..5 {
        while world.probes.is_empty() {
            let next = world.scout.poll_timeout().unwrap().at;
            world.now = world.now.after(next.saturating_duration_since(world.now.instant));
            world.scout.handle_timeout(world.now);
            world.drain();
        }
        let (_, number) = world.probes.remove(0);
        world.input(ScoutInput::Probed { number, code: Some(503) });
        world.pass(seconds(45), Some(200));
    }
    assert_eq!((world.usable(), world.notes.len()), (vec![true], 0));
    assert_eq!(world.scout.counters().probes_failed, 5);
}

#[test]
fn a_late_answer_to_a_probe_that_was_given_up_says_nothing() {
    let mut world = World::new(&[B], probe());
    world.pass(Duration::from_millis(600), None);
    let number = 1;
    while world.usable() == [true] {
        world.pass(seconds(1), None);
    }
    for _ in 0..5 {
        world.input(ScoutInput::Probed { number, code: Some(200) });
    }
    assert_eq!(world.usable(), [false]);
}

#[test]
fn a_server_that_fails_a_call_is_left_alone_and_probed_at_once() {
    let mut world = World::new(&[B, "192.0.2.3:5060"], probe());
    world.pass(seconds(1), Some(200));
    world.suspect(B, None);
    assert_eq!((world.usable(), world.probes.len()), (vec![false, true], 1));
    // It lives: back at once.
    world.pass(Duration::ZERO, Some(200));
    assert_eq!(world.usable(), [true, true]);
    // It does not.
    world.suspect(B, None);
    world.pass(seconds(5), None);
    assert!(matches!(world.notes.last(), Some(Note::Server { up: false, .. })), "{:?}", world.notes);
}

#[test]
fn without_probes_a_server_is_left_alone_for_a_while_and_many_failures_are_one_piece_of_news() {
    let mut world = World::new(&[B, "192.0.2.3:5060"], None);
    for _ in 0..100 {
        world.suspect(B, None);
    }
    assert_eq!((world.told, world.notes.len(), world.usable()), (1, 1, vec![false, true]));
    world.pass(seconds(29), None);
    assert_eq!(world.usable(), [false, true]);
    world.pass(seconds(1), None);
    assert_eq!(world.usable(), [true, true]);
}

#[test]
fn a_server_that_asks_to_be_left_alone_is_for_as_long_as_it_says_whatever_it_tells_probes() {
    let mut world = World::new(&[B, "192.0.2.3:5060"], probe());
    world.pass(seconds(1), Some(200));
    world.suspect(B, Some(seconds(60)));
    world.pass(seconds(59), Some(200));
    assert_eq!(world.usable(), [false, true]);
    world.pass(seconds(1), Some(200));
    assert_eq!(world.usable(), [true, true]);
    world.suspect(B, Some(Duration::from_hours(9)));
    world.pass(Duration::from_mins(5), Some(200));
    assert_eq!(world.usable(), [true, true], "but not for hours");
}

#[test]
fn a_server_that_is_none_of_the_trunk_s_can_t_be_suspected() {
    let mut world = World::new(&[B], probe());
    world.suspect("192.0.2.99:5060", None);
    world.input(ScoutInput::Suspect { trunk: TrunkId(9), hop: Hop::udp(at(B)), wait: None });
    world.input(ScoutInput::Probed { number: 77, code: None });
    assert_eq!((world.told, world.usable()), (0, vec![true]));
}

#[test]
fn names_of_dialogs_are_found_for_whoever_asks_and_never_too_many() {
    let mut world = World::new(&[B], None);
    let ask = |world: &mut World, name: &str| {
        let target = Target::parse(name, Some(Transport::Udp)).unwrap();
        world.input(ScoutInput::Locate { target, from: ShardId(3) });
    };
    ask(&mut world, "pbx.test:5070");
    assert_eq!(world.located.pop().unwrap(), [at("192.0.2.7:5070"), at("192.0.2.8:5070")]);
    for n in 0..300 {
        ask(&mut world, &format!("n{n}.test"));
    }
    assert_eq!(world.scout.counters().full, 300 - 256);
    world.pass(seconds(10), None);
    assert_eq!(world.located.len(), 300);
    assert!(world.located.iter().all(Vec::is_empty));
}
