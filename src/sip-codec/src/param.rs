//! Parameters after a semicolon.

use crate::text;
use std::borrow::Cow;

/// One parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Param<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value as written, quotes included; `None` for a flag.
    pub value: Option<&'a str>,
}

impl<'a> Param<'a> {
    fn parse(text: &'a str) -> Self {
        match text::find(text, b'=') {
            Some(at) => {
                let (name, value) = text::cut(text, at);
                Self { name: text::trim(name), value: Some(text::trim(value)) }
            }
            None => Self { name: text::trim(text), value: None },
        }
    }

    /// The value without quotes; empty for a flag.
    pub fn text(self) -> Cow<'a, str> {
        text::unquote(self.value.unwrap_or(""))
    }

    /// `generic-param` (RFC 3261 section 25.1): token, and token, host or quoted string.
    fn is_generic(self) -> bool {
        text::all(self.name, text::TOKEN)
            && self.value.is_none_or(|value| {
                if value.starts_with('"') {
                    text::closing_quote(value.as_bytes()) == Some(value.len() - 1)
                } else {
                    // `:` for an IPv6 address without brackets (RFC 5118 section 4.5).
                    !value.is_empty()
                        && value.bytes().all(|b| text::is(b, text::TOKEN) || b"[]:".contains(&b))
                }
            })
    }
}

/// An iterator of parameters, and the way to find one. Names are compared without case.
#[derive(Clone, Copy, Default, Debug)]
pub struct Params<'a> {
    rest: &'a str,
}

impl<'a> Params<'a> {
    /// Parameters from text that starts at the first semicolon, or is empty.
    pub fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The first parameter of that name.
    pub fn find(mut self, name: &str) -> Option<Param<'a>> {
        Iterator::find(&mut self, |param| param.name.eq_ignore_ascii_case(name))
    }

    /// The value of the first parameter of that name, as written.
    pub fn value(self, name: &str) -> Option<&'a str> {
        self.find(name)?.value
    }

    /// True if a parameter of that name is there.
    pub fn has(self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The text, from its first semicolon.
    pub fn as_str(self) -> &'a str {
        self.rest
    }

    /// True if every parameter is a well-formed `generic-param`.
    pub(crate) fn is_generic(mut self) -> bool {
        let start = text::trim_start(self.rest);
        (start.is_empty() || start.starts_with(';')) && self.all(Param::is_generic)
    }
}

#[allow(clippy::copy_iterator)] // A copy is a cursor of its own: that is what finding needs.
impl<'a> Iterator for Params<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        let text = text::trim_start(self.rest).strip_prefix(';')?;
        let end = text::find_outside(text.as_bytes(), b';', false).unwrap_or(text.len());
        let (item, rest) = text.split_at_checked(end)?;
        self.rest = rest;
        Some(Param::parse(item))
    }
}
