//! `music`: a melody over broken chords, our own, sixteen seconds long and then from its beginning.

use super::sound::{RATE, sine, soften};

/// Samples of an eighth note.
const EIGHTH: u32 = RATE / 4;
/// Eighths in which a chord stands: half a bar.
const HALF: u32 = 4;

/// The melody: key (60 is middle C) and length in eighths.
const MELODY: [(u8, u32); 27] = [
    (76, 2),
    (79, 2),
    (76, 1),
    (74, 1),
    (72, 2), // C
    (72, 2),
    (76, 2),
    (81, 4), // A minor
    (81, 2),
    (79, 1),
    (77, 1),
    (72, 4), // F
    (74, 2),
    (76, 1),
    (77, 1),
    (79, 4), // G
    (76, 2),
    (79, 2),
    (84, 4), // C
    (83, 1),
    (81, 1),
    (79, 2),
    (76, 4), // A minor
    (77, 2),
    (81, 2),
    (79, 4), // F, C
    (72, 8), // G, C
];
/// The chords of half bars, from their lowest key up.
const CHORDS: [[u8; 3]; 16] = [
    C, C, A, A, F, F, G, G, //
    C, C, A, A, F, C, G, C,
];
const C: [u8; 3] = [60, 64, 67];
const A: [u8; 3] = [60, 64, 69];
const F: [u8; 3] = [60, 65, 69];
const G: [u8; 3] = [62, 67, 71];
/// Which key of its chord each eighth plays.
const PATTERN: [usize; HALF as usize] = [0, 2, 1, 2];
/// Samples until it begins again.
pub const LENGTH: u64 = (CHORDS.len() as u64) * (HALF as u64) * (EIGHTH as u64);

/// The sample `at`, counted from the beginning of the call.
pub fn sample(at: u64) -> f64 {
    let at = (at % LENGTH) as u32;
    0.55 * melody(at) + 0.13 * chords(at)
}

fn melody(at: u32) -> f64 {
    let mut start = 0;
    for (key, eighths) in MELODY {
        let length = eighths * EIGHTH;
        if at - start < length {
            return bell(key, at - start, length, 1.3);
        }
        start += length;
    }
    0.0
}

fn chords(at: u32) -> f64 {
    let eighth = at / EIGHTH;
    let chord = CHORDS.get((eighth / HALF) as usize);
    let key = chord.zip(PATTERN.get((eighth % HALF) as usize)).and_then(|(chord, place)| chord.get(*place));
    key.map_or(0.0, |key| bell(*key, at % EIGHTH, EIGHTH, 3.0))
}

/// A struck note: its first partials, the higher the sooner gone.
fn bell(key: u8, at: u32, length: u32, decay: f64) -> f64 {
    let hz = frequency(key);
    let fade = |speed: f64| (-speed * f64::from(at) / f64::from(RATE)).exp();
    let partials = fade(decay) * sine(hz, at)
        + 0.22 * fade(2.5 * decay) * sine(2.0 * hz, at)
        + 0.08 * fade(5.0 * decay) * sine(3.0 * hz, at);
    partials * soften(at, length, RATE / 125)
}

/// Of a key, in equal temperament on 440 Hz.
fn frequency(key: u8) -> f64 {
    440.0 * ((f64::from(key) - 69.0) / 12.0).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::tests::power;

    fn samples(from: u32, count: u32) -> Vec<f64> {
        (from..from + count).map(|at| sample(at.into())).collect()
    }

    #[test]
    fn each_note_of_the_melody_is_heard_in_its_time() {
        let mut start = 0;
        for (key, eighths) in MELODY {
            let heard = samples(start + EIGHTH / 8, EIGHTH * 3 / 4);
            let own = power(&heard, frequency(key));
            let strongest = (60..=90).max_by(|&one, &other| {
                power(&heard, frequency(one)).total_cmp(&power(&heard, frequency(other)))
            });
            assert_eq!(strongest, Some(key), "at eighth {}", start / EIGHTH);
            assert!(own > 0.02, "{own}");
            start += eighths * EIGHTH;
        }
        assert_eq!(u64::from(start), LENGTH, "melody and chords are equally long");
    }

    #[test]
    fn the_chords_are_heard_under_the_last_long_note() {
        let heard = samples(LENGTH as u32 - HALF * EIGHTH, EIGHTH);
        assert!(power(&heard, frequency(60)) > 10.0 * power(&heard, frequency(61)));
    }

    #[test]
    fn it_never_overdrives_never_clicks_and_begins_again() {
        let all = samples(0, LENGTH as u32);
        assert!(all.iter().all(|sample| sample.abs() <= 1.0));
        let leap = all.windows(2).map(|two| (two[1] - two[0]).abs()).fold(0.0, f64::max);
        // A sine of 1047 Hz at 0.75 moves by up to 0.6 from sample to sample.
        assert!(leap < 0.75, "{leap}");
        assert!(all.chunks(EIGHTH as usize).all(|eighth| eighth.iter().any(|sample| sample.abs() > 0.05)));
        assert_eq!(sample(LENGTH + 7).to_bits(), sample(7).to_bits());
    }
}
