//! Why a description was refused.

use std::fmt;

/// Why a description was refused. Holds no text: what the network sent reaches no log by way of an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Error {
    /// More than [`super::MAX_BYTES`] in all, or [`super::MAX_LINE`] in a line.
    TooLong,
    /// More media lines, payload types, ICE options, or lines than allowed.
    TooMany,
    /// A line that is not `letter=value`, with a letter that RFC 8866 knows, where it may stand; or a NUL or a lone CR.
    Line,
    /// Not version 0, or `v=` is not the first line.
    Version,
    /// No `o=`, or a malformed one.
    Origin,
    /// A malformed address in `c=`, `o=` or `a=rtcp`.
    Address,
    /// A malformed `t=`.
    Timing,
    /// A malformed `m=`.
    Media,
    /// Two values where only one may stand, and they differ.
    Duplicate,
    /// A malformed `a=fingerprint`, or a digest that has not the length of its hash.
    Fingerprint,
    /// An ICE user name fragment or password outside of RFC 8839 section 5.4.
    Ice,
    /// An `a=setup` outside of RFC 4145.
    Setup,
    /// A malformed `a=crypto`.
    Crypto,
    /// A malformed `a=mid` or `a=group`.
    Group,
}

impl Error {
    /// The error's name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Error::TooLong => "too_long",
            Error::TooMany => "too_many",
            Error::Line => "line",
            Error::Version => "version",
            Error::Origin => "origin",
            Error::Address => "address",
            Error::Timing => "timing",
            Error::Media => "media",
            Error::Duplicate => "duplicate",
            Error::Fingerprint => "fingerprint",
            Error::Ice => "ice",
            Error::Setup => "setup",
            Error::Crypto => "crypto",
            Error::Group => "group",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad session description ({})", self.name())
    }
}

impl std::error::Error for Error {}
