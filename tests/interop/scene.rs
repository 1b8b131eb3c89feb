//! Where one test lives: its folder, its ports, its patience.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine of two cores.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The folder of one test.
pub struct Scene {
    folder: PathBuf,
}

impl Scene {
    /// A new, empty folder `target/interop/<test>`.
    pub fn new(test: &str) -> Scene {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("interop").join(test);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Scene { folder }
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
    let wanted = format!("0100007F:{port:04X}");
    let any = format!("00000000:{port:04X}");
    fs::read_to_string("/proc/net/udp")
        .unwrap_or_default()
        .lines()
        .any(|line| line.split_whitespace().nth(1).is_some_and(|local| local == wanted || local == any))
}
