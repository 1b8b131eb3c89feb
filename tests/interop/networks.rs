//! Browsers whose network changes under a call, judged by what the SIP phone hears. Each test makes its own networks.

use super::browser::Browser;
use super::gateway::{Gateway, Plan};
use super::netns::{self, Far};
use super::phone::Phone;
use super::process::pem;
use super::scene::{Scene, until_within};
use super::sipp::{self, Sipp};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the browser's microphone hears.
const WEB: f32 = 1_000.0;
/// What the SIP side plays.
const SIP: f32 = 600.0;

/// A browser elsewhere, on link 1, and a phone that hear each other.
struct Talk {
    far: Far,
    callee: Sipp,
    gateway: Gateway,
    browser: Browser,
    phone: Phone,
}

impl Talk {
    fn begin(scene: &Scene) -> Talk {
        let far = Far::new(scene);
        far.join(1);
        let phone = Phone::new(SIP);
        let callee = sipp::Plan::new(scene, "sipp", "uas").rtp(phone.port).listen();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![netns::GATEWAY.to_string()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let certificate = scene.write("gateway.pem", pem("CERTIFICATE", certificate.der()));
        let key = scene.write("gateway.key", pem("PRIVATE KEY", &key.serialize_der()));
        let gateway = Plan::new(scene)
            .on(netns::GATEWAY)
            .https(&certificate, &key)
            .patience(20, 60)
            .trunk("sipp", callee.port, "")
            .user("alice")
            .route("users", "", "sipp")
            .start();
        let mut browser = Browser::start_by(scene, "browser", WEB, far.command("node"));
        browser.open(&format!("https://{}/", gateway.http));
        browser.sign_in_to_stay("alice");
        browser.dial("bob");
        phone.call(callee.far_media("INVITE"));
        browser.assert_hears(SIP);
        phone.assert_hears("the SIP phone", WEB);
        Talk { far, callee, gateway, browser, phone }
    }
}

/// How long after `start` the phone has heard a second of sound without a pause, and the longest pause until then.
fn recovery(talk: &Talk, start: Instant) -> (Duration, Duration) {
    let mut worst = Duration::ZERO;
    until_within(Duration::from_secs(30), "sound at the phone again", || {
        let before = talk.phone.packets();
        std::thread::sleep(Duration::from_secs(1));
        worst = worst.max(talk.phone.longest_gap());
        (talk.phone.packets() > before + 45).then_some(())
    });
    (start.elapsed(), worst)
}

/// How long this machine itself kept somebody waiting who wanted to act every 20 ms: a pause that is nobody's fault.
struct Metronome(Arc<AtomicBool>, JoinHandle<Duration>);

impl Metronome {
    fn start() -> Metronome {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut worst, mut last) = (Duration::ZERO, Instant::now());
            while !seen.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
                worst = worst.max(last.elapsed().saturating_sub(Duration::from_millis(20)));
                last = Instant::now();
            }
            worst
        });
        Metronome(stop, thread)
    }

    fn stop(self) -> Duration {
        self.0.store(true, Ordering::Relaxed);
        self.1.join().unwrap()
    }
}

impl Talk {
    /// The SIP side has noticed nothing, both hear each other.
    fn assert_goes_on(&mut self, scene: &Scene, report: &str) {
        print!("{report}");
        scene.write("report.txt", report);
        self.browser.assert_hears(SIP);
        self.phone.assert_hears("the SIP phone", WEB);
        assert_eq!(self.callee.count("INVITE"), 1, "no re-INVITE for what happens on the browser's side");
        assert_eq!(self.phone.losses_and_sources().1, 1, "one source towards SIP");
        self.browser.hangup();
        self.callee.assert_success();
        self.gateway.assert_alive();
    }
}

#[test]
fn a_call_moves_to_a_network_that_was_joined_before_the_old_one_is_left() {
    netns::alone("networks::a_call_moves_to_a_network_that_was_joined_before_the_old_one_is_left", || {
        let scene = Scene::new("networks_make");
        let mut talk = Talk::begin(&scene);
        talk.phone.longest_gap();
        let (start, metronome) = (Instant::now(), Metronome::start());
        talk.far.join(2);
        // The SDK sees the new address, restarts ICE, and the browser follows.
        Far::await_sound(2);
        let moved = start.elapsed();
        let at_move = talk.phone.longest_gap();
        talk.far.leave(1);
        let (_, gap) = recovery(&talk, Instant::now());
        let stall = metronome.stop();
        // The signalling, which was left behind, finds its way too.
        talk.browser.stats();
        let lost = talk.phone.losses_and_sources().0;
        let report = format!(
            "make before break: moved after {moved:?} (gap {at_move:?}), gap at the break {gap:?}, \
             the machine's own {stall:?}, {lost} lost\n"
        );
        assert!(at_move.max(gap).saturating_sub(stall) < Duration::from_millis(300), "{report}");
        assert!(lost < 15, "{report}");
        talk.assert_goes_on(&scene, &report);
    });
}

#[test]
fn a_call_comes_back_by_a_network_that_is_joined_after_the_old_one_broke() {
    netns::alone("networks::a_call_comes_back_by_a_network_that_is_joined_after_the_old_one_broke", || {
        let scene = Scene::new("networks_break");
        let mut talk = Talk::begin(&scene);
        talk.phone.longest_gap();
        talk.far.leave(1);
        talk.phone.await_silence();
        talk.far.join(2);
        let (back, gap) = recovery(&talk, Instant::now());
        let report = format!("break before make: heard again {back:?} after the new link, gap {gap:?}\n");
        assert!(back < Duration::from_secs(12), "{report}");
        talk.assert_goes_on(&scene, &report);
    });
}
