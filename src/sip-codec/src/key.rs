//! The few values by which a message is steered.

use crate::index::{MAX_SIZE, line_end, read_line};
use crate::text::split_list;
use crate::{CSeq, Error, Message, Method, Name, NameAddr, StartLine, Via, frame, name};

/// What steers a message to its shard, transaction and dialog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key<'a> {
    /// The method of `CSeq`, which a response has too.
    pub method: Method<'a>,
    /// `CSeq` number.
    pub cseq: u32,
    /// True for a request.
    pub is_request: bool,
    /// The topmost Via's branch; empty if it has none (RFC 2543).
    pub branch: &'a str,
    /// Call-ID.
    pub call_id: &'a str,
    /// From tag.
    pub from_tag: Option<&'a str>,
    /// To tag.
    pub to_tag: Option<&'a str>,
}

/// The values of a key, in the order of [`KEYED`].
type Values<'a> = [Option<&'a str>; 5];

const KEYED: [Name<'static>; 5] = [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq];

impl<'a> Key<'a> {
    /// Reads the key of an indexed message.
    pub fn read(message: &Message<'a>) -> Result<Self, Error> {
        let values = KEYED.map(|name| message.header(name));
        Self::new(values, matches!(message.start(), StartLine::Request { .. }))
    }

    /// Reads the key of a message that is not indexed yet, and no further than it must. What it says of a message
    /// that [`Message::parse`] accepts is what [`Self::read`] says; of another it may say anything.
    pub fn scan(data: &'a [u8]) -> Result<Self, Error> {
        if data.len() > MAX_SIZE {
            return Err(Error::TooLarge);
        }
        let start = frame::skip_empty_lines(data);
        let is_response = data.get(start..start + 4).is_some_and(|head| head.eq_ignore_ascii_case(b"SIP/"));
        let mut at = line_end(data, start)? + 2;
        let mut values: Values<'a> = [None; 5];
        while values.iter().any(Option::is_none) && !data.get(at..).is_some_and(|d| d.starts_with(b"\r\n")) {
            let (entry, next) = read_line(data, at)?;
            let place = KEYED.iter().position(|name| name::number(*name) == entry.number());
            if let Some(value @ None) = place.and_then(|place| values.get_mut(place)) {
                *value = Some(entry.value_of(data)?);
            }
            at = next;
        }
        Self::new(values, !is_response)
    }

    fn new(values: Values<'a>, is_request: bool) -> Result<Self, Error> {
        let [via, from, to, call_id, cseq] = values;
        let via = split_list(via.unwrap_or("")).next().ok_or(Error::Missing(Name::Via))?;
        let via = Via::parse(via).map_err(|_| Error::Malformed(Name::Via))?;
        let tag = |value: Option<&'a str>, name| {
            let addr = NameAddr::parse(value.ok_or(Error::Missing(name))?);
            addr.map(|addr| addr.tag()).map_err(|_| Error::Malformed(name))
        };
        let call_id = call_id.ok_or(Error::Missing(Name::CallId))?;
        let cseq = CSeq::parse(cseq.ok_or(Error::Missing(Name::CSeq))?);
        let CSeq { number, method } = cseq.map_err(|_| Error::Malformed(Name::CSeq))?;
        Ok(Self {
            method,
            cseq: number,
            is_request,
            branch: via.branch().unwrap_or(""),
            call_id,
            from_tag: tag(from, Name::From)?,
            to_tag: tag(to, Name::To)?,
        })
    }
}
