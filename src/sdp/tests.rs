//! The corpus, the verdicts, and bytes that no writer meant.

use super::*;
use crate::base::Random;
use std::path::{Path, PathBuf};

fn corpora() -> Option<PathBuf> {
    let set = std::env::var_os("BRIDGEHEAD_CORPORA").map(PathBuf::from);
    let folder =
        set.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora")).join("sdp");
    if folder.is_dir() {
        return Some(folder);
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no corpora at {}", folder.display());
    eprintln!("skipped: no corpora at {}", folder.display());
    None
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .flat_map(|group| std::fs::read_dir(group.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sdp"))
        .collect();
    found.sort();
    let name = |path: &Path| path.strip_prefix(folder).unwrap().to_str().unwrap().to_string();
    found.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

fn round_trip(name: &str, session: &Session) {
    let mut text = Vec::new();
    session.write(&mut text);
    let again = Session::parse(&text).unwrap_or_else(|error| panic!("{name}: {error:?} in\n{session}"));
    let mut expected = session.clone();
    expected.media.iter_mut().for_each(|media| media.candidates_ignored = 0);
    assert_eq!(again, expected, "{name}");
}

/// What is refused, and why. All others parse.
const REFUSED: &[(&str, Error)] = &[
    // `f=` is no line of RFC 8866; before it, `a=rtcp` names no address family.
    ("sdp-transform/invalid.sdp", Error::Address),
    // Comment lines before `v=`.
    ("webrtc-sdp/03.sdp", Error::Line),
    ("webrtc-sdp/08.sdp", Error::Line),
    ("webrtc-sdp/11.sdp", Error::Line),
];

#[test]
fn the_corpus_survives_a_round_trip_and_the_invalid_are_refused() {
    let Some(folder) = corpora() else { return };
    let files = files(&folder);
    assert!(files.len() > 70, "{}", files.len());
    for (name, data) in &files {
        let refused = REFUSED.iter().find(|(refused, _)| refused == name).map(|&(_, error)| error);
        match Session::parse(data) {
            Ok(session) => {
                assert_eq!(refused, None, "{name}");
                round_trip(name, &session);
            }
            Err(error) => assert_eq!(Some(error), refused, "{name}"),
        }
    }
}

#[test]
fn no_mutation_of_the_corpus_panics_and_what_parses_survives_a_round_trip() {
    let Some(folder) = corpora() else { return };
    let mut random = Random::from_number(1);
    for (name, data) in files(&folder) {
        for _ in 0..60 {
            let mut data = data.clone();
            for _ in 0..=random.below(4) {
                mutate(&mut data, &mut random);
            }
            if let Ok(session) = Session::parse(&data) {
                round_trip(&name, &session);
            }
        }
    }
}

fn mutate(data: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(data.len() as u64 + 1) as usize;
    let to = (at + random.below(40) as usize).min(data.len());
    match random.below(5) {
        0 => drop(data.drain(at..to)),
        1 => data.insert(at, random.u32() as u8),
        2 => data.truncate(at),
        3 => {
            let piece = data[at..to].to_vec();
            let place = random.below(data.len() as u64 + 1) as usize;
            data.splice(place..place, piece);
        }
        _ => {
            if let Some(byte) = data.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}
