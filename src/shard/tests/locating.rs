//! The scout's shard tells the others which servers there are, and hears from them which fail.

use super::*;
use crate::base::{Machine, Mint, Side};
use crate::dns;
use crate::leg::{Carried, Command, Dial, Party, Target, TrunkId};
use crate::sdp;
use crate::sip::{self, Entry, Note, Trunk};

/// A trunk at a name that leads to a dead server first.
fn config() -> Arc<Config> {
    let hosts = dns::Hosts::parse("203.0.113.1 dead.test\n203.0.113.2 live.test");
    let target = |text: &str, standby| {
        let target = sip::Target::parse(text, Some(sip::Transport::Udp)).unwrap();
        Entry { target, share: 1, standby }
    };
    let entries = vec![target("dead.test:5060", false), target("live.test:5060", true)];
    let trunk = Trunk { entries, ..Trunk::new("far", address("203.0.113.9:5060")) };
    let dns = dns::Config { hosts, ..dns::Config::default() };
    let mut config = super::config();
    config.sip = Arc::new(sip::Config { trunks: vec![trunk], dns, ..sip::Config::default() });
    Arc::new(config)
}

struct Pair {
    now: Now,
    cores: [Core; 2],
    mints: [Mint; 2],
    /// INVITEs sent: by which shard, to whom.
    invites: Vec<(usize, SocketAddr)>,
    notes: Vec<Note>,
}

impl Pair {
    fn new() -> Pair {
        let (config, now) = (config(), clock());
        let cores = [core(&config, now, 0, 2), core(&config, now, 1, 2)];
        let mints = [0, 1].map(|shard| Mint::new(ShardId(shard), true));
        let mut pair = Pair { now, cores, mints, invites: Vec::new(), notes: Vec::new() };
        pair.carry();
        pair
    }

    fn carry(&mut self) {
        let mut busy = true;
        while std::mem::take(&mut busy) {
            for shard in 0..2 {
                while let Some(output) = self.cores[shard].poll_output() {
                    busy = true;
                    match output {
                        Output::Mail { to, mail } => {
                            self.cores[usize::from(to.0)].mail(self.now, ShardId(shard as u8), mail);
                        }
                        Output::Send { to, data, .. } if data.starts_with(b"INVITE") => {
                            self.invites.push((shard, to));
                        }
                        Output::Note(note) => self.notes.push(note),
                        _ => {}
                    }
                }
                self.cores[shard].check_invariants();
            }
        }
    }

    fn pass(&mut self, by: Duration) {
        let end = self.now.after(by);
        loop {
            let next = |core: &mut Core| core.poll_timeout().map(|deadline| deadline.at);
            let next = self.cores.iter_mut().filter_map(next).min().filter(|at| *at <= end.instant);
            let Some(next) = next else { break };
            let step = next.saturating_duration_since(self.now.instant).max(Duration::from_millis(1));
            self.now = self.now.after(step);
            self.cores.iter_mut().for_each(|core| core.handle_timeout(self.now));
            self.carry();
        }
        self.now = end;
    }

    fn dial(&mut self, shard: usize) {
        let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                    m=audio 4000 RTP/AVP 0\r\n";
        let dial = Dial {
            leg: self.mints[shard].leg(Side::Sip),
            target: Target::Trunk(TrunkId(0)),
            caller: Party::default(),
            callee: Party { user: "bob".into(), ..Party::default() },
            account: None,
            identity: None,
            offer: Box::new(sdp::Session::parse(text.as_bytes()).unwrap()),
            late: false,
            hops: 70,
            data: Vec::new(),
            carried: Box::<Carried>::default(),
            with: None,
            referral: None,
        };
        let input = sip::Input::Command(Command::Dial(Box::new(dial)));
        self.cores[shard].stack.handle_input(self.now, input);
        self.cores[shard].settle(self.now);
        self.carry();
    }
}

#[test]
fn a_call_of_any_shard_passes_a_dead_server_and_no_shard_s_next_call_tries_it() {
    let mut pair = Pair::new();
    let (dead, live) = (address("203.0.113.1:5060"), address("203.0.113.2:5060"));
    assert_eq!(pair.cores[0].servers(pair.now).len(), 2);
    assert!(pair.cores[1].servers(pair.now).is_empty(), "the owner alone speaks for all");
    pair.dial(1);
    assert_eq!(pair.invites, [(1, dead)]);
    pair.pass(Duration::from_millis(2_100));
    assert_eq!(pair.invites.last(), Some(&(1, live)));
    assert!(matches!(&pair.notes[..], [Note::Left { hop, .. }] if hop.address == dead), "{:?}", pair.notes);
    pair.invites.clear();
    pair.dial(0);
    pair.dial(1);
    assert_eq!(pair.invites, [(0, live), (1, live)]);
    let states: Vec<bool> = pair.cores[0].servers(pair.now).into_iter().map(|(_, _, up)| up).collect();
    assert_eq!(states, [false, true]);
    // After a while it is given another chance.
    pair.pass(Duration::from_secs(31));
    pair.invites.clear();
    pair.dial(0);
    assert_eq!(pair.invites, [(0, dead)]);
}

#[test]
fn what_found_no_room_is_told_again() {
    let (config, now) = (config(), clock());
    let (mut owner, mut other) = (core(&config, now, 0, 2), core(&config, now, 1, 2));
    let (to, mail) = hear(&mut owner, now).mail.remove(0);
    assert!(to == ShardId(1) && matches!(mail, Mail::Servers { .. }));
    owner.shed(now, to, mail);
    assert!(hear(&mut owner, now).mail.is_empty());
    let later = now.after(Duration::from_millis(60));
    owner.handle_timeout(later);
    let (_, mail) = hear(&mut owner, later).mail.remove(0);
    other.mail(later, ShardId(0), mail);
    assert_eq!(owner.counters().shed_locating, 1);
}
