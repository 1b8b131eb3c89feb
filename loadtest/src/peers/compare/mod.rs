//! Gateway, floors and rtpengine under the same packets of the same engine, in turn on the same core in one run.
//!
//! Every repeat plays every subject once before the next repeat begins, so that a disturbance of some seconds meets all
//! of them alike, and ratios are taken within a repeat.

mod knee;
mod report;
mod subject;

use super::process::Core;
use crate::engine::{self, Figures, Own, Settings};
use crate::proc::{Cpu, Sample};
use bridgehead::net;
use serde::Serialize;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use subject::{Running, Subject};

/// What is compared, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Compare {
    /// Calls at once; each is 50 packets a second each way.
    #[arg(long, value_delimiter = ',', default_values_t = [200, 400])]
    pub calls: Vec<usize>,
    /// How often each is measured.
    #[arg(long, default_value_t = 5)]
    pub repeats: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds of packets before a measurement begins.
    #[arg(long, default_value_t = 2.0)]
    pub warm: f64,
    /// Seeks each subject's knee instead: the most calls at under 0.1 % lost or late, with p99 of the delay under
    /// 20 ms, between the lowest and the highest of `--calls`
    #[arg(long)]
    pub knee: bool,
    /// How near the knee is to be known, in calls.
    #[arg(long, default_value_t = 25)]
    pub grain: usize,
    /// The core of what is measured.
    #[arg(long, default_value_t = 1)]
    pub core: usize,
    /// The generator's own core.
    #[arg(long, default_value_t = 0)]
    pub own_core: usize,
    /// Only subjects whose names hold one of these.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// The gateway's binary; the one beside this program where absent.
    #[arg(long)]
    pub gateway: Option<PathBuf>,
    /// Where the report goes as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Where the report goes as Markdown, too.
    #[arg(long)]
    pub markdown: Option<PathBuf>,
}

/// One measurement of one subject.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    subject: String,
    calls: usize,
    repeat: usize,
    /// Packets that were forwarded, both ways.
    packets: u64,
    /// CPU of its process a forwarded packet, in microseconds: all, in user space, in the kernel.
    cpu_us: f64,
    user_us: f64,
    kernel_us: f64,
    /// Shares of the packets sent, in percent.
    lost_percent: f64,
    late_percent: f64,
    /// One-way delay in microseconds.
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    /// Resident memory of its process in kB, by the end.
    memory_kb: u64,
    /// How busy it was, and how busy anything else was on its core, in percent of the time.
    busy_percent: f64,
    others_percent: f64,
    /// How much of its time the generator slept, in percent, and what it was short of.
    generator_idle_percent: f64,
    generator_late_p99_us: f64,
    generator_faults: u64,
}

/// How long packets may be under way after a span is over.
const UNDER_WAY: Duration = Duration::from_millis(300);

impl Measured {
    /// Whether the generator could have done more: else it, and not the subject, may be what is measured.
    fn is_sure(&self) -> bool {
        self.generator_idle_percent >= report::SPARE && self.generator_faults == 0
    }

    /// Whether the subject carries so many calls.
    fn is_good(&self) -> bool {
        self.lost_percent + self.late_percent < 0.1 && self.p99_us < 20_000.0
    }
}

