//! TOML and flags to each room's configuration.

mod args;
mod check;
mod cores;
mod error;
mod file;
mod plan;

pub use args::{Args, Command};
pub use check::read;
pub use cores::{parse_cores, parse_ports};
pub use error::Error;
pub use file::{Calls, Dtls, File, Http, Limits, Media, Route, Sip, Trunk, User};
pub use plan::plan;
