//! SIPp on both sides of a gateway: calls from one trunk to another, at rising rates, on one pinned core.
//!
//! `loadtest sipp` starts the gateway on a core of its own and SIPp on another, plays one scenario of `loadtest/sipp` a
//! step, and gathers SIPp's statistics and what the system says of the gateway. SIPp needs about as much CPU a call as
//! what it measures, so its own is told beside: a rate counts only as the gateway's limit while SIPp had time left.

mod play;
mod register;
mod report;
mod scene;
mod stat;

use clap::ValueEnum;
use std::io;
use std::path::PathBuf;

/// What the calls are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Set up, held for a time, hung up.
    Calls,
    /// The same, put on hold and resumed by re-INVITE between.
    Holds,
    /// Browser users who sign in, each of whom the gateway registers with SIPp.
    Registers,
}

/// What is played.
#[derive(Clone, Debug, clap::Args)]
pub struct Sipp {
    /// What the calls are.
    #[arg(long, value_enum, default_value = "calls")]
    pub kind: Kind,
    /// Calls a second, one step each.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 200, 400, 600, 800, 1000])]
    pub rates: Vec<u32>,
    /// Seconds of each step in which calls begin.
    #[arg(long, default_value_t = 5)]
    pub seconds: u32,
    /// Milliseconds that a call lasts once it is set up, and that it is held and resumed each.
    #[arg(long, default_value_t = 500)]
    pub hold_ms: u32,
    /// The caller plays PCMU and the callee echoes it.
    #[arg(long)]
    pub rtp: bool,
    /// Both trunks have `shared_rtp_ports`, and every call an RTP address of its own. Without, a call takes four ports
    /// that rest for ten seconds when it is over, so that 50,000 ports last for some 1,100 calls a second.
    #[arg(long, conflicts_with = "rtp")]
    pub shared: bool,
    /// The gateway's core.
    #[arg(long, default_value_t = 1)]
    pub core: usize,
    /// SIPp's core: the caller's, and the callee's after a comma where there is another.
    #[arg(long, value_delimiter = ',', default_values_t = [0])]
    pub own_cores: Vec<usize>,
    /// The gateway's binary; the one beside this program where absent.
    #[arg(long)]
    pub gateway: Option<PathBuf>,
    /// The folder of the scenarios.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/sipp"))]
    pub scenarios: PathBuf,
    /// Where the report goes as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Where the report goes as Markdown, too.
    #[arg(long)]
    pub markdown: Option<PathBuf>,
}

/// Plays it, and writes the report to standard output and where it was told to.
pub fn run(sipp: &Sipp) -> io::Result<()> {
    let scene = scene::Scene::new(sipp)?;
    let mut sessions = match sipp.kind {
        Kind::Registers => Some(register::sessions(sipp, &scene)?),
        Kind::Calls | Kind::Holds => None,
    };
    let mut steps = Vec::new();
    for &rate in &sipp.rates {
        let step = match &mut sessions {
            Some(sessions) => register::step(sipp, &scene, sessions, rate)?,
            None => play::step(sipp, &scene, rate)?,
        };
        eprintln!(
            "{rate} calls a second: {:.0} reached, {} failed, {:.3} ms of the gateway's CPU each; core {:.0} %, SIPp {:.0} and {:.0} %",
            step.reached,
            step.failed,
            step.cpu_ms,
            step.gateway_percent,
            step.caller_percent,
            step.callee_percent,
        );
        steps.push(step);
    }
    if steps.iter().all(|step| step.failed == 0) {
        scene.clear();
    } else {
        eprintln!("what SIPp and the gateway logged is in {}", scene.folder.display());
    }
    report::write(sipp, &steps)
}

impl Sipp {
    /// Users that are registered, over all steps.
    fn registrations(&self) -> usize {
        self.rates.iter().map(|rate| (rate * self.seconds) as usize).sum()
    }
}
