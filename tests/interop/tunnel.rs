//! The way from a browser to the gateway's web address, which can be cut, and can let no WebSocket through. Media does not
//! take it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// A TCP relay. Dropping it ends it and all that goes through it.
pub struct Tunnel {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    cut: AtomicBool,
    /// No WebSocket passes.
    strict: AtomicBool,
    passed: AtomicUsize,
    refused: AtomicUsize,
    /// Both ends of what passes.
    streams: Mutex<Vec<TcpStream>>,
}

impl Tunnel {
    /// One to this gateway, open to everything.
    pub fn to(gateway: SocketAddr) -> Tunnel {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = state.clone();
        let accepting = spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stop.load(Ordering::SeqCst) {
                    return;
                }
                let state = shared.clone();
                spawn(move || state.carry(stream, gateway));
            }
        });
        Tunnel { address, state, accepting: Some(accepting) }
    }

    /// The gateway's page, by this way.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Lets no WebSocket through, as some proxies do.
    pub fn let_websocket_through(&self, on: bool) {
        self.state.strict.store(!on, Ordering::SeqCst);
    }

    /// How many WebSockets have passed, and how many were refused.
    pub fn websockets(&self) -> (usize, usize) {
        (self.state.passed.load(Ordering::SeqCst), self.state.refused.load(Ordering::SeqCst))
    }

    /// Breaks all connections and lets none come about until [`Tunnel::mend`].
    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::SeqCst);
        self.state.end_all();
    }

    /// Ends that.
    pub fn mend(&self) {
        self.state.cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        self.state.end_all();
        // Wakes the one that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl State {
    fn end_all(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Registers what can be ended; false where nothing may pass now.
    fn keep(&self, stream: &TcpStream) -> bool {
        let mut streams = self.streams.lock().unwrap();
        // Looked at under the lock, so that a cut misses none.
        let open = !self.cut.load(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst);
        if open {
            streams.extend(stream.try_clone());
        }
        open
    }

    fn carry(&self, mut near: TcpStream, gateway: SocketAddr) {
        if !self.keep(&near) {
            return;
        }
        // A WebSocket is asked for by the first request of its own connection.
        let mut first = [0; 8_192];
        let size = near.read(&mut first).unwrap_or(0);
        let text = String::from_utf8_lossy(&first[..size]).to_ascii_lowercase();
        if text.contains("upgrade: websocket") {
            if self.strict.load(Ordering::SeqCst) {
                self.refused.fetch_add(1, Ordering::SeqCst);
                let _ = near.shutdown(Shutdown::Both);
                return;
            }
            self.passed.fetch_add(1, Ordering::SeqCst);
        }
        let Ok(mut far) = TcpStream::connect_timeout(&gateway, Duration::from_secs(5)) else { return };
        if size == 0 || !self.keep(&far) || far.write_all(&first[..size]).is_err() {
            let _ = near.shutdown(Shutdown::Both);
            return;
        }
        let (Ok(mut back_from), Ok(mut back_to)) = (far.try_clone(), near.try_clone()) else { return };
        let back = spawn(move || pass(&mut back_from, &mut back_to));
        pass(&mut near, &mut far);
        let _ = back.join();
    }
}

/// Passes everything on until the end, and then the end.
fn pass(from: &mut TcpStream, to: &mut TcpStream) {
    let _ = std::io::copy(from, to);
    let _ = to.shutdown(Shutdown::Write);
}
