//! What people would say of a leg's sound: the E-model (ITU-T G.107), with the terms that packets decide.
//!
//! `R = 93.2 - Id - Ie_eff`: delay (G.107 annex, as simplified by Cole and Rosenbluth) and loss, by what the codec makes
//! of it (G.113 appendix I). Echo, level and noise are left at their defaults, since a gateway does not hear them.

use super::leg::Stats;
use crate::leg::Quality;
use std::time::Duration;

/// `Ie` and `Bpl` of a codec: its own flaw, and how well it conceals random loss.
///
/// G.113 appendix I has G.711 (with concealment), G.729A and G.723.1; G.722 and Opus are not in the narrowband table, and
/// stand here with what listening tests gave: no flaw of their own, Opus with in-band repair.
fn robustness(codec: &str) -> (f64, f64) {
    match codec {
        "g729" => (11.0, 19.0),
        "g723" => (15.0, 16.1),
        "gsm" => (20.0, 10.0),
        "ilbc" => (11.0, 32.0),
        "g722" => (0.0, 20.0),
        "opus" => (0.0, 30.0),
        _ => (0.0, 25.1),
    }
}

/// The estimated opinion, in hundredths (100 to 450), of sound in `codec` of which `lost` of 65,536 packets never came,
/// with this jitter and this time to the far side and back.
pub fn mos(codec: &str, lost: u32, jitter: Duration, round_trip: Duration) -> u16 {
    let (flaw, conceals) = robustness(codec);
    let loss = f64::from(lost.min(65_536)) * 100.0 / 65_536.0;
    // One way, and what a jitter buffer adds: twice the jitter, and a packet.
    let delay = (round_trip.as_secs_f64() / 2.0 + 2.0 * jitter.as_secs_f64() + 0.02) * 1_000.0;
    let late = if delay > 177.3 { 0.11 * (delay - 177.3) } else { 0.0 };
    let r = 93.2 - (0.024 * delay + late) - (flaw + (95.0 - flaw) * loss / (loss + conceals));
    let r = r.clamp(0.0, 100.0);
    let opinion = 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6;
    (opinion.clamp(1.0, 4.5) * 100.0).round() as u16
}

/// The share of 65,536 that `lost` is of `lost` and `came`.
pub fn share(lost: u64, came: u64) -> u32 {
    (u128::from(lost) * 65_536).checked_div(u128::from(lost) + u128::from(came)).unwrap_or(0) as u32
}

/// The opinion of both directions between two moments of a leg: what came from the party, and what it got; 0 where
/// nothing was to be heard.
pub fn opinion(before: &Quality, now: &Quality) -> (u16, u16) {
    let trip = now.round_trip.unwrap_or_default();
    let grown = |now: u64, before: u64| now.saturating_sub(before);
    let came = grown(now.packets_received, before.packets_received);
    let missed = share(grown(now.lost, before.lost), came);
    let received = if came == 0 { 0 } else { mos(&now.codec, missed, now.jitter, trip) };
    let went = grown(now.packets_sent, before.packets_sent);
    let missed = grown(now.remote_lost, before.remote_lost);
    let missed = share(missed, went.saturating_sub(missed));
    let sent = if went == 0 { 0 } else { mos(&now.codec, missed, now.remote_jitter, trip) };
    (received, sent)
}

impl Stats {
    /// The numbers for people and records.
    pub fn quality(&self) -> Quality {
        let mut quality = Quality {
            codec: self.codec.as_ref().map(|codec| codec.name.clone()).unwrap_or_default(),
            packets_received: self.packets_received,
            octets_received: self.octets_received,
            lost: u64::try_from(self.lost).unwrap_or(0),
            jitter: self.jitter,
            packets_sent: self.packets_sent,
            octets_sent: self.octets_sent,
            remote_lost: u64::try_from(self.remote_lost).unwrap_or(0),
            remote_jitter: self.remote_jitter,
            round_trip: self.round_trip,
            ..Quality::default()
        };
        (quality.mos_received, quality.mos_sent) = opinion(&Quality::default(), &quality);
        quality
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leg::Level;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_clean_call_is_good_and_each_flaw_makes_it_worse() {
        let clean = mos("pcmu", 0, 2 * MS, 20 * MS);
        assert!((430..=450).contains(&clean), "{clean}");
        assert_eq!(Level::of(clean), Level::Good);
        let five = mos("pcmu", 65_536 / 20, 2 * MS, 20 * MS);
        // G.107 with Bpl 25.1: Ie_eff is 15.8, R is 76.5.
        assert!((380..=392).contains(&five), "{five}");
        assert_eq!(Level::of(five), Level::Fair);
        assert_eq!(Level::of(mos("pcmu", 65_536 / 4, 2 * MS, 20 * MS)), Level::Poor);
        assert!(mos("pcmu", 0, 2 * MS, 800 * MS) < mos("pcmu", 0, 2 * MS, 300 * MS));
        assert!(mos("g729", 0, MS, MS) < clean && mos("pcmu", 0, 80 * MS, MS) < clean);
        assert_eq!(mos("pcmu", u32::MAX, Duration::MAX, Duration::ZERO), 100);
    }

    #[test]
    fn an_interval_is_judged_by_what_happened_in_it() {
        let before =
            Quality { packets_received: 1_000, lost: 500, packets_sent: 1_000, ..Quality::default() };
        let mut now = Quality { packets_received: 1_250, packets_sent: 1_250, ..before.clone() };
        let (received, sent) = opinion(&before, &now);
        assert!(received > 430 && sent > 430, "what was lost before is over");
        now.remote_lost = 125;
        assert!(opinion(&before, &now).1 < 310, "half of what was sent");
        assert_eq!(opinion(&now, &now), (0, 0), "nothing happened");
        // Numbers that go back (a party that starts anew) are no loss.
        assert_eq!(opinion(&now, &before), (0, 0));
    }

    #[test]
    fn shares_never_overflow() {
        assert_eq!(share(0, 0), 0);
        assert_eq!(share(1, 1), 32_768);
        assert_eq!(share(u64::MAX, 0), 65_536);
    }
}
