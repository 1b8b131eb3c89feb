//! What a run needs: a folder with its scenarios, the gateway, and the SIPp that is called.

use super::{Kind, Sipp};
use crate::gateway::beside;
use crate::limits;
use crate::peers::process::Process;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;

/// Media addresses of callers and callees where every call has its own: more than there are calls at once.
const ADDRESSES: usize = 60_000;

/// A folder of the run's own, removed when it is over; the gateway and SIPp in it.
pub(super) struct Scene {
    pub(super) folder: PathBuf,
    pub(super) gateway: Process,
    /// Where SIPp sends to.
    pub(super) target: SocketAddr,
    /// The port that SIPp sends from: the trunk's.
    pub(super) port: u16,
    pub(super) callee: Option<Process>,
}

impl Scene {
    /// Removes the folder: nothing went wrong.
    pub(super) fn clear(self) {
        let folder = self.folder.clone();
        drop(self);
        let _ = fs::remove_dir_all(folder);
    }

    pub(super) fn new(sipp: &Sipp) -> io::Result<Scene> {
        limits::raise();
        let folder = std::env::temp_dir().join(format!("loadtest-sipp-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let program = sipp.gateway.clone().or_else(beside);
        let program = program
            .ok_or_else(|| io::Error::other("no gateway: build it beside this program, or say --gateway"))?;
        let [caller, callee] = free_ports()?;
        let file = folder.join("bridgehead.toml");
        fs::write(&file, config(sipp, caller, callee))?;
        let mut command = Process::pinned(program, sipp.core);
        command.arg("--config").arg(&file);
        command.args(["--cores", &sipp.core.to_string()]);
        let mut gateway = Process::start(&mut command, &folder.join("gateway.log"))?;
        let begin = if sipp.kind == Kind::Registers { "listening http " } else { "listening sip " };
        let target = listening(&mut gateway, begin).map_err(|error| {
            let log = fs::read_to_string(folder.join("gateway.log")).unwrap_or_default();
            io::Error::other(format!("the gateway did not start: {error}\n{log}"))
        })?;
        hush(&mut gateway);
        fs::write(folder.join("tone.ulaw"), tone())?;
        let mut scene = Scene { folder, gateway, target, port: caller, callee: None };
        for name in ["uac", "uac-talks", "uac-holds", "uas", "uas-held", "uas-registrar"] {
            let text = fs::read_to_string(sipp.scenarios.join(format!("{name}.xml")))?;
            // Addresses of each call's own come from a file of rows.
            let text = if sipp.shared { text.replace("[media_ip]", "[field0]") } else { text };
            fs::write(scene.folder.join(format!("{name}.xml")), text)?;
        }
        for (name, net) in [("caller.csv", 96), ("callee.csv", 97)] {
            let mut rows = String::from("SEQUENTIAL\n");
            for n in 1..=ADDRESSES {
                let _ = writeln!(rows, "127.{net}.{}.{};", n >> 8, n & 255);
            }
            fs::write(scene.folder.join(name), rows)?;
        }
        scene.callee = Some(scene.listen(sipp, callee)?);
        Ok(scene)
    }

    /// The SIPp that is called.
    fn listen(&self, sipp: &Sipp, port: u16) -> io::Result<Process> {
        let core = sipp.own_cores.last().copied().unwrap_or(0);
        let scenario = match sipp.kind {
            Kind::Calls => "uas.xml",
            Kind::Holds => "uas-held.xml",
            Kind::Registers => "uas-registrar.xml",
        };
        let mut command = Process::pinned("sipp", core);
        command.current_dir(&self.folder).args(["-sf", scenario, "-p", &port.to_string(), "-d", "0"]);
        let media = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        command.args(["-key", "rtp_port", &media, "-mp", &media]);
        command.args(["-trace_stat", "-stf", "callee-stat.csv", "-fd", "1"]);
        if sipp.rtp {
            command.arg("-rtp_echo");
        }
        common(&mut command, sipp, "callee.csv");
        let mut callee = Process::start(&mut command, &self.folder.join("callee.log"))?;
        hush(&mut callee);
        for _ in 0..100 {
            if let Some(status) = callee.ended() {
                return Err(io::Error::other(format!(
                    "SIPp that is called ended: {status}; see {}",
                    self.folder.display()
                )));
            }
            if UdpSocket::bind(("127.0.0.1", port)).is_err() {
                return Ok(callee);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Err(io::Error::other("SIPp that is called does not listen"))
    }
}

/// What both SIPps are told.
pub(super) fn common(command: &mut std::process::Command, sipp: &Sipp, rows: &str) {
    command.args(["-i", "127.0.0.1", "-bind_local", "-mi", "127.0.0.1", "-nostdin"]);
    command.args(["-buff_size", "4194304", "-l", "15000", "-max_recv_loops", "1000"]);
    if sipp.shared {
        command.args(["-inf", rows]);
    }
}

/// Lets a process say what it likes.
pub(super) fn hush(process: &mut Process) {
    if let Some(mut output) = process.take_output() {
        std::thread::spawn(move || io::copy(&mut output, &mut io::sink()));
    }
}

/// Reads what the gateway says until it is ready; gives the address behind the line that begins so.
fn listening(gateway: &mut Process, begin: &str) -> io::Result<SocketAddr> {
    let mut found = None;
    loop {
        let line = gateway.line()?;
        if let Some(rest) = line.strip_prefix(begin) {
            found = rest.split(' ').next().and_then(|word| word.parse().ok());
        } else if line == "ready" {
            return found.ok_or_else(|| io::Error::other(format!("it does not say \"{begin}\"")));
        }
    }
}

fn config(sipp: &Sipp, caller: u16, callee: u16) -> String {
    let shared = if sipp.shared { "shared_rtp_ports = true\n" } else { "" };
    let mut text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[sip]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"off\"\n\
         [media]\nweb_port = 0\nrtp_ports = \"10000-59999\"\n[log]\nlevel = \"warn\"\n\
         [limits]\ncalls = 60000\n\
         [[trunk]]\nname = \"caller\"\naddress = \"127.0.0.1:{caller}\"\n{shared}\
         [[trunk]]\nname = \"callee\"\naddress = \"127.0.0.1:{callee}\"\n{shared}\
         [[route]]\nfrom = \"caller\"\ntrunk = \"callee\"\n"
    );
    if sipp.kind == Kind::Registers {
        for n in 0..sipp.registrations() {
            let _ =
                write!(text, "[[user]]\nname = \"load{n}\"\npassword = \"load{n}\"\ntrunk = \"callee\"\n");
        }
    }
    text
}

/// Two ports below those of the gateway and those that the kernel gives.
fn free_ports() -> io::Result<[u16; 2]> {
    let mut found = BTreeSet::new();
    let mut port = 6_000 + (std::process::id() % 1_000) as u16 * 2;
    while found.len() < 2 && port < 9_900 {
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            found.insert(port);
        }
        port += 2;
    }
    let ports: Vec<u16> = found.into_iter().collect();
    ports.try_into().map_err(|_| io::Error::other("no free ports for SIPp"))
}

/// A second of a 500 Hz square wave in PCMU: what is in the packets does not matter, that they have a size does.
fn tone() -> Vec<u8> {
    (0..8_000).map(|n| if n / 8 % 2 == 0 { 0xa0 } else { 0x20 }).collect()
}
