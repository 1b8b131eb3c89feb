//! TOML and flags to each room's configuration.

mod args;
mod check;
mod cores;
mod dialogs;
mod error;
mod explain;
mod file;
mod phones;
mod plan;
mod print;
mod route;
mod server;
mod trunk;

pub use args::{AdminAddress, Args, Command};
pub use check::read;
pub use cores::{parse_cores, parse_ports};
pub use error::Error;
pub use explain::{Question, explain};
pub use file::{
    ADMIN, Admin, Calls, Dtls, File, Http, Level, Limits, Log, LogFormat, Media, Sip, Trace, Trunk, User,
};
pub use phones::Phones;
pub use plan::{plan, plan_sip};
pub use print::print;
pub use route::{Member, Rewrite, Route};
pub use server::{Dns, Place, Probe, Server, Transport};
pub use trunk::{HeaderAct, HeaderRule, HeaderWay, IdentityAs, Meaning, Reasons, Trusted};
