//! The gateway that is measured: started here on cores of its own, or found running.

use crate::metrics::Metrics;
use crate::proc::Sample;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a gateway that is started here is told.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The binary.
    pub program: PathBuf,
    /// Its cores, as `--cores` takes them.
    pub cores: String,
    /// Where the generator's SIP agent listens.
    pub agent: SocketAddrV4,
    /// It speaks HTTPS, with a certificate made now.
    pub tls: bool,
    /// How many users.
    pub users: usize,
    /// Most calls and sessions.
    pub most: usize,
    /// Lines to put into the trunk's part of the configuration file.
    pub trunk: String,
    /// Lines to put into the part of media.
    pub media: String,
    /// Lines to put before the rest of the configuration file.
    pub extra: String,
}

/// A running gateway.
pub struct Gateway {
    child: Option<Child>,
    folder: Option<PathBuf>,
    /// Its process, if known.
    pub pid: Option<u32>,
    /// Where browsers go.
    pub http: SocketAddr,
    /// Where its metrics are, if known.
    pub admin: Option<SocketAddr>,
}

/// Ports for RTP: a port rests for 10 s after its call, so that the default's 8,192 pairs are 819 calls a second at most.
const PORTS: &str = "1200-65000";

/// Writes a certificate and its key; gives the lines of the configuration that name them.
fn certificate(folder: &Path) -> io::Result<String> {
    let made = dimpl::certificate::generate_self_signed_certificate().map_err(io::Error::other)?;
    let mut lines = String::new();
    for (key, label, der) in
        [("certificate", "CERTIFICATE", &made.certificate), ("key", "PRIVATE KEY", &made.private_key)]
    {
        let file = folder.join(format!("{key}.pem"));
        let text = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der));
        std::fs::write(&file, text)?;
        let _ = writeln!(lines, "{key} = {:?}", file.display().to_string());
    }
    Ok(lines)
}

fn config(wanted: &Wanted, http: &str) -> String {
    let most = wanted.most;
    let mut text = format!(
        "{extra}\n[http]\nlisten = \"127.0.0.1:0\"\n{http}[sip]\nlisten = \"127.0.0.1:0\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"warn\"\n\
         [media]\nweb_port = 0\nrtp_ports = {PORTS:?}\n{media}\
         [limits]\ncalls = {most}\nsessions = {most}\nsessions_per_user = {most}\nconnections = {most}\n\
         [[trunk]]\nname = \"load\"\naddress = \"{agent}\"\n{trunk}[[route]]\nfrom = \"users\"\ntrunk = \"load\"\n",
        extra = wanted.extra,
        agent = wanted.agent,
        trunk = wanted.trunk,
        media = wanted.media,
    );
    for n in 0..wanted.users {
        let _ = write!(text, "[[user]]\nname = \"load{n}\"\npassword = \"load{n}\"\n");
    }
    text
}

impl Gateway {
    /// Starts one, and waits until it is ready.
    pub fn start(wanted: &Wanted) -> io::Result<Gateway> {
        let folder = std::env::temp_dir().join(format!("loadtest-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("bridgehead.toml");
        let http = if wanted.tls { certificate(&folder)? } else { String::new() };
        std::fs::write(&file, config(wanted, &http))?;
        let errors = std::fs::File::create(folder.join("gateway.log"))?;
        let mut command = Command::new(&wanted.program);
        command.arg("--config").arg(&file).args(["--cores", &wanted.cores]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn()?;
        let Some(stdout) = child.stdout.take() else { return Err(io::Error::other("no output")) };
        let (mut http, mut admin) = (None, None);
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["ready"] => break,
                ["listening", "http" | "https", address, ..] => http = address.parse().ok(),
                ["listening", "admin", address, ..] => admin = address.parse().ok(),
                _ => {}
            }
        }
        let pid = Some(child.id());
        let mut gateway = Gateway {
            child: Some(child),
            folder: Some(folder),
            pid,
            http: SocketAddr::from(([0, 0, 0, 0], 0)),
            admin,
        };
        let Some(http) = http else {
            return Err(io::Error::other(format!("the gateway did not start: {}", gateway.log())));
        };
        gateway.http = http;
        Ok(gateway)
    }

    /// One that runs already.
    pub fn running(http: SocketAddr, pid: Option<u32>, admin: Option<SocketAddr>) -> Gateway {
        Gateway { child: None, folder: None, pid, http, admin }
    }

    /// What the system says of its process.
    pub fn sample(&self) -> Sample {
        self.pid.map(Sample::take).unwrap_or_default()
    }

    /// What it says of itself.
    pub fn metrics(&self) -> Metrics {
        self.admin.and_then(|admin| Metrics::fetch(admin).ok()).unwrap_or_default()
    }

    /// Whether it still runs; true where that can't be known.
    pub fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The lines that it logged.
    pub fn log(&self) -> String {
        let file = self.folder.as_deref().map(|folder| folder.join("gateway.log"));
        file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(folder) = self.folder.take() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Where `cargo build --release` of this repository leaves the gateway, beside this program.
pub fn beside() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let found = own.parent().map(|folder: &Path| folder.join("bridgehead"))?;
    found.exists().then_some(found)
}
