//! The resolver in virtual time, against name servers that help, fail, lie and flood.

use super::*;
use crate::base::{Machine, Now, Random, Set};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{self, RData, Record, RecordType, rdata};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

struct World {
    now: Now,
    resolver: Resolver,
    /// What went out and was not answered.
    out: Vec<Output>,
    answered: usize,
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn servers() -> Vec<SocketAddr> {
    vec!["192.0.2.1:53".parse().unwrap(), "192.0.2.2:53".parse().unwrap()]
}

#[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
fn start() -> Now {
    Now { instant: std::time::Instant::now(), unix: Duration::ZERO }
}

impl World {
    fn new(change: impl FnOnce(&mut Config)) -> World {
        let settings =
            Settings { servers: servers(), timeout: Duration::from_secs(2), ..Settings::default() };
        let mut config = Config { settings, ..Config::default() };
        change(&mut config);
        let resolver = Resolver::new(config, Random::from_number(1));
        World { now: start(), resolver, out: Vec::new(), answered: 0 }
    }

    fn drain(&mut self) {
        while let Some(output) = self.resolver.poll_output() {
            match output {
                Output::Answered { .. } => self.answered += 1,
                Output::Close { socket } => self.out.retain(|out| socket_of(out) != socket),
                output => self.out.push(output),
            }
        }
        self.resolver.check_invariants();
    }

    fn lookup(&mut self, text: &str, kind: Kind) -> Lookup {
        let found = self.resolver.lookup(self.now, &name(text), kind);
        self.drain();
        found
    }

    fn known(&mut self, text: &str, kind: Kind) -> Result<Vec<Data>, Missing> {
        match self.lookup(text, kind) {
            Lookup::Known(answer) => answer.records.map(|records| records.to_vec()),
            Lookup::Asked => panic!("{text} is not known"),
        }
    }

