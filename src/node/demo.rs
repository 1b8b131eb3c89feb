//! The thread of the embedded SIP server: its sockets, its clock, and nothing else.

use crate::base::{CallId, Machine, Map, Random, ShardId, SocketId};
use crate::demo::{Config, Input, Output, Server};
use crate::net::{Poll, Ready, Sockets, Udp, UdpOptions, Waker};
use crate::shard::clock;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// The longest datagram.
const DATAGRAM: usize = 65_536;
/// Datagrams taken from a socket in its turn.
const TURN: usize = 64;
/// Sockets ready at once.
const EVENTS: usize = 256;
/// A number apart from the shards', so that no socket of the demo is taken for one of theirs.
const SHARD: ShardId = ShardId(u8::MAX);

/// The running server. Dropping it ends the thread.
#[derive(Debug)]
pub struct Demo {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Demo {
    /// Binds `config.address` (its port may be 0) and runs the server on a thread of its own.
    pub fn spawn(mut config: Config, random: Random) -> io::Result<Demo> {
        let socket = Udp::open(&UdpOptions::new(config.address))?;
        config.address = socket.address();
        let address = config.address;
        let poll = Poll::new(SHARD, EVENTS)?;
        let mut sockets = Sockets::new(SHARD, config.calls + 1);
        let sip = sockets.insert(socket).map_err(|_| io::ErrorKind::OutOfMemory)?;
        if let Some(socket) = sockets.get(sip) {
            poll.add_socket(sip, socket)?;
        }
        let (waker, stop) = (poll.waker(), Arc::new(AtomicBool::new(false)));
        let seat = Seat {
            server: Server::new(config, random),
            poll,
            sockets,
            sip,
            calls: Map::default(),
            of: Map::default(),
            unread: VecDeque::new(),
            address,
        };
        let asked = Arc::clone(&stop);
        let thread = thread::Builder::new().name("demo".into()).spawn(move || seat.run(&asked))?;
        Ok(Demo { address, stop, waker, thread: Some(thread) })
    }

    /// Where it hears SIP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // If it panicked it has said so already.
            let _ = thread.join();
        }
    }
}

struct Seat {
    server: Server,
    poll: Poll,
    sockets: Sockets,
    sip: SocketId,
    calls: Map<CallId, SocketId>,
    of: Map<SocketId, CallId>,
    /// Sockets that may hold more than was read in their turn.
    unread: VecDeque<SocketId>,
    address: SocketAddr,
}

impl Seat {
    fn run(mut self, stop: &AtomicBool) {
        let mut buffer = vec![0; DATAGRAM];
        while !stop.load(Ordering::Relaxed) {
            let deadline = self.server.poll_timeout();
            let wait = deadline.map(|deadline| deadline.at.saturating_duration_since(clock().instant));
            let wait = if self.unread.is_empty() { wait } else { Some(std::time::Duration::ZERO) };
            if self.poll.wait(wait).is_err() {
                return;
            }
            let ready = self.poll.ready().filter_map(|ready| match ready {
                Ready::Socket(id) => Some(id),
                _ => None,
            });
            self.unread.extend(ready);
            for _ in 0..self.unread.len() {
                if let Some(id) = self.unread.pop_front()
                    && self.read(id, &mut buffer)
                {
                    self.unread.push_back(id);
                }
            }
            let now = clock();
            if self.server.poll_timeout().is_some_and(|deadline| deadline.at <= now.instant) {
                self.server.handle_timeout(now);
            }
            self.carry_out();
        }
    }

    /// One socket's turn; true where there may be more.
    fn read(&mut self, id: SocketId, buffer: &mut [u8]) -> bool {
        for _ in 0..TURN {
            let now = clock();
            match self.sockets.receive_one(id, buffer) {
                Ok((from, data)) if id == self.sip => {
                    self.server.handle_input(now, Input::Sip { from, data });
                }
                Ok((from, data)) => {
                    if let Some(&call) = self.of.get(&id) {
                        self.server.handle_input(now, Input::Rtp { call, from, data });
                    }
                }
                Err(crate::net::Received::Drained) => return false,
                Err(crate::net::Received::More) => {}
            }
            self.carry_out();
        }
        true
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Sip { to, data } => {
                    self.sockets.send_one(self.sip, to, &data);
                }
                Output::Rtp { call, to, data } => {
                    if let Some(&id) = self.calls.get(&call) {
                        self.sockets.send_one(id, to, &data);
                    }
                }
                Output::Open { call } => self.open(call),
                Output::Close { call } => {
                    if let Some(id) = self.calls.remove(&call) {
                        self.of.remove(&id);
                        self.sockets.remove(id);
                    }
                }
            }
        }
    }

    fn open(&mut self, call: CallId) {
        let opened = Udp::open(&UdpOptions::new((self.address.ip(), 0).into())).ok();
        let opened = opened.and_then(|socket| {
            let address = socket.address();
            let id = self.sockets.insert(socket).ok()?;
            Some((id, address)).filter(|_| {
                self.sockets.get(id).is_some_and(|socket| self.poll.add_socket(id, socket).is_ok())
            })
        });
        let input = match opened {
            Some((id, address)) => {
                self.calls.insert(call, id);
                self.of.insert(id, call);
                Input::Opened { call, address }
            }
            None => Input::Unopened { call },
        };
        self.server.handle_input(clock(), input);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::User;
    use std::net::UdpSocket;
    use std::time::Duration;

    #[test]
    fn hears_on_its_address_and_ends_when_dropped() {
        let users = vec![User { name: "alice".into(), password: "a".into() }];
        let config = Config::new(([127, 0, 0, 1], 0).into(), users);
        let demo = Demo::spawn(config, Random::from_number(1)).unwrap();
        let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
        phone.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let options = format!(
            "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKx;rport\r\nMax-Forwards: 70\r\n\
             From: <sip:x@{own}>;tag=1\r\nTo: <sip:{to}>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
            to = demo.address(),
            own = phone.local_addr().unwrap(),
        );
        phone.send_to(options.as_bytes(), demo.address()).unwrap();
        let mut buffer = [0; 2048];
        let (length, from) = phone.recv_from(&mut buffer).unwrap();
        assert_eq!(from, demo.address());
        assert!(buffer[..length].starts_with(b"SIP/2.0 200 OK\r\n"));
        let address = demo.address();
        drop(demo);
        UdpSocket::bind(address).expect("the port is free again");
    }
}
