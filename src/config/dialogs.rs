//! What `[[trunk]]` says of dialogs: reliable provisional responses and session timers.

use super::file::{Trunk, told};
use super::route::{Wrong, wrong};
use serde::Deserialize;
use toml::Spanned;

/// `reliable`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reliable {
    /// Only where the trunk requires it.
    Off,
    /// Where both sides can.
    #[default]
    Supported,
    /// Calls are refused where the trunk can't.
    Required,
}

/// `refresher`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refresher {
    /// Whoever the trunk likes.
    #[default]
    Auto,
    /// The gateway, even where the trunk knows no session timers.
    Us,
    /// The trunk.
    Them,
}

/// `refresh`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refresh {
    /// By UPDATE where it is allowed, else by re-INVITE.
    #[default]
    Update,
    /// By re-INVITE.
    Invite,
}

/// The default of `session_expires_s`.
pub(super) fn session_expires() -> Spanned<u32> {
    told(1_800)
}

/// The default of `min_se_s`.
pub(super) fn min_se() -> Spanned<u32> {
    told(90)
}

impl Reliable {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Reliable::Off => "off",
            Reliable::Supported => "supported",
            Reliable::Required => "required",
        }
    }
}

impl Refresher {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Refresher::Auto => "auto",
            Refresher::Us => "us",
            Refresher::Them => "them",
        }
    }
}

impl Refresh {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Refresh::Update => "update",
            Refresh::Invite => "invite",
        }
    }
}

/// Looks at what a trunk says of dialogs.
pub(super) fn check(trunk: &Trunk) -> Result<(), Wrong> {
    let (expires, min) = (*trunk.session_expires_s.get_ref(), *trunk.min_se_s.get_ref());
    if min < 90 {
        let what = format!("min_se_s: {min} is less than RFC 4028 allows; write 90 or more");
        return Err(wrong(&trunk.min_se_s, what));
    }
    if expires != 0 && expires < min {
        let what = format!("session_expires_s: {expires} is less than min_se_s; write 0, or {min} or more");
        return Err(wrong(&trunk.session_expires_s, what));
    }
    let token = |text: &str| {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
        !text.is_empty() && text.chars().all(fine)
    };
    for kind in &trunk.bodies {
        let text = kind.get_ref();
        let named = text.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype));
        if text == "application/sdp" || !named {
            let fix = "write a type like \"application/pidf+xml\"";
            return Err(wrong(kind, format!("bodies: {text:?} is not the type of another part; {fix}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::config::{print, read};

    #[test]
    fn what_a_trunk_says_of_dialogs_is_printed_and_reads_back() {
        let text = r#"
            [[trunk]]
            name = "pbx"
            address = "127.0.0.1:5070"
            reliable = "required"
            session_expires_s = 600
            min_se_s = 120
            refresher = "us"
            refresh = "invite"
            delayed_offer = true
            early_media = true
            bodies = ["application/pidf+xml"]
        "#;
        let printed = print(&read("a.toml", text).unwrap());
        for line in text.lines().map(str::trim).skip(3) {
            assert!(printed.contains(line), "{line} in {printed}");
        }
        assert_eq!(print(&read("b.toml", &printed).unwrap()), printed);
    }
}
