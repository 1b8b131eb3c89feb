//! Calls to `echo` and `tone`.

use super::*;
use crate::demo::g711::{Law, decode};
use crate::rtp::Header;

const ECHO: &str = "sip:echo@127.0.0.1:5160";
const TONE: &str = "sip:tone@127.0.0.1:5160";

fn packet(number: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        marker: false,
        padding: false,
        payload_type: number,
        sequence,
        timestamp,
        ssrc,
        csrcs: 0,
        extended: false,
        length: 12,
    };
    [&header.write()[..], payload].concat()
}

fn hear(world: &mut World, from: &str, data: &[u8]) -> Option<(Header, Vec<u8>)> {
    world.rtp.clear();
    let call = *world.opened.last().unwrap();
    world.input(Input::Rtp { call, from: at(from), data });
    let data = world.rtp.pop()?;
    let header = Header::parse(&data).unwrap();
    Some((header, data[12..].to_vec()))
}

#[test]
fn an_invite_without_credentials_is_challenged_and_its_ack_ends_here() {
    let mut world = World::new();
    let answer = world.ask(&Ask { body: sdp("sendrecv", "0"), ..Ask::default() });
    assert_eq!(status(&answer[0]), 407);
    let again = world.ask(&Ask { body: sdp("sendrecv", "0"), ..Ask::default() });
    assert_eq!(tag(&again[0].1), tag(&answer[0].1), "a retransmission gets the same answer");
    let ack = Ask { method: "ACK", to_tag: &tag(&answer[0].1), ..Ask::default() };
    assert!(world.ask(&ack).is_empty() && world.opened.is_empty());
}

#[test]
fn echo_answers_with_the_offers_numbers_and_sends_back_under_its_own_ssrc() {
    let mut world = World::new();
    let answers =
        world.ask_signed(Ask { uri: ECHO, body: sdp("sendrecv", "111 8 0 96"), ..Ask::default() }, "SHA-256");
    let answer = &answers[1].1;
    assert!(answer.contains("m=audio 20000 RTP/AVP 8 0 96\r\n"), "{answer}");
    assert!(answer.contains("a=rtpmap:96 telephone-event/8000") && answer.contains("c=IN IP4 127.0.0.1"));
    let ack = Ask { method: "ACK", uri: ECHO, cseq: 2, to_tag: &tag(answer), ..Ask::default() };
    world.ask(&ack);
    let (a, body) = hear(&mut world, PHONE_RTP, &packet(8, 65_535, 1_000, 7, b"hello")).unwrap();
    let (b, _) = hear(&mut world, PHONE_RTP, &packet(96, 0, 1_160, 7, b"1234")).unwrap();
    assert_eq!((body.as_slice(), a.payload_type, b.payload_type), (&b"hello"[..], 8, 96));
    assert!(a.ssrc == b.ssrc && a.ssrc != 7);
    assert_eq!((b.sequence.wrapping_sub(a.sequence), b.timestamp.wrapping_sub(a.timestamp)), (1, 160));
    // The caller's source changes: the timeline goes on.
    let (c, _) = hear(&mut world, PHONE_RTP, &packet(0, 900, 5, 8, b"other")).unwrap();
    assert_eq!((c.ssrc, c.sequence), (b.ssrc, b.sequence.wrapping_add(1)));
    assert_eq!(c.timestamp.wrapping_sub(b.timestamp), 160);
    assert_eq!(world.server.counters().echoed, 3);
}

#[test]
fn packets_from_elsewhere_or_of_other_kinds_are_dropped() {
    let mut world = World::new();
    world.call(ECHO, sdp("sendrecv", "0"));
    assert!(hear(&mut world, "127.0.0.1:31111", &packet(0, 1, 1, 7, b"x")).is_none());
    assert!(hear(&mut world, PHONE_RTP, &packet(111, 1, 1, 7, b"x")).is_none());
    assert!(hear(&mut world, PHONE_RTP, b"junk").is_none());
    assert!(hear(&mut world, PHONE_RTP, &[]).is_none());
    assert_eq!(world.server.counters().rtp_dropped, 4);
}

