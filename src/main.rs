//! The command line: argv to exit code.

use bridgehead::config::Args;
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        // Help and version are no errors.
        Err(told) if !told.use_stderr() => told.exit(),
        Err(wrong) => {
            eprintln!("bridgehead: {}", one_line(&wrong.to_string()));
            return ExitCode::from(2);
        }
    };
    match bridgehead::node::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bridgehead: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

/// The first paragraph, in one line; what follows it is the usage, which `--help` tells better.
fn one_line(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or(text);
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let line = words.join(" ");
    format!("{}; see --help", line.strip_prefix("error: ").unwrap_or(&line))
}
