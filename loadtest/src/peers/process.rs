//! The process that is measured: started, bound to a core, and read from `/proc`, the same for gateway, floor and peer.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running process. Dropping it ends it.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Process {
    /// Starts a command with its standard input and output in hand; what it says on standard error goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Process> {
        let errors = fs::File::create(log)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", command.get_program().to_string_lossy()))
        })?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Ok(Process { child, stdin, stdout, log: log.to_owned() })
    }

    /// A command that runs on one core from its first instruction on.
    pub fn pinned(program: impl AsRef<std::ffi::OsStr>, core: usize) -> Command {
        let mut command = Command::new("taskset");
        command.arg("-c").arg(core.to_string()).arg(program);
        command
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input.
    pub fn tell(&mut self, text: &str) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(text.as_bytes())?;
        stdin.flush()
    }

    /// The next line of its standard output.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        if stdout.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended or closed its output"));
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    /// Lets somebody else read its standard output.
    pub fn take_output(&mut self) -> Option<BufReader<ChildStdout>> {
        self.stdout.take()
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What it said is kept, if it said anything.
        if fs::metadata(&self.log).is_ok_and(|log| log.len() == 0) {
            let _ = fs::remove_file(&self.log);
        }
    }
}

/// How long a core was busy with anything, in the kernel's ticks of 10 ms, and how long all took: for telling whether
/// others disturbed a measurement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Core {
    busy: u64,
    all: u64,
}

impl Core {
    /// A core's time so far.
    pub fn read(core: usize) -> Core {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let name = format!("cpu{core} ");
        let Some(line) = stat.lines().find_map(|line| line.strip_prefix(&name)) else {
            return Core::default();
        };
        // User, nice, system, idle, iowait, irq, softirq, steal; guests are in the first two.
        let fields: Vec<u64> = line.split_whitespace().take(8).filter_map(|word| word.parse().ok()).collect();
        let all = fields.iter().sum();
        let idle: u64 = fields.iter().skip(3).take(2).sum();
        Core { busy: all - idle, all }
    }

    /// The share of time that it was busy since an earlier reading, from 0 to 1.
    pub fn busy_since(&self, before: &Core) -> f64 {
        let all = self.all.saturating_sub(before.all);
        if all == 0 { 0.0 } else { self.busy.saturating_sub(before.busy) as f64 / all as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::Sample;
    use std::time::Duration;

    #[test]
    fn a_process_is_bound_told_heard_and_read() {
        let log = std::env::temp_dir().join(format!("loadtest-process-{}.log", std::process::id()));
        let mut command = Process::pinned("sh", 0);
        command.args([
            "-c",
            "read word; n=0; while [ $n -lt 100000 ]; do n=$((n+1)); done; echo $word; read word",
        ]);
        let mut process = Process::start(&mut command, &log).unwrap();
        let before = Sample::take(process.id());
        process.tell("hello\n").unwrap();
        assert_eq!(process.line().unwrap(), "hello");
        let used = Sample::take(process.id()).since(&before);
        assert!(used.all > Duration::from_millis(5), "{used:?}");
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
        assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
        assert!(log.exists());
        drop(process);
        assert!(!log.exists());
    }
}
