//! SIP messages (RFC 3261): a borrowing parser and a writer into the caller's buffer.