/// Compares, and writes the report to standard output and where it was told to.
pub fn run(compare: &Compare) -> io::Result<()> {
    net::pin(compare.own_core)?;
    if compare.core == compare.own_core {
        return Err(io::Error::other("generator and subject need a core each: --core, --own-core"));
    }
    let wanted = |name: &str| compare.only.is_empty() || compare.only.iter().any(|part| name.contains(part));
    let (subjects, absent) = subject::all(compare.gateway.as_deref());
    let subjects: Vec<Subject> = subjects.into_iter().filter(|subject| wanted(&subject.name())).collect();
    let absent: Vec<String> = absent.into_iter().filter(|line| wanted(line)).collect();
    for line in &absent {
        eprintln!("{line}");
    }
    if compare.knee {
        return knee::run(compare, &subjects, &absent);
    }
    let mut rows = Vec::new();
    for &calls in &compare.calls {
        for repeat in 1..=compare.repeats {
            for subject in &subjects {
                let row = measure(compare, subject, calls, repeat)
                    .map_err(|error| io::Error::other(format!("{}: {error}", subject.name())))?;
                eprintln!(
                    "{calls} calls, {repeat} of {}: {:<28} {:6.2} µs a packet, {:.3} % lost, p99 {:.0} µs, generator {:.0} % idle",
                    compare.repeats,
                    row.subject,
                    row.cpu_us,
                    row.lost_percent,
                    row.p99_us,
                    row.generator_idle_percent,
                );
                rows.push(row);
            }
        }
    }
    report::write(compare, &subjects, &absent, &rows)
}

fn measure(compare: &Compare, subject: &Subject, calls: usize, repeat: usize) -> io::Result<Measured> {
    let mut running = Running::start(subject, calls, [compare.core, compare.own_core])?;
    running.play(Duration::from_secs_f64(compare.warm))?;
    let span = running.engine().window();
    running.engine().take_own();
    let (cpu, core) = (running.sample(), Core::read(compare.core));
    let began = engine::now();
    running.play(Duration::from_secs_f64(compare.seconds))?;
    let (used, busy) = (running.sample(), Core::read(compare.core).busy_since(&core));
    let lasted = Duration::from_nanos(engine::now().saturating_sub(began));
    running.engine().window();
    let own = running.engine().take_own();
    running.play(UNDER_WAY)?;
    let [mut figures, down] =
        running.engine().take(span).ok_or_else(|| io::Error::other("the span is gone"))?;
    figures.add(&down);
    if figures.heard == 0 {
        return Err(io::Error::other("nothing was forwarded"));
    }
    let used = Used { cpu: used.since(&cpu), lasted, busy, memory: used.memory };
    Ok(row(subject, calls, repeat, &figures, &used, &own))
}

struct Used {
    cpu: Cpu,
    lasted: Duration,
    busy: f64,
    memory: u64,
}

fn row(
    subject: &Subject,
    calls: usize,
    repeat: usize,
    figures: &Figures,
    used: &Used,
    own: &Own,
) -> Measured {
    let each = |time: Duration| time.as_secs_f64() * 1e6 / figures.heard as f64;
    let percent = |count: u64| count as f64 * 100.0 / figures.sent.max(1) as f64;
    let delay = |part| figures.delay.value_at_quantile(part) as f64 / 1e3;
    let share = used.cpu.all.as_secs_f64() / used.lasted.as_secs_f64();
    Measured {
        subject: subject.name(),
        calls,
        repeat,
        packets: figures.heard,
        cpu_us: each(used.cpu.all),
        user_us: each(used.cpu.user),
        kernel_us: each(used.cpu.system),
        lost_percent: percent(figures.lost()),
        late_percent: percent(figures.late),
        p50_us: delay(0.5),
        p99_us: delay(0.99),
        p999_us: delay(0.999),
        memory_kb: used.memory / 1024,
        busy_percent: share * 100.0,
        others_percent: (used.busy - share).max(0.0) * 100.0,
        generator_idle_percent: own.idle_share() * 100.0,
        generator_late_p99_us: own.lateness.value_at_quantile(0.99) as f64 / 1e3,
        generator_faults: own.unsent
            + own.refused
            + own.drops
            + own.shed
            + own.forged
            + own.unstamped
            + own.misled,
    }
}

/// How the engine's streams look here: without RTCP, which floors would not forward.
fn streams() -> Settings {
    Settings { reports: Duration::MAX, ..Settings::default() }
}

impl Running {
    fn sample(&self) -> Sample {
        Sample::take(self.process())
    }
}
