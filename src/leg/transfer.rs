//! Transfers: a party asks that the other one be connected with somebody else (RFC 3515, RFC 5589), or takes the place
//! of one (RFC 3891).

use super::{LegId, Party, Reason};

/// What a party asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// Whom the other party shall be connected with; empty where `replaces` names a leg.
    pub to: Party,
    /// The call there that it takes over (an attended transfer).
    pub replaces: Option<Replaces>,
    /// Who asks, where that is to be told (Referred-By, RFC 3892).
    pub by: Option<Party>,
}

/// Whose place is taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Replaces {
    /// That of the party behind this leg of ours.
    Leg(LegId),
    /// That of somebody in a dialog of others.
    Dialog(Dialog),
}

/// A dialog of others, as whoever shall be called knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dialog {
    /// Its Call-ID.
    pub call_id: String,
    /// The called party's tag.
    pub to_tag: String,
    /// The tag of the party that is replaced.
    pub from_tag: String,
    /// Only while it is early.
    pub early_only: bool,
}

/// What a dialled leg says of the transfer that it is for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Referral {
    /// Who asked for it.
    pub by: Option<Party>,
    /// The dialog that it takes over.
    pub replaces: Option<Dialog>,
}

/// How far a transfer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Somebody is called: a SIP code from 100 to 199.
    Trying(u16),
    /// The other party is connected elsewhere.
    Done,
    /// It is not: the call goes on as it was.
    Failed(Reason),
}
