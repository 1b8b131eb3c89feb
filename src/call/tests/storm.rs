//! Everything at once, seeded: no step contradicts another, and nothing is left at the end.

use super::*;

struct Storm {
    bench: Bench,
    random: Random,
    /// Legs that the signalling rooms know, and our offers to them without an answer.
    alive: Vec<(LegId, Option<Box<Session>>)>,
    incoming: usize,
    reached: Map<&'static str, u32>,
}

const SIP: &[&str] = &["0 8 101", "96 0 101", "9", "8", "18", "97 0", "0 8 9 96 101 102"];
const WEB: &[&str] = &["111 63 9 0 8 13 110 126", "0 126", "9 8 0 126", "111 110", "8"];
const WAYS: &[&str] = &["", "a=sendonly\r\n", "a=recvonly\r\n", "a=inactive\r\n", "c=IN IP4 0.0.0.0\r\n"];

impl Storm {
    fn new(seed: u64) -> Storm {
        let config = Config { calls: 6, calls_per_account: 3, ..config() };
        Storm {
            bench: Bench::with(config, seed),
            random: Random::from_number(seed),
            alive: Vec::new(),
            incoming: 0,
            reached: Map::default(),
        }
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.random.below(list.len() as u64) as usize]
    }

    fn sdp(&mut self, leg: LegId) -> String {
        let way = if self.random.chance(0.3) { self.pick(WAYS) } else { "" };
        if leg.side() == Side::Sip {
            return sip_sdp(self.pick(SIP), way);
        }
        let way = way.strip_prefix("c=").map_or(way, |_| "");
        let ufrag = ["wxyz", "newu"][usize::from(self.random.chance(0.2))];
        let setup = self.pick(&["actpass", "active", "passive"]);
        web_sdp(self.pick(WEB), setup, ufrag, way)
    }

    /// A description with some bytes that nobody meant, where it can still be read.
    fn mangled(&mut self, text: String) -> String {
        if !self.random.chance(0.2) {
            return text;
        }
        let mut bytes = text.clone().into_bytes();
        for _ in 0..=self.random.below(3) {
            let at = self.random.below(bytes.len() as u64) as usize;
            match self.random.below(3) {
                0 => bytes[at] = b'0' + self.random.below(10) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, self.random.below(128) as u8),
            }
        }
        let mangled = String::from_utf8(bytes).unwrap_or_default();
        if Session::parse(mangled.as_bytes()).is_ok() { mangled } else { text }
    }

    /// An answer that a sane party could give to our offer, or not.
    fn answer(&mut self, leg: LegId, offer: Option<&Session>) -> String {
        let sane = offer.filter(|_| self.random.chance(0.8));
        let Some(offer) = sane else {
            let sdp = self.sdp(leg);
            return self.mangled(sdp);
        };
        let mut answer = offer.clone();
        let keep = 1 + self.random.below(4) as usize;
        let first = self.random.below(2) as usize;
        let types: Vec<_> = offer.media[0].payload_types().into_iter().skip(first).take(keep).collect();
        if !types.is_empty() {
            answer.media[0].set_payload_types(&types);
        }
        if leg.side() == Side::Web {
            answer.media[0].setup = Some(crate::sdp::Setup::Active);
        }
        answer.to_string()
    }

    /// What the signalling rooms learn.
    fn read_commands(&mut self) {
        while let Some(command) = self.bench.legs.pop_front() {
            let leg = command.leg();
            let place = self.alive.iter().position(|(alive, _)| *alive == leg);
            match command {
                Command::Dial(dial) => {
                    assert!(place.is_none(), "dialled twice");
                    self.alive.push((leg, Some(dial.offer)));
                }
                Command::End { .. } => {
                    drop(self.alive.swap_remove(place.expect("an end for a leg that is gone")));
                }
                Command::Offer { offer, .. } => {
                    self.alive[place.expect("an offer to nobody")].1 = Some(offer);
                }
                Command::Answer { session, .. } => {
                    self.alive[place.expect("an answer to nobody")].1 = session;
                }
                Command::Accept { answer, .. } => {
                    self.alive[place.expect("an acceptance to nobody")].1 = Some(answer);
                }
                other => assert!(place.is_some(), "{other:?} to nobody"),
            }
        }
    }

    fn begin(&mut self) {
        self.incoming += 1;
        let web = self.random.chance(0.5);
        let side = if web { Side::Web } else { Side::Sip };
        let user = self.pick(&["alice", "bob"]);
        let source = if web {
            Source::Account(user.into())
        } else {
            Source::Trunk(TrunkId(self.random.below(3) as u16))
        };
        let callee = match self.random.below(4) {
            0 => Callee::Account("carol".into()),
            1 => Callee::Account("dave".into()),
            2 => dialled("+49"),
            _ => dialled("0900"),
        };
        let leg = self.bench.leg(side);
        let sdp = if web && self.random.chance(0.7) { web_offer() } else { self.sdp(leg) };
        let sdp = self.mangled(sdp);
        let offer = (!self.random.chance(0.15)).then(|| parsed(&sdp));
        let hops = self.random.below(20) as u8;
        self.alive.push((leg, None));
        let incoming = Incoming {
            leg,
            source,
            identity: None,
            caller: Party::default(),
            callee,
            offer,
            hops,
            key: "k".into(),
            data: Vec::new(),
            carried: Box::default(),
            reliable: false,
            replaces: None,
        };
        self.bench.event(Event::Incoming(Box::new(incoming)));
    }

    fn leg_event(&mut self) {
        if self.alive.is_empty() {
            return;
        }
        let place = self.random.below(self.alive.len() as u64) as usize;
        let (leg, offer) = self.alive[place].clone();
        let fork = self.random.below(3) as u16;
        match self.random.below(12) {
            0 => {
                self.alive.swap_remove(place);
                let code = 300 + self.random.below(400) as u16;
                let reason =
                    if self.random.chance(0.5) { Cause::Hangup.into() } else { Reason::from_code(code) };
                self.bench.ended(leg, reason);
            }
            1 | 2 => {
                let answer = self.random.chance(0.5).then(|| self.answer(leg, offer.as_deref()));
                let code = self.pick(&[100, 180, 183, 199]);
                self.bench.progress(leg, fork, code, answer.as_deref());
            }
            3..=5 => {
                let answer = (!self.random.chance(0.1)).then(|| self.answer(leg, offer.as_deref()));
                self.bench.answered(leg, fork, answer.as_deref());
            }
            6 | 7 => {
                let sdp = self.sdp(leg);
                let sdp = self.mangled(sdp);
                self.bench.offered(leg, (!self.random.chance(0.2)).then_some(&sdp));
            }
            8..=10 => {
                let answer = self.answer(leg, offer.as_deref());
                self.bench.accepted(leg, &answer);
            }
            _ => {
                let cause = self.pick(&[Cause::Pending, Cause::NotAcceptable, Cause::Failed]);
                self.bench.refused(leg, cause);
            }
        }
    }

    fn room_event(&mut self) {
        let place = self.random.below(self.bench.peers.len() as u64 + 1) as usize;
        let mut peers: Vec<_> = self.bench.peers.iter().map(|(peer, leg)| (*peer, *leg)).collect();
        peers.sort();
        let Some(&(peer, leg)) = peers.get(place) else { return };
        let event = match self.random.below(6) {
            0 | 1 => webrtc::Event::Verified { leg, peer, address: "192.0.2.1:1".parse().unwrap() },
            2..=4 => webrtc::Event::Connected { leg, peer, keys: Box::new(keys()) },
            _ => {
                // A transport that fails is closed, and says nothing more.
                self.bench.peers.remove(&peer);
                let of = |input: &Input| matches!(input, Input::Web(webrtc::Event::Opened { peer: p, .. }) if *p == peer);
                self.bench.held.retain(|input| !of(input));
                webrtc::Event::Failed { leg, peer, why: "storm" }
            }
        };
        self.bench.push(Input::Web(event));
    }

    /// A room says that it is full instead of opening.
    fn full(&mut self) {
        let by = self.random.below(self.bench.held.len().max(1) as u64) as usize;
        self.bench.held.rotate_left(by.min(self.bench.held.len()));
        match self.bench.held.pop_front() {
            Some(Input::Media(media::Event::Opened { leg, .. }))
                // A side that was closed meanwhile was never full.
                if self.bench.media_sides.remove(&leg).is_some() => {
                    self.bench.push(Input::Media(media::Event::Full { leg }));
                }
            Some(Input::Web(webrtc::Event::Opened { leg, peer, local })) => {
                let first = self
                    .bench
                    .web
                    .iter()
                    .all(|c| !matches!(c, webrtc::Command::Restart { peer: p } if *p == peer));
                if first && self.bench.peers.remove(&peer).is_some() {
                    self.bench.push(Input::Web(webrtc::Event::Full { leg }));
                } else {
                    self.bench.held.push_front(Input::Web(webrtc::Event::Opened { leg, peer, local }));
                }
            }
            Some(other) => self.bench.held.push_front(other),
            None => {}
        }
    }

    fn step(&mut self) {
        self.bench.prompt = self.random.chance(0.7);
        match self.random.below(100) {
            0..10 => self.begin(),
            10..70 => self.leg_event(),
            70..80 => self.room_event(),
            80..82 => self.full(),
            82..95 => drop(self.bench.release()),
            _ => {
                let by = Duration::from_millis(self.random.below(2_000));
                self.bench.wait(by);
            }
        }
        self.read_commands();
        self.note();
    }

    fn note(&mut self) {
        for (name, count) in self.bench.calls.counters().iter() {
            if count > 0 {
                *self.reached.entry(name).or_default() = 1;
            }
        }
    }

    fn end(&mut self) {
        self.bench.prompt = true;
        self.bench.push(Input::Drain);
        self.bench.wait(Duration::from_secs(31));
        self.read_commands();
        self.bench.pump();
        assert!(self.alive.is_empty(), "{:?}", self.alive);
        self.bench.empty(self.incoming);
        assert_eq!(self.bench.calls.poll_timeout(), None);
        self.note();
    }
}

#[test]
fn nothing_is_left_of_thousands_of_random_events() {
    let mut reached: Map<&'static str, u32> = Map::default();
    for seed in 0..20 {
        let mut storm = Storm::new(seed);
        for _ in 0..2_000 {
            storm.step();
        }
        storm.end();
        for (name, count) in storm.reached {
            *reached.entry(name).or_default() += count;
        }
    }
    for state in [
        "answered",
        "refused_cap",
        "refused_account_cap",
        "refused_route",
        "refused_hops",
        "refused_offer",
        "media_full",
        "web_full",
        "media_lost",
        "drained",
        "settled",
        "relayed",
        "glare",
        "changes_refused",
        "bad_answers",
        "silent_timeouts",
        "stray",
    ] {
        assert!(reached.contains_key(state), "never reached: {state}");
    }
}
