//! Responses: a status, safe headers and a body; and how they are written (RFC 9112 section 4).

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

/// An answer to a request.
///
/// `Date`, `Content-Length` and `Connection` are written by the connection. Values that could end a header early
/// (CR, LF, NUL and other controls) are left out and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, Cow<'static, str>)>,
    pub(super) body: Cow<'static, [u8]>,
    pub(super) close: bool,
    pub(super) refused_headers: u32,
}

impl Response {
    /// An empty answer with a status.
    pub fn new(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: Cow::Borrowed(b""), close: false, refused_headers: 0 }
    }

    /// A JSON text (RFC 8259).
    pub fn json(status: u16, text: impl Into<Cow<'static, str>>) -> Response {
        Response::new(status).header("Content-Type", "application/json").text(text)
    }

    /// Adds a header, unless the value holds control characters.
    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Response {
        let value = value.into();
        if value.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f)) {
            self.headers.push((name, value));
        } else {
            self.refused_headers += 1;
        }
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Cow<'static, [u8]>>) -> Response {
        self.body = body.into();
        self
    }

    /// Sets the body to a text.
    pub fn text(self, text: impl Into<Cow<'static, str>>) -> Response {
        self.body(match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }

    /// Closes the connection after this answer.
    pub fn close(mut self) -> Response {
        self.close = true;
        self
    }

    /// The same with another status.
    pub fn with_status(mut self, status: u16) -> Response {
        self.status = status;
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Status line and headers. `closing` says so to the far side.
    pub(super) fn write_head(&self, unix: Duration, closing: bool) -> Vec<u8> {
        let mut head = String::with_capacity(256);
        // Writing to a String never fails.
        let _ = write!(head, "HTTP/1.1 {} {}\r\nDate: {}\r\n", self.status, phrase(self.status), date(unix));
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        // RFC 9110 section 8.6: none with 1xx and 204; with 304 it would have to name the length of the 200.
        if !matches!(self.status, 100..=199 | 204 | 304) {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        if closing {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Whether a body follows the head, for a request other than HEAD.
    pub(super) fn has_body(&self) -> bool {
        !matches!(self.status, 100..=199 | 204 | 304)
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}

/// IMF-fixdate (RFC 9110 section 5.6.7).
fn date(unix: Duration) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (day, second) = (unix.as_secs() / 86_400, unix.as_secs() % 86_400);
    // Days to civil date in eras of 400 years that begin in March, so that the leap day is the last of its year.
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let year = year_of_era + era * 400 + u64::from(month >= 10);
    format!(
        "{}, {of_month:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[(day % 7) as usize],
        MONTHS[((month + 2) % 12) as usize],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_imf_fixdates() {
        let of = |seconds| date(Duration::from_secs(seconds));
        assert_eq!(of(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT"); // the example of RFC 9110
        assert_eq!(of(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(of(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(of(1_735_689_599), "Tue, 31 Dec 2024 23:59:59 GMT");
        assert_eq!(of(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
    }

    #[test]
    fn a_header_value_cannot_end_its_line() {
        for evil in ["a\r\nSet-Cookie: x", "a\nb", "a\rb", "a\0b", "\x7f"] {
            let response = Response::new(200).header("X-Test", evil);
            assert_eq!(response.refused_headers, 1);
            assert!(!response.write_head(Duration::ZERO, false).windows(6).any(|w| w == b"X-Test"));
        }
    }

    #[test]
    fn no_content_has_no_length() {
        let head = String::from_utf8(Response::new(204).write_head(Duration::ZERO, true)).unwrap();
        assert_eq!(
            head,
            "HTTP/1.1 204 No Content\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: close\r\n\r\n"
        );
    }
}
