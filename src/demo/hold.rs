//! Our melody and sounds from files as held parties hear them, in both laws of G.711.

use super::g711::Law;
use super::music;
use super::sound::{LEVEL, RATE};

/// Seconds of a file that are played.
const MOST_S: usize = 300;

/// The melody, once through.
pub fn melody() -> (Vec<u8>, Vec<u8>) {
    let samples = (0..music::LENGTH).map(|at| (LEVEL * music::sample(at).clamp(-1.0, 1.0)) as i16);
    laws(&samples.collect::<Vec<_>>())
}

fn laws(samples: &[i16]) -> (Vec<u8>, Vec<u8>) {
    let of = |law: Law| samples.iter().map(|sample| law.encode(*sample)).collect();
    (of(Law::Mu), of(Law::A))
}

/// A WAV file of one channel, 8000 Hz, 16 bits.
///
/// # Errors
///
/// What is wrong with it, and how to mend that.
pub fn wav(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
    const FIX: &str =
        "it must be WAV of one channel, 8000 Hz, 16 bits; sox IN.wav -r 8000 -c 1 -b 16 OUT.wav makes one";
    let chunk = |wanted: &[u8; 4]| {
        let mut rest = bytes.strip_prefix(b"RIFF")?.get(4..)?.strip_prefix(b"WAVE")?;
        loop {
            let (name, size) = (rest.get(..4)?, rest.get(4..8)?);
            let size = u32::from_le_bytes(size.try_into().ok()?) as usize;
            let inside = rest.get(8..)?;
            if name == wanted {
                return Some(inside.get(..size).unwrap_or(inside));
            }
            rest = inside.get(size + size % 2..)?;
        }
    };
    let format = chunk(b"fmt ").and_then(|format| format.get(..16)).ok_or(FIX)?;
    let word = |at: usize| u16::from_le_bytes([format[at], format[at + 1]]);
    let rate = u32::from(word(4)) | u32::from(word(6)) << 16;
    if (word(0), word(2), rate, word(14)) != (1, 1, RATE, 16) {
        return Err(FIX);
    }
    let data = chunk(b"data").ok_or(FIX)?;
    let samples = data.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    let samples: Vec<i16> = samples.take(MOST_S * RATE as usize).collect();
    if samples.len() < RATE as usize {
        return Err("it lasts less than a second; use a longer one");
    }
    Ok(laws(&samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(rate: u32, channels: u16, samples: usize) -> Vec<u8> {
        let mut out = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0".to_vec();
        out.extend(channels.to_le_bytes());
        out.extend(rate.to_le_bytes());
        out.extend([0, 0, 0, 0, 2, 0, 16, 0]);
        out.extend(b"data");
        out.extend((2 * samples as u32).to_le_bytes());
        out.extend((0..samples).flat_map(|n| (n as i16).to_le_bytes()));
        out
    }

    #[test]
    fn files_of_telephone_sound_are_read_and_others_are_told_how_to_become_so() {
        let (mu, a) = wav(&file(8_000, 1, 8_000)).unwrap();
        assert_eq!((mu.len(), a.len(), mu[0], a[0]), (8_000, 8_000, 0xff, 0xd5));
        for bad in [file(44_100, 1, 8_000), file(8_000, 2, 8_000), b"RIFF".to_vec(), Vec::new()] {
            assert!(wav(&bad).unwrap_err().contains("sox"));
        }
        assert!(wav(&file(8_000, 1, 99)).unwrap_err().contains("second"));
        let cut = &file(8_000, 1, 9_000)[..17_000];
        assert!(wav(cut).is_ok(), "a file that was cut plays as far as it goes");
    }

    #[test]
    fn the_melody_is_as_long_as_its_song() {
        let (mu, a) = melody();
        assert_eq!((mu.len() as u64, a.len() as u64), (music::LENGTH, music::LENGTH));
        assert!(mu.iter().any(|sample| *sample != mu[0]));
    }
}
