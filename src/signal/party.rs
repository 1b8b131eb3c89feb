//! What a browser dials: a name, a number, a `sip:` or a `tel:` URI (RFC 3261 section 19.1, RFC 3966).

use crate::leg::Party;

/// The longest text that is read as a callee, in characters.
const LONGEST: usize = 255;

/// Reads what was dialled. `None` where it names nobody, or holds what may not reach a SIP header.
///
/// Of a SIP URI user and host are kept (unescaped, in lower case); port and parameters are not, as the route decides
/// where the call goes. Visual separators in numbers are dropped.
pub fn parse_dialled(text: &str) -> Option<Party> {
    let text = text.trim_matches(' ');
    if text.is_empty() || text.chars().count() > LONGEST || text.chars().any(char::is_control) {
        return None;
    }
    let (scheme, rest) = match text.split_once(':') {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => (String::new(), text),
    };
    let party = match scheme.as_str() {
        "sip" | "sips" => from_sip(rest)?,
        "tel" => from_tel(rest)?,
        "" if text.contains('@') => from_sip(text)?,
        "" => Party { user: number(text).unwrap_or_else(|| text.to_owned()), ..Party::default() },
        _ => return None,
    };
    let strange = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\\');
    let clean = !party.user.is_empty() && !party.user.contains(strange);
    clean.then_some(party)
}

fn from_sip(rest: &str) -> Option<Party> {
    // The user part may hold ';' and '?', so the '@' is looked for first.
    let (user, rest) = rest.rsplit_once('@')?;
    let host_port = rest.split([';', '?']).next()?;
    let host = if let Some(v6) = host_port.strip_prefix('[') {
        let (inside, _) = v6.split_once(']')?;
        inside.parse::<std::net::Ipv6Addr>().ok()?;
        format!("[{}]", inside.to_ascii_lowercase())
    } else {
        let host = host_port.split_once(':').map_or(host_port, |(host, _)| host);
        let well = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        well.then(|| host.to_ascii_lowercase())?
    };
    // A password in a URI (RFC 3261 section 19.1.1: not recommended) would be shown to everyone on the way.
    if user.contains([':', '@']) {
        return None;
    }
    let user = unescape(user)?;
    Some(Party { user: number(&user).unwrap_or(user), host, display: String::new() })
}

fn from_tel(rest: &str) -> Option<Party> {
    let user = number(rest.split(';').next()?)?;
    Some(Party { user, ..Party::default() })
}

/// A number without its visual separators; `None` where it is no number.
fn number(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
    let bare = digits.strip_prefix('+').unwrap_or(&digits);
    let well = bare.bytes().any(|b| b.is_ascii_digit())
        && bare.bytes().all(|b| b.is_ascii_digit() || b"*#".contains(&b));
    well.then_some(digits)
}

/// Undoes `%hh`; `None` where the result is no text.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push((digit()? << 4 | digit()?) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_numbers_and_uris() {
        for (text, user, host) in [
            ("echo", "echo", ""),
            (" bob ", "bob", ""),
            ("+49 (30) 123-45.6", "+49301234 56".replace(' ', "").as_str(), ""),
            ("*69#", "*69#", ""),
            ("bob.smith", "bob.smith", ""),
            ("müller", "müller", ""),
            ("sip:bob@Example.COM", "bob", "example.com"),
            ("SIPS:bob@example.com:5061;transport=tcp?subject=x", "bob", "example.com"),
            ("sip:b%6fb@[2001:DB8::1]:5060", "bob", "[2001:db8::1]"),
            ("sip:+49-30-12@example.com;user=phone", "+493012", "example.com"),
            ("bob@example.com", "bob", "example.com"),
            ("tel:+49-30-12;phone-context=x", "+493012", ""),
        ] {
            let party = parse_dialled(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((party.user.as_str(), party.host.as_str()), (user, host), "{text}");
        }
    }

    #[test]
    fn refuses_what_may_not_reach_a_header() {
        for text in [
            "",
            " ",
            "\r\n",
            "bob\r\nVia: x",
            "bob\0",
            "a b",
            "sip:bob",
            "sip:@host",
            "sip:bob@",
            "sip:bob@ho st",
            "sip:bob:secret@host",
            "sip:bob%0d%0aVia@host",
            "sip:bob%00@host",
            "sip:bob%ff@host",
            "sip:bob%4@host",
            "sip:bob%3Cx@host",
            "<sip:bob@host>",
            "tel:",
            "tel:bob",
            "http://host/",
            "bob@evil@host",
            "sip:b@[::g]",
            "javascript:alert(1)",
            "b\u{85}ob",
            "sip:bob%C2%85@host",
            "\"Bob\" <bob>",
        ] {
            assert_eq!(parse_dialled(text), None, "{text:?}");
        }
        assert!(parse_dialled(&"a".repeat(255)).is_some());
        assert_eq!(parse_dialled(&"a".repeat(256)), None);
    }
}
