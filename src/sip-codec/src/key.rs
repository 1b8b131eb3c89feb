//! The few values by which a message is steered, read in one pass.

use crate::{Error, Message, Method, Name, NameAddr, StartLine, Via};

/// What steers a message to its shard, transaction and dialog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key<'a> {
    /// The method of `CSeq`, which a response has too.
    pub method: Method<'a>,
    /// `CSeq` number.
    pub cseq: u32,
    /// True for a request.
    pub is_request: bool,
    /// The topmost Via's branch.
    pub branch: &'a str,
    /// Call-ID.
    pub call_id: &'a str,
    /// From tag.
    pub from_tag: Option<&'a str>,
    /// To tag.
    pub to_tag: Option<&'a str>,
}

impl<'a> Key<'a> {
    /// Reads the key of an indexed message.
    pub fn read(message: &Message<'a>) -> Result<Self, Error> {
        let cseq = message.cseq()?;
        let via: Via<'a> = message.via()?;
        let tag = |name| message.address(name).map(|addr: NameAddr<'a>| addr.tag());
        Ok(Self {
            method: cseq.method,
            cseq: cseq.number,
            is_request: matches!(message.start(), StartLine::Request { .. }),
            branch: via.branch().unwrap_or(""),
            call_id: message.call_id()?,
            from_tag: tag(Name::From)?,
            to_tag: tag(Name::To)?,
        })
    }
}
