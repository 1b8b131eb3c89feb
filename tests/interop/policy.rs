//! What the operator says of calls between SIP servers, with SIPp at both ends: routes, limits, headers, identity, and
//! what one side never learns of the other.

use super::gateway::{Gateway, Plan};
use super::scene::{Scene, free_port, until};
use super::sipp::{self, Sipp};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// A scenario of `loadtest/sipp` with more headers in its INVITE (or in its answers to one).
fn with_headers(scenario: &str, headers: &[&str]) -> String {
    let file = format!("{}/loadtest/sipp/{scenario}.xml", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(file).unwrap();
    if headers.is_empty() {
        // Where there is none there is no line either.
        return text;
    }
    let more = headers.join("\n");
    // Only what makes a dialog names what it lets be done.
    let mark = "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS\n";
    assert!(text.contains(mark), "{scenario} has no Allow");
    text.replace(mark, &format!("{mark}{more}\n"))
}

/// Refuses what it is told to refuse, and counts that as success too.
const MAYBE: &str = "<recv response=\"503\" optional=\"true\" next=\"refused\" />\n  <recv response=\"200\"";

/// The caller of many calls, some of which may be refused with 503.
fn hopeful() -> String {
    let file = format!("{}/loadtest/sipp/uac.xml", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(file).unwrap();
    let refused = "  <recv response=\"200\" next=\"over\" />\n  <label id=\"refused\" />\n  <send><![CDATA[\n\
        ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n[last_Via:]\n[last_From:]\n[last_To:]\n\
        [last_Call-ID:]\nCSeq: 1 ACK\nMax-Forwards: 70\nContent-Length: 0\n\n]]></send>\n  <label id=\"over\" />\n";
    let (head, tail) = text.rsplit_once("  <recv response=\"200\" />\n").expect("the answer to BYE");
    let head = head.replacen("<recv response=\"200\"", MAYBE, 1);
    format!("{head}{refused}{tail}")
}

/// How many calls these messages are of.
fn calls(messages: &[String]) -> usize {
    let ids = messages.iter().filter_map(|text| text.lines().find(|line| line.starts_with("Call-ID")));
    ids.collect::<BTreeSet<_>>().len()
}

fn call(scene: &Scene, gateway: &Gateway, (name, port, headers): (&str, u16, &[&str]), to: &str) -> Sipp {
    let script = with_headers("uac", headers);
    let plan = sipp::Plan::scripted(scene, name, &script).port(port).rtp(free_port()).pause_ms(100);
    plan.call(gateway.sip, "+441234", to)
}

#[test]
fn a_call_goes_on_to_the_next_trunk_where_the_first_is_dead_or_refuses() {
    let scene = Scene::new("policy_failover");
    let (carrier, dead, refusing, exchange) = (free_port(), free_port(), free_port(), free_port());
    let plan = Plan::new(&scene).trunk("carrier", carrier, "").trunk("dead", dead, "");
    let mut gateway = plan
        .trunk("refusing", refusing, "")
        .trunk("exchange", exchange, "")
        .lines(
            "[[route]]\nfrom = \"carrier\"\ntrunks = [{ trunk = \"exchange\", priority = 3 }, \
             { trunk = \"refusing\", priority = 2 }, { trunk = \"dead\", priority = 1 }]\n\
             rewrite_number = { country = \"49\", national = \"0\", international = \"00\" }\n",
        )
        .start();
    let file = format!("{}/loadtest/sipp/uas-busy.xml", env!("CARGO_MANIFEST_DIR"));
    let script = fs::read_to_string(file).unwrap().replace("486 Busy Here", "503 Service Unavailable");
    let mut refuses = sipp::Plan::scripted(&scene, "refuses", &script).port(refusing).listen();
    let mut callee = sipp::Plan::new(&scene, "callee", "uas").port(exchange).rtp(free_port()).listen();
    let mut caller = call(&scene, &gateway, ("caller", carrier, &[]), "0301234567");
    assert!(callee.received("INVITE").starts_with("INVITE sip:+49301234567@"));
    caller.assert_success();
    callee.assert_success();
    refuses.assert_success();
    gateway.assert_alive();
}

#[test]
fn a_limit_of_ten_admits_ten_over_two_shards_and_emergencies_go_over_it() {
    let scene = Scene::new("policy_limit");
    let (carrier, helper, exchange, centre) = (free_port(), free_port(), free_port(), free_port());
    let plan = Plan::new(&scene).trunk("carrier", carrier, "").lines("max_calls = 10\n");
    let mut gateway = plan
        .trunk("exchange", exchange, "")
        .trunk("centre", centre, "")
        .lines("[[route]]\nnumber = \"112\"\ntrunk = \"centre\"\nemergency = true\nmax_calls = 0\n")
        .route("carrier", "+49", "exchange")
        .start();
    let mut callee =
        sipp::Plan::new(&scene, "callee", "uas").port(exchange).rtp(free_port()).calls(10, 50).listen();
    let mut caller = sipp::Plan::scripted(&scene, "caller", &hopeful())
        .port(carrier)
        .rtp(free_port())
        .pause_ms(6_000)
        .calls(24, 400)
        .call(gateway.sip, "+441234", "+491234");
    until("the others are refused", || (calls(&caller.all("SIP/2.0 503")) == 14).then_some(()));
    // All ten places are taken now.
    let mut rescue = sipp::Plan::new(&scene, "rescue", "uas").port(centre).rtp(free_port()).listen();
    let headers =
        ["Priority: emergency", "Geolocation: <https://lis.example/7>", "Resource-Priority: esnet.1"];
    let mut urgent = call(&scene, &gateway, ("urgent", helper, &headers), "112");
    let invite = rescue.received("INVITE");
    for header in headers {
        assert!(invite.contains(header), "{header} in\n{invite}");
    }
    urgent.assert_success();
    rescue.assert_success();
    caller.assert_success();
    callee.assert_success();
    assert_eq!((calls(&callee.all("INVITE")), calls(&caller.all("SIP/2.0 200"))), (10, 10));
    gateway.assert_alive();
}

#[test]
fn header_rules_and_anonymity_hold_towards_each_trunk() {
    let scene = Scene::new("policy_headers");
    let (carrier, exchange) = (free_port(), free_port());
    let plan = Plan::new(&scene).trunk("carrier", carrier, "").lines(
        "trust = \"from\"\nheaders = [{ way = \"in\", name = \"X-Case-*\", do = \"pass\" }, \
         { way = \"in\", name = \"X-Tier\", do = \"rewrite\", find = \"gold\", replace = \"1\" }, \
         { way = \"in\", name = \"X-Case-Secret\", do = \"remove\" }]\n",
    );
    let plan = plan.trunk("exchange", exchange, "exchange.example").lines(
        "headers = [{ way = \"out\", name = \"X-By\", do = \"add\", value = \"bridgehead\" }, \
         { way = \"out\", name = \"X-Case-Two\", do = \"remove\" }]\n",
    );
    let gateway = plan.route("carrier", "", "exchange").start();
    let mut callee = sipp::Plan::new(&scene, "callee", "uas").port(exchange).rtp(free_port()).listen();
    let headers = [
        "X-Case-One: 1",
        "X-Case-Two: 2",
        "X-Case-Secret: 3",
        "X-Tier: gold",
        "X-Other: 4",
        "P-Asserted-Identity: <sip:+441234@carrier.example>",
        "Privacy: id",
    ];
    let mut caller = call(&scene, &gateway, ("caller", carrier, &headers), "+491234");
    let invite = callee.received("INVITE");
    for there in [
        "X-Case-One: 1\n",
        "X-Tier: 1\n",
        "X-By: bridgehead\n",
        "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>",
    ] {
        assert!(invite.contains(there), "{there} in\n{invite}");
    }
    for gone in ["X-Case-Two", "X-Case-Secret", "X-Other", "P-Asserted-Identity", "+441234"] {
        assert!(!invite.contains(gone), "{gone} in\n{invite}");
    }
    caller.assert_success();
    callee.assert_success();
}

#[test]
fn a_trusted_trunk_is_told_who_calls_in_private() {
    let scene = Scene::new("policy_trust");
    let (carrier, exchange) = (free_port(), free_port());
    let plan = Plan::new(&scene).trunk("carrier", carrier, "").lines("trust = \"from\"\n");
    let plan = plan.trunk("exchange", exchange, "exchange.example").lines("trust = \"to\"\n");
    let gateway = plan.route("carrier", "", "exchange").start();
    let mut callee = sipp::Plan::new(&scene, "callee", "uas").port(exchange).rtp(free_port()).listen();
    let headers = ["P-Asserted-Identity: \"Q\" <sip:+441234@carrier.example>", "Privacy: id"];
    let mut caller = call(&scene, &gateway, ("caller", carrier, &headers), "+491234");
    let invite = callee.received("INVITE");
    for there in ["P-Asserted-Identity: \"Q\" <sip:+441234@exchange.example>\n", "Privacy: id\n"] {
        assert!(invite.contains(there), "{there} in\n{invite}");
    }
    caller.assert_success();
    callee.assert_success();
}

/// Every word of one side that the other must not see. Both are on this machine: its address is no secret, ports are.
fn words_of(side: &Sipp, rtp: u16, inside: &str) -> Vec<String> {
    let mut words = vec![format!(":{}", side.port), format!(" {rtp} "), inside.to_owned()];
    let log = side.messages();
    for line in log.lines() {
        let after =
            |mark: &str| line.split(mark).nth(1).and_then(|rest| rest.split([';', '>', ' ', '\n']).next());
        if line.starts_with("Via:") {
            words.extend(after("branch=").map(String::from));
        }
        if line.starts_with("Call-ID:") {
            words.extend(after("Call-ID: ").map(String::from));
        }
        if line.starts_with("From:") || line.starts_with("To:") {
            words.extend(after("tag=").map(String::from));
        }
    }
    words.sort();
    words.dedup();
    words
}

/// All optional headers that could betray a place of the side that is `inside`.
fn optional(inside: &str) -> String {
    [
        "P-Asserted-Identity: <sip:q@INSIDE>, <tel:+441234>",
        "P-Preferred-Identity: <sip:q@INSIDE>",
        "Remote-Party-ID: <sip:q@INSIDE>;party=calling",
        "Diversion: <sip:desk@INSIDE>;reason=unconditional",
        "History-Info: <sip:desk@INSIDE>;index=1, <sip:q@pbx.INSIDE;cause=302>;index=1.1",
        "Alert-Info: <http://INSIDE/ring.wav>",
        "Call-Info: <http://INSIDE:[local_port]/q.png>;purpose=icon",
        "Error-Info: <sip:busy@[local_ip]:[local_port]>",
        "Reply-To: <sip:q@[local_ip]:[local_port]>",
        "Organization: INSIDE",
        "Subject: at INSIDE",
        "X-Where: [local_ip]:[local_port]",
        "X-Plain: 7",
        "P-Charging-Vector: icid-value=1;icid-generated-at=[local_ip];orig-ioi=INSIDE",
        "User-Agent: Phone-of-INSIDE",
        "Server: Phone-of-INSIDE",
        "Warning: 399 INSIDE \"Hello\"",
        "Geolocation: <https://[local_ip]:[local_port]/here>",
    ]
    .join("\n")
    .replace("INSIDE", inside)
}

#[test]
fn no_message_to_one_side_names_anything_of_the_other() {
    let scene = Scene::new("policy_hiding");
    let (carrier, exchange) = (free_port(), free_port());
    let rules = |names: &[&str]| {
        let rule = |name: &&str| format!("{{ way = \"in\", name = \"{name}\", do = \"pass\" }}");
        format!("trust = \"both\"\nheaders = [{}]\n", names.iter().map(rule).collect::<Vec<_>>().join(", "))
    };
    let names = [
        "Alert-Info",
        "Call-Info",
        "Error-Info",
        "Reply-To",
        "Organization",
        "Subject",
        "X-*",
        "P-Charging-Vector",
    ];
    let plan = Plan::new(&scene).trunk("carrier", carrier, "").lines(&rules(&names));
    let mut gateway =
        plan.trunk("exchange", exchange, "").lines(&rules(&names)).route("carrier", "", "exchange").start();
    let (near, far) = (optional("near.inside"), optional("far.inside"));
    let (near_rtp, far_rtp) = (free_port(), free_port());
    let script = with_headers("uas", &[&far]);
    let mut callee = sipp::Plan::scripted(&scene, "callee", &script).port(exchange).rtp(far_rtp).listen();
    let script = with_headers("uac", &[&near])
        .replace("<sip:[caller]@[local_ip]:[local_port]>;tag", "<sip:[caller]@near.inside>;tag");
    let mut caller = sipp::Plan::scripted(&scene, "caller", &script)
        .port(carrier)
        .rtp(near_rtp)
        .pause_ms(300)
        .call(gateway.sip, "+441234", "+491234");
    caller.assert_success();
    callee.assert_success();
    assert!(callee.received("INVITE").contains("X-Plain: 7\n"));
    let pairs = [
        (&caller, words_of(&callee, far_rtp, "far.inside")),
        (&callee, words_of(&caller, near_rtp, "near.inside")),
    ];
    for (side, words) in pairs {
        let got = [side.all("SIP/2.0"), side.all("INVITE"), side.all("ACK"), side.all("BYE")].concat();
        assert!(got.len() >= 3 && words.len() >= 6, "{words:?}");
        for (text, word) in got.iter().flat_map(|text| words.iter().map(move |word| (text, word))) {
            assert!(!text.contains(word.as_str()), "{word} in\n{text}");
        }
    }
    gateway.assert_alive();
}

#[test]
fn an_operator_asks_which_route_a_call_would_take() {
    let scene = Scene::new("policy_route");
    let config = scene.write(
        "b.toml",
        "[[trunk]]\nname = \"carrier\"\naddress = \"127.0.0.1:5070\"\n\
         [[trunk]]\nname = \"exchange\"\naddress = \"127.0.0.1:5071\"\n\
         [[route]]\nname = \"gold\"\nfrom = \"carrier\"\nheader = \"X-Tier\"\nheader_regex = \"gold\"\ntrunk = \"exchange\"\n",
    );
    let ask = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bridgehead"));
        command.args(["route", "--from", "carrier", "--to", "+4930"]).args(more).arg("--config").arg(&config);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(ask(&["--header", "X-Tier=gold"]).contains("goes    to exchange as \"+4930\""));
    let said = ask(&["--header", "X-Tier=lead"]);
    assert!(said.contains("1 (gold): the header is missing") && said.contains("ends    with 404"), "{said}");
}
