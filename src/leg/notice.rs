//! What parties tell each other in a call beside media: keys, hold, bodies of INFO, and third-party control.

use std::time::Duration;

/// The longest body that is passed on, in bytes.
pub const MOST_BODY: usize = 8 * 1024;
/// The longest content type that is passed on, in bytes.
const MOST_TYPE: usize = 128;

/// One thing that a party tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A key was pressed (RFC 4733 section 3.2, RFC 6086).
    Digit(Digit),
    /// A body (SIP INFO, RFC 6086) of a type that [`passes`].
    Body {
        /// Its media type, as written.
        kind: String,
        /// What it says; in base64 where the type [`is_binary`].
        text: String,
        /// By which it is met, where whoever tells it wants to know (`Event::Told`, `Command::Told`).
        receipt: Option<u64>,
    },
    /// A text (SIP MESSAGE, RFC 3428) of a type that [`passes`].
    Page {
        /// Its media type, as written.
        kind: String,
        /// What it says.
        text: String,
        /// As that of a body.
        receipt: Option<u64>,
    },
    /// The SIP server asks the phone to do something (`NOTIFY` with `Event: talk` or `hold`).
    Control(Control),
    /// To a browser: the other party holds it (`true`), or does so no more.
    Held(bool),
    /// To a browser: from now on the other party is somebody else.
    Party(super::Party),
}

/// A key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digit {
    /// `0` to `9`, `*`, `#`, `A` to `D`.
    pub digit: char,
    /// How long it is pressed.
    pub duration: Duration,
    /// It is in the media that the other party is sent, too.
    pub sounds: bool,
    /// Whoever tells it wants it told in words (SIP INFO), whatever media could carry.
    pub spelled: bool,
}

/// What third-party control asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// Answer the call that rings, or resume the one that is held.
    Talk,
    /// Hold the call.
    Hold,
}

impl Digit {
    /// How long a key is pressed that says nothing of it.
    pub const USUAL: Duration = Duration::from_millis(160);

    /// The key that a character names, in upper case.
    pub fn key(digit: char) -> Option<char> {
        let digit = digit.to_ascii_uppercase();
        matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D').then_some(digit)
    }
}

impl Notice {
    /// By which whoever told it wants to be met.
    pub fn receipt(&self) -> Option<u64> {
        match self {
            Notice::Body { receipt, .. } | Notice::Page { receipt, .. } => *receipt,
            _ => None,
        }
    }
}

impl Control {
    /// The name of its event package, which clients see as well.
    pub fn name(self) -> &'static str {
        match self {
            Control::Talk => "talk",
            Control::Hold => "hold",
        }
    }
}

/// Whether bodies of this media type are bytes: words carry them in base64.
pub fn is_binary(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/octet-stream")
}

/// Whether bodies of this media type are passed on: forms, JSON, text, and bytes without a name.
pub fn passes(kind: &str) -> bool {
    if kind.len() > MOST_TYPE || !kind.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return false;
    }
    let essence = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let Some((main, sub)) = essence.split_once('/') else { return false };
    let token = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    token(sub)
        && match main {
            "text" => true,
            "application" => {
                matches!(sub, "x-www-form-urlencoded" | "json" | "octet-stream") || sub.ends_with("+json")
            }
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_json_and_text_pass_and_nothing_else() {
        for kind in [
            "application/x-www-form-urlencoded",
            "Application/JSON; charset=utf-8",
            "text/plain",
            "application/a.b+json",
            "application/octet-stream",
        ] {
            assert!(passes(kind), "{kind}");
        }
        let long = format!("text/{}", "a".repeat(200));
        for kind in [
            "",
            "text",
            "text/",
            "application/sdp",
            "image/png",
            "text/a b",
            "text/x\r\nVia: y",
            "text/x\0",
            &long,
        ] {
            assert!(!passes(kind), "{kind:?}");
        }
    }

    #[test]
    fn sixteen_keys_have_names() {
        assert_eq!(
            "0123456789*#abcdABCD".chars().filter_map(Digit::key).collect::<String>(),
            "0123456789*#ABCDABCD"
        );
        assert!("eEx ,\r\u{661}".chars().all(|c| Digit::key(c).is_none()));
    }
}
