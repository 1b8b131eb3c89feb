//! The gateway's own binary, as an operator starts it.

use super::process::Process;
use super::scene::{Scene, free_port};
use std::fmt::{self, Write as _};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// A running gateway.
pub struct Gateway {
    process: Process,
    log: PathBuf,
    /// Where browsers go.
    pub http: SocketAddr,
    /// Where SIP goes.
    pub sip: SocketAddr,
    /// Where metrics and traces come from.
    pub admin: SocketAddr,
}

/// A configuration file in the making, and how it is to be run.
pub struct Plan<'a> {
    scene: &'a Scene,
    text: String,
    cores: &'a str,
}

impl<'a> Plan<'a> {
    /// Two shards on free ports; a browser that is gone has two seconds of grace.
    pub fn new(scene: &'a Scene) -> Plan<'a> {
        let (http, sip) = (free_port(), free_port());
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:{http}\"\n[sip]\nlisten = \"127.0.0.1:{sip}\"\n\
             [media]\nweb_port = {web}\nrtp_ports = \"10000-19999\"\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n\
             [calls]\nbrowser_grace_s = {GRACE_S}\nfirst_reply_s = {FIRST_REPLY_S}\ndrain_s = 2\n",
            web = free_port(),
        );
        Plan { scene, text, cores: "0-1" }
    }

    fn add(&mut self, lines: fmt::Arguments<'_>) {
        self.text.write_fmt(lines).expect("a string takes everything");
    }

    /// Headers that pass with calls. To be said first.
    pub fn attach(mut self, headers: &[&str]) -> Self {
        self.add(format_args!("attach = {headers:?}\n"));
        self
    }

    /// What held phones hear. To be said first.
    pub fn hold_music(mut self, music: &str) -> Self {
        self.add(format_args!("hold_music = {music:?}\n"));
        self
    }

    /// What tokens are checked with: lines of `[auth]`.
    pub fn auth(mut self, lines: &str) -> Self {
        self.add(format_args!("[auth]\n{lines}"));
        self
    }

    /// A SIP password at a trunk, to which tokens refer by this name.
    pub fn secret(mut self, name: &str, trunk: &str, password: &str) -> Self {
        self.add(format_args!(
            "[[secret]]\nname = \"{name}\"\ntrunk = \"{trunk}\"\npassword = \"{password}\"\n"
        ));
        self
    }

    /// Other seconds than [`GRACE_S`], and how long a phone may be silent.
    pub fn patience(mut self, grace_s: u64, media_timeout_s: u64) -> Self {
        let old = format!("browser_grace_s = {GRACE_S}\n");
        let new = format!("browser_grace_s = {grace_s}\nmedia_timeout_s = {media_timeout_s}\n");
        self.text = self.text.replace(&old, &new);
        self
    }

    /// Other seconds for the calls that run when it is told to end.
    pub fn drain(mut self, seconds: u64) -> Self {
        self.text = self.text.replace("drain_s = 2\n", &format!("drain_s = {seconds}\n"));
        self
    }

    /// Web media on another address, too.
    pub fn web_too(mut self, address: Ipv4Addr) -> Self {
        let more = format!("[media]\nweb_listen = [\"{address}\"]\n");
        self.text = self.text.replacen("[media]\n", &more, 1);
        self
    }

    /// A SIP server at `port`, called `name`, for `domain`.
    pub fn trunk(mut self, name: &str, port: u16, domain: &str) -> Self {
        let domain = if domain.is_empty() { String::new() } else { format!("domain = \"{domain}\"\n") };
        self.add(format_args!("[[trunk]]\nname = \"{name}\"\naddress = \"127.0.0.1:{port}\"\n{domain}"));
        self
    }

    /// Phones may register at a trunk.
    pub fn phones(mut self, trunk: &str) -> Self {
        self.add(format_args!("[phones]\ntrunk = \"{trunk}\"\n"));
        self
    }

    /// Pages of these sites may use it.
    pub fn origins(mut self, origins: &[&str]) -> Self {
        self.text = self.text.replacen("[http]\n", &format!("[http]\norigins = {origins:?}\n"), 1);
        self
    }

    /// More keys of the last table, or more tables.
    pub fn lines(mut self, lines: &str) -> Self {
        self.add(format_args!("{lines}"));
        self
    }

    /// SIP over TLS, too, on this port.
    pub fn sip_tls(mut self, port: u16, certificate: &Path, key: &Path) -> Self {
        let lines = format!(
            "[sip]\ntls_listen = \"127.0.0.1:{port}\"\ntls_certificate = \"{}\"\ntls_key = \"{}\"\n",
            certificate.display(),
            key.display()
        );
        self.text = self.text.replacen("[sip]\n", &lines, 1);
        self
    }

