//! What an operator sees and does: HTTPS and its certificates, the admin address, `calls`, `trace`, `check`.

use super::browser::Browser;
use super::gateway::{Gateway, Plan};
use super::phone::Phone;
use super::scene::{Scene, until};
use super::sipp;
use std::collections::BTreeMap;
use std::process::{Command, Output};

/// Runs the binary to its end.
fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bridgehead")).args(args).output().unwrap()
}

fn said(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every sample of the metrics, by its name with labels, in whole numbers.
fn metrics(gateway: &Gateway) -> BTreeMap<String, u64> {
    let page = gateway.ask_admin("/metrics");
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse::<f64>().unwrap() as u64)
    };
    samples.map(pair).collect()
}

#[test]
fn a_call_over_https_is_listed_traced_measured_and_recorded() {
    let scene = Scene::new("operator_call");
    let mut gateway = Gateway::demo_with(&scene, &["--https", "--cores", "0-1"]);
    let admin = gateway.admin.to_string();
    let mut browser = Browser::start(&scene, "browser", 1_000.0);
    browser.open(&format!("https://{}/", gateway.http));
    browser.register("alice");
    browser.dial("echo");
    browser.await_answer();
    browser.assert_hears(1_000.0);

    let table = said(&["calls", "--admin", &admin]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..4], ["CALL", "STATE", "FROM", "VIA"], "{table}");
    assert_eq!(rows[1][1..6], ["talking", "alice", "browser", "echo", "demo"], "{table}");
    assert_eq!(rows.len(), 2, "{table}");
    let live = metrics(&gateway);
    assert_eq!(live["bridgehead_calls{state=\"talking\"}"], 1);
    assert_eq!(live["bridgehead_sessions"], 1);
    until("packets are counted", || (metrics(&gateway)["bridgehead_media_packets_total"] > 20).then_some(()));
    assert_eq!(live["bridgehead_trunk_up{trunk=\"demo\"}"], 1);
    assert_eq!(live["bridgehead_shards{state=\"answering\"}"], 2);
    assert!(live["bridgehead_loop_pass_seconds_count{shard=\"1\"}"] > 0);
    browser.hangup();
    browser.await_end();

    let record = gateway.line(|line| line.starts_with("call id="));
    for part in
        ["source=user", "target=demo", "from=alice", "to=echo", "reason=hangup", "q850=16", "in_received="]
    {
        assert!(record.contains(part), "{part} in {record}");
    }
    let ladder = said(&["trace", rows[1][0], "--admin", &admin]);
    let mut rest = ladder.as_str();
    // In this order, each once found.
    for part in ["-- dial", "INVITE sdp", "200 OK (INVITE) sdp", "answered", "hangup", "BYE"] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} in\n{ladder}"));
        rest = &rest[at + part.len()..];
    }
    assert!(ladder.contains("dtls connected") && ladder.contains("ended: hangup 0"), "{ladder}");
    let ended = metrics(&gateway);
    assert_eq!(ended["bridgehead_calls_ended_total{reason=\"hangup\"}"], 1);
    assert_eq!(gateway.ask_admin("/readyz"), "{\"status\":\"ready\"}");
    assert_eq!(run(&["trace", "nobody", "--admin", &admin]).status.code(), Some(1));
    gateway.assert_alive();
}

#[test]
fn a_changed_certificate_is_taken_up_and_a_broken_one_is_not_while_a_call_goes_on() {
    let scene = Scene::new("operator_certificate");
    let certificate = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        (super::process::pem("CERTIFICATE", &der), super::process::pem("PRIVATE KEY", &key.serialize_der()))
    };
    let (chain, key) = certificate();
    let (chain_file, key_file) = (scene.write("chain.pem", chain), scene.write("key.pem", key));
    let phone = Phone::new(600.0);
    let mut callee = sipp::Plan::new(&scene, "sipp", "uas").rtp(phone.port).listen();
    // One trunk and no route: calls go there.
    let plan = Plan::new(&scene).trunk("pbx", callee.port, "").user("alice");
    let mut gateway = plan.https(&chain_file, &key_file).start();
    let mut browser = Browser::start(&scene, "browser", 1_000.0);
    browser.open(&format!("https://{}/", gateway.http));
    browser.sign_in("alice");
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    browser.assert_hears(600.0);

    scene.write("chain.pem", "nonsense");
    gateway.line(|line| line.starts_with("certificate: the old one stays") && line.contains("chain.pem"));
    let (chain, key) = certificate();
    scene.write("key.pem", key);
    scene.write("chain.pem", chain);
    gateway.line(|line| line.starts_with("certificate: read anew"));
    // The WebSocket that stood goes on with its call, and a new page comes by the new certificate.
    browser.assert_hears(600.0);
    browser.hangup();
    assert_eq!(browser.await_end().0, "hangup");
    callee.assert_success();
    browser.sign_out();
    browser.open(&format!("https://{}/example.html", gateway.http));
    browser.shows("#call", "");
    gateway.assert_alive();
}

#[test]
fn a_gateway_that_drains_is_not_ready_and_lets_its_call_go_on() {
    let scene = Scene::new("operator_drain");
    let phone = Phone::new(600.0);
    let mut callee = sipp::Plan::new(&scene, "sipp", "uas").rtp(phone.port).listen();
    let plan = Plan::new(&scene).drain(30).trunk("pbx", callee.port, "");
    let mut gateway = plan.user("alice").user("carol").start();
    let mut browser = Browser::start(&scene, "browser", 1_000.0);
    browser.open(&gateway.url("/"));
    browser.sign_in("alice");
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    browser.assert_hears(600.0);
    assert_eq!(gateway.ask("/readyz").0, 200);
    gateway.terminate();
    until("a load balancer to be told", || (gateway.ask("/readyz").0 == 503).then_some(()));
    assert_eq!(gateway.ask("/readyz").1, "{\"status\":\"draining\"}");
    assert_eq!(gateway.ask("/healthz").0, 200, "it lives on");
    phone.assert_hears("the SIP phone", 1_000.0);
    browser.assert_hears(600.0);
    browser.hangup();
    callee.assert_success();
    assert!(gateway.end().success(), "with its last call");
}

#[test]
fn wrong_commands_are_one_line_and_exit_with_two() {
    for (args, part) in [
        (&["--cores", "x"][..], "0-3 or 2,4,6"),
        (&["--nonsense"], "--nonsense"),
        (&["--config", "/nowhere.toml"], "/nowhere.toml"),
        (&["--trunk", "pbx"], "pbx=192.0.2.1:5060"),
    ] {
        let output = run(args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{text}");
        assert!(text.contains(part), "{text}");
    }
    assert!(said(&["check"]).contains("the configuration is good"));
    assert!(said(&["--print-config", "--trunk", "pbx=127.0.0.1:5070"]).contains("name = \"pbx\""));
}
