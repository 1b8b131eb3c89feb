//! A source that is banned by one shard is heard by none, until its ban is over.

use super::*;
use crate::sip::Banning;

const TRUNK: &str = "203.0.113.5:5060";
const STRANGER: &str = "198.51.100.66:5060";

fn options(n: u32) -> String {
    format!(
        "OPTIONS sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.66;branch=z9hG4bKx{n}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@h>;tag=1\r\nTo: <sip:192.0.2.1>\r\nCall-ID: c{n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

struct Pair {
    shards: [Core; 2],
    now: Now,
}

impl Pair {
    fn new() -> Pair {
        let (mut config, now) = (config(), clock());
        let trunks = vec![crate::sip::Trunk::new("far", address(TRUNK))];
        let banning = Banning { after: 32, time: Duration::from_mins(1), sources: 8 };
        config.sip = Arc::new(crate::sip::Config { trunks, banning, ..crate::sip::Config::default() });
        let config = Arc::new(config);
        Pair { shards: [core(&config, now, 0, 2), core(&config, now, 1, 2)], now }
    }

    /// One message to a shard, and all mail that it brings; how many answers go out.
    fn send(&mut self, shard: usize, from: &str, text: &str) -> usize {
        self.shards[shard].message(self.now, socket(shard as u8, 2), address(from), text.as_bytes());
        let mut sent = 0;
        loop {
            let mut mail = Vec::new();
            for n in 0..2 {
                let heard = hear(&mut self.shards[n], self.now);
                sent += heard.sent.len();
                mail.extend(heard.mail.into_iter().map(|(to, mail)| (n, to, mail)));
            }
            if mail.is_empty() {
                return sent;
            }
            for (from, to, mail) in mail {
                self.shards[usize::from(to.0)].mail(self.now, ShardId(from as u8), mail);
            }
        }
    }

    fn count(&self, name: &str) -> u64 {
        let mut all = Vec::new();
        self.shards.iter().for_each(|shard| shard.all_counters(&mut all));
        all.iter().filter(|(room, counter, _)| (*room, *counter) == ("sip", name)).map(|(_, _, n)| n).sum()
    }
}

#[test]
fn a_stranger_who_goes_on_is_heard_by_no_shard_until_its_ban_is_over() {
    let mut pair = Pair::new();
    // By either shard, about calls of either.
    for n in 0..40 {
        pair.send((n % 2) as usize, STRANGER, &options(n));
    }
    assert_eq!(pair.count("bans"), 1);
    let heard = pair.count("strangers");
    assert!((32..=38).contains(&heard), "{heard}");
    for shard in 0..2 {
        assert_eq!(pair.send(shard, STRANGER, &options(50)), 0);
    }
    assert_eq!((pair.count("strangers"), pair.count("banned")), (heard, 40 - heard + 2));
    // Another one of the same network is not to blame.
    assert_eq!(pair.send(0, "198.51.100.67:5060", &options(51)), 1);
    pair.now = pair.now.after(Duration::from_mins(1));
    assert_eq!(pair.send(1, STRANGER, &options(52)), 1);
}

#[test]
fn a_trunk_is_never_banned_and_noise_is() {
    let mut pair = Pair::new();
    for n in 0..100 {
        pair.send(0, TRUNK, "no SIP at all");
        assert_eq!(pair.send(1, TRUNK, &options(n)), 1);
        pair.send(0, STRANGER, "no SIP at all");
    }
    assert_eq!(pair.count("bans"), 1);
    assert!(pair.count("malformed") >= 100 + 32, "a trunk is held to what can be read");
}
