//! MESSAGE, SUBSCRIBE with its notifications, and redirections, against a script.

use super::*;
use crate::leg::{Account, News, Package, Page, Watch};
use sip_codec::Name;

fn page(to: &str) -> Page {
    let party = Party { user: to.into(), ..Party::default() };
    Page { account: Account::from("alice"), party, kind: "text/plain".into(), text: "hello\r\n".into() }
}

fn scripted() -> Net {
    Net::scripted(|config| {
        let account = Account::from("alice");
        let password = Secret("pw".into());
        let registration = Registration {
            account: account.clone(),
            trunk: TrunkId(0),
            user: "al".into(),
            auth_user: "al".into(),
            password,
        };
        config.accounts.insert(account, registration);
    })
}

fn watch(net: &mut Net, number: u64) {
    let watch =
        Watch { account: Account::from("alice"), package: Package::MessageSummary, target: String::new() };
    net.input(0, 0, Input::Watch { watch, identity: None, trunk: TrunkId(0), number });
    net.run(seconds(1));
}

fn news(net: &mut Net) -> Vec<News> {
    let all = std::mem::take(&mut net.nodes[0].errands);
    all.into_iter()
        .filter_map(|output| if let Output::Watched { news, .. } = output { Some(news) } else { None })
        .collect()
}