#[test]
fn the_tone_is_440_hz_at_an_even_pace() {
    for (number, law) in [("0", Law::Mu), ("8", Law::A)] {
        let mut world = World::new();
        world.call(TONE, sdp("sendrecv", number));
        world.rtp.clear();
        world.run(Duration::from_millis(999));
        assert_eq!(world.rtp.len(), 50);
        let heads: Vec<Header> = world.rtp.iter().map(|data| Header::parse(data).unwrap()).collect();
        assert!(heads.windows(2).all(|two| {
            two[1].sequence.wrapping_sub(two[0].sequence) == 1
                && two[1].timestamp.wrapping_sub(two[0].timestamp) == 160
        }));
        let samples: Vec<i16> =
            world.rtp.iter().flat_map(|data| data[12..].iter().map(|&code| decode(law, code))).collect();
        assert_eq!(samples.len(), 8_000);
        let rises = samples.windows(2).filter(|two| two[0] < 0 && two[1] >= 0).count();
        assert!((438..=441).contains(&rises), "{rises} Hz");
        assert!(samples.iter().any(|&sample| sample > 9_000));
    }
}

#[test]
fn the_answer_is_repeated_until_ack_and_the_call_ended_without() {
    let mut world = World::new();
    let answers = world.ask_signed(Ask { uri: TONE, body: sdp("sendrecv", "0"), ..Ask::default() }, "MD5");
    world.run(Duration::from_secs(4));
    let repeats = world.sip.iter().filter(|(_, text)| *text == answers[1].1).count();
    assert_eq!(repeats, 3, "after 0.5, 1.5 and 3.5 s");
    world.sip.clear();
    world.run(Duration::from_secs(29));
    let (to, bye) = world.sip.iter().find(|(_, text)| text.starts_with("BYE")).expect("a BYE at the end");
    assert_eq!((*to, header(bye, "To")), (at(ALICE), "<sip:alice@127.0.0.1>;tag=falice"));
    assert!(bye.starts_with("BYE sip:alice@127.0.0.1:6001 SIP/2.0\r\n"));
    let answer = bye.replacen("BYE sip:alice@127.0.0.1:6001 SIP/2.0", "SIP/2.0 200 OK", 1);
    world.send(ALICE, &answer);
    assert_eq!((world.server.calls(), world.closed), (0, 1));
}

#[test]
fn a_repeated_invite_gets_the_same_answer_and_no_second_call() {
    let mut world = World::new();
    let challenged = world.ask(&Ask { uri: ECHO, ..Ask::default() });
    let ask = Ask { uri: ECHO, cseq: 2, body: sdp("sendrecv", "0"), ..Ask::default() };
    let more = credentials(&challenged[0].1, &ask, "MD5", "secret of alice");
    let ask = Ask { more, ..ask };
    let first = world.ask(&ask);
    let second = world.ask(&ask);
    assert_eq!(first[1], second[0]);
    assert_eq!((world.opened.len(), world.server.calls()), (1, 1));
}

#[test]
fn bye_ends_the_call_and_closes_its_socket() {
    let mut world = World::new();
    let tag = world.call(TONE, sdp("sendrecv", "0"));
    let stranger = Ask { method: "BYE", uri: TONE, cseq: 3, to_tag: "guess", ..Ask::default() };
    assert_eq!(status(&world.ask(&stranger)[0]), 481);
    let bye = Ask { method: "BYE", uri: TONE, cseq: 3, to_tag: &tag, ..Ask::default() };
    assert_eq!(status(&world.ask(&bye)[0]), 200);
    assert_eq!((world.closed, world.server.calls()), (1, 0));
    assert_eq!(status(&world.ask(&bye)[0]), 481);
    world.rtp.clear();
    world.run(Duration::from_secs(1));
    assert!(world.rtp.is_empty());
}

