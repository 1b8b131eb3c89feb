//! Child processes: their output in files and in hand, their end with the test.

use super::scene::{PATIENCE, Scene, until};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A running program, in a process group of its own. Dropping it ends the group.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`; its output goes to `<name>.out` and `<name>.err` in the scene, and stdout also to `line`.
    pub fn start(scene: &Scene, name: &str, command: &mut Command) -> Process {
        let errors = File::create(scene.path(&format!("{name}.err"))).unwrap();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs what is missing"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut copy = File::create(scene.path(&format!("{name}.out"))).unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                let _ = writeln!(copy, "{line}");
                let _ = sender.send(line);
            }
        });
        let stdin = child.stdin.take();
        Process { name: name.into(), child, stdin, lines, seen: Vec::new(), ended: None }
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line of stdout, not asked for before, that `wanted` likes.
    pub fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        self.line_within(PATIENCE, wanted)
    }

    /// The first line of what takes its time to start, as a browser does beside other work.
    pub fn first_line(&mut self) -> String {
        self.line_within(4 * PATIENCE, |line| line.starts_with('{'))
    }

    fn line_within(&mut self, patience: Duration, wanted: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            match self.lines.recv_timeout(patience.saturating_sub(start.elapsed())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("{}: silent after {:#?}", self.name, self.seen),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{}: ended ({:?}) after {:#?}", self.name, self.child.wait(), self.seen)
                }
            }
        }
    }

    /// Waits until its standard error has a line that `wanted` likes, among all that it wrote so far.
    pub fn error_line(&self, scene_path: &std::path::Path, wanted: impl Fn(&str) -> bool) -> String {
        until(&format!("a line on standard error of {}", self.name), || {
            let text = std::fs::read_to_string(scene_path).unwrap_or_default();
            text.lines().find(|line| wanted(line)).map(str::to_owned)
        })
    }

    /// Writes a line to its stdin.
    pub fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        writeln!(stdin, "{line}")
            .and_then(|()| stdin.flush())
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// How it ended, once it has.
    pub fn poll_end(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    /// Waits for its end.
    pub fn end(&mut self) -> ExitStatus {
        let what = format!("end of {}", self.name);
        until(&what, || self.poll_end())
    }

    /// Sends a signal to the whole group, by its id.
    pub fn signal(&self, signal: &str) {
        signal_group(self.child.id(), signal);
    }

    /// Closes its stdin, which asks well-behaved ones to end.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Whether it ends by itself within a few seconds.
    pub fn ends_soon(&mut self) -> bool {
        self.ends_within(Duration::from_secs(5))
    }

    fn ends_within(&mut self, patience: Duration) -> bool {
        let start = Instant::now();
        while self.poll_end().is_none() {
            if start.elapsed() > patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

/// DER as PEM.
pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Sends a signal to a process group that a test started.
pub fn signal_group(group: u32, signal: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{signal}"), "--", &format!("-{group}")])
        .stderr(Stdio::null())
        .status();
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin = None;
        if self.poll_end().is_some() {
            return;
        }
        self.signal("TERM");
        // Unreaped, the leader keeps its id, so the group's id can be nobody else's.
        if !self.ends_within(Duration::from_secs(3)) {
            self.signal("KILL");
        }
        let _ = self.child.wait();
    }
}
