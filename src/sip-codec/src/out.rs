//! Values to be written: each escapes what it is given, so that no argument can end its own part.

use crate::Host;
use crate::text;
use std::fmt::{self, Display, Formatter, Write};

/// Text in double quotes, with quotes and backslashes escaped. Control bytes are left for the writer to refuse.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for part in self.0.split_inclusive(['"', '\\']) {
            match part.strip_suffix(['"', '\\']) {
                Some(plain) => {
                    f.write_str(plain)?;
                    f.write_char('\\')?;
                    f.write_str(part.get(plain.len()..).unwrap_or(""))?;
                }
                None => f.write_str(part)?,
            }
        }
        f.write_char('"')
    }
}

/// A user part with everything escaped that may not stand there (RFC 3261 section 19.1.2).
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        escape(f, self.0, |b| b != b'#' && b != b';' && b != b'?' && text::is(b, text::USER))
    }
}

/// Writes runs of bytes that may stand as they are, and the others as `%HH`.
fn escape(f: &mut Formatter<'_>, text: &str, may: impl Fn(u8) -> bool) -> fmt::Result {
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest.bytes().position(|b| !may(b)).unwrap_or(rest.len());
        f.write_str(rest.get(..plain).unwrap_or(""))?;
        let tail = rest.get(plain..).unwrap_or("");
        let Some(c) = tail.chars().next() else { break };
        for b in c.encode_utf8(&mut [0; 4]).bytes() {
            write!(f, "%{b:02X}")?;
        }
        rest = tail.get(c.len_utf8()..).unwrap_or("");
    }
    Ok(())
}

/// A SIP URI from its parts; the user part comes unescaped.
#[derive(Clone, Copy, Debug)]
pub struct SipUri<'a> {
    /// `sips` rather than `sip`.
    pub secure: bool,
    /// The user part without escapes; empty for none.
    pub user: &'a str,
    /// The host.
    pub host: Host<'a>,
    /// The port.
    pub port: Option<u16>,
    /// Parameters from their first semicolon, already escaped; empty for none.
    pub params: &'a str,
}

impl Display for SipUri<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "sips:" } else { "sip:" })?;
        if !self.user.is_empty() {
            write!(f, "{}@", Escaped(self.user))?;
        }
        write!(f, "{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write_uri(f, self.params)
    }
}

/// A URI that came as text: what could end it is escaped.
fn write_uri(f: &mut Formatter<'_>, uri: &str) -> fmt::Result {
    escape(f, uri, |b| text::is(b, text::URI) || b.is_ascii_control())
}

/// A `name-addr` for From, To, Contact, Route and their kin.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    /// The display name, without quotes and escapes; empty for none.
    pub display: &'a str,
    /// The URI.
    pub uri: &'a str,
    /// The tag, if any. A token.
    pub tag: Option<&'a str>,
}

impl Display for Address<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.display.is_empty() {
            write!(f, "{} ", Quoted(self.display))?;
        }
        f.write_char('<')?;
        write_uri(f, self.uri)?;
        f.write_char('>')?;
        if let Some(tag) = self.tag {
            f.write_str(";tag=")?;
            write_token(f, tag)?;
        }
        Ok(())
    }
}

/// A token; what may not stand in one is escaped.
fn write_token(f: &mut Formatter<'_>, token: &str) -> fmt::Result {
    escape(f, token, |b| text::is(b, text::TOKEN) || b.is_ascii_control())
}

/// A Via of our own.
#[derive(Clone, Copy, Debug)]
pub struct ViaOut<'a> {
    /// `UDP`, `TCP`, `TLS`, `WS` or `WSS`.
    pub transport: &'a str,
    /// The host of sent-by.
    pub host: Host<'a>,
    /// The port of sent-by.
    pub port: Option<u16>,
    /// The branch, with its cookie.
    pub branch: &'a str,
    /// Ask for the response on the port that the request came from (RFC 3581).
    pub rport: bool,
}

impl Display for ViaOut<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(";branch=")?;
        write_token(f, self.branch)?;
        f.write_str(if self.rport { ";rport" } else { "" })
    }
}
