//! One process: threads pinned to cores, signals, drain, and what is said on the way.

mod admin;
mod ask;
mod certificate;
mod check;
mod demo;
mod locate;
mod log;
mod notes;
mod run;
mod signals;
mod trial;

pub use demo::Demo;
pub use run::{Failure, run};
