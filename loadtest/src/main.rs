//! `loadtest`: see `README.md`.

use clap::Parser;
use loadtest::args::Args;
use loadtest::gateway::{self, Gateway, Wanted};
use loadtest::profile::Profile;
use loadtest::report::Report;
use loadtest::{chart, limits, peers, run};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|word| peers::Command::NAMES.contains(&word.as_str())) {
        return peers::Command::parse().run();
    }
    match start(&Args::parse()) {
        Ok(report) => {
            print!("{}", report.table());
            if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::from(2)
        }
    }
}

fn start(args: &Args) -> Result<Report, String> {
    let mut profile = Profile::load(&args.profile)?;
    profile.calls = args.calls.unwrap_or(profile.calls);
    profile.step = args.step.unwrap_or(profile.step);
    profile.most = args.most.unwrap_or(profile.most.max(profile.calls));
    profile.seconds = args.seconds.unwrap_or(profile.seconds);
    profile.rate = args.rate.unwrap_or(profile.rate);
    profile.sessions = args.sessions.unwrap_or(profile.sessions);
    profile.churn = args.churn.unwrap_or(profile.churn);
    profile.steps = args.steps.unwrap_or(profile.steps);
    limits::raise();
    if args.realtime {
        limits::realtime();
    }
    let cores = bridgehead::net::online_cores().map_err(|error| error.to_string())?;
    let (first, last) = (cores.first().copied().unwrap_or(0), cores.last().copied().unwrap_or(0));
    let shard = args.gateway_cores.clone().unwrap_or_else(|| last.to_string());
    if let Ok(core) = shard.parse() {
        // A child inherits where it may run: its other threads shall not disturb the generator either.
        limits::pin(core);
    }
    let gateway = find(args, &profile, shard)?;
    limits::pin(args.core.unwrap_or(first));
    let report = Report {
        profile: args.profile.clone(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        setting: [
            ("srtp", format!("{:?}", args.srtp())),
            ("dtls", format!("{:?}", args.dtls)),
            ("web", format!("{:?}", args.web)),
            ("rtp", format!("{:?}", args.rtp)),
            ("signalling", if args.wss { "wss" } else { "ws" }.to_owned()),
        ]
        .into(),
        ..Report::default()
    };
    let plan = args.plan(gateway.http, profile.most)?;
    let report = run::play(gateway, plan, profile, report).map_err(|error| error.to_string())?;
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        write(file, &text)?;
    }
    if let Some(file) = &args.chart {
        write(file, &chart::svg(&report))?;
    }
    Ok(report)
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn find(args: &Args, profile: &Profile, cores: String) -> Result<Gateway, String> {
    if let Some(http) = args.http {
        return Ok(Gateway::running(http, args.pid, args.admin));
    }
    let program = args.gateway.clone().or_else(gateway::beside);
    let program = program.ok_or("no gateway: build it beside this program, or say --gateway or --http")?;
    let extra = match &args.gateway_config {
        Some(file) => {
            std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?
        }
        None => String::new(),
    };
    let wanted = Wanted {
        program,
        cores,
        agent: args.agent,
        users: args.users(profile.most),
        tls: args.wss,
        most: profile.most.max(profile.calls) + profile.sessions + 1000,
        trunk: String::new(),
        media: String::new(),
        extra,
    };
    Gateway::start(&wanted).map_err(|error| error.to_string())
}
