//! Where calls go: names by dnsmasq, dead servers passed over, an active server and one that stands by.

use super::browser::Browser;
use super::gateway::{Gateway, Plan};
use super::kamailio::Kamailio;
use super::phone::Phone;
use super::process::Process;
use super::scene::{Scene, free_port, is_bound, until};
use super::sipp::{self, Sipp};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

/// What the browser's microphone hears.
const WEB: f32 = 1_000.0;
/// What the SIP side plays.
const SIP: f32 = 600.0;

/// A name server for `test` with these records, as flags of dnsmasq.
struct Dnsmasq {
    _process: Process,
    port: u16,
}

impl Dnsmasq {
    fn start(scene: &Scene, records: &[String]) -> Dnsmasq {
        let port = free_port();
        let mut command = Command::new("dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]);
        command.args(["--no-daemon", "--bind-interfaces", "--listen-address=127.0.0.1", "--local=/test/"]);
        command.args([format!("--port={port}"), format!("--pid-file={}", scene.path("dns.pid").display())]);
        command.args(["--log-queries", "--log-facility=-"]).args(records);
        let process = Process::start(scene, "dnsmasq", &mut command);
        until("dnsmasq listens", || is_bound(port).then_some(()));
        Dnsmasq { _process: process, port }
    }

    /// The gateway's configuration that asks it.
    fn lines(&self) -> String {
        format!("[dns]\nservers = [\"127.0.0.1:{}\"]\nhosts = \"/dev/null\"\n", self.port)
    }
}

/// A server that takes everything and never says a word.
fn silent() -> (UdpSocket, u16) {
    let port = free_port();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.set_nonblocking(true).unwrap();
    (socket, port)
}

/// What it got so far that begins so.
fn got(socket: &UdpSocket, start: &str) -> Vec<String> {
    let mut buffer = vec![0; 65_535];
    let read = std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|count| buffer[..count].to_vec()));
    let texts = read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    texts.filter(|text| text.starts_with(start)).collect()
}

/// The value of a header.
fn value(text: &str, name: &str) -> String {
    let head = format!("{name}: ");
    let line = text.lines().find_map(|line| line.strip_prefix(&head));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}

/// The browser and SIPp's phone hear each other; then the browser hangs up.
fn hear(browser: &mut Browser, phone: &Phone, callee: &mut Sipp) {
    phone.call(callee.far_media("INVITE"));
    phone.assert_hears("the SIP phone", WEB);
    browser.assert_hears(SIP);
    browser.hangup();
    callee.assert_success();
    browser.await_end();
}