    /// The newest question: its socket, server, bytes.
    fn asked(&self) -> (Socket, SocketAddr, Message) {
        match self.out.last().expect("nothing was asked") {
            Output::Send { socket, server, data, .. } => (*socket, *server, Message::from_vec(data).unwrap()),
            Output::Connect { socket, server, data } => {
                assert_eq!(usize::from(u16::from_be_bytes([data[0], data[1]])), data.len() - 2);
                (*socket, *server, Message::from_vec(&data[2..]).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    fn datagram(&mut self, socket: Socket, from: SocketAddr, data: &[u8]) {
        self.resolver.handle_input(self.now, Input::Datagram { socket, from, data });
        self.drain();
    }

    /// Answers the newest question.
    fn answer(&mut self, change: impl FnOnce(&mut Message)) {
        let (socket, server, question) = self.asked();
        let mut reply = reply_to(&question);
        change(&mut reply);
        self.datagram(socket, server, &reply.to_vec().unwrap());
    }

    fn pass(&mut self, by: Duration) {
        let end = self.now.after(by);
        while let Some(at) = self.resolver.poll_timeout().map(|deadline| deadline.at) {
            if at > end.instant {
                break;
            }
            self.now = self.now.after(at.saturating_duration_since(self.now.instant));
            self.resolver.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }
}

fn socket_of(output: &Output) -> Socket {
    match output {
        Output::Send { socket, .. } | Output::Connect { socket, .. } | Output::Close { socket } => *socket,
        Output::Answered { .. } => panic!("no socket"),
    }
}

fn reply_to(question: &Message) -> Message {
    let mut reply = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    reply.add_query(question.queries[0].clone());
    reply
}

fn record(owner: &str, ttl: u32, data: RData) -> Record {
    let mut owner = rr::Name::from_str(owner).unwrap();
    owner.set_fqdn(true);
    Record::from_rdata(owner, ttl, data)
}

fn a(owner: &str, ttl: u32, last: u8) -> Record {
    record(owner, ttl, RData::A(rdata::A::new(192, 0, 2, last)))
}

fn alias(owner: &str, to: &str) -> Record {
    record(owner, 60, RData::CNAME(rdata::CNAME(rr::Name::from_str(to).unwrap())))
}

fn soa(ttl: u32, minimum: u32) -> Record {
    let name = rr::Name::from_str("example.").unwrap();
    record("example.", ttl, RData::SOA(rdata::SOA::new(name.clone(), name, 1, 1, 1, 1, minimum)))
}

fn address(last: u8) -> Data {
    Data::A([192, 0, 2, last].into())
}

#[test]
fn equal_questions_are_asked_once_and_answers_hold_as_long_as_they_say() {
    let mut world = World::new(|_| {});
    assert_eq!(world.lookup("pbx.example", Kind::A), Lookup::Asked);
    assert_eq!(world.lookup("PBX.example", Kind::A), Lookup::Asked);
    assert_eq!(world.out.len(), 1);
    world.answer(|reply| reply.answers = vec![a("pbx.example", 300, 7), a("PBX.EXAMPLE", 60, 8)]);
    assert_eq!((world.answered, world.out.len()), (1, 0));
    assert_eq!(world.known("pbx.example", Kind::A), Ok(vec![address(7), address(8)]));
    world.pass(Duration::from_secs(59));
    assert_eq!(world.known("pbx.example", Kind::A).unwrap().len(), 2);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.lookup("pbx.example", Kind::A), Lookup::Asked, "the shortest time counts");
}

#[test]
fn services_are_read_with_all_that_selects_among_them() {
    let mut world = World::new(|_| {});
    world.lookup("_sip._udp.example", Kind::Srv);
    let target = |text: &str| rr::Name::from_str(text).unwrap();
    world.answer(|reply| {
        reply.answers = vec![
            record("_sip._udp.example", 60, RData::SRV(rdata::SRV::new(1, 5, 5070, target("a.example.")))),
            record("_sip._udp.example", 60, RData::SRV(rdata::SRV::new(2, 0, 0, target(".")))),
        ];
    });
    let srv = |priority, weight, port, target| Data::Srv(Srv { priority, weight, port, target });
    let expected = vec![srv(1, 5, 5070, Some(name("a.example."))), srv(2, 0, 0, None)];
    assert_eq!(world.known("_sip._udp.example", Kind::Srv), Ok(expected));
    world.lookup("example", Kind::Naptr);
    let naptr = |flags: &str, service: &str, regexp: &str| {
        let bytes = |text: &str| text.as_bytes().into();
        let data = rdata::NAPTR::new(
            50,
            10,
            bytes(flags),
            bytes(service),
            bytes(regexp),
            target("_sips._tcp.example."),
        );
        record("example", 60, RData::NAPTR(data))
    };
    world.answer(|reply| {
        reply.answers = vec![
            naptr("s", "sips+d2t", ""),
            naptr("u", "E2U+sip", "!^.*$!sip:a@b!"),
            naptr("", "SIP+D2U", ""),
        ];
    });
    let expected = Naptr {
        order: 50,
        preference: 10,
        srv: true,
        service: "SIPS+D2T".to_owned(),
        replacement: name("_sips._tcp.example."),
    };
    assert_eq!(world.known("example", Kind::Naptr), Ok(vec![Data::Naptr(expected)]));
}

#[test]
fn only_the_asked_server_with_the_right_number_and_question_is_believed() {
    let mut world = World::new(|_| {});
    world.lookup("pbx.example", Kind::A);
    let (socket, server, question) = world.asked();
    let mut good = reply_to(&question);
    good.answers = vec![a("pbx.example", 60, 7)];
    let mut forged = Vec::new();
    let mut wrong = good.clone();
    wrong.metadata.id ^= 1;
    forged.push((server, wrong));
    forged.push(("192.0.2.66:53".parse().unwrap(), good.clone()));
    forged.push((SocketAddr::new(server.ip(), 5353), good.clone()));
    forged.push((servers()[1], good.clone()));
    for (owner, kind) in [("evil.example.", RecordType::A), ("pbx.example.", RecordType::AAAA)] {
        let mut wrong = good.clone();
        wrong.queries = vec![Query::query(rr::Name::from_str(owner).unwrap(), kind)];
        forged.push((server, wrong));
    }
    let mut question_back = good.clone();
    question_back.metadata.message_type = MessageType::Query;
    forged.push((server, question_back));
    let count = forged.len() as u64;
    for (from, message) in forged {
        world.datagram(socket, from, &message.to_vec().unwrap());
    }
    world.datagram(Socket(99), server, &good.to_vec().unwrap());
    assert_eq!(world.answered, 0);
    let counters = world.resolver.counters();
    assert_eq!(counters.foreign + counters.malformed, count);
    world.datagram(socket, server, &good.to_vec().unwrap());
    assert_eq!(world.known("pbx.example", Kind::A), Ok(vec![address(7)]));
}

#[test]
fn records_that_nobody_asked_for_are_not_remembered() {
    let mut world = World::new(|_| {});
    world.lookup("pbx.example", Kind::A);
    world.answer(|reply| {
        reply.answers = vec![a("bank.example", 60, 66), a("pbx.example", 60, 7)];
        reply.additionals = vec![a("other.example", 60, 66)];
    });
    assert_eq!(world.known("pbx.example", Kind::A), Ok(vec![address(7)]));
    for text in ["bank.example", "other.example"] {
        assert_eq!(world.lookup(text, Kind::A), Lookup::Asked);
    }
}

#[test]
fn a_silent_server_is_passed_over_and_may_still_answer() {
    let mut world = World::new(|_| {});
    world.lookup("pbx.example", Kind::A);
    let (first, server, question) = world.asked();
    assert_eq!(server, servers()[0]);
    world.pass(Duration::from_secs(2));
    assert_eq!((world.asked().1, world.out.len()), (servers()[1], 2));
    let mut late = reply_to(&question);
    late.answers = vec![a("pbx.example", 60, 7)];
    world.datagram(first, server, &late.to_vec().unwrap());
    assert_eq!(world.known("pbx.example", Kind::A), Ok(vec![address(7)]));
    assert_eq!(world.out.len(), 0, "both sockets are closed");
}

#[test]
fn whoever_answered_last_is_asked_first_unless_questions_rotate() {
    let mut world = World::new(|_| {});
    world.lookup("a.example", Kind::A);
    world.pass(Duration::from_secs(2));
    world.answer(|reply| reply.answers = vec![a("a.example", 60, 7)]);
    world.lookup("b.example", Kind::A);
    assert_eq!(world.asked().1, servers()[1]);
    let mut world = World::new(|config| config.settings.rotate = true);
    let asked: Set<SocketAddr> = (0..20)
        .map(|n| {
            world.lookup(&format!("n{n}.example"), Kind::A);
            world.asked().1
        })
        .collect();
    assert_eq!(asked.len(), 2);
}

#[test]
fn when_no_server_answers_that_is_said_and_not_asked_again_at_once() {
    let mut world = World::new(|_| {});
    world.lookup("pbx.example", Kind::A);
    world.pass(Duration::from_secs(8));
    assert_eq!((world.answered, world.resolver.counters().sent), (1, 4), "two servers, twice each");
    assert_eq!(world.known("pbx.example", Kind::A), Err(Missing::Away));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.lookup("pbx.example", Kind::A), Lookup::Asked);
    world.resolver.handle_input(world.now, Input::Failed { socket: world.asked().0 });
    world.drain();
    assert_eq!(world.asked().1, servers()[1], "one that refuses is passed over at once");
    world.answer(|reply| reply.metadata.response_code = ResponseCode::ServFail);
    assert_eq!(world.asked().1, servers()[0]);
}

#[test]
fn what_is_known_stands_in_while_the_servers_are_away() {
    let mut world = World::new(|_| {});
    world.lookup("pbx.example", Kind::A);
    world.answer(|reply| reply.answers = vec![a("pbx.example", 60, 7)]);
    world.pass(Duration::from_mins(2));
    assert_eq!(world.lookup("pbx.example", Kind::A), Lookup::Asked);
    world.pass(Duration::from_secs(8));
    assert_eq!(world.known("pbx.example", Kind::A), Ok(vec![address(7)]));
    assert_eq!(world.resolver.counters().stale, 1);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.lookup("pbx.example", Kind::A), Lookup::Asked, "the servers may be back");
    world.answer(|reply| reply.answers = vec![a("pbx.example", 60, 8)]);
    assert_eq!(world.known("pbx.example", Kind::A), Ok(vec![address(8)]));
    world.pass(Duration::from_hours(25));
    world.lookup("pbx.example", Kind::A);
    world.pass(Duration::from_secs(8));
    assert_eq!(world.known("pbx.example", Kind::A), Err(Missing::Away), "but not for ever");
}

#[test]
fn an_answer_that_does_not_fit_comes_by_a_connection_in_pieces() {
    let mut world = World::new(|_| {});
    world.lookup("pbx.example", Kind::A);
    world.answer(|reply| reply.metadata.truncation = true);
    let (socket, server, question) = world.asked();
    assert!(matches!(world.out.last(), Some(Output::Connect { .. })) && server == servers()[0]);
    let mut reply = reply_to(&question);
    reply.answers = (0..200).map(|n| a("pbx.example", 60, n)).collect();
    let bytes = reply.to_vec().unwrap();
    let mut stream = (bytes.len() as u16).to_be_bytes().to_vec();
    stream.extend_from_slice(&bytes);
    stream.extend_from_slice(b"what nobody asked for");
    for piece in stream.chunks(100) {
        world.resolver.handle_input(world.now, Input::Bytes { socket, data: piece });
        world.drain();
    }
    assert_eq!(world.known("pbx.example", Kind::A).unwrap().len(), 200);
    assert!(world.out.is_empty());
}

#[test]
fn a_connection_that_ends_early_or_lies_is_given_up_for_the_next_server() {
    for end_early in [true, false] {
        let mut world = World::new(|_| {});
        world.lookup("pbx.example", Kind::A);
        world.answer(|reply| reply.metadata.truncation = true);
        let (socket, ..) = world.asked();
        let input = if end_early {
            Input::Failed { socket }
        } else {
            Input::Bytes { socket, data: b"\x00\x05hello" }
        };
        world.resolver.handle_input(world.now, input);
        world.drain();
        assert!(matches!(world.out.last(), Some(Output::Send { .. })));
        assert_eq!(world.asked().1, servers()[1]);
    }
}

#[test]
fn aliases_are_followed_within_an_answer_and_beyond_it_but_not_in_circles() {
    let mut world = World::new(|_| {});
    world.lookup("pbx.example", Kind::A);
    world.answer(|reply| {
        reply.answers = vec![alias("pbx.example", "b.example."), alias("b.example", "c.example.")];
    });
    let (.., question) = world.asked();
    assert_eq!(question.queries[0].name().to_ascii(), "c.example.");
    world.answer(|reply| reply.answers = vec![a("c.example", 60, 7)]);
    assert_eq!(world.known("pbx.example", Kind::A), Ok(vec![address(7)]));

    world.lookup("loop.example", Kind::A);
    world.answer(|reply| {
        reply.answers = vec![alias("loop.example", "l2.example."), alias("l2.example", "loop.example.")];
    });
    assert_eq!(world.known("loop.example", Kind::A), Err(Missing::Circular));

    world.lookup("far.example", Kind::A);
    for n in 0..=8 {
        let (.., question) = world.asked();
        let owner = question.queries[0].name().to_ascii();
        world.answer(|reply| reply.answers = vec![alias(&owner, &format!("far{n}.example."))]);
    }
    assert_eq!(world.known("far.example", Kind::A), Err(Missing::Circular));
}

#[test]
fn absence_holds_as_long_as_its_zone_says_within_bounds() {
    for (ttl, minimum, held) in [(600, 60, 60), (20, 60, 20), (9999, 9999, 300), (0, 0, 5)] {
        let mut world = World::new(|_| {});
        world.lookup("no.example", Kind::A);
        world.answer(|reply| {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.authorities = vec![soa(ttl, minimum)];
        });
        assert_eq!(world.known("no.example", Kind::A), Err(Missing::Absent));
        world.pass(Duration::from_secs(held - 1));
        assert_eq!(world.known("no.example", Kind::A), Err(Missing::Absent));
        world.pass(Duration::from_secs(1));
        assert_eq!(world.lookup("no.example", Kind::A), Lookup::Asked);
    }
    let mut world = World::new(|_| {});
    world.lookup("v6.example", Kind::Aaaa);
    world.answer(|_| {});
    assert_eq!(world.known("v6.example", Kind::Aaaa), Err(Missing::Absent), "no data, and no zone either");
}

#[test]
fn short_names_are_looked_for_in_the_search_list() {
    let mut world = World::new(|config| {
        config.settings.search = vec![name("one.example"), name("two.example")];
        config.settings.dots = 2;
    });
    let asked = |world: &World| world.asked().2.queries[0].name().to_ascii();
    world.lookup("pbx.voice", Kind::A);
    assert_eq!(asked(&world), "pbx.voice.one.example.");
    world.answer(|reply| reply.metadata.response_code = ResponseCode::NXDomain);
    assert_eq!(asked(&world), "pbx.voice.two.example.");
    world.answer(|reply| reply.answers = vec![a("pbx.voice.two.example", 60, 7)]);
    assert_eq!(world.known("pbx.voice", Kind::A), Ok(vec![address(7)]));
    world.lookup("a.b.example", Kind::A);
    assert_eq!(asked(&world), "a.b.example.");
    world.lookup("pbx.", Kind::A);
    assert_eq!(asked(&world), "pbx.");
    world.answer(|reply| reply.metadata.response_code = ResponseCode::NXDomain);
    assert_eq!(world.known("pbx.", Kind::A), Err(Missing::Absent));
}

#[test]
fn the_hosts_file_comes_first() {
    let mut world = World::new(|config| config.hosts = Hosts::parse("192.0.2.9 pbx"));
    assert_eq!(world.known("pbx", Kind::A), Ok(vec![address(9)]));
    assert_eq!(world.known("pbx", Kind::Aaaa), Err(Missing::Absent));
    assert_eq!(world.lookup("pbx", Kind::Srv), Lookup::Asked);
}

#[test]
fn an_old_server_that_does_not_know_extensions_is_asked_without() {
    let mut world = World::new(|_| {});
    world.lookup("pbx.example", Kind::A);
    assert_eq!(world.asked().2.edns.map(|edns| edns.max_payload()), Some(1232));
    world.answer(|reply| reply.metadata.response_code = ResponseCode::FormErr);
    let (_, server, question) = world.asked();
    assert_eq!((server, question.edns), (servers()[0], None));
}

#[test]
fn questions_and_answers_are_bounded_and_the_bounds_are_counted() {
    let mut world = World::new(|config| (config.questions, config.entries) = (4, 8));
    for n in 0..6 {
        world.lookup(&format!("n{n}.example"), Kind::A);
    }
    assert_eq!((world.out.len(), world.resolver.counters().full), (4, 2));
    assert_eq!(world.known("n5.example", Kind::A), Err(Missing::Away));
    world.pass(Duration::from_secs(30));
    for n in 0..40 {
        let text = format!("m{n}.example");
        world.lookup(&text, Kind::A);
        world.answer(|reply| reply.answers = vec![a(&text, 60 + n, 7)]);
    }
    assert_eq!(world.resolver.cached(), 8);
    assert!(world.resolver.counters().evicted >= 28);
    assert_eq!(world.known("m39.example", Kind::A), Ok(vec![address(7)]));
}

#[test]
fn numbers_and_ports_can_not_be_guessed_from_earlier_ones() {
    let mut world = World::new(|config| config.questions = 1000);
    let (mut ids, mut ports) = (Set::default(), Set::default());
    for n in 0..500 {
        world.lookup(&format!("n{n}.example"), Kind::A);
        let Some(Output::Send { port, .. }) = world.out.last() else { panic!() };
        ports.insert(*port);
        ids.insert(world.asked().2.metadata.id);
    }
    assert!(ids.len() > 490 && ports.len() > 490, "{} {}", ids.len(), ports.len());
    assert!(ports.iter().all(|port| *port >= 32_768));
}

/// A header with one question for `a.` and so many answers, then `rest`.
fn raw(id: u16, answers: u16, rest: &[u8]) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([0x81, 0x80, 0, 1]);
    bytes.extend(answers.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend([1, b'a', 0, 0, 1, 0, 1]);
    bytes.extend(rest);
    bytes
}

#[test]
fn compression_bombs_and_floods_of_records_are_no_answers() {
    // A pointer to itself, one forward, one beyond the end, and two that point at each other.
    for rest in [&[0xc0, 19][..], &[0xc0, 60], &[0xff, 0xff], &[0xc0, 21, 0xc0, 19]] {
        let mut record = rest.to_vec();
        record.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        assert_eq!(read(&raw(1, 1, &record)), Err(Fault::Malformed), "{rest:?}");
    }
    // Each record's name points at the one before, a chain through the whole message.
    let mut chain = vec![0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
    for n in 1..400_u16 {
        let to = (0xc000 | (19 + (n - 1) * 16)).to_be_bytes();
        chain.extend(to);
        chain.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    }
    let chained = read(&raw(1, 400, &chain));
    assert!(chained.is_err() || chained.is_ok_and(|reply| reply.records.len() == 400));
    assert_eq!(read(&raw(1, u16::MAX, &[])), Err(Fault::TooMany));
    let mut questions = raw(1, 0, &[]);
    questions[4..6].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(read(&questions), Err(Fault::Unasked));
    let full = raw(1, 1, &vec![63; 65_000]);
    assert_eq!(read(&full), Err(Fault::Malformed));
    for length in 0..12 {
        assert!(read(&vec![0; length]).is_err());
    }
}

#[test]
fn mutated_answers_break_nothing_and_never_answer_another_question() {
    let mut random = Random::from_number(7);
    let target = rr::Name::from_str("a.example.").unwrap();
    for round in 0..3000 {
        let mut world = World::new(|_| {});
        world.lookup("pbx.example", Kind::Srv);
        let (socket, server, question) = world.asked();
        let mut reply = reply_to(&question);
        reply.answers = vec![
            alias("pbx.example", "b.example."),
            record("b.example", 60, RData::SRV(rdata::SRV::new(1, 5, 5070, target.clone()))),
        ];
        reply.authorities = vec![soa(60, 60)];
        let mut bytes = reply.to_vec().unwrap();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(4) {
                0 => bytes[at] = random.u32() as u8,
                1 => bytes[at] ^= 1 << random.below(8),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, random.u32() as u8),
            }
        }
        let head = bytes.get(..2) == Some(&question.metadata.id.to_be_bytes()[..]);
        if round % 2 == 0 {
            world.datagram(socket, server, &bytes);
        } else {
            world.answer(|reply| reply.metadata.truncation = true);
            let (socket, _, again) = world.asked();
            if head {
                bytes[..2].copy_from_slice(&again.metadata.id.to_be_bytes());
            }
            let mut stream = (bytes.len() as u16).to_be_bytes().to_vec();
            stream.extend(&bytes);
            world.resolver.handle_input(world.now, Input::Bytes { socket, data: &stream });
            world.drain();
        }
        assert!(world.answered == 0 || head, "an answer with another number was believed");
        // Whatever came of it, the question ends.
        world.pass(Duration::from_mins(1));
        assert_eq!(world.answered, 1);
        assert!(world.out.is_empty());
    }
}

#[test]
fn sockets_of_a_flood_of_bytes_stay_within_their_bound() {
    let mut world = World::new(|_| {});
    world.lookup("pbx.example", Kind::A);
    world.answer(|reply| reply.metadata.truncation = true);
    let (socket, ..) = world.asked();
    world.resolver.handle_input(world.now, Input::Bytes { socket, data: &[0xff, 0xff] });
    for _ in 0..100 {
        world.resolver.handle_input(world.now, Input::Bytes { socket, data: &[0; 4096] });
        world.drain();
    }
    assert_eq!(world.resolver.counters().malformed, 1, "64 KiB of nothing are read once");
    assert_eq!(world.asked().1, servers()[1]);
}
