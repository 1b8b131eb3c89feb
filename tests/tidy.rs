//! The rules of the house that a compiler does not hold: floors, file sizes, a first line that says what a file is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The table of design section 2: a room names only rooms on lower floors.
const FLOORS: &[(u8, &[&str])] = &[
    (0, &["base", "web"]),
    (1, &["sdp", "rtp", "http", "dns"]),
    (2, &["leg"]),
    (3, &["sip", "signal", "webrtc", "media"]),
    (4, &["call"]),
    (5, &["net", "demo"]),
    (6, &["shard"]),
    (7, &["config", "metrics", "cdr", "admin", "cluster", "trace"]),
    (8, &["node"]),
];
const LONGEST_FILE: usize = 700;
const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "src",
    "benches",
    "loadtest",
    "tests",
    "target",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !["target", "node_modules"].iter().any(|skip| path.ends_with(skip)) {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_rust_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["src", "benches", "tests", "loadtest"] {
        rust_files(&root().join(folder), &mut found);
    }
    assert!(found.len() > 20, "the walk found too little: {found:?}");
    found
}

/// Source text without comments and strings' contents, near enough for finding paths.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// The rooms that a text names by `crate::room`, also inside `crate::{a, b::c}`.
fn rooms_named(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            rooms.extend(group_heads(group));
        } else {
            rooms.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    rooms
}

/// The first words of each element of a `use` group, at depth one.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut head) = (0, Vec::new(), String::new());
    let mut take = true;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(std::mem::take(&mut head));
                take = true;
            }
            c if depth == 0 && take && (c.is_alphanumeric() || c == '_') => head.push(c),
            c if depth == 0 && !c.is_whitespace() => take = false,
            _ => {}
        }
    }
    heads.push(head);
    heads.retain(|head| !head.is_empty());
    heads
}

#[test]
fn a_room_names_only_rooms_on_lower_floors() {
    let mut wrong = Vec::new();
    for path in all_rust_files() {
        let Ok(inside) = path.strip_prefix(root().join("src")) else { continue };
        let room = inside.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        if ["lib", "main", "sip-codec"].contains(&room.as_str()) {
            continue;
        }
        let Some(own) = floor(&room) else {
            wrong.push(format!("{}: room {room} has no floor in tests/tidy.rs", inside.display()));
            continue;
        };
        for named in rooms_named(&code(&fs::read_to_string(&path).unwrap())) {
            if named != room && floor(&named).is_some_and(|other| other >= own) {
                wrong.push(format!("{}: floor {own} names {named}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_floor_test_sees_groups_and_paths() {
    assert_eq!(rooms_named("use crate::{leg, media::{a, b}, webrtc};"), ["leg", "media", "webrtc"]);
    assert_eq!(rooms_named("crate::sdp::Session and crate::base"), ["sdp", "base"]);
}

#[test]
fn every_file_says_what_it_is_and_is_short_enough() {
    let mut wrong = Vec::new();
    for path in all_rust_files() {
        let text = fs::read_to_string(&path).unwrap();
        if !text.lines().next().is_some_and(|line| line.starts_with("//!")) {
            wrong.push(format!("{}: the first line is no //!", path.display()));
        }
        if text.lines().count() > LONGEST_FILE {
            wrong.push(format!("{}: {} lines", path.display(), text.lines().count()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_is_unfinished_ignored_or_unsafe_where_it_must_not_be() {
    let mut wrong = Vec::new();
    for path in all_rust_files() {
        if path.ends_with("tests/tidy.rs") {
            continue;
        }
        let text = code(&fs::read_to_string(&path).unwrap());
        for banned in ["todo!(", "unimplemented!(", "dbg!(", "#[ignore]"] {
            if text.contains(banned) {
                wrong.push(format!("{}: {banned}", path.display()));
            }
        }
        let inside = path.strip_prefix(root()).unwrap();
        if text.contains("allow(unsafe_code") && inside.starts_with("src") && !inside.starts_with("src/net") {
            wrong.push(format!("{}: unsafe code outside net", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_top_level_holds_only_what_it_may() {
    for entry in fs::read_dir(root()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(
            name.starts_with('.') || TOP.contains(&name.as_str()),
            "{name} does not belong at the top level"
        );
    }
}

#[test]
fn every_room_of_lib_rs_has_a_floor() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut seen = BTreeMap::new();
    for line in lib.lines().filter_map(|line| line.trim().strip_prefix("pub mod ")) {
        let room = line.trim_end_matches(';');
        seen.insert(room.to_owned(), floor(room));
    }
    assert!(seen.len() >= 15, "{seen:?}");
    assert!(seen.values().all(Option::is_some), "{seen:?}");
}
