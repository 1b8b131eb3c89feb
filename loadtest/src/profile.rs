//! Profiles: what a run does, as `profiles/*.toml` say it and flags change it.

use serde::Deserialize;

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Calls in steps, each measured.
    Ramp,
    /// Calls are set up to the end of the DTLS handshake and hung up, faster and faster, beside calls that talk.
    Handshake,
    /// The same without transport: signalling and descriptions alone.
    Signal,
    /// Sessions that do nothing, in steps.
    Idle,
    /// Every connection breaks, and all sessions come back at once, beside calls that talk.
    Storm,
    /// Calls for hours, some ending and others beginning.
    Soak,
}

/// A profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What it does.
    pub kind: Kind,
    /// Calls (or sessions) of the first step.
    pub calls: usize,
    /// Calls that each step adds; 0 for one step only.
    #[serde(default)]
    pub step: usize,
    /// Most calls.
    pub most: usize,
    /// Seconds that a step is measured.
    pub seconds: f64,
    /// Calls dialled a second.
    pub rate: f64,
    /// Sessions beside those of calls.
    #[serde(default)]
    pub sessions: usize,
    /// Calls set up and hung up a second, where calls come and go: at first, and how many more with each step.
    #[serde(default)]
    pub churn: f64,
    /// After a ramp: calls dialled a second beyond what was carried, 0 for none.
    #[serde(default)]
    pub press: f64,
    /// How many steps there are, where `most` does not say it.
    #[serde(default)]
    pub steps: usize,
    /// Anything that failed, or was dropped by the gateway's own count, is a fault of the run.
    #[serde(default)]
    pub strict: bool,
}

/// The profiles that come with this program.
const KNOWN: &[(&str, &str)] = &[
    ("quick", include_str!("../profiles/quick.toml")),
    ("density", include_str!("../profiles/density.toml")),
    ("handshake", include_str!("../profiles/handshake.toml")),
    ("cps", include_str!("../profiles/cps.toml")),
    ("idle", include_str!("../profiles/idle.toml")),
    ("storm", include_str!("../profiles/storm.toml")),
    ("soak", include_str!("../profiles/soak.toml")),
];

impl Profile {
    /// One that comes with this program, by its name; or a file.
    pub fn load(name: &str) -> Result<Profile, String> {
        let known = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        let text = match known {
            Some(text) => text,
            None => std::fs::read_to_string(name).map_err(|error| {
                let names: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
                format!("profile {name:?} is none of {}, and no file: {error}", names.join(", "))
            })?,
        };
        toml::from_str(&text).map_err(|error| format!("profile {name}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_that_comes_along_can_be_read() {
        for (name, _) in KNOWN {
            Profile::load(name).unwrap();
        }
        assert!(Profile::load("nothing").unwrap_err().contains("quick"));
    }
}
