//! The load generator: thousands of browsers and SIP parties, played against a running gateway without its help.
//!
//! | Module | What |
//! |---|---|
//! | [`engine`] | paces, stamps, sends, receives and measures packet streams between pairs of UDP endpoints |

pub mod engine;
