//! The diagram, letter by letter, and what it hides.

use super::*;
use crate::base::{CallId, Key, LegId, Mint, ShardId};
use crate::leg::TrunkId;
use std::time::Duration;

fn ladder() -> Ladder {
    let leg = |outbound, side| Mint::new(ShardId(0), outbound).leg(side);
    let (incoming, outgoing) = (leg(false, crate::base::Side::Web), leg(true, crate::base::Side::Sip));
    let entry = |ms: u64, leg: LegId, way, what: &str, headers: &[(&'static str, &str)]| Entry {
        at: Duration::from_millis(1_700_000_000_000 + ms),
        leg,
        way,
        what: what.to_owned(),
        remote: (!headers.is_empty()).then(|| "192.0.2.9:5060".parse().unwrap()),
        headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
    };
    let sdp = ("Content-Type", "application/sdp");
    let from = ("From", "\"Alice Smith\" <sip:alice@192.0.2.9;user=phone>;tag=77");
    Ladder {
        call: Some(CallId::new(ShardId(0), 1, 3)),
        key: "abc".into(),
        incoming,
        later: Vec::new(),
        outgoing: Some(outgoing),
        source: Source::Account("alice".into()),
        target: Some(Target::Trunk(TrunkId(0))),
        caller: Party { user: "alice".into(), ..Party::default() },
        callee: Some(Party { user: "+493012345".into(), ..Party::default() }),
        entries: vec![
            entry(0, incoming, Way::In, "dial", &[]),
            entry(2, outgoing, Way::Out, "INVITE", &[from, sdp]),
            entry(31, outgoing, Way::In, "180 Ringing (INVITE)", &[from]),
            entry(32, incoming, Way::Out, "ringing 180", &[]),
            entry(40, incoming, Way::Here, "dtls connected", &[]),
            entry(12_345, incoming, Way::In, "hangup", &[]),
        ],
        dropped: 2,
        over: Some(("hangup", 0)),
    }
}

#[test]
fn a_ladder_reads_from_left_to_right_and_downwards() {
    let drawn = Told::of(&ladder(), &["pbx".to_owned()]).draw();
    let wanted = "\
call0.3.1, ended: hangup 0

     a…ce (browser)                      bridgehead                     +…45 (trunk pbx)
    0.000   |-- dial ------------------------>|                                 |
    0.002   |                                 |-- INVITE sdp ------------------>|
    0.031   |                                 |<-------- 180 Ringing (INVITE) --|
    0.032   |<----------------- ringing 180 --|                                 |
    0.040   |        * dtls connected         |                                 |
   12.345   |-- hangup ---------------------->|                                 |
… and 2 more that are not kept
";
    assert_eq!(drawn, wanted, "\n{drawn}");
}

#[test]
fn what_headers_say_of_people_is_hidden() {
    let told = Told::of(&ladder(), &[]);
    assert_eq!(told.steps[1].headers[0].1, "<sip:a…ce@192.0.…>;tag=77");
    assert_eq!(told.steps[1].remote, "192.0.…:5060");
    assert_eq!(header("To", "tel:+4930123456"), "<tel:+…56>");
    assert_eq!(header("Contact", "nonsense \"Alice\""), "…");
    let json = serde_json::to_string(&told).unwrap();
    assert!(!json.contains("alice") && !json.contains("Smith") && !json.contains("3012345"), "{json}");
    assert_eq!(serde_json::from_str::<Told>(&json).unwrap(), told);
}
