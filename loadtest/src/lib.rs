//! The load generator: thousands of browsers and SIP parties, played against a running gateway without its help.
//!
//! | Module | What |
//! |---|---|
//! | [`engine`] | paces, stamps, sends, receives and measures packet streams between pairs of UDP endpoints |
//! | [`calls`] | browsers and SIP parties whose media the engine carries |
//! | [`gateway`], [`proc`], [`metrics`] | the gateway that is measured, and what the system and it say of it |
//! | [`run`], [`profile`], [`report`], [`chart`] | what is played, and what came of it |
//! | [`peers`] | floors and rtpengine beside the gateway under the same packets |
//! | [`sipp`] | calls by SIPp from one trunk to another |

pub mod args;
pub mod calls;
pub mod chart;
pub mod engine;
pub mod gateway;
pub mod limits;
pub mod metrics;
pub mod peers;
pub mod proc;
pub mod profile;
pub mod report;
pub mod run;
pub mod sipp;
