//! The numbers beside echo and tone: `ivr`, `music`, `busy`, `decline`, `delay`.

use super::*;
use crate::demo::g711::{Law, decode};
use crate::demo::ivr::{BEEP_HZ, KEY};
use crate::rtp::{Header, TelephoneEvent};

const IVR: &str = "sip:ivr@127.0.0.1:5160";
const DELAY: &str = "sip:delay@127.0.0.1:5160";
/// In `sdp()` telephone-event is 96.
const EVENT: u8 = 96;

fn packet(number: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        marker: false,
        padding: false,
        payload_type: number,
        sequence,
        timestamp,
        ssrc: 7,
        csrcs: 0,
        extended: false,
        length: 12,
    };
    [&header.write()[..], payload].concat()
}

impl World {
    fn rtp(&mut self, data: &[u8]) {
        let call = *self.opened.last().unwrap();
        self.input(Input::Rtp { call, from: at(PHONE_RTP), data });
    }

    /// A key, as a phone tells it: reports of one timestamp, the last of them three times.
    fn press(&mut self, digit: char, timestamp: u32) {
        for (n, duration) in [160, 320, 480, 640, 640, 640].into_iter().enumerate() {
            let event = TelephoneEvent::of(digit).unwrap();
            let report = TelephoneEvent { event, end: n > 2, volume: 10, duration };
            self.rtp(&packet(EVENT, n as u16, timestamp, &report.write()));
        }
    }

    /// What is heard of us in this time.
    fn listen(&mut self, time: Duration) -> Vec<f64> {
        self.rtp.clear();
        self.run(time);
        let codes = self.rtp.iter().flat_map(|data| &data[12..]);
        codes.map(|&code| f64::from(decode(Law::Mu, code)) / 32_768.0).collect()
    }

    fn info(&mut self, tag: &str, cseq: u32, kind: &str, body: &str) -> u16 {
        let more = format!("Content-Type: {kind}\r\n");
        let info = Ask { method: "INFO", uri: IVR, cseq, to_tag: tag, more, ..Ask::default() };
        let text = info.text().replace("Content-Length: 0\r\n\r\n", "");
        let text = format!("{text}Content-Length: {}\r\n\r\n{body}", body.len());
        status(&self.send(ALICE, &text)[0])
    }
}

/// The prompt is over after this, and the next one far away.
const PROMPTED: Duration = Duration::from_secs(3);

fn beeps(heard: &[f64]) -> usize {
    let loud: Vec<bool> = heard.chunks(80).map(|part| power(part, BEEP_HZ) > 0.002).collect();
    loud.windows(2).filter(|two| !two[0] && two[1]).count()
}

#[test]
fn ivr_prompts_and_answers_each_key_once_whatever_is_lost_or_late() {
    let mut world = World::new();
    world.call(IVR, sdp("sendrecv", "0 96"));
    assert!(power(&world.listen(Duration::from_secs(1)), 523.25) > 1e-4, "the prompt begins");
    world.run(PROMPTED);
    world.press('3', 1_000);
    let heard = world.listen(Duration::from_secs(2));
    assert!(power(&heard[..1_600], 697.0) > 0.001 && power(&heard[..1_600], 1_477.0) > 0.001);
    assert_eq!(beeps(&heard[KEY.0 as usize..]), 3);
    // Only the last report of the next key comes; then one of the key before it.
    let report = TelephoneEvent { event: 2, end: true, volume: 10, duration: 640 };
    world.rtp(&packet(EVENT, 20, 9_000, &report.write()));
    world.press('7', 1_000);
    assert_eq!(beeps(&world.listen(Duration::from_secs(3))[KEY.0 as usize..]), 2);
    // The same key again is another timestamp.
    world.press('2', 20_000);
    assert_eq!(beeps(&world.listen(Duration::from_secs(3))[KEY.0 as usize..]), 2);
}

