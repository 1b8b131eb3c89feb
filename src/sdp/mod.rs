//! Session descriptions (RFC 8866) as values, and offer/answer (RFC 3264) between them.

/// A session description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {}
