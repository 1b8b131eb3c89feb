//! Redirections: whom to call instead.

use super::*;

fn policy(redirects: Redirects) -> Bench {
    let mut config = config();
    config.trunks.iter_mut().for_each(|trunk| trunk.redirects = redirects);
    Bench::with(config, 1)
}

fn at(user: &str, host: &str) -> Party {
    Party { user: user.into(), host: host.into(), ..Party::default() }
}

impl Bench {
    fn redirected(&mut self, leg: LegId, to: &[Party]) {
        self.event(Event::Redirected { leg, code: 302, to: to.to_vec() });
    }
}

#[test]
fn a_redirection_is_followed_to_the_same_server_and_by_the_routes() {
    let mut bench = policy(Redirects::Follow);
    let (browser, dial) = bench.browser_dials(&web_offer());
    bench.redirected(dial.leg, &[at("carol", ""), at("+49", "elsewhere.example")]);
    let second = bench.dialled();
    assert_eq!((second.callee.user.as_str(), &second.target), ("carol", &Target::Trunk(TrunkId(0))));
    assert_eq!(second.hops, dial.hops - 1);
    // Who was named first is busy: the other one is called.
    bench.ended(second.leg, Reason::from_code(486));
    let third = bench.dialled();
    assert_eq!((third.callee.user.as_str(), third.callee.host.as_str()), ("+49", ""));
    bench.answered(third.leg, 0, Some(&sip_sdp("0 101", "")));
    bench.takes_answer(browser);
    bench.legs.clear();
    bench.ended(third.leg, Cause::Hangup.into());
    bench.takes_end(browser);
    bench.empty(1);
}

#[test]
fn circles_and_long_ways_end() {
    let mut bench = policy(Redirects::Follow);
    let (browser, dial) = bench.browser_dials(&web_offer());
    bench.redirected(dial.leg, &[at("bob", "")]);
    assert_eq!(bench.takes_end(browser).code, 302, "back to the one who was dialled");
    bench.empty(1);
    let (browser, mut dial) = bench.browser_dials(&web_offer());
    for n in 0..5 {
        bench.redirected(dial.leg, &[at(&format!("b{n}"), "")]);
        dial = bench.dialled();
    }
    bench.redirected(dial.leg, &[at("b9", "")]);
    bench.takes_end(browser);
    bench.empty(2);
}

#[test]
fn what_routes_forbid_is_not_called() {
    let mut bench = policy(Redirects::Follow);
    let (browser, dial) = bench.browser_dials(&web_offer());
    bench.redirected(dial.leg, &[at("0900123", "evil.example")]);
    bench.takes_end(browser);
    bench.empty(1);
}

#[test]
fn a_redirection_is_passed_to_a_sip_caller_and_refused_to_others() {
    let mut bench = policy(Redirects::Pass);
    let (caller, dial) = bench.trunk_dials(Some(&sip_sdp("0 101", "")));
    bench.redirected(dial.leg, &[at("carol", "")]);
    match bench.next_leg() {
        Command::Redirect { leg, code, to } => {
            assert_eq!((leg, code, to), (caller, 302, vec![at("carol", "")]));
        }
        other => panic!("{other:?}"),
    }
    bench.empty(1);
    let (browser, dial) = bench.browser_dials(&web_offer());
    bench.redirected(dial.leg, &[at("carol", "")]);
    assert_eq!(bench.takes_end(browser).cause, Cause::Rejected);
    bench.empty(2);
    let mut bench = policy(Redirects::Refuse);
    let (caller, dial) = bench.trunk_dials(Some(&sip_sdp("0 101", "")));
    bench.redirected(dial.leg, &[at("carol", "")]);
    assert_eq!(bench.takes_end(caller).code, 480);
    bench.empty(1);
}
