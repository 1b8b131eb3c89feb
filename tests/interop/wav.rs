//! WAV files: what browsers play as a microphone, and what peers record.

use super::tone;
use std::fs;
use std::path::Path;

/// 16-bit PCM, one channel.
pub fn write(samples: &[f32], rate: u32) -> Vec<u8> {
    let size = samples.len() as u32 * 2;
    let mut file = Vec::with_capacity(44 + size as usize);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + size).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    file.extend_from_slice(&1_u16.to_le_bytes());
    file.extend_from_slice(&1_u16.to_le_bytes());
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&(rate * 2).to_le_bytes());
    file.extend_from_slice(&2_u16.to_le_bytes());
    file.extend_from_slice(&16_u16.to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&size.to_le_bytes());
    for sample in samples {
        file.extend_from_slice(&((sample.clamp(-1.0, 1.0) * 32_767.0) as i16).to_le_bytes());
    }
    file
}

/// What is heard in the last half second of a recording that may still be growing, or is not there yet.
///
/// The header's lengths are not believed: recorders write them at the end.
pub fn hear_tail(path: &Path) -> Option<tone::Heard> {
    let file = fs::read(path).ok()?;
    let channels = usize::from(u16::from_le_bytes(file.get(22..24)?.try_into().ok()?));
    let rate = u32::from_le_bytes(file.get(24..28)?.try_into().ok()?);
    let data = file.windows(4).position(|word| word == b"data")? + 8;
    let samples: Vec<f32> = file
        .get(data..)?
        .chunks_exact(2 * channels.max(1))
        .map(|frame| f32::from(i16::from_le_bytes([frame[0], frame[1]])) / 32_768.0)
        .collect();
    let wanted = rate as usize / 2;
    (samples.len() >= wanted).then(|| tone::hear(&samples[samples.len() - wanted..], rate))
}

#[test]
fn a_recording_is_heard_while_it_grows() {
    let scene = super::scene::Scene::new("wav");
    let mut file = write(&tone::sine(700.0, 1.0, 16_000), 16_000);
    file[40..44].fill(0);
    let path = scene.write("growing.wav", &file);
    assert!(hear_tail(&path).unwrap().is_tone(700.0));
    assert_eq!(hear_tail(&scene.path("missing.wav")), None);
}
