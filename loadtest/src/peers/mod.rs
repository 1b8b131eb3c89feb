//! Peers of the gateway in comparisons: floors, which do nothing that a forwarder need not do, and rtpengine. Each is a
//! process of its own on a core of its own, under the same packets of the same [`crate::engine`], read the same way.
//!
//! | Module | What |
//! |---|---|
//! | [`floor`] | bare forwarders, started as `loadtest floor` |
//! | `rtpengine`, `ng` | rtpengine in user space, by its control protocol |
//! | [`process`] | a process that is measured, and its core |
//! | [`compare`] | `loadtest compare`: gateway, floors and rtpengine in one run |

pub mod compare;
pub mod floor;
mod machine;
mod ng;
pub mod process;
mod rtpengine;

pub use machine::Machine;

use std::io;
use std::process::ExitCode;

/// What `loadtest` does beside playing profiles.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "loadtest")]
pub enum Command {
    /// Puts gateway, floors and rtpengine under the same packets, in turn on one core, and compares them.
    Compare(compare::Compare),
    /// Plays calls by SIPp through a gateway on one core, at rising rates.
    Sipp(crate::sipp::Sipp),
    /// Is a floor: forwards what it is told to over its standard input.
    Floor(floor::Floor),
}

impl Command {
    /// The words that [`Command`] begins with.
    pub const NAMES: [&str; 3] = ["compare", "sipp", "floor"];

    /// Does it.
    pub fn run(&self) -> ExitCode {
        let done: io::Result<()> = match self {
            Command::Compare(compare) => compare::run(compare),
            Command::Sipp(sipp) => crate::sipp::run(sipp),
            Command::Floor(floor) => floor::run(*floor),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("loadtest: {error}");
                ExitCode::FAILURE
            }
        }
    }
}