#[test]
fn ivr_hears_keys_in_info_and_one_that_is_sent_again_only_once() {
    let mut world = World::new();
    let tag = world.call(IVR, sdp("sendrecv", "0"));
    world.run(PROMPTED);
    assert_eq!(world.info(&tag, 3, "application/dtmf-relay", "Signal= 4\r\nDuration=160\r\n"), 200);
    assert_eq!(world.info(&tag, 3, "application/dtmf-relay", "Signal= 4\r\nDuration=160\r\n"), 200);
    assert_eq!(beeps(&world.listen(Duration::from_secs(4))[KEY.0 as usize..]), 4);
    assert_eq!(world.info(&tag, 4, "application/dtmf", "1"), 200);
    assert_eq!(beeps(&world.listen(Duration::from_secs(2))[KEY.0 as usize..]), 1);
    for (n, (kind, body)) in [
        ("application/dtmf", ""),
        ("application/dtmf", "123"),
        ("application/dtmf-relay", "Duration=100"),
        ("application/json", "5"),
        ("text/plain", "\u{fffd}"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(world.info(&tag, 5 + n as u32, kind, body), 200);
    }
    assert_eq!(beeps(&world.listen(Duration::from_secs(2))), 0);
}

#[test]
fn ivr_repeats_on_the_star_and_hangs_up_on_the_hash() {
    let mut world = World::new();
    world.call(IVR, sdp("sendrecv", "0 96"));
    world.run(PROMPTED);
    world.press('*', 1_000);
    assert!(power(&world.listen(Duration::from_millis(220)), 523.25) > 0.002);
    world.press('#', 5_000);
    world.sip.clear();
    let goodbye = world.listen(Duration::from_millis(900));
    assert!(power(&goodbye[..1_600], 783.99) > 0.002 && world.sip.is_empty(), "not before the goodbye");
    world.run(Duration::from_millis(200));
    let (_, bye) = world.sip.iter().find(|(_, text)| text.starts_with("BYE")).expect("a BYE");
    let answer = bye.replacen("BYE sip:alice@127.0.0.1:6001 SIP/2.0", "SIP/2.0 200 OK", 1);
    world.send(ALICE, &answer);
    assert_eq!((world.server.calls(), world.closed), (0, 1));
}

#[test]
fn on_hold_nothing_is_sent_and_the_sound_goes_on_where_it_was() {
    let mut world = World::new();
    let tag = world.call(IVR, sdp("sendrecv", "0 96"));
    world.run(PROMPTED);
    world.press('9', 1_000);
    let before = world.listen(Duration::from_secs(1));
    let hold = |world: &mut World, cseq, direction| {
        let body = sdp(direction, "0 96");
        let branch = format!("hold{cseq}");
        let ask = Ask { uri: IVR, cseq, to_tag: &tag, branch: &branch, body, ..Ask::default() };
        assert_eq!(status(&world.ask(&ask)[0]), 200);
        world.ask(&Ask { method: "ACK", uri: IVR, cseq, to_tag: &tag, ..Ask::default() });
    };
    hold(&mut world, 3, "sendonly");
    assert!(world.listen(Duration::from_secs(5)).is_empty());
    hold(&mut world, 4, "sendrecv");
    let after = world.listen(Duration::from_secs(3));
    assert!(Header::parse(&world.rtp[0]).unwrap().marker, "a new talk spurt");
    let whole = [&before[KEY.0 as usize..], &after].concat();
    assert_eq!(beeps(&whole), 9, "none was lost on hold");
}

#[test]
fn music_plays_without_a_gap_and_at_an_even_pace() {
    let mut world = World::new();
    world.call("sip:music@127.0.0.1:5160", sdp("sendrecv", "0"));
    world.run(Duration::from_millis(1));
    let heard = world.listen(Duration::from_secs(20));
    assert_eq!(heard.len(), 20 * 8_000);
    let heads: Vec<Header> = world.rtp.iter().map(|data| Header::parse(data).unwrap()).collect();
    assert!(heads.windows(2).all(|two| two[1].timestamp.wrapping_sub(two[0].timestamp) == 160));
    // The first note is E5; after 16 s it is there again.
    for second in [0, 16] {
        let note = &heard[second * 8_000 + 500..][..3_000];
        assert!(power(note, 659.26) > 5.0 * power(note, 622.25), "at {second} s");
    }
    assert!(heard.chunks(2_000).all(|part| part.iter().any(|sample| sample.abs() > 0.01)));
}

#[test]
fn busy_and_decline_refuse_with_their_status_and_forget() {
    for (name, code) in [("busy", 486), ("decline", 603), ("BUSY", 486)] {
        let mut world = World::new();
        let uri = format!("sip:{name}@127.0.0.1:5160");
        let ask = || Ask { uri: &uri, body: sdp("sendrecv", "0"), ..Ask::default() };
        let answers = world.ask_signed(ask(), "MD5");
        assert_eq!(answers.iter().map(status).collect::<Vec<_>>(), [code]);
        let tag = tag(&answers[0].1);
        assert!(
            world.ask(&Ask { method: "ACK", uri: &uri, cseq: 2, to_tag: &tag, ..Ask::default() }).is_empty()
        );
        assert_eq!((world.server.calls(), world.opened.len()), (0, 0));
        let stranger = world.ask(&ask());
        assert_eq!(status(&stranger[0]), 407, "not even that without credentials");
    }
}

fn delayed(world: &mut World) -> String {
    let answers = world.ask_signed(Ask { uri: DELAY, body: sdp("sendrecv", "0"), ..Ask::default() }, "MD5");
    assert_eq!(answers.iter().map(status).collect::<Vec<_>>(), [100, 180]);
    assert!(header(&answers[1].1, "Contact").contains(SERVER), "RFC 3261 section 12.1.1");
    tag(&answers[1].1)
}

#[test]
fn delay_rings_five_seconds_then_answers_and_echoes() {
    let mut world = World::new();
    let ringing = delayed(&mut world);
    world.sip.clear();
    world.run(Duration::from_millis(4_990));
    assert!(world.sip.is_empty());
    world.run(Duration::from_millis(20));
    assert_eq!((world.sip.len(), status(&world.sip[0])), (1, 200));
    assert_eq!(tag(&world.sip[0].1), ringing, "the same dialog");
    world.ask(&Ask {
        method: "ACK",
        uri: DELAY,
        cseq: 2,
        to_tag: &ringing,
        branch: "three",
        ..Ask::default()
    });
    world.rtp(&packet(0, 1, 160, b"hello"));
    assert_eq!(&world.rtp.last().unwrap()[12..], b"hello");
    let bye = Ask { method: "BYE", uri: DELAY, cseq: 3, to_tag: &ringing, ..Ask::default() };
    assert_eq!(status(&world.ask(&bye)[0]), 200);
    assert_eq!((world.server.calls(), world.closed), (0, 1));
}

#[test]
fn delay_is_cancelled_or_ended_while_it_rings() {
    for method in ["CANCEL", "BYE"] {
        let mut world = World::new();
        let tag = delayed(&mut world);
        let (cseq, to_tag) = if method == "BYE" { (3, tag.as_str()) } else { (2, "") };
        let said = world.ask(&Ask { method, uri: DELAY, cseq, to_tag, branch: "two", ..Ask::default() });
        assert_eq!(said.iter().map(status).collect::<Vec<_>>(), [200, 487], "{method}");
        world.sip.clear();
        world.run(Duration::from_secs(10));
        assert!(world.sip.is_empty());
        assert_eq!((world.server.calls(), world.closed), (0, 1));
    }
}

#[test]
fn delay_refuses_at_once_what_it_could_not_answer() {
    let mut world = World::new();
    let answers = world.ask_signed(Ask { uri: DELAY, body: sdp("sendrecv", "111"), ..Ask::default() }, "MD5");
    assert_eq!(answers.iter().map(status).collect::<Vec<_>>(), [100, 488]);
    assert_eq!((world.server.calls(), world.closed), (0, 1));
}
