//! Browsers and phones that are lost and found: reloads, silence, losses; judged by what is heard.

use super::browser::Browser;
use super::gateway::{Gateway, Plan};
use super::lossy::{self, Lossy};
use super::phone::Phone;
use super::scene::{Scene, until, until_within};
use super::sipp::{self, Sipp};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// What the browser's microphone hears.
const WEB: f32 = 1_000.0;
/// What the SIP side plays.
const SIP: f32 = 600.0;

/// A browser and a phone that hear each other.
struct Talk {
    callee: Sipp,
    gateway: Gateway,
    browser: Browser,
    phone: Phone,
}

impl Talk {
    fn begin(scene: &Scene, media_timeout_s: u64) -> Talk {
        let phone = Phone::new(SIP);
        let callee = sipp::Plan::new(scene, "sipp", "uas").rtp(phone.port).listen();
        let plan = Plan::new(scene).patience(10, media_timeout_s).trunk("sipp", callee.port, "");
        let gateway = plan.user("alice").route("users", "", "sipp").start();
        let mut browser = Browser::start(scene, "browser", WEB);
        browser.open(&gateway.url("/"));
        browser.sign_in_to_stay("alice");
        browser.dial("bob");
        phone.call(callee.far_media("INVITE"));
        browser.assert_hears(SIP);
        phone.assert_hears("the SIP phone", WEB);
        Talk { callee, gateway, browser, phone }
    }
}

#[test]
fn a_reloaded_page_takes_its_call_over_in_less_than_four_seconds() {
    let scene = Scene::new("losing_reload");
    let Talk { mut callee, mut gateway, mut browser, phone } = Talk::begin(&scene, 60);
    phone.longest_gap();
    let start = Instant::now();
    browser.reload();
    browser.sign_in_to_stay("alice");
    browser.takeover();
    // Both ways, by tone, on one source towards the phone.
    browser.assert_hears(SIP);
    phone.await_packets(phone.packets() + 50);
    phone.assert_hears("the SIP phone", WEB);
    let gap = phone.longest_gap();
    let report = format!("reload: gap {} ms, heard again after {:?}\n", gap.as_millis(), start.elapsed());
    print!("{report}");
    scene.write("report.txt", &report);
    assert!(gap < Duration::from_secs(4), "{report}");
    assert!(gap > Duration::from_millis(100), "the page was really gone: {report}");
    assert_eq!(phone.losses_and_sources().1, 1, "one timeline towards SIP");
    browser.hangup();
    callee.assert_success();
    gateway.assert_alive();
}

#[test]
fn a_phone_that_falls_silent_ends_its_call_at_the_timeout() {
    let scene = Scene::new("losing_silence");
    let Talk { mut callee, gateway: _gateway, mut browser, phone } = Talk::begin(&scene, 4);
    phone.fall_silent();
    let start = Instant::now();
    assert_eq!(browser.await_end(), ("media_lost".into(), 0));
    assert!(start.elapsed() > Duration::from_millis(3_500) && start.elapsed() < Duration::from_secs(9));
    until_within(Duration::from_secs(5), "BYE to the silent phone", || callee.received_now("BYE"));
    callee.assert_success();
}

#[test]
fn the_gateway_and_the_browser_agree_on_what_was_sent() {
    let scene = Scene::new("losing_stats");
    let Talk { mut callee, gateway: _gateway, mut browser, phone } = Talk::begin(&scene, 60);
    browser.reaches("quality");
    phone.assert_hears("the SIP phone", WEB);
    let stats = browser.stats();
    let view = &stats["gateway"];
    let number = |name: &str| view[name].as_f64().unwrap_or_else(|| panic!("{name} in {stats}"));
    assert_eq!(view["codec"], "pcmu", "{stats}");
    let sent = stats["packetsSent"].as_f64().unwrap();
    assert!((number("packets_received") - sent).abs() < 50.0, "{stats}");
    assert!(number("packets_sent") > 200.0 && number("lost") < 5.0, "{stats}");
    assert!(number("mos_received") > 4.0 && number("mos_sent") > 4.0, "{stats}");
    assert!(number("jitter_ms") < 50.0 && number("round_trip_ms") < 100.0, "{stats}");
    browser.hangup();
    callee.assert_success();
}

/// A browser whose media goes by a network in between, and a phone.
struct Between {
    callee: Sipp,
    gateway: Gateway,
    lossy: Lossy,
    browser: Browser,
    phone: Phone,
}

impl Between {
    fn begin(scene: &Scene) -> Between {
        let phone = Phone::new(SIP);
        let callee = sipp::Plan::new(scene, "sipp", "uas").rtp(phone.port).listen();
        let (plan, ports) = Plan::new(scene).patience(10, 60).advertise(lossy::ADDRESS);
        let lossy = Lossy::new(ports);
        let gateway = plan.trunk("sipp", callee.port, "").user("alice").route("users", "", "sipp").start();
        let mut browser = Browser::start(scene, "browser", WEB);
        browser.open(&gateway.url("/"));
        browser.sign_in("alice");
        browser.dial("bob");
        // The phone is no part of it: it goes to the gateway straight.
        let media = callee.far_media("INVITE");
        assert_eq!(media.ip(), lossy::ADDRESS);
        phone.call(SocketAddr::from((Ipv4Addr::LOCALHOST, media.port())));
        browser.assert_hears(SIP);
        phone.assert_hears("the SIP phone", WEB);
        Between { callee, gateway, lossy, browser, phone }
    }

