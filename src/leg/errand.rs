//! What users do beside calls: texts (RFC 3428), and watching what a SIP server tells of (RFC 6665).

use super::{Account, Party};

/// A text outside of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The user who sends it, or gets it.
    pub account: Account,
    /// To whom, or from whom.
    pub party: Party,
    /// Its media type, one that [`super::passes`].
    pub kind: String,
    /// What it says.
    pub text: String,
}

/// An event package.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Package {
    /// Messages that wait (RFC 3842).
    MessageSummary,
    /// What somebody's phone does (RFC 4235).
    Dialog,
    /// Whether somebody is there (RFC 3856).
    Presence,
}

impl Package {
    /// All of them.
    pub const ALL: [Package; 3] = [Package::MessageSummary, Package::Dialog, Package::Presence];

    /// Its name, as clients and SIP know it.
    pub fn name(self) -> &'static str {
        match self {
            Package::MessageSummary => "message-summary",
            Package::Dialog => "dialog",
            Package::Presence => "presence",
        }
    }

    /// The package of a name.
    pub fn named(name: &str) -> Option<Package> {
        Package::ALL.into_iter().find(|package| package.name().eq_ignore_ascii_case(name))
    }

    /// What its notifications are written in.
    pub fn kind(self) -> &'static str {
        match self {
            Package::MessageSummary => "application/simple-message-summary",
            Package::Dialog => "application/dialog-info+xml",
            Package::Presence => "application/pidf+xml",
        }
    }
}

/// What a user wants to be told of.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Watch {
    /// The user.
    pub account: Account,
    /// The package.
    pub package: Package,
    /// The user part of whom it is about; empty: the user itself.
    pub target: String,
}

/// What is told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// The SIP server tells.
    State {
        /// Its media type.
        kind: String,
        /// What it says.
        text: String,
    },
    /// It is not told of any more, or never was: the reason's name.
    Over(&'static str),
}
