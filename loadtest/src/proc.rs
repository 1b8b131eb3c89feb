//! What the kernel says of a process and of the host's UDP.

use std::fs;
use std::time::Duration;

/// Ticks a second in /proc/PID/stat (USER_HZ, which is 100 on every Linux that this runs on).
const HZ: f64 = 100.0;

/// A process at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// CPU time of all its threads, to the nanosecond (schedstat).
    pub cpu: Duration,
    /// Of that, as the clock ticks saw it: in user space, and in the kernel. Good for a ratio over seconds.
    pub user: Duration,
    /// See `user`.
    pub system: Duration,
    /// Resident memory in bytes.
    pub memory: u64,
    /// UDP datagrams that the host dropped for want of receive buffer (/proc/net/snmp, `RcvbufErrors`).
    pub buffer_errors: u64,
}

impl Sample {
    /// Looks at a process.
    pub fn take(pid: u32) -> Sample {
        let mut sample = Sample { memory: memory(pid), buffer_errors: buffer_errors(), ..Sample::default() };
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let [user, system] = times(&stat);
            sample.user += user;
            sample.system += system;
            let schedule = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let ran = schedule.split(' ').next().and_then(|ran| ran.parse().ok()).unwrap_or(0);
            sample.cpu += Duration::from_nanos(ran);
        }
        sample
    }

    /// CPU since an earlier sample: all, and the shares of it in user space and kernel.
    pub fn since(&self, before: &Sample) -> Cpu {
        let cpu = self.cpu.saturating_sub(before.cpu);
        let (user, system) =
            (self.user.saturating_sub(before.user), self.system.saturating_sub(before.system));
        let all = (user + system).as_secs_f64();
        let share = if all > 0.0 { user.as_secs_f64() / all } else { 0.5 };
        Cpu { all: cpu, user: cpu.mul_f64(share), system: cpu.mul_f64(1.0 - share) }
    }
}

/// CPU time spent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// All of it.
    pub all: Duration,
    /// In user space.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
}

/// Fields 14 and 15 of /proc/PID/stat; the name in parentheses may hold anything.
fn times(stat: &str) -> [Duration; 2] {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = |n| rest.split_whitespace().nth(n).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    [ticks(11), ticks(12)].map(|ticks| Duration::from_secs_f64(ticks / HZ))
}

fn memory(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn buffer_errors() -> u64 {
    let text = fs::read_to_string("/proc/net/snmp").unwrap_or_default();
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    let mut pairs = names.split(' ').zip(values.split(' '));
    pairs.find(|(name, _)| *name == "RcvbufErrors").and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0";
        assert_eq!(times(stat), [Duration::from_millis(2500), Duration::from_millis(500)]);
    }

    #[test]
    fn this_process_has_used_something() {
        let sample = Sample::take(std::process::id());
        assert!(sample.memory > 100_000 && sample.cpu > Duration::ZERO);
    }
}
