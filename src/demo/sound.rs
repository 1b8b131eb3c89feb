//! What our numbers sound like: samples at 8000 Hz, one after another, made as they are needed.

use super::g711::FRAME;
use super::ivr::Ivr;
use super::music;
use super::numbers::Kind;
use std::f64::consts::TAU;

/// Samples a second.
pub const RATE: u32 = 8_000;
/// The loudest sample: 10 dB below full scale.
pub const LEVEL: f64 = 10_000.0;
/// Samples in which 440 Hz comes round: eleven periods.
const TURN: u64 = 200;

/// Where a sound has got to.
#[derive(Debug)]
pub enum Sound {
    /// None: an echo.
    Nothing,
    /// 440 Hz; the next sample.
    Tone(u64),
    /// The melody; the next sample.
    Music(u64),
    /// The prompt and what follows.
    Ivr(Box<Ivr>),
}

impl Sound {
    /// From its beginning.
    pub fn of(kind: Kind) -> Sound {
        match kind {
            Kind::Echo | Kind::Delay => Sound::Nothing,
            Kind::Tone => Sound::Tone(0),
            Kind::Music => Sound::Music(0),
            Kind::Ivr => Sound::Ivr(Box::default()),
        }
    }

    /// The next 20 ms.
    pub fn frame(&mut self) -> [i16; FRAME] {
        std::array::from_fn(|_| (LEVEL * self.sample().clamp(-1.0, 1.0)) as i16)
    }

    fn sample(&mut self) -> f64 {
        match self {
            Sound::Nothing => 0.0,
            Sound::Tone(at) => {
                let sample = sine(440.0, (*at % TURN) as u32);
                *at += 1;
                sample
            }
            Sound::Music(at) => {
                let sample = music::sample(*at);
                *at += 1;
                sample
            }
            Sound::Ivr(ivr) => ivr.sample(),
        }
    }
}

/// A sine at a sample of its own.
pub fn sine(hz: f64, at: u32) -> f64 {
    (TAU * hz * f64::from(at) / f64::from(RATE)).sin()
}

/// 0 to 1: softens both ends of a note of `length` samples over `edge` of them. A switched sine clicks.
pub fn soften(at: u32, length: u32, edge: u32) -> f64 {
    let near = at.min(length.saturating_sub(at + 1));
    f64::from(near.min(edge)) / f64::from(edge.max(1))
}
