//! The dialog machine: what each request within a dialog gets in each state (RFC 3261 sections 12.2.2, 14.2 and 15, RFC 3262
//! section 3, RFC 3311 section 5.2), and how both sides of a glare wait (section 14.1).

use super::script::*;
use super::*;
use sip_codec::Name;

/// What the far side sends: its name, method, headers, body.
type Sends = (&'static str, &'static str, &'static str, bool);

const REQUESTS: [Sends; 8] = [
    ("INVITE with an offer", "INVITE", "", true),
    ("INVITE without", "INVITE", "", false),
    ("UPDATE with an offer", "UPDATE", "", true),
    ("UPDATE without", "UPDATE", "", false),
    ("PRACK of nothing", "PRACK", "RAck: 1 1 INVITE\r\n", false),
    ("INFO", "INFO", "", false),
    ("OPTIONS", "OPTIONS", "", false),
    ("BYE", "BYE", "", false),
];

/// Dialogs by state: ours that we dialled, and theirs.
const STATES: [&str; 9] = [
    "early",
    "early, settled",
    "up",
    "offering",
    "offered",
    "over",
    "ringing",
    "ringing, settled",
    "unacked",
];

/// For each request, the final code in each state; 0: the call machine is asked.
const TABLE: [[u16; 9]; 8] = [
    [500, 500, 0, 491, 500, 481, 500, 500, 491],
    [500, 500, 0, 491, 500, 481, 500, 500, 491],
    [500, 0, 0, 491, 500, 481, 500, 0, 491],
    [200, 200, 200, 200, 200, 481, 200, 200, 200],
    [481, 481, 481, 481, 481, 481, 481, 481, 481],
    [200, 200, 200, 200, 200, 481, 200, 200, 200],
    [200, 200, 200, 200, 200, 481, 200, 200, 200],
    [200, 200, 200, 200, 200, 200, 200, 200, 200],
];

/// Writes a request of the far side, with this sequence number.
type Write = Box<dyn Fn(&Sends, u32) -> String>;

/// Brings a dialog into a state; gives what writes requests of the far side in it.
fn enter(net: &mut Net, state: &str) -> Write {
    let body = |sends: &Sends| if sends.3 { sdp_text(9) } else { String::new() };
    if matches!(state, "ringing" | "ringing, settled" | "unacked") {
        let leg = called(net, "Supported: 100rel\r\nAllow: UPDATE, PRACK\r\n", &sdp_text(1));
        let settled = state == "ringing, settled";
        let answer = settled.then(|| sdp(3));
        net.command(0, Command::Progress { leg, code: if settled { 183 } else { 180 }, answer });
        net.run(Duration::from_millis(50));
        let ringing = net.take("SIP/2.0 18").remove(0);
        if settled {
            net.inject(B, 0, &prack(&ringing, 2, ""));
        }
        if state == "unacked" {
            net.command(0, Command::Answer { leg, session: Some(sdp(3)) });
        }
        net.run(Duration::from_millis(50));
        let tag = tag_of(&ringing);
        return Box::new(move |sends, cseq| from_caller(sends.1, cseq, &tag, sends.2, &body(sends)));
    }
    let (leg, invite) = dialled(net);
    match state {
        "early" => net.answer(&invite, 183, "b1", &contact(), Some(&sdp_text(2))),
        "early, settled" => net.answer(&invite, 183, "b1", &reliable("7"), Some(&sdp_text(2))),
        _ => net.answer(&invite, 200, "b1", &contact(), Some(&sdp_text(2))),
    }
    net.run(Duration::from_millis(50));
    match state {
        "offering" => net.command(0, Command::Offer { leg, offer: sdp(7) }),
        "offered" => net.inject(B, 0, &in_dialog(&invite, "INVITE", 5, "", &sdp_text(4))),
        "over" => net.command(0, end(leg)),
        _ => {}
    }
    net.run(Duration::from_millis(50));
    Box::new(move |sends, cseq| in_dialog(&invite, sends.1, cseq, sends.2, &body(sends)))
}

/// The final code that a request gets; 0 where it has none yet.
fn answered_with_code(net: &mut Net, request: &str) -> u16 {
    let cseq = header(request, "CSeq").to_owned();
    net.inbox.clear();
    net.inject(B, 0, request);
    net.run(Duration::from_millis(100));
    let code = |text: &str| text.get(8..11).and_then(|code| code.parse::<u16>().ok()).unwrap_or(0);
    let answers = net.take("SIP/2.0 ");
    let finals = answers.iter().filter(|text| header(text, "CSeq") == cseq).map(|text| code(text));
    finals.filter(|code| *code >= 200).max().unwrap_or(0)
}

#[test]
fn every_request_gets_its_answer_in_every_state() {
    for (column, state) in STATES.into_iter().enumerate() {
        for (sends, row) in REQUESTS.iter().zip(TABLE) {
            let mut net = Net::scripted(|_| {});
            let write = enter(&mut net, state);
            let told = net.names(0).len();
            let code = answered_with_code(&mut net, &write(sends, 50));
            assert_eq!(code, row[column], "{} while {state}: {:?}", sends.0, net.names(0));
            let asked = net.names(0)[told..].iter().any(|name| name.starts_with("Offered"));
            assert_eq!(asked, row[column] == 0, "{} while {state}", sends.0);
        }
    }
}

#[test]
fn sequence_numbers_that_go_back_are_out_of_order_in_every_state() {
    for state in STATES {
        let mut net = Net::scripted(|_| {});
        let write = enter(&mut net, state);
        // One that makes the next one late.
        net.inject(B, 0, &write(&REQUESTS[6], 60));
        net.run(Duration::from_millis(50));
        for sends in REQUESTS {
            assert_eq!(answered_with_code(&mut net, &write(&sends, 59)), 500, "{} while {state}", sends.0);
        }
        // Gaps are none (section 12.2.2).
        let code = answered_with_code(&mut net, &write(&REQUESTS[6], 1_000));
        assert_eq!(code, if state == "over" { 481 } else { 200 }, "{state}");
    }
}

#[test]
fn tags_and_call_ids_are_compared_exactly() {
    let mut net = Net::scripted(|_| {});
    let (_, invite) = answered(&mut net);
    let options = in_dialog(&invite, "OPTIONS", 9, "", "");
    let own = header(&options, "To").split("tag=").nth(1).unwrap().to_owned();
    let call = header(&options, "Call-ID").to_owned();
    let flipped = |text: &str| -> String {
        let flip =
            |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        text.chars().map(flip).collect()
    };
    for (n, (old, new)) in [
        (own.clone(), flipped(&own)),
        (own.clone(), own[..own.len() - 1].to_owned()),
        (call.clone(), flipped(&call)),
        ("tag=b1".into(), "tag=B1".into()),
        ("tag=b1".into(), "tag=b11".into()),
        (";tag=b1".into(), String::new()),
    ]
    .into_iter()
    .enumerate()
    {
        let changed = options.replace(&old, &new).replace("branch=z9hG4bK", &format!("branch=z9hG4bK{n}"));
        assert_ne!(changed, options);
        assert_eq!(answered_with_code(&mut net, &changed), 481, "{new}");
    }
    assert_eq!(answered_with_code(&mut net, &options), 200);
}

#[test]
fn a_refused_change_ends_the_call_only_where_the_dialog_is_gone() {
    for (code, ends) in [
        (404, true),
        (408, true),
        (410, true),
        (416, true),
        (481, true),
        (482, true),
        (484, true),
        (502, true),
        (604, true),
        (400, false),
        (403, false),
        (405, false),
        (415, false),
        (420, false),
        (480, false),
        (486, false),
        (487, false),
        (488, false),
        (500, false),
        (503, false),
        (603, false),
        (606, false),
    ] {
        let mut net = Net::scripted(|_| {});
        let (leg, _) = answered(&mut net);
        net.command(0, Command::Offer { leg, offer: sdp(7) });
        net.run(Duration::from_millis(50));
        let reinvite = net.take("INVITE").remove(0);
        net.answer(&reinvite, code, "b1", &[], None);
        net.run(Duration::from_millis(50));
        let last = net.names(0).pop().unwrap();
        assert_eq!(last.starts_with("Ended"), ends, "{code}: {last}");
        assert_eq!(net.take("BYE").len(), usize::from(ends), "{code}");
    }
}

#[test]
fn who_began_the_call_waits_longer_after_a_glare_in_steps_of_ten_milliseconds() {
    // Whose Call-ID it is; what was refused it (491, or 500 with Retry-After); from when to when it may come again.
    for (ours, code, from, to) in
        [(true, 491, 2_100, 4_000), (false, 491, 0, 2_000), (true, 500, 2_100, 4_000), (false, 500, 0, 2_000)]
    {
        let mut waits = Vec::new();
        for seed in 0..40 {
            let mut net = Net::new(seed);
            net.join(A, B, 1, |_| {});
            let (leg, tag) = if ours {
                (answered(&mut net).0, "b1")
            } else {
                let leg = called(&mut net, "", &sdp_text(1));
                net.command(0, Command::Answer { leg, session: Some(sdp(2)) });
                net.run(Duration::from_millis(50));
                let tag = tag_of(&net.take("SIP/2.0 200")[0]);
                net.inject(B, 0, &from_caller("ACK", 1, &tag, "", ""));
                net.run(Duration::from_millis(50));
                (leg, "q")
            };
            net.command(0, Command::Offer { leg, offer: sdp(7) });
            net.run(Duration::from_millis(20));
            let reinvite = net.take("INVITE").remove(0);
            let retry = [(Name::RetryAfter, "3")];
            net.answer(&reinvite, code, tag, if code == 500 { &retry } else { &[] }, None);
            net.run(Duration::from_millis(10));
            let (mut waited, before) = (0, net.sent(A, "INVITE"));
            while net.sent(A, "INVITE") == before {
                net.run(Duration::from_millis(10));
                waited += 10;
                assert!(waited <= to + 10, "{code} {ours}");
            }
            waits.push(waited);
        }
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(*least >= from && *most <= to + 10 && most - least > 1_000, "{code} {ours}: {waits:?}");
    }
}
