//! A network in between that loses datagrams and, like a NAT, may send them from another port: browsers are told of its
//! address instead of the gateway's, the gateway of it instead of the SIP server's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where browsers find the gateway.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// One in so many is lost, where any are.
const BLOCK: u32 = 20;

/// Relays of some ports of the gateway. Dropping it stops them.
pub struct Lossy {
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    loses: AtomicBool,
    bindings: AtomicU32,
    lost: AtomicU32,
}

impl Lossy {
    /// Between `ADDRESS` and 127.0.0.1, for UDP on these ports.
    pub fn new(ports: impl IntoIterator<Item = u16>) -> Lossy {
        let state = Arc::new(State::default());
        let threads = ports.into_iter().map(|port| {
            let socket = UdpSocket::bind((ADDRESS, port)).unwrap();
            let state = state.clone();
            std::thread::spawn(move || relay(&socket, port, &state))
        });
        let threads = threads.collect();
        Lossy { state, threads }
    }

    /// From now on 5 % are lost each way: one of each twenty, by chance.
    pub fn lose(&self) {
        self.state.loses.store(true, Ordering::Relaxed);
    }

    /// How many were lost.
    pub fn lost(&self) -> u32 {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// From now on everybody comes from another port, and what goes to the old one is lost.
    pub fn rebind(&self) {
        self.state.bindings.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn relay(socket: &UdpSocket, port: u16, state: &Arc<State>) {
    socket.set_nonblocking(true).unwrap();
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut ways: HashMap<SocketAddr, (UdpSocket, Luck, Luck)> = HashMap::new();
    let (mut buffer, mut bindings) = ([0; 2_048], 0);
    while !state.stop.load(Ordering::Relaxed) {
        let wanted = state.bindings.load(Ordering::Relaxed);
        if wanted != bindings {
            bindings = wanted;
            ways.clear();
        }
        let mut idle = true;
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            idle = false;
            let (way, luck, _) = ways.entry(from).or_insert_with(|| {
                let way = UdpSocket::bind((IpAddr::V4(ADDRESS), 0)).unwrap();
                way.set_nonblocking(true).unwrap();
                (way, Luck::new(1), Luck::new(2))
            });
            if !luck.loses(state) {
                let _ = way.send_to(&buffer[..length], gateway);
            }
        }
        for (browser, (way, _, luck)) in &mut ways {
            while let Ok((length, _)) = way.recv_from(&mut buffer) {
                idle = false;
                if !luck.loses(state) {
                    let _ = socket.send_to(&buffer[..length], browser);
                }
            }
        }
        if idle {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The same losses in each run, spread as evenly as chance may.
struct Luck {
    seed: u32,
    at: u32,
    unlucky: u32,
}

impl Luck {
    fn new(seed: u32) -> Luck {
        Luck { seed, at: 0, unlucky: 0 }
    }

    fn loses(&mut self, state: &State) -> bool {
        if self.at.is_multiple_of(BLOCK) {
            self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            self.unlucky = (self.seed >> 8) % BLOCK;
        }
        self.at += 1;
        let lost = (self.at - 1) % BLOCK == self.unlucky && state.loses.load(Ordering::Relaxed);
        state.lost.fetch_add(u32::from(lost), Ordering::Relaxed);
        lost
    }
}