#[test]
fn naptr_and_srv_lead_past_a_dead_server_to_one_that_answers() {
    let scene = Scene::new("locating_srv");
    let phone = Phone::new(SIP);
    let mut callee = sipp::Plan::new(&scene, "sipp", "uas").rtp(phone.port).listen();
    let (dead, dead_port) = silent();
    let dns = Dnsmasq::start(
        &scene,
        &[
            "--naptr-record=pbx.test,10,10,s,SIPS+D2T,,_nothing._tcp.pbx.test".into(),
            "--naptr-record=pbx.test,50,50,s,SIP+D2U,,_sip._udp.pbx.test".into(),
            format!("--srv-host=_sip._udp.pbx.test,dead.pbx.test,{dead_port},0,10"),
            format!("--srv-host=_sip._udp.pbx.test,live.pbx.test,{},1,10", callee.port),
            "--cname=dead.pbx.test,host.pbx.test".into(),
            "--host-record=host.pbx.test,127.0.0.1".into(),
            "--host-record=live.pbx.test,127.0.0.1".into(),
        ],
    );
    let trunk = "[[trunk]]\nname = \"pbx\"\naddress = \"pbx.test\"\nfailover_ms = 1000\n";
    let gateway =
        Plan::new(&scene).lines(&dns.lines()).lines(trunk).user("alice").route("users", "", "pbx").start();
    located(&gateway, "pbx", 2);
    let mut browser = Browser::start(&scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.sign_in("alice");
    browser.dial("bob");
    let invite = callee.received("INVITE");
    let first = got(&dead, "INVITE").remove(0);
    assert!(invite.starts_with("INVITE sip:bob@pbx.test SIP/2.0"), "{invite}");
    assert_eq!(value(&invite, "Call-ID"), value(&first, "Call-ID"));
    assert_ne!(value(&invite, "Via"), value(&first, "Via"));
    hear(&mut browser, &phone, &mut callee);
    gateway.line(|line| line.contains("trunk pbx") && line.contains("failed, left alone"));
    // The next call does not even try the dead one.
    let again = Phone::new(SIP);
    let mut callee = sipp::Plan::new(&scene, "again", "uas").port(callee.port).rtp(again.port).listen();
    browser.dial("bob");
    hear(&mut browser, &again, &mut callee);
    assert_eq!(got(&dead, "INVITE sip:bob").len(), 0);
}

/// Waits until a trunk has so many servers.
fn located(gateway: &Gateway, trunk: &str, servers: usize) {
    let start = format!("bridgehead_trunk_server_up{{trunk=\"{trunk}\"");
    until(&format!("{servers} servers of {trunk}"), || {
        let page = gateway.ask_admin("/metrics");
        (page.lines().filter(|line| line.starts_with(&start)).count() == servers).then_some(())
    });
}

/// Waits until a server of the pair is up, or down.
fn state(gateway: &Gateway, port: u16, up: bool) {
    let line = format!(
        "bridgehead_trunk_server_up{{trunk=\"pair\",server=\"127.0.0.1:{port};transport=udp\"}} {}",
        u8::from(up)
    );
    until(&line, || gateway.ask_admin("/metrics").lines().any(|own| own == line).then_some(()));
}

#[test]
fn a_standby_server_serves_while_the_active_one_is_dead_and_yields_to_it() {
    let (scene, other) = (Scene::new("locating_pair"), Scene::new("locating_pair_standby"));
    let phones = [(); 3].map(|()| Phone::new(SIP));
    let ports = [free_port(), free_port()];
    let listen = |scene: &Scene, name: &str, n: usize, port: u16| {
        sipp::Plan::new(scene, name, "uas").port(port).rtp(phones[n].port).listen()
    };
    let mut first = listen(&scene, "first", 0, ports[0]);
    let mut second = listen(&scene, "second", 1, ports[1]);
    let active = Kamailio::start(&scene, ports[0]);
    let standby = Kamailio::start(&other, ports[1]);
    let port = active.port;
    let trunk = format!(
        "[[trunk]]\nname = \"pair\"\ndomain = \"test.local\"\nfailover_ms = 1000\n\
         servers = [\"127.0.0.1:{port}\", {{ address = \"127.0.0.1:{}\", standby = true }}]\n\
         probe = {{ interval_s = 1, timeout_s = 1 }}\n",
        standby.port
    );
    let gateway = Plan::new(&scene).lines(&trunk).registered("alice", "pair").start();
    state(&gateway, port, true);
    state(&gateway, standby.port, true);
    let mut browser = Browser::start(&scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.register("alice");
    active.registered("alice");
    browser.dial("9bob");
    hear(&mut browser, &phones[0], &mut first);

    drop(active);
    gateway.line(|line| line.contains("trunk pair") && line.contains(&format!(":{port} is down")));
    state(&gateway, port, false);
    standby.registered("alice");
    browser.dial("9bob");
    hear(&mut browser, &phones[1], &mut second);

    let mut third = listen(&scene, "third", 2, ports[0]);
    let active = Kamailio::start_at(&scene, port, ports[0]);
    gateway.line(|line| line.contains("trunk pair") && line.contains(&format!(":{port} is back")));
    state(&gateway, port, true);
    active.registered("alice");
    browser.dial("9bob");
    hear(&mut browser, &phones[2], &mut third);
}

#[test]
fn a_trunk_that_is_nowhere_fails_a_browser_s_call_at_once_and_check_says_why() {
    let scene = Scene::new("locating_nowhere");
    let dns = Dnsmasq::start(&scene, &["--host-record=pbx.test,127.0.0.1".into()]);
    let trunks = "[[trunk]]\nname = \"gone\"\naddress = \"gone.test\"\n\
                  [[trunk]]\nname = \"pbx\"\naddress = \"pbx.test:5099\"\n";
    let gateway =
        Plan::new(&scene).lines(&dns.lines()).lines(trunks).user("alice").route("users", "", "gone").start();
    gateway.line(|line| line.contains("trunk gone: gone.test can't be located"));
    let mut browser = Browser::start(&scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.sign_in("alice");
    browser.dial("bob");
    let start = Instant::now();
    assert_eq!(browser.await_end().0, "unreachable");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());

    let config = scene.path("bridgehead.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_bridgehead"))
        .arg("check")
        .arg("--config")
        .arg(&config)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for part in ["pbx: 127.0.0.1:5099 by udp", "warning: trunk gone: gone.test can't be located: it has no"] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
}
