//! Tones: made as samples, and judged by ear.

use super::scene::PATIENCE;
use std::f32::consts::TAU;
use std::fmt;
use std::time::{Duration, Instant};

/// Telephone sound.
pub const RATE: u32 = 8_000;

/// What is heard in a stretch of sound.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Heard {
    /// The strongest frequency.
    pub hz: f32,
    /// Level of the whole, in dB below a full-scale square wave.
    pub db: f32,
    /// The share of that frequency in the power, 0 to 1.
    pub purity: f32,
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} Hz at {:.0} dB, {:.0} % pure", self.hz, self.db, self.purity * 100.0)
    }
}

impl Heard {
    /// Whether it is this tone, well above silence: within 2 %, over -40 dB, and mostly that.
    pub fn is_tone(&self, hz: f32) -> bool {
        (self.hz - hz).abs() <= 0.02 * hz && self.db > -40.0 && self.purity > 0.7
    }

    /// Panics unless it is this tone.
    #[track_caller]
    pub fn assert_tone(&self, who: &str, hz: f32) {
        assert!(self.is_tone(hz), "{who} hears {self}, not {hz} Hz");
    }
}

/// Waits until `hear` gives this tone; panics with what it gives instead when patience ends.
#[track_caller]
pub fn await_tone(who: &str, hz: f32, mut hear: impl FnMut() -> Option<Heard>) {
    let start = Instant::now();
    loop {
        let heard = hear();
        if heard.is_some_and(|heard| heard.is_tone(hz)) {
            return;
        }
        if start.elapsed() > PATIENCE {
            heard.unwrap_or_else(|| panic!("{who} hears nothing, not even silence")).assert_tone(who, hz);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `seconds` of a sine at half of full scale.
pub fn sine(hz: f32, seconds: f32, rate: u32) -> Vec<f32> {
    let count = (seconds * rate as f32) as u32;
    (0..count).map(|n| 0.5 * (TAU * ((hz * n as f32 / rate as f32) % 1.0)).sin()).collect()
}

/// Listens to samples: the strongest frequency from 150 to 3,600 Hz.
pub fn hear(samples: &[f32], rate: u32) -> Heard {
    let power = samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32;
    let strongest = |from: f32, to: f32, step: f32| {
        let count = ((to - from) / step) as u32;
        (0..=count)
            .map(|n| from + n as f32 * step)
            .map(|hz| (hz, sine_power(samples, hz, rate)))
            .max_by(|one, other| one.1.total_cmp(&other.1))
            .unwrap_or((0.0, 0.0))
    };
    // A window of `n` samples tells frequencies apart by rate / n: coarse steps must not step over the peak.
    let coarse = (rate as f32 / samples.len().max(1) as f32).clamp(0.5, 10.0);
    let (near, _) = strongest(150.0, 3_600.0, coarse);
    let (hz, part) = strongest(near - coarse, near + coarse, 0.25);
    Heard { hz, db: 10.0 * (power + 1e-12).log10(), purity: part / (power + 1e-12) }
}

/// The power that a sine of this frequency has in the samples (Goertzel's recursion).
fn sine_power(samples: &[f32], hz: f32, rate: u32) -> f32 {
    let turn = f64::from(TAU) * f64::from(hz) / f64::from(rate);
    let factor = 2.0 * turn.cos();
    let (mut last, mut before) = (0.0_f64, 0.0_f64);
    for &sample in samples {
        (last, before) = (f64::from(sample) + factor * last - before, last);
    }
    let square = last * last + before * before - factor * last * before;
    let count = samples.len().max(1) as f64;
    (2.0 * square / (count * count)) as f32
}

/// G.711 µ-law of one sample (ITU-T G.711): sign, three bits of segment, four of step, all inverted.
pub fn to_ulaw(sample: f32) -> u8 {
    let linear = (sample.clamp(-1.0, 1.0) * 32_635.0) as i32;
    let sign = if linear < 0 { 0x80 } else { 0 };
    let biased = linear.abs().min(32_635) + 132;
    let segment = (biased as u32).ilog2() - 7;
    let step = (biased >> (segment + 3)) & 0x0f;
    !(sign | (segment << 4) as u8 | step as u8)
}

/// The sample of one µ-law octet.
pub fn from_ulaw(octet: u8) -> f32 {
    let octet = !octet;
    let segment = (octet >> 4) & 7;
    let magnitude = (((i32::from(octet & 0x0f) << 3) + 132) << segment) - 132;
    let linear = if octet & 0x80 == 0 { magnitude } else { -magnitude };
    linear as f32 / 32_768.0
}

#[test]
fn a_tone_is_heard_as_itself_and_as_no_other() {
    for rate in [8_000, 48_000] {
        for hz in [440.0, 700.0, 1_000.0, 3_000.0] {
            let heard = hear(&sine(hz, 0.5, rate), rate);
            assert!((heard.hz - hz).abs() < 1.0 && heard.purity > 0.95, "{heard}");
            assert!((heard.db + 9.0).abs() < 0.2, "{heard}");
            assert!(heard.is_tone(hz) && !heard.is_tone(hz * 1.03));
        }
    }
}

#[test]
fn silence_and_noise_are_no_tone() {
    assert!(hear(&[0.0; 4_000], RATE).db < -100.0);
    let mut seed = 1_u32;
    let noise: Vec<f32> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / 16_777_216.0 - 0.5
    })
    .take(4_000)
    .collect();
    assert!(hear(&noise, RATE).purity < 0.2);
    assert!(hear(&[], RATE).db < -100.0);
}

#[test]
fn ulaw_there_and_back_keeps_the_tone() {
    assert_eq!((to_ulaw(0.0), to_ulaw(1.0), to_ulaw(-1.0)), (0xff, 0x80, 0x00));
    for octet in 0..=255_u8 {
        let again = to_ulaw(from_ulaw(octet));
        // Negative zero is written as positive zero.
        assert!(again == octet || octet == 0x7f, "{octet:#x} {again:#x}");
    }
    let tone: Vec<f32> =
        sine(1_000.0, 0.5, RATE).into_iter().map(|sample| from_ulaw(to_ulaw(sample))).collect();
    assert!(hear(&tone, RATE).is_tone(1_000.0));
}