    fn finish(mut self) {
        assert_eq!(self.callee.count("INVITE"), 1, "no re-INVITE");
        self.browser.hangup();
        self.callee.assert_success();
        self.gateway.assert_alive();
    }
}

#[test]
fn a_nat_that_changes_its_port_mid_call_is_followed_without_signalling() {
    let scene = Scene::new("losing_rebind");
    let mut between = Between::begin(&scene);
    let Between { lossy, browser, phone, .. } = &mut between;
    let from = phone.heard_from();
    phone.longest_gap();
    lossy.rebind();
    let mut gap = Duration::ZERO;
    until_within(Duration::from_secs(15), "sound from the new port", || {
        let before = phone.packets();
        std::thread::sleep(Duration::from_secs(1));
        gap = gap.max(phone.longest_gap());
        (phone.packets() > before + 45).then_some(())
    });
    let report = format!("rebind: gap {gap:?}\n");
    print!("{report}");
    scene.write("report.txt", &report);
    // Chromium checks its pair every 2.5 s; nothing is heard from an address before a signed check came from there.
    assert!(gap < Duration::from_millis(3_500), "{report}");
    browser.assert_hears(SIP);
    phone.assert_hears("the SIP phone", WEB);
    assert_eq!((phone.heard_from(), phone.losses_and_sources().1), (from, 1));
    let said = std::fs::read_to_string(scene.path("browser/browser.log")).unwrap();
    assert!(!said.contains("> {\"type\":\"update\""), "the SDK had no part in it");
    between.finish();
}

/// What was lost since, in percent.
fn share(lost: f64, received: f64) -> f64 {
    100.0 * lost / (lost + received)
}

#[test]
fn five_percent_of_loss_are_measured_alike_by_gateway_and_sdk_and_lower_the_estimate() {
    let scene = Scene::new("losing_five");
    let mut between = Between::begin(&scene);
    let Between { lossy, browser, phone, .. } = &mut between;
    let number =
        |stats: &Value, name: &str| stats[name].as_f64().unwrap_or_else(|| panic!("{name} in {stats}"));
    // Every answer of the gateway's is of the whole call, but for the estimate.
    let clean = browser.stats();
    assert!(number(&clean["gateway"], "mos_received") > 4.0, "{clean}");
    lossy.lose();
    let start = phone.packets();
    phone.await_packets(start + 600);
    until("the other side's report of the loss", || {
        let stats = browser.stats();
        (number(&stats["gateway"], "remote_lost") - number(&clean["gateway"], "remote_lost") > 15.0)
            .then_some(())
    });
    let bad = browser.stats();
    let since =
        |view: fn(&Value) -> &Value, name: &str| number(view(&bad), name) - number(view(&clean), name);
    let gateway: fn(&Value) -> &Value = |stats| &stats["gateway"];
    let shares = [
        share(since(gateway, "lost"), since(gateway, "packets_received")),
        share(since(gateway, "remote_lost"), since(gateway, "packets_sent") - since(gateway, "remote_lost")),
        share(since(|stats| stats, "packetsLost"), since(|stats| stats, "packetsReceived")),
    ];
    let [mos, worse] = ["mos_received", "mos_sent"].map(|name| number(&bad["gateway"], name));
    let report = format!(
        "loss: gateway {:.1} %, reported to it {:.1} %, SDK {:.1} %, MOS {mos} and {worse}\n",
        shares[0], shares[1], shares[2]
    );
    print!("{report}");
    scene.write("report.txt", &report);
    assert!(shares.iter().all(|share| (3.0..7.0).contains(share)), "{report}{bad}");
    for direction in ["mos_received", "mos_sent"] {
        assert!(
            number(&bad["gateway"], direction) < number(&clean["gateway"], direction) - 0.2,
            "{report}{bad}"
        );
    }
    // A lossy tone is still that tone.
    browser.assert_hears(SIP);
    phone.assert_hears("the SIP phone", WEB);
    between.finish();
}

#[test]
fn every_key_arrives_once_and_in_order_where_both_networks_lose() {
    const KEYS: &str = "0123456789*#ABCD";
    let scene = Scene::new("losing_keys");
    let mut between = Between::begin(&scene);
    let Between { lossy, browser, phone, .. } = &mut between;
    lossy.lose();
    phone.lose(5);
    browser.dtmf(KEYS, &json!({}));
    phone.assert_keys(KEYS);
    phone.press(KEYS);
    browser.assert_keys(KEYS);
    assert!(lossy.lost() >= 10, "{} lost", lossy.lost());
    phone.assert_hears("the SIP phone", WEB);
    browser.assert_hears(SIP);
    between.finish();
}

