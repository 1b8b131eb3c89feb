//! What can be wrong with a message, and the status that says so.

use crate::Name;

/// A fault in a message or a value. Holds no text from the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// No empty line ends the header section.
    Incomplete,
    /// Larger than [`crate::MAX_SIZE`].
    TooLarge,
    /// More than [`crate::MAX_HEADERS`] header lines.
    TooManyHeaders,
    /// Neither a Request-Line nor a Status-Line (RFC 3261 section 7).
    StartLine,
    /// A header line without a proper name and colon, or with a bare control byte.
    HeaderLine,
    /// The header section is not UTF-8 (RFC 3261 section 7).
    NotUtf8,
    /// A SIP version other than 2.0.
    Version,
    /// The Request-URI is malformed.
    RequestUri,
    /// The Request-URI's scheme is not one we know.
    Scheme,
    /// A mandatory header is missing (RFC 3261 section 8.1.1).
    Missing(Name<'static>),
    /// A header that may occur once occurs more often.
    Repeated(Name<'static>),
    /// A header's value is malformed.
    Malformed(Name<'static>),
    /// The CSeq method is not the method of the request.
    MethodMismatch,
    /// The body is shorter than Content-Length says (RFC 3261 section 18.3).
    ShortBody,
    /// A value parsed on its own is malformed.
    Value,
    /// The writer was given a byte that must not reach the wire, or a message without its parts.
    Refused,
}

impl Error {
    /// The status a UAS answers a request with this fault (RFC 3261 sections 8.2, 21.4, 21.5; RFC 4475).
    pub fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::Scheme => 416,
            Self::TooLarge | Self::TooManyHeaders => 513,
            Self::Refused => 500,
            _ => 400,
        }
    }

    /// A reason phrase for that status.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Incomplete => "Incomplete Message",
            Self::TooLarge | Self::TooManyHeaders => "Message Too Large",
            Self::StartLine => "Bad Start Line",
            Self::HeaderLine => "Bad Header Line",
            Self::NotUtf8 => "Not UTF-8",
            Self::Version => "Version Not Supported",
            Self::RequestUri => "Bad Request-URI",
            Self::Scheme => "Unsupported URI Scheme",
            Self::Missing(_) => "Missing Header",
            Self::Repeated(_) => "Repeated Header",
            Self::Malformed(_) => "Malformed Header",
            Self::MethodMismatch => "CSeq Method Mismatch",
            Self::ShortBody => "Content-Length Mismatch",
            Self::Value => "Bad Request",
            Self::Refused => "Server Internal Error",
        }
    }

    /// The header at fault, if it is one.
    pub fn header(self) -> Option<Name<'static>> {
        match self {
            Self::Missing(n) | Self::Repeated(n) | Self::Malformed(n) => Some(n),
            _ => None,
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())?;
        if let Some(name) = self.header() {
            write!(f, ": {name}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