#[test]
fn hold_silences_and_resume_goes_on() {
    let mut world = World::new();
    let tag = world.call(TONE, sdp("sendrecv", "0"));
    for (n, (asked, answered, packets)) in
        [("sendonly", "recvonly", 0), ("inactive", "inactive", 0), ("sendrecv", "sendrecv", 50)]
            .into_iter()
            .enumerate()
    {
        let cseq = 3 + n as u32;
        let branch = format!("hold{n}");
        let again =
            Ask { uri: TONE, cseq, to_tag: &tag, branch: &branch, body: sdp(asked, "0"), ..Ask::default() };
        let answer = world.ask(&again);
        assert_eq!(status(&answer[0]), 200);
        assert!(answer[0].1.contains(&format!("a={answered}")) || asked == "sendrecv", "{}", answer[0].1);
        world.ask(&Ask { method: "ACK", uri: TONE, cseq, to_tag: &tag, ..Ask::default() });
        world.run(Duration::from_millis(40));
        world.rtp.clear();
        world.run(Duration::from_secs(1));
        assert_eq!(world.rtp.len(), packets, "{asked}");
    }
}

#[test]
fn a_caller_that_sends_nothing_is_let_go() {
    let mut world = World::new();
    world.call(TONE, sdp("sendrecv", "0"));
    world.sip.clear();
    world.run(Duration::from_secs(61));
    assert!(world.sip.iter().any(|(_, text)| text.starts_with("BYE")));
    world.run(Duration::from_secs(40));
    assert_eq!(world.server.calls(), 0, "nobody answered the BYE either");
}

#[test]
fn an_offerless_invite_gets_our_offer_and_the_answer_comes_with_the_ack() {
    let mut world = World::new();
    let answers = world.ask_signed(Ask { uri: TONE, ..Ask::default() }, "MD5");
    assert!(answers[1].1.contains("m=audio 20000 RTP/AVP 0 8 101\r\n"));
    let ack = Ask {
        method: "ACK",
        uri: TONE,
        cseq: 2,
        to_tag: &tag(&answers[1].1),
        body: sdp("sendrecv", "8"),
        ..Ask::default()
    };
    world.ask(&ack);
    world.run(Duration::from_millis(100));
    assert_eq!(Header::parse(&world.rtp[0]).unwrap().payload_type, 8);
}

#[test]
fn nothing_in_common_bad_sdp_and_no_port_are_refused() {
    for (body, expected) in [(sdp("sendrecv", "111"), 488), ("v=0\r\nrubbish".to_owned(), 400)] {
        let mut world = World::new();
        let answers = world.ask_signed(Ask { uri: ECHO, body, ..Ask::default() }, "MD5");
        assert_eq!(status(&answers[1]), expected);
        assert_eq!((world.server.calls(), world.closed), (0, 1));
    }
    let mut world = World::with(Config { calls: 0, ..World::new().server.config().clone() });
    let answers = world.ask_signed(Ask { uri: ECHO, body: sdp("sendrecv", "0"), ..Ask::default() }, "MD5");
    assert_eq!(status(&answers[0]), 503);
}

#[test]
fn a_cancel_before_the_socket_stands_ends_the_invite() {
    let mut server = Server::new(World::new().server.config().clone(), Random::from_number(1));
    let now = start();
    let mut say = |text: String| {
        server.handle_input(now, Input::Sip { from: at(ALICE), data: text.as_bytes() });
        let mut said = Vec::new();
        while let Some(output) = server.poll_output() {
            if let Output::Sip { to, data } = output {
                said.push((to, String::from_utf8(data).unwrap()));
            }
        }
        said
    };
    let ask = Ask { uri: ECHO, body: sdp("sendrecv", "0"), ..Ask::default() };
    let more = credentials(&say(ask.text())[0].1, &ask, "MD5", "secret of alice");
    say(Ask { more, cseq: 2, ..ask }.text());
    let said = say(Ask { method: "CANCEL", uri: ECHO, cseq: 2, ..Ask::default() }.text());
    assert_eq!(said.iter().map(status).collect::<Vec<_>>(), [200, 487]);
    assert_eq!(server.calls(), 0);
}
