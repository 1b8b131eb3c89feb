//! The command line: argv to exit code.

use bridgehead::config::Args;
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match bridgehead::node::run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bridgehead: {failure}");
            ExitCode::from(failure.code)
        }
    }
}
