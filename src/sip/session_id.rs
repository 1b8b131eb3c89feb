//! `Session-ID` (RFC 7989): both parties' halves, carried through, with one of our own for a party that has none.

use super::Stack;
use super::leg::LegKey;
use crate::leg::{Event, SessionId};
use sip_codec::{Message, Name};

/// The header.
pub(super) const NAME: Name<'static> = Name::Other("Session-ID");
const NIL: &str = "00000000000000000000000000000000";

/// The halves of a leg: of the party that it leads to, and of the one behind us.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Names {
    pub far: Option<SessionId>,
    pub near: Option<SessionId>,
}

impl Names {
    /// The header's value: the half of whoever we speak for, and that of whoever we speak to.
    pub fn value(&self) -> String {
        let half = |id: Option<SessionId>| id.map_or_else(|| NIL.to_owned(), |id| id.to_string());
        format!("{};remote={}", half(self.near), half(self.far))
    }
}

/// The half of whoever sent a message. One of RFC 7329 has no `remote`.
pub(super) fn read(message: &Message<'_>) -> Option<SessionId> {
    message.header(NAME)?.split(';').next()?.trim().parse().ok()
}

impl Stack {
    pub(super) fn new_session_id(&mut self) -> SessionId {
        SessionId::random(self.random.u64(), self.random.u64())
    }

    /// Takes the far party's half from a message of its; of one that answers and has none, makes one.
    pub(super) fn learn_session(&mut self, key: LegKey, message: &Message<'_>) {
        let Some(known) = self.legs.get(key).map(|leg| leg.names.far) else { return };
        let answers = message.code().is_some_and(|code| (200..300).contains(&code)) && known.is_none();
        let told = match read(message) {
            Some(told) => told,
            None if answers => self.new_session_id(),
            None => return,
        };
        let Some(leg) = self.legs.get_mut(key).filter(|_| known != Some(told)) else { return };
        leg.names.far = Some(told);
        if leg.known {
            let leg = leg.id;
            self.tell(Event::Named { leg, session: told });
        }
    }

    /// The party behind us has this half.
    pub(super) fn on_named(&mut self, key: LegKey, session: SessionId) {
        if let Some(leg) = self.legs.get_mut(key) {
            leg.names.near = Some(session);
        }
    }
}
