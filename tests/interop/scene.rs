//! Where one test lives: its folder, its ports, its patience.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine of two cores.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The folder of one test.
pub struct Scene {
    folder: PathBuf,
    /// The network namespace in which its processes run, where it is one of its own.
    namespace: Option<String>,
}

impl Scene {
    /// A new, empty folder `target/interop/<test>`.
    pub fn new(test: &str) -> Scene {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("interop").join(test);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Scene { folder, namespace: None }
    }

    /// The same, with a network of its own: loopback, and [`Scene::PRIVATE`], from which nothing leaves. The test itself
    /// stays outside, and reaches its processes by their pipes.
    pub fn apart(test: &str) -> Scene {
        let name = format!("bridgehead-{}-{}", std::process::id(), free_port());
        let mut scene = Scene::new(test);
        ip(&["netns", "add", &name]);
        scene.namespace = Some(name.clone());
        for arguments in [
            "link set lo up",
            "link add veth0 type veth peer name veth1",
            "link set veth1 up",
            "addr add 10.9.9.9/24 dev veth0",
            "link set veth0 up",
            "route add default via 10.9.9.1 dev veth0",
        ] {
            ip(&["-n", &name].into_iter().chain(arguments.split(' ')).collect::<Vec<_>>());
        }
        scene
    }

    /// The address beside loopback of a scene [`Scene::apart`].
    pub const PRIVATE: &str = "10.9.9.9";

    /// A command, to be run in the scene's network.
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        let Some(name) = &self.namespace else {
            inside = Command::new(command.get_program());
            inside.args(command.get_args());
            return inside;
        };
        inside.args(["netns", "exec", name]).arg(command.get_program()).args(command.get_args());
        inside
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(name) = &self.namespace {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().expect("iproute2; tests/run installs it");
    assert!(status.success(), "ip {arguments:?}: {status}; namespaces want root");
}

/// A port of 127.0.0.1 on which neither UDP nor TCP is bound now, and which no other test of this run was given.
///
/// Below the kernel's own range, so that no connection of another program takes it before its owner binds it.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap();
    let start = 20_000 + (std::process::id() % 500) as u16 * 20;
    let port =
        (start..32_000).step_by(2).find(|port| !given.contains(port) && is_free(*port)).expect("a free port");
    given.insert(port);
    port
}

fn is_free(port: u16) -> bool {
    // RTCP's neighbour too.
    let udp = |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    udp(port) && udp(port + 1) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Waits until `ready` gives something; panics with `what` when patience ends.
pub fn until<T>(what: &str, ready: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, ready)
}

/// The same with another patience.
pub fn until_within<T>(patience: Duration, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a UDP socket of 127.0.0.1 is bound to `port`, as the kernel lists it.
pub fn is_bound(port: u16) -> bool {
    lists(&fs::read_to_string("/proc/net/udp").unwrap_or_default(), port)
}

fn lists(sockets: &str, port: u16) -> bool {
    let wanted = format!("0100007F:{port:04X}");
    let any = format!("00000000:{port:04X}");
    sockets
        .lines()
        .any(|line| line.split_whitespace().nth(1).is_some_and(|local| local == wanted || local == any))
}

impl Scene {
    /// The same of a process of this scene.
    pub fn is_bound(&self, port: u16) -> bool {
        let mut look = self.inside(Command::new("cat").arg("/proc/net/udp"));
        look.output().is_ok_and(|output| lists(&String::from_utf8_lossy(&output.stdout), port))
    }
}