#[test]
fn the_page_says_in_plain_words_that_sound_gets_lost() {
    let scene = Scene::new("losing_words");
    let phone = Phone::new(SIP);
    let mut callee = sipp::Plan::new(&scene, "sipp", "uas").rtp(phone.port).listen();
    let (plan, ports) = Plan::new(&scene).patience(10, 60).advertise(lossy::ADDRESS);
    let lossy = Lossy::new(ports);
    let gateway = plan.trunk("sipp", callee.port, "").user("alice").route("users", "", "sipp").start();
    let mut browser = Browser::start(&scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.fill("#user", "alice");
    browser.fill("#password", "alice");
    browser.press("Enter");
    browser.fill("#number", "bob");
    browser.press("Enter");
    let media = callee.far_media("INVITE");
    phone.call(SocketAddr::from((Ipv4Addr::LOCALHOST, media.port())));
    browser.shows("#quality", "Sound is good");
    lossy.lose();
    browser.shows("#quality", "Parts of it get lost on the way.");
    browser.click("#hangup");
    callee.assert_success();
}

/// Takes so many keys by INFO, then sends these, and waits for the end; what is lost on the way is sent again.
fn keys_by_info(keys: &str) -> String {
    let answer = |body: &str, tag: &str| {
        format!(
            "<send{retrans}><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]{tag}\n[last_Call-ID:]\n\
             [last_CSeq:]\nContact: <sip:{via}:[local_port]>\nAllow: INVITE, ACK, BYE, CANCEL, INFO\n{body}]]></send>\n",
            retrans = if tag.is_empty() { "" } else { " retrans=\"500\"" },
            via = lossy::ADDRESS,
        )
    };
    let empty = "Content-Length: 0\n\n";
    let sdp = "Content-Type: application/sdp\nContent-Length: [len]\n\nv=0\no=sipp 1 1 IN IP4 127.0.0.1\ns=-\n\
               c=IN IP4 127.0.0.1\nt=0 0\nm=audio [rtp_port] RTP/AVP 0\na=rtpmap:0 PCMU/8000\n\n";
    let taken = format!("<recv request=\"INFO\" />\n{}", answer(empty, "")).repeat(keys.len());
    let sent = keys.chars().enumerate().map(|(n, key)| {
        format!(
            "<send retrans=\"500\"><![CDATA[\nINFO [next_url] SIP/2.0\n\
             Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch];rport\nFrom: [$to];tag=s\nTo: [$from]\n\
             [last_Call-ID:]\nCSeq: {cseq} INFO\nMax-Forwards: 70\nContent-Type: application/dtmf-relay\n\
             Content-Length: [len]\n\nSignal={key}\nDuration=120\n]]></send>\n<recv response=\"200\" />\n",
            cseq = n + 1,
        )
    });
    let header = |name: &str, to: &str| {
        format!("<ereg regexp=\".*\" search_in=\"hdr\" header=\"{name}:\" assign_to=\"{to}\" />")
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<scenario name=\"keys\">\n\
         <recv request=\"INVITE\" rrs=\"true\"><action>{}{}</action></recv>\n{}<recv request=\"ACK\" />\n{taken}{}\
         <recv request=\"BYE\" />\n{}<timewait milliseconds=\"3000\" />\n\
         <Reference variables=\"from,to\" />\n</scenario>\n",
        header("From", "from"),
        header("To", "to"),
        answer(sdp, ";tag=s"),
        sent.collect::<String>(),
        answer(empty, ""),
    )
}

#[test]
fn every_key_arrives_once_and_in_order_by_info_where_sip_is_lost() {
    const KEYS: &str = "0123456789*#ABCD";
    let scene = Scene::new("losing_info");
    let phone = Phone::new(SIP);
    let mut callee = sipp::Plan::scripted(&scene, "sipp", &keys_by_info(KEYS)).rtp(phone.port).listen();
    let lossy = Lossy::new([callee.port]);
    let plan = Plan::new(&scene).trunk("sipp", callee.port, "").by_way_of(lossy::ADDRESS, callee.port);
    let gateway = plan.user("alice").route("users", "", "sipp").start();
    let mut browser = Browser::start(&scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.sign_in("alice");
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    browser.assert_hears(SIP);
    lossy.lose();
    browser.dtmf(KEYS, &json!({"via": "info"}));
    browser.assert_keys(KEYS);
    let line = |message: &str, start: &str| {
        let found = message.lines().find_map(|line| line.strip_prefix(start));
        found.map_or_else(|| panic!("{start} in {message}"), |rest| rest.trim().to_owned())
    };
    // The repetitions of a transaction are one request.
    let mut told: Vec<(String, String)> =
        callee.all("INFO").iter().map(|info| (line(info, "CSeq:"), line(info, "Signal="))).collect();
    told.dedup();
    assert_eq!(told.iter().map(|(_, key)| key.as_str()).collect::<String>(), KEYS, "{told:?}");
    assert!(lossy.lost() >= 3, "{} lost", lossy.lost());
    browser.hangup();
    callee.assert_success();
}
