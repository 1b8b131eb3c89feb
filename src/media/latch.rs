//! Where an RTP leg's party is: what its description says, and what its packets say within that (RFC 7362).

use super::config;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// After how many packets the address stays.
const PACKETS: u8 = 5;
/// How many packets may still be under way from an address that the party left: a second of them.
const FAREWELL: u8 = 50;

/// After so long without a packet from the party's RTP port it may have been given another by its NAT: learning begins
/// again. A stream that pauses between words is heard sooner, by comfort noise or its next word.
pub(super) const SILENCE: Duration = Duration::from_secs(1);
/// The same of its RTCP port: after five reports of RFC 3550's 5 s that never came.
pub(super) const RTCP_SILENCE: Duration = Duration::from_secs(25);

/// The address of one port of a party.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Latch {
    /// When the party was heard last.
    last: Option<Instant>,
    /// Where from: what comes from there again is known without a look at the rest.
    settled: Option<SocketAddr>,
    patience: Duration,
    signalled: Option<SocketAddr>,
    learned: Option<SocketAddr>,
    heard: u8,
    /// The last address that was signalled, and where was sent to by then.
    before: Option<(SocketAddr, SocketAddr)>,
    /// Where the party was before it moved, or another fork of it. Nothing is learned from what is left of it.
    left: Option<SocketAddr>,
    farewell: u8,
}

/// What a packet's source address means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// The party, where it was.
    Known,
    /// The party, at an address that is new.
    Learned,
    /// Somebody else.
    Stranger,
    /// Nobody was signalled.
    Early,
}

impl Latch {
    /// Bytes from its beginning that a packet of a steady stream touches.
    pub(super) const HOT: usize = std::mem::offset_of!(Latch, patience);

    /// Nobody yet; a party that is silent for longer than `patience` may come back from another port.
    pub(super) fn new(patience: Duration) -> Latch {
        Latch {
            last: None,
            settled: None,
            patience,
            signalled: None,
            learned: None,
            heard: 0,
            before: None,
            left: None,
            farewell: 0,
        }
    }

    /// The descriptions changed: the party may be elsewhere now. What was learned is sent to until it speaks, where
    /// its address is still the signalled one.
    pub(super) fn signal(&mut self, signalled: Option<SocketAddr>) {
        let signalled = signalled.filter(|remote| remote.port() != 0 && !remote.ip().is_unspecified());
        if let (Some(old), Some(target)) = (self.signalled, self.target()) {
            self.before = Some((old, target));
        }
        if signalled != self.signalled {
            let moved = self.before.filter(|(old, _)| signalled.is_some_and(|new| new != *old));
            if let Some((_, target)) = moved {
                (self.left, self.farewell) = (Some(target), FAREWELL);
            }
            self.learned = None;
        }
        self.signalled = signalled;
        self.settled = None;
        self.heard = 0;
    }

    /// Where to send.
    #[inline]
    pub(super) fn target(&self) -> Option<SocketAddr> {
        self.signalled.and(self.learned.or(self.signalled))
    }

    /// Judges the source of a packet, and learns from it. What comes from the signalled address itself ends all doubt:
    /// several phones behind one address (forks, or what is left of a stream that moved) must not draw the call away.
    #[inline]
    pub(super) fn hear(&mut self, now: Instant, policy: config::Latch, from: SocketAddr) -> Source {
        if self.settled == Some(from) {
            self.last = Some(now);
            return Source::Known;
        }
        let source = self.judge(now, policy, from);
        if matches!(source, Source::Known | Source::Learned) {
            self.last = Some(now);
            // Until packets from elsewhere, or words, change it, the next one from here would be judged the same.
            self.settled = (self.heard >= PACKETS).then_some(from);
        }
        source
    }

