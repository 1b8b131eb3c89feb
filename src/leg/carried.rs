//! What goes across with a call beside media and attached data: who is vouched for and what must stay private, where
//! the call was before, and headers that the operator's rules pass.

use super::{Data, Party, SessionId};

/// What comes, or goes, with a call's beginning.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Carried {
    /// Who the caller is by the word of a network that is trusted (RFC 3325): a SIP and a telephone URI at most, the
    /// latter without host. Empty where nobody vouches.
    pub asserted: Vec<Party>,
    /// What the caller wants kept private (RFC 3323).
    pub privacy: Privacy,
    /// The user part by which a route presents the caller, whatever the SIP server calls it.
    pub presented: Option<String>,
    /// Where the call was before, newest first. Only from a SIP server that is trusted.
    pub past: Vec<Past>,
    /// Headers that the rules of the SIP server pass, and those that always pass, with one entry for each line.
    pub headers: Data,
    /// The caller's half of `Session-ID`; absent only of a browser's call that the call machine has not seen.
    pub session: Option<SessionId>,
    /// Headers that routes look at. They go nowhere.
    pub seen: Data,
    /// Max-Breadth, where the caller's side says it (RFC 5393 section 5.3.3).
    pub breadth: Option<u8>,
    /// Other parts of the INVITE's body that the operator lets pass (RFC 5621).
    pub parts: Vec<Part>,
}

/// Parts that come with a call.
pub const MOST_PARTS: usize = 8;
/// Bytes of all parts of a call.
pub const MOST_PART_BYTES: usize = 16 * 1024;

/// A part of a body (RFC 2046 section 5.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Part {
    /// Its Content-Type value.
    pub kind: String,
    /// Its Content-Disposition value; empty where it has none.
    pub disposition: String,
    /// Its Content-ID value, brackets and all; empty where it has none.
    pub id: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What of a caller must stay private (RFC 3323, 3325, 7044).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Privacy {
    /// `id`: the asserted identity.
    pub id: bool,
    /// `user`: whatever else names the caller.
    pub user: bool,
    /// `header`: headers by which the caller could be found.
    pub header: bool,
    /// `session`: where its media comes from.
    pub session: bool,
    /// `history`: where the call was before.
    pub history: bool,
    /// `none`: nothing, whoever else would hide it.
    pub none: bool,
    /// `critical`: rather no call than one that shows it.
    pub critical: bool,
}

impl Privacy {
    /// Whether who calls must not be seen by whoever is not trusted.
    pub fn hides_caller(self) -> bool {
        !self.none && (self.id || self.user)
    }
}

/// Which header told of a place where the call was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// `Diversion` (RFC 5806).
    Diversion,
    /// `History-Info` (RFC 7044).
    History,
}

/// A place where the call was before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Past {
    /// By which header.
    pub told: Told,
    /// Who was called there. Hosts stay behind.
    pub user: String,
    /// Its display name.
    pub display: String,
    /// What else is known: names and values that are tokens or numbers.
    pub params: Vec<(String, String)>,
    /// It must stay within the network that told it.
    pub private: bool,
}
