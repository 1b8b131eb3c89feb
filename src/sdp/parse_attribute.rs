//! Attributes of sessions and media.

use super::media::{
    Attribute, Crypto, Direction, Extmap, Feedback, Fingerprint, Fmtp, Ice, Media, Rtcp, Rtpmap, Setup, Ssrc,
};
use super::parse::{address, payload};
use super::session::{Group, Session};
use super::{Error, MAX_CANDIDATES, MAX_OPTIONS};

/// Splits an attribute into name and value; keeps it unread.
fn split(text: &str) -> Attribute {
    match text.split_once(':') {
        Some((name, value)) => Attribute { name: name.into(), value: Some(value.into()) },
        None => Attribute { name: text.into(), value: None },
    }
}

/// Sets what may be said once; the same again is no contradiction.
fn set<T: PartialEq>(slot: &mut Option<T>, value: T) -> Result<(), Error> {
    match slot {
        Some(old) if *old != value => Err(Error::Duplicate),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

impl Session {
    pub(super) fn attribute(&mut self, text: &str) -> Result<(), Error> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.trim();
        if let Some(direction) = Direction::from_token(text) {
            return set(&mut self.direction, direction);
        }
        if self.ice.attribute(name, value)? {
            return Ok(());
        }
        match name {
            "ice-lite" => self.ice_lite = true,
            "fingerprint" => self.fingerprints.push(fingerprint(value)?),
            "setup" => set(&mut self.setup, Setup::from_token(value).ok_or(Error::Setup)?)?,
            "extmap-allow-mixed" => self.extmap_allow_mixed = true,
            "group" => self.groups.push(group(value)?),
            _ => self.other.push(split(text)),
        }
        Ok(())
    }
}

impl Ice {
    /// Takes the attribute, if it is one of ICE.
    fn attribute(&mut self, name: &str, value: &str) -> Result<bool, Error> {
        match name {
            "ice-ufrag" => set(&mut self.ufrag, ice_chars(value, 4)?)?,
            "ice-pwd" => set(&mut self.pwd, ice_chars(value, 22)?)?,
            "ice-options" => {
                for option in value.split_ascii_whitespace().map(String::from) {
                    if self.options.contains(&option) {
                        continue;
                    }
                    if self.options.len() >= MAX_OPTIONS {
                        return Err(Error::TooMany);
                    }
                    self.options.push(option);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// `*ice-char`, from `least` to 256 of them (RFC 8839 section 5.4).
fn ice_chars(value: &str, least: usize) -> Result<String, Error> {
    let legal = value
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'='));
    if legal && (least..=256).contains(&value.len()) { Ok(value.into()) } else { Err(Error::Ice) }
}

fn fingerprint(value: &str) -> Result<Fingerprint, Error> {
    let (hash, digits) = value.split_once(' ').ok_or(Error::Fingerprint)?;
    let hash = hash.to_ascii_lowercase();
    let digest = digits
        .trim()
        .split(':')
        .map(|pair| match pair.as_bytes() {
            [a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => u8::from_str_radix(pair, 16).ok(),
            _ => None,
        })
        .collect::<Option<Vec<u8>>>()
        .ok_or(Error::Fingerprint)?;
    let length = match hash.as_str() {
        "md2" | "md5" => 16,
        "sha-1" => 20,
        "sha-224" => 28,
        "sha-256" => 32,
        "sha-384" => 48,
        "sha-512" => 64,
        _ => digest.len().min(64),
    };
    if digest.len() == length { Ok(Fingerprint { hash, digest }) } else { Err(Error::Fingerprint) }
}

/// A token of RFC 4566: what a mid, a group's semantics and names may be made of.
fn token(value: &str) -> Result<String, Error> {
    let legal = !value.is_empty() && value.len() <= 256 && value.bytes().all(|byte| byte.is_ascii_graphic());
    if legal { Ok(value.into()) } else { Err(Error::Group) }
}

fn group(value: &str) -> Result<Group, Error> {
    let mut words = value.split_ascii_whitespace();
    let semantics = token(words.next().ok_or(Error::Group)?)?;
    Ok(Group { semantics, mids: words.map(token).collect::<Result<_, _>>()? })
}

impl Media {
    pub(super) fn parse_attribute(&mut self, text: &str) -> Result<(), Error> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.trim();
        if let Some(direction) = Direction::from_token(text) {
            return set(&mut self.direction, direction);
        }
        if self.ice.attribute(name, value)? || self.transport(name, value)? || self.format(name, value)? {
            return Ok(());
        }
        self.other.push(split(text));
        Ok(())
    }

    /// Takes the attribute, if it is one of transport and grouping and makes sense.
    fn transport(&mut self, name: &str, value: &str) -> Result<bool, Error> {
        match name {
            "rtcp" => set(&mut self.rtcp, rtcp(value)?)?,
            "rtcp-mux" => self.rtcp_mux = true,
            "rtcp-mux-only" => self.rtcp_mux_only = true,
            "rtcp-rsize" => self.rtcp_rsize = true,
            "mid" => set(&mut self.mid, token(value)?)?,
            "bundle-only" => self.bundle_only = true,
            "candidate" if self.candidates.len() >= MAX_CANDIDATES => self.candidates_ignored += 1,
            "candidate" => self.candidates.push(value.into()),
            "end-of-candidates" => self.end_of_candidates = true,
            "fingerprint" => self.fingerprints.push(fingerprint(value)?),
            "setup" => set(&mut self.setup, Setup::from_token(value).ok_or(Error::Setup)?)?,
            "crypto" => self.cryptos.push(crypto(value)?),
            "msid" if !value.is_empty() => self.msids.push(value.into()),
            "ssrc" => match ssrc(value) {
                Some(ssrc) => self.ssrcs.push(ssrc),
                None => return Ok(false),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes the attribute, if it is one of formats and makes sense.
    fn format(&mut self, name: &str, value: &str) -> Result<bool, Error> {
        let taken = match name {
            "rtpmap" => match rtpmap(value) {
                Some(map) => self.add_rtpmap(map)?,
                None => false,
            },
            "fmtp" => push(&mut self.fmtps, fmtp(value)),
            "rtcp-fb" => push(&mut self.feedback, feedback(value)),
            "extmap" => push(&mut self.extmaps, extmap(value)),
            "extmap-allow-mixed" => {
                self.extmap_allow_mixed = true;
                true
            }
            "ptime" => fill(&mut self.ptime_ms, value)?,
            "maxptime" => fill(&mut self.maxptime_ms, value)?,
            _ => false,
        };
        Ok(taken)
    }

    /// Two different meanings of one number would let two readers hear two codecs.
    fn add_rtpmap(&mut self, map: Rtpmap) -> Result<bool, Error> {
        match self.rtpmaps.iter().find(|old| old.payload == map.payload) {
            Some(old) if *old == map => (),
            Some(_) => return Err(Error::Duplicate),
            None => self.rtpmaps.push(map),
        }
        Ok(true)
    }
}

fn push<T>(list: &mut Vec<T>, item: Option<T>) -> bool {
    let taken = item.is_some();
    list.extend(item);
    taken
}

fn fill(slot: &mut Option<u16>, value: &str) -> Result<bool, Error> {
    match value.parse() {
        Ok(0) | Err(_) => Ok(false),
        Ok(number) => set(slot, number).map(|()| true),
    }
}

/// `port [IN IP4 address]` (RFC 3605): where RTCP goes must be beyond doubt.
fn rtcp(value: &str) -> Result<Rtcp, Error> {
    let mut words = value.split_ascii_whitespace();
    let port = words.next().and_then(|word| word.parse().ok()).ok_or(Error::Address)?;
    let address = match (words.next(), words.next(), words.next(), words.next()) {
        (None, ..) => None,
        (Some("IN"), Some(kind), Some(host), None) => Some(address(kind, host)?),
        _ => return Err(Error::Address),
    };
    Ok(Rtcp { port, address })
}

fn crypto(value: &str) -> Result<Crypto, Error> {
    let mut words = value.splitn(3, ' ');
    let mut next = || words.next().filter(|word| !word.is_empty()).ok_or(Error::Crypto);
    let tag = next()?;
    if tag.len() > 9 || !tag.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::Crypto);
    }
    Ok(Crypto {
        tag: tag.parse().map_err(|_| Error::Crypto)?,
        suite: next()?.into(),
        keys: next()?.trim().into(),
    })
}

fn ssrc(value: &str) -> Option<Ssrc> {
    let (id, attribute) = value.split_once(' ').unwrap_or((value, ""));
    Some(Ssrc { id: id.parse().ok()?, attribute: attribute.trim().into() })
}

fn rtpmap(value: &str) -> Option<Rtpmap> {
    let (number, encoding) = value.split_once([' ', '\t'])?;
    let mut parts = encoding.trim().split('/');
    let (name, clock) = (parts.next()?, parts.next()?);
    let channels = parts.next();
    let map = Rtpmap {
        payload: payload(number)?,
        name: name.into(),
        clock: clock.trim().parse().ok()?,
        channels: channels.map_or(Some(1), |text| text.trim().parse().ok())?,
    };
    let sensible = !name.is_empty()
        && !name.contains(' ')
        && map.clock > 0
        && map.channels > 0
        && parts.next().is_none();
    sensible.then_some(map)
}

fn fmtp(value: &str) -> Option<Fmtp> {
    let (number, value) = value.split_once(' ')?;
    Some(Fmtp { payload: payload(number)?, value: value.trim().into() })
}

fn feedback(value: &str) -> Option<Feedback> {
    let (number, value) = value.split_once(' ')?;
    let payload = if number == "*" { None } else { Some(payload(number)?) };
    let value = value.trim();
    (!value.is_empty()).then(|| Feedback { payload, value: value.into() })
}

fn extmap(value: &str) -> Option<Extmap> {
    let (id, uri) = value.split_once(' ')?;
    let (id, direction) = match id.split_once('/') {
        Some((id, direction)) => (id, Some(Direction::from_token(direction)?)),
        None => (id, None),
    };
    Some(Extmap { id: id.parse().ok()?, direction, uri: uri.trim().into() })
}