    fn judge(&mut self, now: Instant, policy: config::Latch, from: SocketAddr) -> Source {
        let Some(signalled) = self.signalled else { return Source::Early };
        let current = self.learned.unwrap_or(signalled);
        if from == signalled {
            self.heard = PACKETS;
            return if self.learned.take().is_some() { Source::Learned } else { Source::Known };
        }
        if self.heard >= PACKETS {
            if from == current {
                return Source::Known;
            }
            if !self.is_silent(now) {
                return Source::Stranger;
            }
        }
        let allowed = match policy {
            config::Latch::Off => from == signalled,
            config::Latch::Address => from.ip() == signalled.ip(),
        };
        if !allowed {
            return Source::Stranger;
        }
        if self.left == Some(from) && self.farewell > 0 {
            self.farewell -= 1;
            return Source::Stranger;
        }
        if self.heard >= PACKETS {
            // Silent until now: learn anew.
            self.heard = 0;
        }
        self.heard += 1;
        if from == current {
            return Source::Known;
        }
        self.learned = Some(from);
        Source::Learned
    }

    fn is_silent(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) > self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn latch() -> Latch {
        Latch::new(SILENCE)
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn start() -> Instant {
        Instant::now()
    }

    /// Packets that come with no silence between them.
    fn hear(latch: &mut Latch, policy: config::Latch, from: SocketAddr) -> Source {
        let now = latch.last.unwrap_or_else(start);
        latch.hear(now, policy, from)
    }

    #[test]
    fn the_port_is_learned_from_the_signalled_address_only_then_frozen() {
        let mut latch = latch();
        assert_eq!(hear(&mut latch, config::Latch::Address, at("192.0.2.1:4000")), Source::Early);
        latch.signal(Some(at("192.0.2.1:4000")));
        assert_eq!(hear(&mut latch, config::Latch::Address, at("192.0.2.2:4000")), Source::Stranger);
        assert_eq!(hear(&mut latch, config::Latch::Address, at("192.0.2.1:5000")), Source::Learned);
        assert_eq!(latch.target(), Some(at("192.0.2.1:5000")));
        for _ in 1..PACKETS {
            assert_eq!(hear(&mut latch, config::Latch::Address, at("192.0.2.1:5000")), Source::Known);
        }
        assert_eq!(hear(&mut latch, config::Latch::Address, at("192.0.2.1:4500")), Source::Stranger);
        assert_eq!(latch.target(), Some(at("192.0.2.1:5000")));
        // The same address is agreed on again: learned anew, and sent to meanwhile.
        latch.signal(Some(at("192.0.2.1:4000")));
        assert_eq!(latch.target(), Some(at("192.0.2.1:5000")));
        assert_eq!(hear(&mut latch, config::Latch::Address, at("192.0.2.1:6000")), Source::Learned);
        latch.signal(Some(at("192.0.2.9:4000")));
        assert_eq!(latch.target(), Some(at("192.0.2.9:4000")));
    }

    #[test]
    fn flapping_ports_freeze_after_the_same_number_of_packets() {
        let mut latch = latch();
        latch.signal(Some(at("127.0.0.1:4000")));
        for port in 1..=u16::from(PACKETS) {
            assert_eq!(
                hear(&mut latch, config::Latch::Address, SocketAddr::from(([127, 0, 0, 1], port))),
                Source::Learned
            );
        }
        assert_eq!(hear(&mut latch, config::Latch::Address, at("127.0.0.1:4001")), Source::Stranger);
        assert_eq!(hear(&mut latch, config::Latch::Address, at("127.0.0.2:5")), Source::Stranger);
    }

    #[test]
    fn the_signalled_port_wins_over_every_other_one_of_its_address() {
        let (a, b) = (at("192.0.2.1:4000"), at("192.0.2.1:5000"));
        let mut latch = latch();
        latch.signal(Some(a));
        for _ in 0..PACKETS {
            hear(&mut latch, config::Latch::Address, b);
        }
        assert_eq!(latch.target(), Some(b));
        assert_eq!(hear(&mut latch, config::Latch::Address, a), Source::Learned);
        assert_eq!(hear(&mut latch, config::Latch::Address, b), Source::Stranger);
        assert_eq!((hear(&mut latch, config::Latch::Address, a), latch.target()), (Source::Known, Some(a)));
    }

    #[test]
    fn what_is_under_way_from_a_port_that_was_left_does_not_draw_the_call_back() {
        let (a, b, c) = (at("192.0.2.1:4000"), at("192.0.2.1:5000"), at("192.0.2.1:6000"));
        let mut latch = latch();
        latch.signal(Some(a));
        hear(&mut latch, config::Latch::Address, a);
        latch.signal(Some(b));
        for _ in 0..2 * PACKETS {
            assert_eq!(hear(&mut latch, config::Latch::Address, a), Source::Stranger);
        }
        // The port in use is another than the signalled one.
        assert_eq!(hear(&mut latch, config::Latch::Address, c), Source::Learned);
        // A hold without an address, and back, is no move.
        latch.signal(None);
        latch.signal(Some(b));
        assert_eq!(hear(&mut latch, config::Latch::Address, c), Source::Learned);
        // Who goes on speaking from there is believed in the end.
        latch.signal(Some(a));
        let heard = (0..=FAREWELL).filter(|_| hear(&mut latch, config::Latch::Address, c) == Source::Learned);
        assert_eq!(heard.count(), 1);
    }

    #[test]
    fn without_latching_only_the_signalled_port_is_heard() {
        let mut latch = latch();
        latch.signal(Some(at("127.0.0.1:4000")));
        assert_eq!(hear(&mut latch, config::Latch::Off, at("127.0.0.1:4001")), Source::Stranger);
        assert_eq!(hear(&mut latch, config::Latch::Off, at("127.0.0.1:4000")), Source::Known);
    }

    #[test]
    fn an_address_of_zeros_is_nowhere() {
        let mut latch = latch();
        for nowhere in ["0.0.0.0:4000", "192.0.2.1:0", "[::]:7"] {
            latch.signal(Some(at(nowhere)));
            assert_eq!(latch.target(), None);
            assert_eq!(hear(&mut latch, config::Latch::Address, at(nowhere)), Source::Early);
        }
    }

    #[test]
    fn after_silence_another_port_is_learned_from_the_same_address_only() {
        let (old, new, policy) = (at("192.0.2.1:5000"), at("192.0.2.1:5001"), config::Latch::Address);
        let mut latch = latch();
        latch.signal(Some(at("192.0.2.1:4000")));
        let mut now = start();
        for _ in 0..PACKETS {
            latch.hear(now, policy, old);
        }
        // Pauses that a call has are no silence, and strangers don't keep it up.
        now += SILENCE;
        assert_eq!(latch.hear(now, policy, new), Source::Stranger);
        now += Duration::from_millis(20);
        assert_eq!(latch.hear(now, config::Latch::Off, new), Source::Stranger);
        assert_eq!(latch.hear(now, policy, at("192.0.2.2:5000")), Source::Stranger);
        assert_eq!(latch.target(), Some(old));
        assert_eq!((latch.hear(now, policy, new), latch.target()), (Source::Learned, Some(new)));
        // It is frozen as the first time, the port before it is now a stranger's.
        for _ in 1..PACKETS {
            assert_eq!(latch.hear(now, policy, new), Source::Known);
        }
        assert_eq!((latch.hear(now, policy, old), latch.target()), (Source::Stranger, Some(new)));
    }

    #[test]
    fn one_stray_packet_after_silence_does_not_shut_the_party_out() {
        let (party, stray) = (at("192.0.2.1:5000"), at("192.0.2.1:6000"));
        let mut latch = latch();
        latch.signal(Some(at("192.0.2.1:4000")));
        let now = start();
        for _ in 0..PACKETS {
            latch.hear(now, config::Latch::Address, party);
        }
        let later = now + 2 * SILENCE;
        assert_eq!(latch.hear(later, config::Latch::Address, stray), Source::Learned);
        assert_eq!(latch.hear(later, config::Latch::Address, party), Source::Learned);
        assert_eq!(latch.target(), Some(party));
    }
}
