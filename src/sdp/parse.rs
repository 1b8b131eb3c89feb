//! Text into descriptions: lines and sections.

use super::media::{Kind, Media, Protocol};
use super::session::{Address, Bandwidth, Connection, Origin, Session, Timing};
use super::{Error, MAX_BYTES, MAX_LINE, MAX_LINES, MAX_MEDIA, MAX_PAYLOADS};

impl Session {
    /// Reads a description. Bytes that are not UTF-8 are replaced, as they can stand only in free text.
    pub fn parse(data: &[u8]) -> Result<Session, Error> {
        if data.len() > MAX_BYTES {
            return Err(Error::TooLong);
        }
        let text = String::from_utf8_lossy(data);
        let mut reader = Reader::default();
        for line in text.split('\n') {
            reader.line(line.strip_suffix('\r').unwrap_or(line))?;
        }
        reader.finish()
    }
}

#[derive(Default)]
struct Reader {
    session: Session,
    version: bool,
    origin: bool,
    lines: usize,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), Error> {
        if line.len() > MAX_LINE {
            return Err(Error::TooLong);
        }
        if line.bytes().any(|byte| matches!(byte, 0 | b'\r')) {
            return Err(Error::Line);
        }
        let line = line.trim_end_matches([' ', '\t']);
        if line.is_empty() {
            return Ok(());
        }
        let (letter, value) = line.split_once('=').ok_or(Error::Line)?;
        let &[letter] = letter.as_bytes() else { return Err(Error::Line) };
        if letter != b'v' && !self.version {
            return Err(Error::Version);
        }
        self.lines += 1;
        if self.lines > MAX_LINES {
            return Err(Error::TooMany);
        }
        if letter == b'm' {
            self.lines = 0;
            return self.media(value);
        }
        if self.session.media.is_empty() {
            self.session_line(letter, value)
        } else {
            self.media_line(letter, value)
        }
    }

    fn session_line(&mut self, letter: u8, value: &str) -> Result<(), Error> {
        let session = &mut self.session;
        match letter {
            b'v' if self.version || value.trim() != "0" => return Err(Error::Version),
            b'v' => self.version = true,
            b'o' => {
                once(&mut self.origin)?;
                session.origin = origin(value)?;
            }
            b's' => single(&mut session.name, if value.is_empty() { "-" } else { value })?,
            b'i' => session.information = Some(value.into()),
            b'u' => session.uri = Some(value.into()),
            b'e' => session.emails.push(value.into()),
            b'p' => session.phones.push(value.into()),
            b'c' => set_connection(&mut session.connection, value)?,
            b'b' => session.bandwidths.extend(bandwidth(value)),
            b't' => session.timings.push(timing(value)?),
            b'r' => session.timings.last_mut().ok_or(Error::Line)?.repeats.push(value.into()),
            b'z' => session.zone = Some(value.into()),
            // Keys in clear text: obsolete, and MUST be ignored (RFC 8866 section 5.12).
            b'k' => (),
            b'a' => session.attribute(value)?,
            _ => return Err(Error::Line),
        }
        Ok(())
    }

    fn media_line(&mut self, letter: u8, value: &str) -> Result<(), Error> {
        let Some(media) = self.session.media.last_mut() else { return Err(Error::Line) };
        match letter {
            b'i' => media.information = Some(value.into()),
            b'c' => set_connection(&mut media.connection, value)?,
            b'b' => media.bandwidths.extend(bandwidth(value)),
            b'k' => (),
            b'a' => media.parse_attribute(value)?,
            _ => return Err(Error::Line),
        }
        Ok(())
    }

    fn media(&mut self, value: &str) -> Result<(), Error> {
        if self.session.media.len() >= MAX_MEDIA {
            return Err(Error::TooMany);
        }
        // Most have one, descriptions are kept as long as their calls, and room for four is 2 kB.
        self.session.media.reserve_exact(1);
        self.session.media.push(media(value)?);
        Ok(())
    }

    fn finish(mut self) -> Result<Session, Error> {
        if !self.version {
            return Err(Error::Version);
        }
        if !self.origin {
            return Err(Error::Origin);
        }
        if self.session.name.is_empty() {
            self.session.name = "-".into();
        }
        if self.session.timings.is_empty() {
            self.session.timings.push(Timing::default());
        }
        Ok(self.session)
    }
}

fn once(seen: &mut bool) -> Result<(), Error> {
    if std::mem::replace(seen, true) { Err(Error::Duplicate) } else { Ok(()) }
}

