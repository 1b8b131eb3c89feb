//! SIPp: a SIP peer that does what a scenario of `loadtest/sipp` says.

use super::process::Process;
use super::scene::{PATIENCE, Scene, free_port, is_bound, until, until_within};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// One SIPp, for one call unless told otherwise.
pub struct Sipp {
    name: String,
    process: Process,
    messages: PathBuf,
    /// Its SIP port.
    pub port: u16,
}

/// How it is to be started.
pub struct Plan<'a> {
    scene: &'a Scene,
    name: &'a str,
    scenario: PathBuf,
    port: u16,
    arguments: Vec<String>,
    quiet: bool,
}

impl<'a> Plan<'a> {
    /// `name` names its logs; `scenario` is a file of `loadtest/sipp` without its ending.
    pub fn new(scene: &'a Scene, name: &'a str, scenario: &'a str) -> Plan<'a> {
        let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("loadtest/sipp/{scenario}.xml"));
        Plan { scene, name, scenario, port: free_port(), arguments: Vec::new(), quiet: false }
    }

    /// A scenario of the test's own.
    pub fn scripted(scene: &'a Scene, name: &'a str, script: &str) -> Plan<'a> {
        let scenario = scene.write(&format!("{name}.xml"), script);
        Plan { scenario, ..Plan::new(scene, name, "") }
    }

    /// On a port that is known before.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// A key of the scenario.
    pub fn key(mut self, key: &str, value: &str) -> Self {
        self.arguments.extend(["-key", key, value].map(String::from));
        self
    }

    /// RTP goes to and comes from this port.
    pub fn rtp(self, port: u16) -> Self {
        self.key("rtp_port", &port.to_string())
    }

    /// RTP that comes is sent back.
    pub fn echo(self, port: u16) -> Self {
        let mut echoing = self.rtp(port);
        echoing.arguments.extend(["-rtp_echo", "-mp", &port.to_string()].map(String::from));
        echoing
    }

    /// Over TCP.
    pub fn tcp(mut self) -> Self {
        self.arguments.extend(["-t", "t1"].map(String::from));
        self
    }

    /// The pause that the scenario speaks of.
    pub fn pause_ms(mut self, pause: u32) -> Self {
        self.arguments.extend(["-d".into(), pause.to_string()]);
        self
    }

    /// So many calls, so many a second.
    pub fn calls(mut self, calls: u32, rate: u32) -> Self {
        self.arguments.extend(["-r".into(), rate.to_string(), "-m".into(), calls.to_string()]);
        self
    }

    /// Without a log of every message, which is slow.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Counts what it repeats and what fails.
    pub fn counting(mut self) -> Self {
        let file = self.scene.path(&format!("{}-counts.csv", self.name)).display().to_string();
        self.arguments.extend(["-trace_stat", "-fd", "1", "-stf", &file].map(String::from));
        self
    }

    /// Starts one that waits for calls.
    pub fn listen(self) -> Sipp {
        let sipp = self.start(&[]);
        until("SIPp listens", || is_bound(sipp.port).then_some(()));
        sipp
    }

    /// Starts one that calls `to` by way of `server`, as `caller`.
    pub fn call(self, server: SocketAddr, caller: &str, to: &str) -> Sipp {
        self.key("caller", caller).start(&[&server.to_string(), "-s", to])
    }

    fn start(self, target: &[&str]) -> Sipp {
        let log = |kind: &str| self.scene.path(&format!("{}-{kind}.log", self.name));
        let messages = log("messages");
        let port = self.port.to_string();
        let mut command = Command::new("sipp");
        command.args(target).arg("-sf").arg(&self.scenario);
        if !self.arguments.iter().any(|argument| argument == "-m") {
            command.args(["-m", "1"]);
        }
        command.args(["-i", "127.0.0.1", "-bind_local", "-mi", "127.0.0.1", "-p", &port]);
        if !self.quiet {
            command.args(["-trace_msg", "-message_overwrite", "true", "-message_file"]).arg(&messages);
        }
        command
            .args(["-nostdin", "-trace_err", "-error_overwrite", "true", "-error_file"])
            .arg(log("errors"));
        command.args(&self.arguments);
        let process = Process::start(self.scene, self.name, &mut command);
        Sipp { name: self.name.into(), process, messages, port: self.port }
    }
}

impl Sipp {
    /// All messages so far.
    pub fn messages(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.messages).unwrap_or_default()).replace("\r\n", "\n")
    }

    /// Waits until it got a message whose first line begins with `start`, and returns that message.
    pub fn received(&self, start: &str) -> String {
        until(&format!("{} receives {start}", self.name), || self.received_now(start))
    }

    /// The same, without waiting.
    pub fn received_now(&self, start: &str) -> Option<String> {
        message(&self.messages(), "received", start)
    }

    /// A column of its statistics at its end: of a plan that was [`Plan::counting`].
    #[track_caller]
    pub fn counted(&self, column: &str) -> u64 {
        let file = self.messages.with_file_name(format!("{}-counts.csv", self.name));
        let text = fs::read_to_string(file).unwrap();
        let mut lines = text.lines();
        let names = lines.next().unwrap_or("").split(';');
        let place = names.into_iter().position(|name| name == column).unwrap_or_else(|| panic!("{column}"));
        let last = lines.next_back().unwrap_or("");
        last.split(';').nth(place).and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{last}"))
    }

    /// How many messages that begin so it got.
    pub fn count(&self, start: &str) -> usize {
        self.all(start).len()
    }

    /// All messages that begin so and that it got, repetitions too.
    pub fn all(&self, start: &str) -> Vec<String> {
        entries(&self.messages(), "received", start).collect()
    }

    /// Where the far side wants its RTP, as the last SDP that came says.
    pub fn far_media(&self, in_message: &str) -> SocketAddr {
        let text = self.received(in_message);
        let field = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix));
        let host = field("c=IN IP4 ").unwrap_or_else(|| panic!("no c= in\n{text}"));
        let port = field("m=audio ")
            .and_then(|rest| rest.split(' ').next())
            .unwrap_or_else(|| panic!("no m= in\n{text}"));
        format!("{host}:{port}").parse().unwrap()
    }

    /// Waits for its end; panics unless every call went as the scenario says.
    #[track_caller]
    pub fn assert_success(&mut self) {
        self.assert_success_within(PATIENCE);
    }

    /// The same with another patience.
    #[track_caller]
    pub fn assert_success_within(&mut self, patience: Duration) {
        let status = until_within(patience, &format!("{} ends", self.name), || self.process.poll_end());
        assert!(status.success(), "{}: {status}; see its logs beside {}", self.name, self.messages.display());
    }
}

/// The last message of this direction (`sent`, `received`) that begins so, out of SIPp's log:
/// a line of dashes with the time, a line `UDP message received [N] bytes:`, an empty line, the message.
fn message(log: &str, direction: &str, start: &str) -> Option<String> {
    entries(log, direction, start).last()
}

fn entries(log: &str, direction: &str, start: &str) -> impl Iterator<Item = String> {
    log.split("\n----------------------------------------------- ").filter_map(move |entry| {
        let (head, text) = entry.split_once("\n\n")?;
        (head.contains(&format!("message {direction}")) && text.starts_with(start)).then(|| text.to_owned())
    })
}
