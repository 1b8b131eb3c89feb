//! Kamailio: a registrar and proxy with digest, as most gateways meet.

use super::process::Process;
use super::scene::{Scene, free_port, is_bound, until};
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where [`Kamailio::strict`] is.
pub const STRICT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A running Kamailio for the domain `test.local`.
pub struct Kamailio {
    _process: Process,
    log: PathBuf,
    /// Its UDP port, and TCP where it has that.
    pub port: u16,
    /// Its TLS port, where it has one.
    pub tls: u16,
}

impl Kamailio {
    /// Starts it; numbers that begin with 9 go to 127.0.0.1 at `peer`, whose calls need no credentials.
    pub fn start(scene: &Scene, peer: u16) -> Kamailio {
        Kamailio::start_at(scene, free_port(), peer)
    }

    /// The same on a port that is known before.
    pub fn start_at(scene: &Scene, port: u16, peer: u16) -> Kamailio {
        let config = include_str!("kamailio.cfg")
            .replace("@PORT@", &port.to_string())
            .replace("@PEER_PORT@", &peer.to_string())
            .replace("@PEER@", &format!("127.0.0.1:{peer}"));
        Kamailio::run(scene, config, port, 0)
    }

    /// The same over TCP and TLS, too; numbers that begin with 9 go to what this URI without scheme names, and calls
    /// from the port `peer.0` need no credentials.
    pub fn over(scene: &Scene, peer: (u16, &str), (chain, key): (&Path, &Path)) -> Kamailio {
        let (port, tls) = (free_port(), free_port());
        let streams = format!(
            "enable_tls=yes\nlisten=tcp:127.0.0.1:{port}\nlisten=tls:127.0.0.1:{tls}\ntcp_children=2\nloadmodule \"tls.so\"\n\
             modparam(\"tls\", \"tls_method\", \"TLSv1.2+\")\nmodparam(\"tls\", \"certificate\", \"{}\")\nmodparam(\"tls\", \"private_key\", \"{}\")\n",
            chain.display(),
            key.display()
        );
        let config = include_str!("kamailio.cfg")
            .replace("disable_tcp=yes\n", &streams)
            .replace("@PORT@", &port.to_string())
            .replace("@PEER_PORT@", &peer.0.to_string())
            .replace("@PEER@", peer.1);
        Kamailio::run(scene, config, port, tls)
    }

    fn run(scene: &Scene, config: String, port: u16, tls: u16) -> Kamailio {
        let config = scene.write("kamailio/kamailio.cfg", config);
        let folder = config.parent().unwrap();
        let mut command = Command::new("kamailio");
        command.arg("-f").arg(&config).args(["-DD", "-E", "-m", "64", "-M", "8"]);
        command.arg("-Y").arg(folder).arg("-P").arg(folder.join("pid"));
        let process = Process::start(scene, "kamailio", &mut command);
        until("Kamailio listens", || is_bound(port).then_some(()));
        Kamailio { _process: process, log: scene.path("kamailio.err"), port, tls }
    }

    /// The same on another address, with digest on changes and on BYE, too: what comes from 127.0.0.1 is the gateway, or
    /// the peer.
    pub fn strict(scene: &Scene, peer: u16) -> Kamailio {
        let port = free_port();
        let config = include_str!("phones.cfg")
            .replace("@HOST@", &STRICT.to_string())
            .replace("@PORT@", &port.to_string())
            .replace("@PEER_PORT@", &peer.to_string())
            .replace("@PEER@", &format!("127.0.0.1:{peer}"));
        let config = scene.write("kamailio/kamailio.cfg", config);
        let folder = config.parent().unwrap();
        let mut command = Command::new("kamailio");
        command.arg("-f").arg(&config).args(["-DD", "-E", "-m", "64", "-M", "8"]);
        command.arg("-Y").arg(folder).arg("-P").arg(folder.join("pid"));
        let process = Process::start(scene, "kamailio", &mut command);
        until("Kamailio listens", || UdpSocket::bind((STRICT, port)).is_err().then_some(()));
        Kamailio { _process: process, log: scene.path("kamailio.err"), port, tls: 0 }
    }

    /// How often its log has this text.
    pub fn count(&self, text: &str) -> usize {
        fs::read_to_string(&self.log).unwrap_or_default().matches(text).count()
    }

    /// Waits until this user has registered.
    pub fn registered(&self, user: &str) {
        self.logs(&format!("registered {user} "));
    }

    /// Waits until the log has this text.
    pub fn logs(&self, text: &str) {
        until(&format!("Kamailio logs {text:?}"), || {
            fs::read_to_string(&self.log).unwrap_or_default().contains(text).then_some(())
        });
    }
}
