//! Who a browser user is at a SIP server, where that came with the sign-in and not from the configuration.

use super::TrunkId;

/// A password. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A SIP identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The SIP server that knows it.
    pub trunk: TrunkId,
    /// User part there.
    pub user: String,
    /// User name for digest.
    pub auth_user: String,
    /// The secret for digest, once it is known.
    pub secret: Option<Secret>,
}

impl Identity {
    /// Whether it is the same user at the same place; secrets may differ.
    pub fn is(&self, other: &Identity) -> bool {
        (self.trunk, &self.user, &self.auth_user) == (other.trunk, &other.user, &other.auth_user)
    }
}