    /// Where SIP will listen over UDP and TCP.
    pub fn sip_port(&self) -> u16 {
        let (_, sip) = self.text.split_once("[sip]\n").expect("a table");
        let (_, rest) = sip
            .split_once("\nlisten = \"127.0.0.1:")
            .or(sip.split_once("listen = \"127.0.0.1:"))
            .expect("an address");
        rest.split('"').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// A line more of what was added last.
    pub fn more(mut self, line: &str) -> Self {
        self.add(format_args!("{line}\n"));
        self
    }

    /// The last trunk's calls share an RTP port.
    pub fn shared_rtp_ports(mut self) -> Self {
        self.add(format_args!("shared_rtp_ports = true\n"));
        self
    }

    /// A browser user, whose password is the name, without a SIP server of its own.
    pub fn user(mut self, name: &str) -> Self {
        self.add(format_args!("[[user]]\nname = \"{name}\"\npassword = \"{name}\"\n"));
        self
    }

    /// The same, registered at a trunk, where the password is the name with `pw` behind it.
    pub fn registered(mut self, name: &str, trunk: &str) -> Self {
        self = self.user(name);
        self.add(format_args!("trunk = \"{trunk}\"\nsip_password = \"{name}pw\"\n"));
        self
    }

    /// The same with a password that the trunk doesn't know.
    pub fn wrong(mut self, name: &str, trunk: &str) -> Self {
        self = self.user(name);
        self.add(format_args!("trunk = \"{trunk}\"\nsip_password = \"wrong\"\n"));
        self
    }

    /// Where calls from `from` (`users` or a trunk) go.
    pub fn route(mut self, from: &str, number: &str, trunk: &str) -> Self {
        self.add(format_args!("[[route]]\nfrom = \"{from}\"\nnumber = \"{number}\"\ntrunk = \"{trunk}\"\n"));
        self
    }

    /// HTTP and media on another address than 127.0.0.1; SIP stays there.
    pub fn on(mut self, address: Ipv4Addr) -> Self {
        let media = format!("[media]\nlisten = \"{address}\"\n");
        self.text = self.text.replacen("listen = \"127.0.0.1:", &format!("listen = \"{address}:"), 1);
        self.text = self.text.replacen("[media]\n", &media, 1);
        self
    }

    /// Browsers, and phones, are told of this address instead of 127.0.0.1; gives the ports of web media.
    pub fn advertise(mut self, address: Ipv4Addr) -> (Self, [u16; 2]) {
        let told = format!("[media]\nadvertise = \"{address}\"\n");
        self.text = self.text.replacen("[media]\n", &told, 1);
        let (_, rest) = self.text.split_once("web_port = ").expect("a port");
        let port = rest.lines().next().and_then(|port| port.parse::<u16>().ok()).expect("a port");
        (self, [port, port + 1])
    }

    /// SIP to this port of 127.0.0.1 goes to another address.
    pub fn by_way_of(mut self, address: Ipv4Addr, port: u16) -> Self {
        let trunk = |ip: Ipv4Addr| format!("address = \"{ip}:{port}\"");
        self.text = self.text.replace(&trunk(Ipv4Addr::LOCALHOST), &trunk(address));
        self
    }

    /// HTTPS with these files.
    pub fn https(mut self, certificate: &Path, key: &Path) -> Self {
        let files =
            format!("[http]\ncertificate = \"{}\"\nkey = \"{}\"\n", certificate.display(), key.display());
        self.text = self.text.replacen("[http]\n", &files, 1);
        self
    }

    /// Runs `bridgehead --config FILE --cores LIST` until it is ready.
    pub fn start(self) -> Gateway {
        let config = self.scene.write("bridgehead.toml", &self.text);
        let mut command = Command::new(env!("CARGO_BIN_EXE_bridgehead"));
        command.arg("--config").arg(config).args(["--cores", self.cores, "--log-personal"]);
        Gateway::run(self.scene, &mut command)
    }
}

/// Seconds that a vanished browser's calls go on here.
pub const GRACE_S: u64 = 2;
/// Seconds that a SIP server has here for its first reply.
pub const FIRST_REPLY_S: u64 = 2;

impl Gateway {
    /// `bridgehead demo`: with the embedded SIP server, on free ports.
    pub fn demo(scene: &Scene) -> Gateway {
        Gateway::demo_with(scene, &[])
    }

    /// The same with more flags.
    pub fn demo_with(scene: &Scene, flags: &[&str]) -> Gateway {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bridgehead"));
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string();
        command.args(["demo", "--http", &local(free_port()), "--sip", &local(free_port()), "--log-personal"]);
        command.args(["--media-port", &free_port().to_string(), "--rtp-ports", "10000-19999"]);
        command.args(["--admin", "127.0.0.1:0"]).args(flags);
        Gateway::run(scene, &mut command)
    }

    /// Starts it and reads `listening WHAT ADDRESS` until `ready`.
    fn run(scene: &Scene, command: &mut Command) -> Gateway {
        let mut process = Process::start(scene, "gateway", command);
        let (mut http, mut sip, mut admin) = (None, None, None);
        loop {
            let line = process.line(|line| line.starts_with("listening ") || line == "ready");
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["ready"] => break,
                [_, "admin", address, ..] => admin = address.parse().ok(),
                [_, "http" | "https", address, ..] => http = http.or(address.parse().ok()),
                [_, "sip", address, ..] => sip = sip.or(address.parse().ok()),
                _ => {}
            }
        }
        Gateway {
            process,
            log: scene.path("gateway.err"),
            http: http.expect("listening http"),
            sip: sip.expect("listening sip"),
            admin: admin.expect("listening admin"),
        }
    }

    /// Waits for a line of its log.
    pub fn line(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.process.error_line(&self.log, wanted)
    }

    /// What the admin address answers, which must be good news.
    #[track_caller]
    pub fn ask_admin(&self, path: &str) -> String {
        let (status, body) = self.ask(path);
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The status and body of what the admin address answers.
    #[track_caller]
    pub fn ask(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{text}")), body.to_owned())
    }

    /// The page's address.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// Asks it to end as an operator does.
    pub fn terminate(&self) {
        self.process.signal("TERM");
    }

    /// Ends it without a word to anybody, as a crash does.
    pub fn kill(&self) {
        self.process.signal("KILL");
    }

    /// Waits for its end.
    pub fn end(&mut self) -> ExitStatus {
        self.process.end()
    }

    /// Panics if it is gone.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        assert_eq!(self.process.poll_end(), None, "the gateway ended");
    }
}
