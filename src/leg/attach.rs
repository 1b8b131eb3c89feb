//! Call-attached data: SIP headers that an operator lets through between browsers and SIP servers (RFC 7433 and the
//! `X-` headers of contact centres).

/// Headers of one call.
const MOST_HEADERS: usize = 32;
/// Bytes of one name.
const MOST_NAME: usize = 64;
/// Bytes of one value.
const MOST_VALUE: usize = 1_024;
/// Bytes of all names and values of a call.
const MOST_BYTES: usize = 4_096;

/// Headers of a call with their values, in order; no name twice.
pub type Data = Vec<(String, String)>;

/// Which headers may be attached to a call: whole names, or beginnings that end in `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attach(Vec<String>);

impl Attach {
    /// Reads an allow-list.
    ///
    /// # Errors
    ///
    /// Gives back the entry that is none: whole names must be `X-` headers or `User-to-User`, so that no header that a
    /// SIP message lives by can be forged; beginnings must begin with `X-`.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Attach, &'a str> {
        let mut list = Vec::new();
        for entry in entries {
            let name = entry.strip_suffix('*').unwrap_or(entry);
            let own = begins(name, "X-") && (name.len() > 2 || entry.ends_with('*'));
            if !is_name(name) || !(own || entry.eq_ignore_ascii_case("User-to-User")) {
                return Err(entry);
            }
            list.push(entry.to_owned());
        }
        Ok(Attach(list))
    }

    /// Whether nothing may be attached.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this header may be attached.
    pub fn allows(&self, name: &str) -> bool {
        is_name(name)
            && self.0.iter().any(|entry| match entry.strip_suffix('*') {
                Some(beginning) => begins(name, beginning),
                None => entry.eq_ignore_ascii_case(name),
            })
    }

    /// Adds a header to a call's data, to the value of the same name where there is one (RFC 3261 section 7.3.1). False,
    /// and nothing is added, where it is not allowed, holds control characters, or is too much.
    pub fn add(&self, data: &mut Data, name: &str, value: &str) -> bool {
        let bytes: usize = data.iter().map(|(name, value)| name.len() + value.len()).sum();
        let fits = value.len() <= MOST_VALUE && bytes + name.len() + value.len() <= MOST_BYTES;
        if !fits || !self.allows(name) || value.chars().any(char::is_control) {
            return false;
        }
        if let Some((_, before)) = data.iter_mut().find(|(other, _)| other.eq_ignore_ascii_case(name)) {
            before.push_str(", ");
            before.push_str(value);
            return true;
        }
        let room = data.len() < MOST_HEADERS;
        if room {
            data.push((name.to_owned(), value.to_owned()));
        }
        room
    }
}

fn begins(name: &str, beginning: &str) -> bool {
    name.get(..beginning.len()).is_some_and(|head| head.eq_ignore_ascii_case(beginning))
}

/// Letters, digits and hyphens: all that header names need.
fn is_name(name: &str) -> bool {
    (1..=MOST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_headers_that_no_message_lives_by_can_be_allowed() {
        assert!(Attach::new(["X-Genesys-*", "User-to-User", "x-account", "X-*"]).is_ok());
        for entry in ["Via", "*", "", "X-", "User-to-User*", "X-a b", "X-a\r\nVia", "Content-Length", "From"]
        {
            assert_eq!(Attach::new([entry]), Err(entry));
        }
    }

    #[test]
    fn names_match_whatever_their_case_and_nothing_else_passes() {
        let attach = Attach::new(["X-Genesys-*", "User-to-User"]).unwrap();
        assert!(attach.allows("x-genesys-callid") && attach.allows("USER-TO-USER"));
        for name in ["X-Other", "Via", "", "X-Genesys-a\r\nVia: x", "X-Genesys", "User-to-User2"] {
            assert!(!attach.allows(name), "{name:?}");
        }
        assert!(Attach::default().is_empty() && !Attach::default().allows("X-a"));
    }

    #[test]
    fn values_that_break_a_line_or_a_bound_are_not_added() {
        let attach = Attach::new(["X-*"]).unwrap();
        let mut data = Data::new();
        for value in ["a\r\nVia: b", "a\nb", "a\0b", "\u{85}", &"a".repeat(1_025)] {
            assert!(!attach.add(&mut data, "X-a", value));
        }
        assert!(attach.add(&mut data, "X-a", "one") && attach.add(&mut data, "x-A", "two"));
        assert_eq!(data, [("X-a".to_owned(), "one, two".to_owned())]);
        for n in 0..40 {
            attach.add(&mut data, &format!("X-{n}"), "v");
        }
        assert_eq!(data.len(), MOST_HEADERS);
        let mut data = Data::new();
        let added = (0..10).filter(|n| attach.add(&mut data, &format!("X-{n}"), &"a".repeat(1_000))).count();
        assert_eq!(added, 4);
    }
}