fn single(slot: &mut String, value: &str) -> Result<(), Error> {
    if !slot.is_empty() && slot != value {
        return Err(Error::Duplicate);
    }
    *slot = value.into();
    Ok(())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `user id version IN IP4 address`. Some user names hold spaces: the last five words are the rest.
fn origin(value: &str) -> Result<Origin, Error> {
    let mut words = value.rsplitn(6, ' ');
    let mut next = || words.next().ok_or(Error::Origin);
    let (host, kind, net, version, id) = (next()?, next()?, next()?, next()?, next()?);
    let user = words.next().filter(|user| !user.is_empty()).unwrap_or("-");
    if net != "IN" || !is_digits(id) || !is_digits(version) {
        return Err(Error::Origin);
    }
    Ok(Origin {
        user: user.replace(' ', "_"),
        id: id.into(),
        version: version.into(),
        address: address(kind, host)?,
    })
}

/// An address after `IN`. A literal says its family itself; a wrong type before it does no harm.
pub(super) fn address(kind: &str, host: &str) -> Result<Address, Error> {
    let v6 = match kind {
        "IP4" => false,
        "IP6" => true,
        _ => return Err(Error::Address),
    };
    if let Ok(ip) = host.parse() {
        return Ok(Address::Ip(ip));
    }
    // What looks like a literal and is none must not be taken for a name.
    let named = host.bytes().any(|byte| byte.is_ascii_alphabetic());
    let legal = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if named && legal && host.len() <= 255 { Ok(Address::Host(host.into(), v6)) } else { Err(Error::Address) }
}

fn set_connection(slot: &mut Option<Connection>, value: &str) -> Result<(), Error> {
    let parsed = connection(value)?;
    match slot {
        None => *slot = Some(parsed),
        Some(old) if *old == parsed => (),
        // Layered multicast has several (RFC 8866 section 5.7); the first is the base layer.
        Some(old) if is_multicast(old) && is_multicast(&parsed) => (),
        Some(_) => return Err(Error::Duplicate),
    }
    Ok(())
}

fn is_multicast(connection: &Connection) -> bool {
    connection.address.ip().is_some_and(|ip| ip.is_multicast())
}

fn connection(value: &str) -> Result<Connection, Error> {
    let mut words = value.split_ascii_whitespace();
    let (Some("IN"), Some(kind), Some(host), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Error::Address);
    };
    let mut parts = host.split('/');
    let address = address(kind, parts.next().unwrap_or(""))?;
    let number = |part: Option<&str>| match part {
        None => Ok(None),
        Some(text) if is_digits(text) => text.parse::<u16>().map(Some).map_err(|_| Error::Address),
        Some(_) => Err(Error::Address),
    };
    let (first, second) = (number(parts.next())?, number(parts.next())?);
    if parts.next().is_some() {
        return Err(Error::Address);
    }
    // IPv6 has no time to live here: the first number is the count.
    if address.ip().is_some_and(|ip| ip.is_ipv6()) {
        return if second.is_none() {
            Ok(Connection { address, ttl: None, count: first })
        } else {
            Err(Error::Address)
        };
    }
    let ttl = first.map(u8::try_from).transpose().map_err(|_| Error::Address)?;
    Ok(Connection { address, ttl, count: second })
}

/// A malformed bandwidth is left out: nothing depends on it.
fn bandwidth(value: &str) -> Option<Bandwidth> {
    let (kind, value) = value.split_once(':')?;
    Some(Bandwidth { kind: kind.into(), value: value.trim().parse().ok()? })
}

fn timing(value: &str) -> Result<Timing, Error> {
    let mut words = value.split_ascii_whitespace();
    let mut next = || words.next().and_then(|word| word.parse().ok()).ok_or(Error::Timing);
    Ok(Timing { start: next()?, stop: next()?, repeats: Vec::new() })
}

fn media(value: &str) -> Result<Media, Error> {
    let mut words = value.split_ascii_whitespace();
    let mut next = || words.next().ok_or(Error::Media);
    let (kind, port, protocol) = (next()?, next()?, next()?);
    let (port, ports) = port.split_once('/').unwrap_or((port, "1"));
    if !is_digits(port) || !is_digits(ports) {
        return Err(Error::Media);
    }
    let mut media = Media {
        kind: Kind::from_token(kind),
        port: port.parse().map_err(|_| Error::Media)?,
        ports: ports.parse::<u16>().map_err(|_| Error::Media)?.max(1),
        protocol: Protocol::from_token(protocol),
        ..Media::default()
    };
    for (n, word) in words.enumerate() {
        if n >= MAX_PAYLOADS {
            return Err(Error::TooMany);
        }
        if media.protocol.is_rtp() {
            let payload = payload(word).ok_or(Error::Media)?;
            if !media.payloads.contains(&payload) {
                media.payloads.push(payload);
            }
        } else {
            media.formats.push(word.into());
        }
    }
    Ok(media)
}

/// A payload type number: 0 to 127.
pub(super) fn payload(word: &str) -> Option<u8> {
    if !is_digits(word) {
        return None;
    }
    word.parse().ok().filter(|&payload| payload < 128)
}
