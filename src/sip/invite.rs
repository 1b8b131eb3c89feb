//! What an INVITE brings, and the codes that refuse it.

use super::Trunk;
use super::body::Body;
use super::reliable::Reliable;
use super::session_timer::{Asked, LEAST};
use super::write::MAX_BREADTH;
use crate::leg::Carried;
use crate::sdp::Session;
use sip_codec::{Message, Name};

/// What an INVITE brings beside who calls whom.
pub(super) struct Brought {
    pub offer: Option<Box<Session>>,
    pub carried: Box<Carried>,
    pub session: Asked,
    pub reliable: Reliable,
}

/// A code, with the header that says what would do.
pub(super) type Wrong = (u16, Option<(Name<'static>, String)>);

impl Brought {
    /// Reads it, as this trunk may bring it.
    pub fn read(message: &Message<'_>, trunk: &Trunk) -> Result<Brought, Wrong> {
        let breadth = message.header(MAX_BREADTH).and_then(|value| value.trim().parse().ok());
        if breadth == Some(0) {
            return Err((440, None));
        }
        let (body, parts) = Body::open(message, |kind| trunk.passes(kind));
        let offer = match body {
            Body::Broken => return Err((400, None)),
            Body::Foreign => return Err((415, Some((Name::Accept, trunk.accept())))),
            Body::None => None,
            Body::Session(session) => Some(session),
        };
        let least = (trunk.session.min.as_secs() as u32).max(LEAST);
        let session =
            Asked::read(message, least).map_err(|()| (422, Some((Name::MinSe, least.to_string()))))?;
        let reliable =
            Reliable::read(message, trunk).map_err(|()| (421, Some((Name::Require, "100rel".to_owned()))))?;
        let carried = Box::new(Carried { breadth, parts, ..Carried::default() });
        Ok(Brought { offer, carried, session, reliable })
    }
}
