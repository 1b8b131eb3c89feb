//! Domain names as text (RFC 1035 section 2.3.1, RFC 2181 section 11).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Longest name as text, without the last dot.
const LONGEST: usize = 253;
/// Longest label.
const LONGEST_LABEL: usize = 63;

/// A domain name of ASCII letters, digits, hyphens and underscores, in lower case.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Name {
    text: Arc<str>,
    rooted: bool,
}

impl Name {
    /// Reads one; a dot at its end makes it rooted: no search list is put behind it. `None` for what is no name, for
    /// addresses among others.
    pub fn parse(text: &str) -> Option<Name> {
        let (plain, rooted) = text.strip_suffix('.').map_or((text, false), |plain| (plain, true));
        let fine = |label: &str| {
            (1..=LONGEST_LABEL).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if plain.len() > LONGEST || !plain.split('.').all(fine) || plain.parse::<IpAddr>().is_ok() {
            return None;
        }
        // What looks like a number at its end is meant as an address (URL Standard), and a mistake.
        let last = plain.rsplit('.').next().unwrap_or("");
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Name { text: plain.to_ascii_lowercase().into(), rooted })
    }

    /// As text, without the last dot.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is whole: no search list is put behind it.
    pub fn is_rooted(&self) -> bool {
        self.rooted
    }

    /// The same name, whole.
    pub fn rooted(&self) -> Name {
        Name { text: Arc::clone(&self.text), rooted: true }
    }

    /// This name below another, whole; `None` where that is too long.
    pub fn below(&self, domain: &Name) -> Option<Name> {
        Name::parse(&format!("{}.{}.", self.text, domain.text))
    }

    /// A label or two before this name (`_sip._udp`), as rooted as this one is.
    pub fn prefixed(&self, labels: &str) -> Option<Name> {
        let name = Name::parse(&format!("{labels}.{}", self.text))?;
        Some(Name { rooted: self.rooted, ..name })
    }

    /// How many dots it has.
    pub fn dots(&self) -> usize {
        self.text.bytes().filter(|byte| *byte == b'.').count()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_nothing_else() {
        let name = Name::parse("_SIP._udp.Example.COM.").unwrap();
        assert_eq!((name.as_str(), name.is_rooted(), name.dots()), ("_sip._udp.example.com", true, 3));
        assert!(!Name::parse("pbx").unwrap().is_rooted());
        let label = "a".repeat(63);
        assert!(Name::parse(&label).is_some());
        let long = [label.as_str(); 4].join(".");
        for text in
            ["", ".", "a..b", "192.0.2.1", "::1", "1.2.3", "a b", "a\r\nb", "ä", &"a".repeat(64), &long]
        {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }

    #[test]
    fn names_are_put_together_within_their_bounds() {
        let name = Name::parse("pbx").unwrap();
        let domain = Name::parse("voice.example").unwrap();
        assert_eq!(name.below(&domain), Name::parse("pbx.voice.example."));
        assert_eq!(domain.prefixed("_sip._tcp"), Name::parse("_sip._tcp.voice.example"));
        let long = Name::parse(&["a".repeat(61).as_str(); 4].join(".")).unwrap();
        assert_eq!((long.below(&domain), long.prefixed("_sip._udp")), (None, None));
    }
}
