//! The far side: a page with a socket for each call, and one party that echoes.

use crate::rig;
use bridgehead::base::{Packet, ShardId, SocketId};
use bridgehead::media::srtp::Send;
use bridgehead::net::{BATCH, Batch, Poll, Ready, Received, Sockets, Udp, UdpOptions};
use bridgehead::rtp::Keys;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a tick waits for packets that may be lost.
const PATIENCE: Duration = Duration::from_millis(100);

pub struct Run {
    pub sent: u64,
    pub heard: u64,
    pub time: Duration,
}

pub struct Far {
    poll: Poll,
    sockets: Sockets,
    party: SocketId,
    pages: Vec<SocketId>,
    calls: Vec<Send>,
    web: SocketAddr,
    batch: Batch,
    waiting: VecDeque<SocketId>,
    tick: u64,
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn now() -> Instant {
    Instant::now()
}

impl Far {
    pub fn new(calls: usize) -> Far {
        let poll = Poll::new(ShardId(0), 1024).unwrap();
        let mut sockets = Sockets::new(ShardId(0), calls + 1);
        let mut open = |gather| {
            let options = UdpOptions {
                gather,
                receive_buffer: 4 << 20,
                send_buffer: 4 << 20,
                ..UdpOptions::new(rig::localhost(0))
            };
            let id = sockets.insert(Udp::open(&options).unwrap()).unwrap();
            poll.add_socket(id, sockets.get(id).unwrap()).unwrap();
            id
        };
        let party = open(true);
        let pages = (0..calls).map(|_| open(false)).collect();
        Far {
            poll,
            party,
            pages,
            sockets,
            calls: Vec::new(),
            web: rig::localhost(0),
            batch: Batch::default(),
            waiting: VecDeque::new(),
            tick: 0,
        }
    }

    pub fn pages(&self) -> Vec<SocketAddr> {
        self.pages.iter().map(|&id| self.sockets.get(id).unwrap().address()).collect()
    }

    pub fn party(&self) -> SocketAddr {
        self.sockets.get(self.party).unwrap().address()
    }

    pub fn connect(&mut self, web: SocketAddr, calls: &[(Keys, SocketAddr)]) {
        self.web = web;
        self.calls = calls.iter().map(|(keys, _)| rig::browser(keys).0).collect();
    }

    /// So many ticks, in each of which every call sends a packet and waits for its echo.
    pub fn run(&mut self, ticks: u64) -> Run {
        let (mut sent, mut heard, start) = (0, 0, now());
        for _ in 0..ticks {
            self.send();
            sent += self.calls.len() as u64;
            heard += self.hear();
        }
        Run { sent, heard, time: now() - start }
    }

    fn send(&mut self) {
        let mut packet = Packet::default();
        for n in 0..self.calls.len() {
            rig::rtp(&mut packet, n as u32 + 1, self.tick);
            self.calls[n].protect(self.tick, &mut packet).unwrap();
            self.batch.push(self.pages[n], self.web, packet.bytes(), true);
            if self.batch.room() == 0 {
                self.sockets.send(&mut self.batch);
            }
        }
        self.sockets.send(&mut self.batch);
        self.tick += 1;
    }

    fn hear(&mut self) -> u64 {
        let (mut heard, deadline) = (0, now() + PATIENCE);
        while heard < self.calls.len() as u64 && now() < deadline {
            let wait = if self.waiting.is_empty() { PATIENCE } else { Duration::ZERO };
            self.poll.wait(Some(wait)).unwrap();
            for ready in self.poll.ready() {
                if let Ready::Socket(id) = ready {
                    self.waiting.push_back(id);
                }
            }
            for _ in 0..self.waiting.len() {
                let Some(id) = self.waiting.pop_front() else { break };
                let limit = if id == self.party { BATCH } else { 4 };
                if self.sockets.receive(id, &mut self.batch, limit) == Received::More {
                    self.waiting.push_back(id);
                }
                if id == self.party {
                    self.batch.slots().iter_mut().for_each(|slot| slot.send = true);
                    self.sockets.send(&mut self.batch);
                } else {
                    // SRTCP shares the port: reports are no echoes.
                    let slots = self.batch.slots().iter();
                    heard += slots.filter(|slot| !matches!(slot.packet.bytes(), [_, 192..=223, ..])).count()
                        as u64;
                    self.batch.clear();
                }
            }
        }
        heard
    }
}