const CHALLENGE: [(Name<'_>, &str); 1] =
    [(Name::WwwAuthenticate, "Digest realm=\"r\", nonce=\"n\", algorithm=MD5")];

#[test]
fn a_text_is_sent_as_its_user_signed_when_asked_and_its_outcome_is_told() {
    let mut net = scripted();
    for (code, fine) in [(200, true), (202, true), (404, false), (0, false)] {
        net.input(0, 0, Input::Page { page: page("bob"), identity: None, trunk: TrunkId(0), receipt: 7 });
        net.run(seconds(1));
        let first = net.take("MESSAGE").remove(0);
        assert!(first.starts_with("MESSAGE sip:bob@192.0.2.2:5060 SIP/2.0"), "{first}");
        assert!(header(&first, "From").starts_with("<sip:al@192.0.2.2:5060>;tag="), "{first}");
        assert!(first.ends_with("\r\n\r\nhello\r\n") && !first.contains("\r\nContact:"), "{first}");
        net.answer(&first, 401, "b", &CHALLENGE, None);
        net.run(seconds(1));
        let second = net.take("MESSAGE").remove(0);
        assert!(second.contains("\r\nAuthorization: Digest"), "{second}");
        if code > 0 {
            net.answer(&second, code, "b", &[], None);
        }
        net.run(seconds(60));
        let outcome = std::mem::take(&mut net.nodes[0].errands);
        assert!(
            matches!(&outcome[..], [Output::Paged { receipt: 7, outcome }] if outcome.is_ok() == fine),
            "{code}: {outcome:?}"
        );
        net.inbox.clear();
        net.assert_empty();
        assert_eq!(net.stack(0).errands(), 0);
    }
}

fn request(method: &str, from: &str, to: &str, number: u32, headers: &str, body: &str) -> String {
    format!(
        "{method} {to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKm{number};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:bob@{from}>;tag=b\r\nTo: <sip:al@x>\r\nCall-ID: m{number}\r\nCSeq: {number} {method}\r\n\
         {headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_text_reaches_its_user_and_strangers_send_none() {
    let mut net = scripted();
    let alice = "sip:u.alice@192.0.2.1";
    let text = "Content-Type: text/plain\r\n";
    net.inject(B, 0, &request("MESSAGE", B, alice, 1, text, "hi"));
    net.run(seconds(1));
    let Some(Output::Page { page, receipt }) = net.nodes[0].errands.pop() else { panic!("no text") };
    assert_eq!((page.account.name(), page.party.user.as_str(), page.text.as_str()), ("alice", "bob", "hi"));
    net.input(0, 0, Input::Taken { receipt, taken: true });
    net.run(seconds(1));
    assert_eq!(net.take("SIP/2.0 200").len(), 1);
    let long = "x".repeat(8_193);
    for (number, from, to, headers, body, code) in [
        (2, "203.0.113.9:5060", alice, text, "hi", 403),
        (3, B, "sip:nobody@192.0.2.1", text, "hi", 404),
        (4, B, alice, "Content-Type: image/png\r\n", "hi", 415),
        (5, B, alice, text, long.as_str(), 413),
        (6, B, alice, text, "a\0b", 400),
    ] {
        net.inject(from, 0, &request("MESSAGE", from, to, number, headers, body));
        net.run(seconds(1));
        assert_eq!(net.take(&format!("SIP/2.0 {code}")).len(), 1, "{number}: {:?}", net.inbox);
    }
    assert!(net.nodes[0].errands.is_empty());
    // Nobody is there.
    net.inject(B, 0, &request("MESSAGE", B, alice, 7, text, "hi"));
    net.run(seconds(1));
    let Some(Output::Page { receipt, .. }) = net.nodes[0].errands.pop() else { panic!("no text") };
    net.input(0, 0, Input::Taken { receipt, taken: false });
    net.run(seconds(60));
    assert_eq!(net.take("SIP/2.0 480").len(), 1);
    for (number, method) in [(8, "SUBSCRIBE"), (9, "REFER"), (10, "NOTIFY")] {
        let from = "203.0.113.9:5060";
        net.inject(from, 0, &request(method, from, alice, number, "Event: message-summary\r\n", ""));
        net.run(seconds(1));
        assert_eq!(net.take("SIP/2.0 403").len(), 1, "{method}");
    }
    net.assert_empty();
}

/// A NOTIFY of the subscription that a SUBSCRIBE asked for.
fn notify(subscribe: &str, tag: &str, cseq: u32, state: &str, event: &str, body: &str) -> String {
    format!(
        "NOTIFY sip:u.alice@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKn{tag}{cseq};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:al@192.0.2.2>;tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} NOTIFY\r\n\
         Contact: <sip:mwi@{B}>\r\nEvent: {event}\r\nSubscription-State: {state}\r\n\
         Content-Type: application/simple-message-summary\r\nContent-Length: {}\r\n\r\n{body}",
        header(subscribe, "From"),
        header(subscribe, "Call-ID"),
        body.len()
    )
}

const MWI: &str = "Messages-Waiting: yes\r\nVoice-Message: 1/0\r\n";

#[test]
fn a_subscription_is_kept_up_and_its_news_are_told_even_before_its_answer() {
    let mut net = scripted();
    watch(&mut net, 1);
    let first = net.take("SUBSCRIBE").remove(0);
    assert_eq!((header(&first, "Event"), header(&first, "Expires")), ("message-summary", "3600"));
    net.answer(&first, 423, "n", &[(Name::MinExpires, "7200")], None);
    net.run(seconds(1));
    let second = net.take("SUBSCRIBE").remove(0);
    assert_eq!(header(&second, "Expires"), "7200");
    net.inject(B, 0, &notify(&second, "n", 1, "active;expires=7200", "message-summary", MWI));
    net.run(seconds(1));
    assert!(matches!(&news(&mut net)[..], [News::State { text, .. }] if text == MWI));
    // Another fork, and one of another package, are refused; an old one is out of order.
    for (tag, cseq, event, code) in
        [("other", 1, "message-summary", 481), ("n", 2, "presence", 489), ("n", 0, "message-summary", 500)]
    {
        net.inbox.clear();
        net.inject(B, 0, &notify(&second, tag, cseq, "active", event, MWI));
        net.run(seconds(1));
        assert_eq!(net.take(&format!("SIP/2.0 {code}")).len(), 1, "{tag} {cseq}");
    }
    let contact = [(Name::Contact, "<sip:mwi@192.0.2.2>"), (Name::Expires, "100")];
    net.answer(&second, 200, "n", &contact, None);
    net.run(seconds(95));
    let refresh = net.take("SUBSCRIBE").remove(0);
    assert!(header(&refresh, "To").contains(";tag=n"), "within its dialog: {refresh}");
    assert!(refresh.starts_with("SUBSCRIBE sip:mwi@"), "{refresh}");
    // They know it no more: it begins anew.
    net.answer(&refresh, 481, "n", &[], None);
    net.run(seconds(3));
    let anew = net.take("SUBSCRIBE").remove(0);
    assert!(!header(&anew, "To").contains("tag=") && header(&anew, "Call-ID") != header(&first, "Call-ID"));
    net.answer(&anew, 200, "m", &contact, None);
    net.run(seconds(1));
    assert!(news(&mut net).is_empty());
    net.input(0, 0, Input::Unwatch(1));
    net.run(seconds(1));
    let last = net.take("SUBSCRIBE").remove(0);
    assert_eq!(header(&last, "Expires"), "0");
    net.answer(&last, 200, "m", &contact, None);
    net.run(seconds(60));
    assert_eq!(net.stack(0).errands(), 0);
    net.assert_empty();
}

#[test]
fn a_subscription_that_ends_is_tried_again_or_told_of_as_its_reason_says() {
    for (state, again, over) in [
        ("terminated;reason=deactivated", Some(5), None),
        ("terminated;reason=probation;retry-after=50", Some(60), None),
        ("terminated;reason=rejected", None, Some("forbidden")),
        ("terminated;reason=noresource", None, Some("not_found")),
        ("terminated", Some(60), None),
    ] {
        let mut net = scripted();
        watch(&mut net, 1);
        let first = net.take("SUBSCRIBE").remove(0);
        net.answer(&first, 200, "n", &[(Name::Contact, "<sip:mwi@192.0.2.2>")], None);
        net.run(seconds(1));
        net.inject(B, 0, &notify(&first, "n", 1, state, "message-summary", ""));
        net.run(seconds(1));
        let told = news(&mut net);
        assert_eq!(told, over.map(News::Over).into_iter().collect::<Vec<_>>(), "{state}");
        net.inbox.clear();
        net.run(seconds(again.unwrap_or(600)));
        let anew = net.take("SUBSCRIBE");
        assert_eq!(!anew.is_empty(), again.is_some(), "{state}");
        assert!(anew.iter().all(|text| header(text, "Call-ID") != header(&first, "Call-ID")), "{state}");
    }
    for (code, why) in [(489, "not_supported"), (403, "forbidden"), (404, "not_found")] {
        let mut net = scripted();
        watch(&mut net, 1);
        let first = net.take("SUBSCRIBE").remove(0);
        net.answer(&first, code, "n", &[], None);
        net.run(seconds(60));
        assert_eq!(news(&mut net), [News::Over(why)], "{code}");
        assert_eq!(net.stack(0).errands(), 0);
    }
}

#[test]
fn a_registrar_tells_of_waiting_messages_unasked_and_nobody_else_may() {
    let mut net = scripted();
    let headers = "Event: message-summary\r\nContent-Type: application/simple-message-summary\r\n";
    net.inject(B, 0, &request("NOTIFY", B, "sip:u.alice@192.0.2.1", 1, headers, MWI));
    net.run(seconds(1));
    assert_eq!(net.take("SIP/2.0 403").len(), 1, "who is not registered there");
    let registration = net.stack(0).config.accounts[&Account::from("alice")].clone();
    net.input(0, 0, Input::Register(registration));
    net.run(seconds(1));
    net.inject(B, 0, &request("NOTIFY", B, "sip:u.alice@192.0.2.1", 2, headers, MWI));
    net.inject(B, 0, &request("NOTIFY", B, "sip:u.alice@192.0.2.1", 3, "Event: dialog\r\n", ""));
    net.run(seconds(1));
    assert_eq!((net.take("SIP/2.0 200").len(), net.take("SIP/2.0 481").len()), (1, 1));
    assert!(matches!(&net.nodes[0].errands[..], [Output::Waiting { text, .. }] if text == MWI));
}

#[test]
fn a_redirection_names_parties_best_first_and_its_own_host_not() {
    let mut net = Net::scripted(|config| config.trunks[0].domain = "pbx.example".into());
    net.dial(0);
    net.run(seconds(1));
    let invite = net.take("INVITE").remove(0);
    let contact = [(
        Name::Contact,
        "<sip:c@pbx.example>;q=0.5, <sip:d@192.0.2.2:5070>;q=0.9, <mailto:x@y>, <sip:e@other.example;x=y>, <tel:+49>",
    )];
    net.answer(&invite, 302, "b", &contact, None);
    net.run(seconds(1));
    let Some(Event::Redirected { code: 302, to, .. }) = net.nodes[0].events.last() else {
        panic!("{:?}", net.names(0))
    };
    let to: Vec<_> = to.iter().map(|party| (party.user.as_str(), party.host.as_str())).collect();
    assert_eq!(to, [("e", "other.example"), ("+49", ""), ("d", ""), ("c", "")]);
    net.run(seconds(60));
    net.assert_empty();
    // 305 and 380 name nobody to be called, and neither does one without contact.
    for code in [302, 305, 380] {
        net.dial(0);
        net.run(seconds(1));
        let invite = net.take("INVITE").remove(0);
        let headers: &[_] = if code == 302 { &[] } else { &contact };
        net.answer(&invite, code, "b", headers, None);
        net.run(seconds(60));
        assert_eq!(net.names(0).last().unwrap(), &format!("Ended rejected {code}"));
    }
    net.assert_empty();
}
