//! Ladders: what is kept, what is cut, and what is forgotten first.

use crate::base::{CallId, Key as _, LegId, Mint, Now, ShardId, Side};
use crate::leg::{Callee, Cause, Incoming, Party, Source, TrunkId};
use crate::shard::clock;
use crate::shard::trace::{TraceCaps, Traces, Way};

fn incoming(mint: &mut Mint, key: &str) -> Incoming {
    Incoming {
        leg: mint.leg(Side::Sip),
        identity: None,
        source: Source::Trunk(TrunkId(0)),
        caller: Party::default(),
        callee: Callee::Dialled(Party::default()),
        offer: None,
        hops: 70,
        key: key.to_owned(),
        data: Vec::new(),
        carried: Box::default(),
        reliable: false,
        replaces: None,
    }
}

fn record(leg: LegId) -> crate::call::Record {
    crate::call::Record {
        call: None,
        incoming: leg,
        outgoing: None,
        key: String::new(),
        source: Source::Trunk(TrunkId(0)),
        caller: Party::default(),
        callee: Party::default(),
        target: None,
        started: std::time::Duration::ZERO,
        answered: None,
        ended: std::time::Duration::ZERO,
        cause: Cause::Busy,
        code: 486,
        q850: 17,
        sessions: [None, None],
        quality: [None, None],
    }
}

fn sip(first: &str, call_id: &str, extra: &str) -> Vec<u8> {
    let method = first.split(' ').next().filter(|word| *word != "SIP/2.0").unwrap_or("INVITE");
    format!("{first}\r\ni: {call_id}\r\nCSeq: 1 {method}\r\nf: <sip:a@x>\r\n{extra}\r\n\r\nCall-ID: body\r\n")
        .into_bytes()
}

fn far() -> std::net::SocketAddr {
    "203.0.113.5:5060".parse().unwrap()
}

fn begun(traces: &mut Traces, mint: &mut Mint, now: Now, key: &str) -> LegId {
    traces.sip(now, Way::In, far(), &sip("INVITE sip:b@y SIP/2.0", key, "Content-Type: application/sdp"));
    traces.sip(now, Way::Out, far(), &sip("SIP/2.0 100 Trying", key, "Server: x"));
    let incoming = incoming(mint, key);
    assert!(traces.begin(&incoming));
    incoming.leg
}

#[test]
fn messages_before_and_after_the_call_is_known_stand_in_its_ladder() {
    let (now, mut mint) = (clock(), Mint::new(ShardId(0), false));
    let mut traces = Traces::new(TraceCaps::default());
    let leg = begun(&mut traces, &mut mint, now, "one");
    traces.name(leg, CallId::new(ShardId(0), 2, 7));
    traces.sip(now, Way::Out, far(), &sip("SIP/2.0 180 Ringing", "one", "Server: x"));
    traces.sip(now, Way::In, far(), &sip("OPTIONS sip:b@y SIP/2.0", "other", "Server: x"));
    traces.step(now, leg, Way::Here, || "media joined".into());
    traces.end(&record(leg));
    traces.sip(now, Way::In, far(), &sip("ACK sip:b@y SIP/2.0", "one", "Server: x"));
    let ladder = traces.find("call0.7.2").unwrap();
    assert_eq!(traces.find("one").as_ref(), Some(&ladder));
    let steps: Vec<&str> = ladder.entries.iter().map(|entry| entry.what.as_str()).collect();
    assert_eq!(steps, ["INVITE", "100 Trying (INVITE)", "180 Ringing (INVITE)", "media joined", "ACK"]);
    assert_eq!(ladder.over, Some(("busy", 486)));
    assert_eq!(ladder.entries[0].headers[0], ("Call-ID", "one".to_owned()));
    assert_eq!(ladder.entries[0].headers.last().unwrap().0, "Content-Type");
}

#[test]
fn calls_that_are_over_are_forgotten_first_and_nothing_is_left_of_them() {
    let (now, mut mint) = (clock(), Mint::new(ShardId(0), false));
    let mut traces = Traces::new(TraceCaps { calls: 3, entries: 4, ..TraceCaps::default() });
    let first = begun(&mut traces, &mut mint, now, "first");
    let second = begun(&mut traces, &mut mint, now, "second");
    traces.end(&record(second));
    for n in 0..5 {
        begun(&mut traces, &mut mint, now, &format!("more{n}"));
        assert!(traces.len() <= 3);
    }
    assert!(traces.find("second").is_none() && traces.find("more4").is_some());
    // Without one that is over the oldest goes: the first.
    assert!(traces.find("first").is_none());
    traces.step(now, first, Way::Here, || unreachable!("it is forgotten"));
    assert_eq!(traces.evicted, 5);
    let before = traces.bytes();
    for _ in 0..10 {
        traces.sip(now, Way::In, far(), &sip("INFO sip:b@y SIP/2.0", "more4", "Reason: x"));
    }
    let ladder = traces.find("more4").unwrap();
    assert_eq!((ladder.entries.len(), ladder.dropped), (4, 8));
    assert!(traces.bytes() > before);
}

#[test]
fn bytes_are_bounded_and_values_are_cut_and_cleaned() {
    let (now, mut mint) = (clock(), Mint::new(ShardId(0), false));
    let mut traces = Traces::new(TraceCaps { bytes: 20_000, ..TraceCaps::default() });
    for n in 0..100 {
        let long = format!("Contact: \u{7}{}", "ü".repeat(4_000));
        let key = format!("call{n}");
        traces.sip(now, Way::In, far(), &sip("INVITE sip:b@y SIP/2.0", &key, &long));
        assert!(traces.begin(&incoming(&mut mint, &key)));
        assert!(traces.bytes() <= 20_000);
    }
    let ladder = traces.find("call99").unwrap();
    let (_, contact) = ladder.entries[0].headers.iter().find(|(name, _)| *name == "Contact").unwrap();
    assert!(contact.len() <= 164 && contact.starts_with('?'), "{contact}");
}

#[test]
fn nothing_is_kept_where_it_is_switched_off_and_nonsense_is_passed_over() {
    let (now, mut mint) = (clock(), Mint::new(ShardId(0), false));
    let mut off = Traces::new(TraceCaps { on: false, ..TraceCaps::default() });
    off.sip(now, Way::In, far(), &sip("INVITE sip:b@y SIP/2.0", "x", "Server: x"));
    assert!(!off.begin(&incoming(&mut mint, "x")) && off.find("x").is_none());
    let mut on = Traces::new(TraceCaps::default());
    for nonsense in
        [&b"\xff\xfe\r\n\r\n"[..], b"", b"\r\n\r\n", b"INVITE", b"i: x\r\n\r\n", b"a\r\n:\r\n: :\r\n"]
    {
        on.sip(now, Way::In, far(), nonsense);
    }
    assert_eq!((on.len(), on.bytes()), (0, 0));
}

#[test]
fn long_names_and_ids_of_parties_count_too() {
    let mut mint = Mint::new(ShardId(0), false);
    let mut traces = Traces::new(TraceCaps { bytes: 200_000, ..TraceCaps::default() });
    for n in 0..100 {
        let long = format!("{n}{}", "x".repeat(20_000));
        let caller = Party { user: long.clone(), host: long.clone(), display: long.clone() };
        assert!(traces.begin(&Incoming { caller, ..incoming(&mut mint, &long) }));
        assert!(traces.bytes() <= 200_000);
        assert!(traces.len() <= 10, "{} calls of 20 kB at least", traces.len());
    }
    let ladder = traces.find(&format!("99{}", "x".repeat(20_000))).unwrap();
    assert!(ladder.caller.display.len() <= 164);
}
