//! Addresses with display names: From, To, Contact, Route and their kin (RFC 3261 section 20.10).

use crate::text::{self, unquote};
use crate::{Error, Params, Uri};
use std::borrow::Cow;

/// A `name-addr` or `addr-spec` with the header's parameters.
#[derive(Clone, Copy, Debug)]
pub struct NameAddr<'a> {
    /// The display name as written, quotes included; empty if there is none.
    pub display: &'a str,
    /// The URI, without angle brackets.
    pub uri: &'a str,
    /// The header's parameters.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Parses one element. The URI's own syntax is looked at by [`Self::uri`].
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        Self::read(text::trim(text)).ok_or(Error::Value)
    }

    fn read(text: &'a str) -> Option<Self> {
        let (display, rest) = if text.starts_with('"') {
            let end = text::closing_quote(text.as_bytes())? + 1;
            let (display, rest) = text.split_at_checked(end)?;
            (display, text::trim_start(rest).strip_prefix('<')?)
        } else if let Some(at) = text::find(text, b'<') {
            let (display, rest) = text::cut(text, at);
            let display = text::trim(display);
            // `*(token LWS)`; letters beyond ASCII are let through though they should be quoted.
            if !display.bytes().all(|b| text::is(b, text::TOKEN | text::LWS) || b >= 0x80) {
                return Self::bare(text);
            }
            (display, rest)
        } else {
            return Self::bare(text);
        };
        let (uri, params) = text::cut(rest, text::find(rest, b'>')?);
        Self::checked(display, uri, params)
    }

    /// Without brackets every parameter is the header's, and the URI has no comma or question mark (section 20).
    fn bare(text: &'a str) -> Option<Self> {
        let (uri, params) = text.split_at_checked(text::find(text, b';').unwrap_or(text.len()))?;
        let uri = text::trim(uri);
        let plain =
            uri.contains(':') && !uri.bytes().any(|b| b",?<>\"".contains(&b) || text::is(b, text::LWS));
        if plain { Self::checked("", uri, params) } else { None }
    }

    fn checked(display: &'a str, uri: &'a str, params: &'a str) -> Option<Self> {
        let params = Params::new(text::trim(params));
        let sound = !uri.is_empty() && params.is_generic();
        sound.then_some(Self { display, uri, params })
    }

    /// The URI, parsed.
    pub fn uri(&self) -> Result<Uri<'a>, Error> {
        Uri::parse(self.uri)
    }

    /// The display name without quotes and escapes.
    pub fn display_name(&self) -> Cow<'a, str> {
        unquote(self.display)
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&'a str> {
        self.params.value("tag")
    }

    /// The `expires` parameter of a Contact; a malformed one counts as absent (RFC 3261 section 20.10).
    pub fn expires(&self) -> Option<u32> {
        self.params.value("expires").and_then(crate::value::delta_seconds)
    }

    /// The `q` parameter of a Contact in thousandths.
    pub fn q(&self) -> Option<u16> {
        crate::value::q_thousandths(self.params.value("q")?)
    }
}
