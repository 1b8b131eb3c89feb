//! Firefox, by a node driver (`firefox.mjs`) over WebDriver BiDi, through the SDK.
//!
//! It reaches no candidate on 127.0.0.1, so these scenes have a network of their own with another address. Its fake
//! microphone hears 1000 Hz; what comes is recorded in the page and judged here.

use super::gateway::{Gateway, Plan};
use super::netns;
use super::phone::Phone;
use super::process::{Process, signal_group};
use super::scene::{Scene, free_port};
use super::sipp;
use super::tone::{self, Heard};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

const MICROPHONE: f32 = 1_000.0;
/// An address that it reaches.
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);

struct Firefox {
    driver: Process,
    /// Its own process group: a driver that is killed leaves it behind.
    group: u32,
    last_id: u64,
}

impl Firefox {
    fn start(scene: &Scene) -> Firefox {
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/firefox.mjs");
        let mut command = Command::new("node");
        command.arg(driver).arg(scene.path("firefox"));
        let mut driver = Process::start(scene, "firefox-driver", &mut command);
        let ready: Value = serde_json::from_str(&driver.first_line()).unwrap();
        Firefox { driver, group: ready["ready"].as_u64().expect("its id") as u32, last_id: 0 }
    }

    #[track_caller]
    fn must(&mut self, mut request: Value) -> Value {
        self.last_id += 1;
        request["id"] = self.last_id.into();
        self.driver.tell(&request.to_string());
        let mut reply: Value = serde_json::from_str(&self.driver.line(|line| line.starts_with('{'))).unwrap();
        assert_eq!(reply["id"], self.last_id);
        assert!(reply["error"].is_null(), "Firefox: {request}: {reply}");
        reply["ok"].take()
    }

    #[track_caller]
    fn sign_in(&mut self, gateway: &Gateway, register: bool) {
        self.must(json!({"do": "open", "url": gateway.url("/")}));
        self.must(json!({"do": "sign_in", "user": "alice", "password": "alice", "register": register}));
    }

    /// Calls; offers this codec alone, where one is named.
    #[track_caller]
    fn dial(&mut self, to: &str, codec: Option<&str>) {
        self.must(json!({"do": "dial", "to": to, "codec": codec}));
        self.must(json!({"do": "answered"}));
    }

    #[track_caller]
    fn hangup(&mut self) {
        self.must(json!({"do": "hangup"}));
        assert_eq!(self.must(json!({"do": "ended"}))["reason"], "hangup");
    }

    /// Half a second of what it hears.
    #[track_caller]
    fn hear(&mut self) -> Option<Heard> {
        let sound = self.must(json!({"do": "record"}));
        let rate = sound["rate"].as_f64()? as u32;
        let samples: Vec<f32> =
            sound["samples"].as_array()?.iter().filter_map(|s| Some(s.as_f64()? as f32)).collect();
        (samples.len() as u32 >= rate / 2).then(|| tone::hear(&samples, rate))
    }

    #[track_caller]
    fn assert_hears(&mut self, hz: f32) {
        tone::await_tone("Firefox", hz, || self.hear());
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        self.driver.close_stdin();
        if !self.driver.ends_soon() {
            signal_group(self.group, "KILL");
        }
    }
}

#[test]
fn firefox_calls_echo_and_tone_of_the_demo_from_one_page() {
    netns::alone("firefox::firefox_calls_echo_and_tone_of_the_demo_from_one_page", || {
        netns::plug_in(PRIVATE);
        let scene = Scene::new("firefox_demo");
        let mut gateway = Gateway::demo(&scene);
        let mut firefox = Firefox::start(&scene);
        firefox.sign_in(&gateway, true);
        for (number, hz, codec) in [("echo", MICROPHONE, "PCMU"), ("tone", 440.0, "PCMA")] {
            firefox.dial(number, Some(codec));
            firefox.assert_hears(hz);
            assert_eq!(firefox.must(json!({"do": "codec_in_use"})), format!("audio/{codec}"));
            firefox.hangup();
        }
        // With all its codecs, of which the demo takes one: our offer settles it.
        firefox.dial("echo", None);
        firefox.assert_hears(MICROPHONE);
        firefox.hangup();
        gateway.assert_alive();
    });
}

#[test]
fn firefox_hears_itself_from_a_sip_phone_in_opus_and_g722() {
    netns::alone("firefox::firefox_hears_itself_from_a_sip_phone_in_opus_and_g722", || {
        netns::plug_in(PRIVATE);
        let scene = Scene::new("firefox_codecs");
        let codecs = [("opus", "96", "opus/48000/2"), ("G722", "9", "G722/8000")];
        let mut phones = codecs.map(|(name, number, map)| {
            let plan = sipp::Plan::new(&scene, name, "uas-codec").key("number", number).key("map", map);
            // Two above, SIPp echoes video.
            let [sound, _video] = [free_port(), free_port()];
            plan.echo(sound).listen()
        });
        let gateway = Plan::new(&scene)
            .web_too(PRIVATE)
            .trunk("opus", phones[0].port, "")
            .trunk("g722", phones[1].port, "")
            .user("alice")
            .route("users", "1", "opus")
            .route("users", "2", "g722")
            .start();
        let mut firefox = Firefox::start(&scene);
        firefox.sign_in(&gateway, false);
        for ((to, phone), (codec, ..)) in ["1", "2"].into_iter().zip(&mut phones).zip(codecs) {
            firefox.dial(to, None);
            firefox.assert_hears(MICROPHONE);
            assert_eq!(firefox.must(json!({"do": "codec_in_use"})), format!("audio/{codec}"));
            firefox.hangup();
            phone.assert_success();
        }
    });
}

#[test]
fn firefox_and_a_sip_phone_hear_each_other() {
    netns::alone("firefox::firefox_and_a_sip_phone_hear_each_other", || {
        netns::plug_in(PRIVATE);
        let scene = Scene::new("firefox_phone");
        let phone = Phone::new(600.0);
        let mut callee = sipp::Plan::new(&scene, "sipp", "uas").rtp(phone.port).listen();
        let gateway = Plan::new(&scene)
            .web_too(PRIVATE)
            .trunk("sipp", callee.port, "")
            .user("alice")
            .route("users", "", "sipp")
            .start();
        let mut firefox = Firefox::start(&scene);
        firefox.sign_in(&gateway, false);
        firefox.dial("bob", None);
        phone.call(callee.far_media("INVITE"));
        phone.assert_hears("the SIP phone", MICROPHONE);
        firefox.assert_hears(600.0);
        firefox.hangup();
        callee.assert_success();
    });
}
