//! The floor: the least that a forwarder can do with these sockets and these ciphers.
#![allow(unsafe_code, reason = "the floor is bare system calls")]

use crate::{Ready, Task, rig};
use bridgehead::base::{Packet, Random};
use bridgehead::media::srtp::{Receive, Send};
use bridgehead::net;
use bridgehead::rtp::Keys;
use socket2::{Domain, Protocol, Socket, Type};
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;
use std::time::Duration;

const BATCH: usize = 64;

struct Call {
    socket: Socket,
    page: libc::sockaddr_in,
    receive: Receive,
    send: Send,
    index: u64,
}

/// Packets with the headers of one system call.
struct Rows {
    packets: Vec<Packet>,
    parts: Vec<libc::iovec>,
    names: Vec<libc::sockaddr_in>,
    messages: Vec<libc::mmsghdr>,
}

impl Default for Rows {
    fn default() -> Rows {
        // SAFETY: all-zero is a value of each of these: null pointers and zero lengths.
        let (part, name, message) = unsafe { (zeroed(), zeroed(), zeroed()) };
        Rows {
            packets: (0..BATCH).map(|_| Packet::default()).collect(),
            parts: vec![part; BATCH],
            names: vec![name; BATCH],
            messages: vec![message; BATCH],
        }
    }
}

impl Rows {
    fn point(&mut self, n: usize, base: *mut u8, length: usize) {
        self.parts[n] = libc::iovec { iov_base: base.cast(), iov_len: length };
        let message = &mut self.messages[n].msg_hdr;
        message.msg_iov = &raw mut self.parts[n];
        message.msg_iovlen = 1;
        message.msg_name = (&raw mut self.names[n]).cast();
        message.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
    }

    fn receive(&mut self, socket: &Socket) -> usize {
        for n in 0..BATCH {
            let base = self.packets[n].receive_area().as_mut_ptr();
            self.point(n, base, Packet::MAX);
        }
        let messages = self.messages.as_mut_ptr();
        // SAFETY: every header points at a packet, a name and a part of `self`.
        let got = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), messages, BATCH as u32, libc::MSG_DONTWAIT, null_mut())
        };
        let got = got.max(0) as usize;
        for n in 0..got {
            self.packets[n].received(self.messages[n].msg_len as usize);
        }
        got
    }

    fn send(&mut self, socket: &Socket, count: usize) {
        for n in 0..count {
            let bytes = self.packets[n].bytes_mut();
            let (base, length) = (bytes.as_mut_ptr(), bytes.len());
            self.point(n, base, length);
        }
        let messages = self.messages.as_mut_ptr();
        // SAFETY: every header points at a packet, a name and a part of `self`.
        unsafe { libc::sendmmsg(socket.as_raw_fd(), messages, count as u32, libc::MSG_DONTWAIT) };
    }
}

struct Bare {
    web: Socket,
    party: libc::sockaddr_in,
    calls: Vec<Call>,
    by_port: Vec<u16>,
    poll: i32,
    up: Rows,
    down: Rows,
}

fn raw(address: SocketAddr) -> libc::sockaddr_in {
    let SocketAddr::V4(v4) = address else { panic!("IPv4 only") };
    // SAFETY: all-zero is a valid `sockaddr_in`.
    let mut raw: libc::sockaddr_in = unsafe { zeroed() };
    raw.sin_family = libc::AF_INET as libc::sa_family_t;
    raw.sin_port = v4.port().to_be();
    raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
    raw
}

fn socket(buffer: usize) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.set_nonblocking(true).unwrap();
    if buffer > 0 {
        socket.set_recv_buffer_size(buffer).unwrap();
        socket.set_send_buffer_size(buffer).unwrap();
    }
    socket.bind(&rig::localhost(0).into()).unwrap();
    socket
}

fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

pub fn forward(task: &Task) -> Duration {
    let mut bare = Bare::new(task);
    while !task.start.load(Ordering::Relaxed) {
        bare.pass();
    }
    let before = net::thread_time();
    while !task.stop.load(Ordering::Relaxed) {
        bare.pass();
    }
    net::thread_time().saturating_sub(before)
}

impl Bare {
    fn new(task: &Task) -> Bare {
        let mut random = Random::from_number(1);
        // SAFETY: no pointer is passed.
        let poll = unsafe { libc::epoll_create1(0) };
        let web = socket(4 << 20);
        listen(poll, &web, u64::MAX);
        let (mut calls, mut ends, mut by_port) = (Vec::new(), Vec::new(), vec![0; 1 << 16]);
        for (n, page) in task.pages.iter().enumerate() {
            let mut keys = Keys { profile: task.profile, receive: [0; 46], send: [0; 46] };
            random.fill(&mut keys.receive);
            random.fill(&mut keys.send);
            let socket = socket(0);
            listen(poll, &socket, n as u64);
            ends.push((keys.clone(), address(&socket)));
            by_port[usize::from(page.port())] = n as u16;
            calls.push(Call {
                socket,
                page: raw(*page),
                receive: Receive::new(task.profile, &keys.receive, 4),
                send: Send::new(task.profile, &keys.send, 4),
                index: 0,
            });
        }
        task.ready.send(Ready { web: address(&web), calls: ends }).unwrap();
        let (up, down) = (Rows::default(), Rows::default());
        Bare { web, party: raw(task.party), calls, by_port, poll, up, down }
    }

    fn pass(&mut self) {
        // SAFETY: all-zero is a valid `epoll_event`.
        let mut events: [libc::epoll_event; BATCH] = unsafe { zeroed() };
        // SAFETY: the kernel writes at most `BATCH` events.
        let count = unsafe { libc::epoll_wait(self.poll, events.as_mut_ptr(), BATCH as i32, 20) };
        let mut filled = 0;
        for event in &events[..count.max(0) as usize] {
            if event.u64 == u64::MAX {
                while self.up() == BATCH {}
            } else {
                filled += usize::from(self.down(event.u64 as usize, filled));
            }
        }
        if filled > 0 {
            self.down.send(&self.web, filled);
        }
    }

    /// A batch from the page, each packet deciphered and sent on from its call's socket.
    fn up(&mut self) -> usize {
        let got = self.up.receive(&self.web);
        for n in 0..got {
            let port = u16::from_be(self.up.names[n].sin_port);
            let call = &mut self.calls[usize::from(self.by_port[usize::from(port)])];
            let packet = &mut self.up.packets[n];
            if call.receive.unprotect(packet).is_err() {
                continue;
            }
            let bytes = packet.bytes();
            // SAFETY: the kernel reads the packet and the name, both whole and alive.
            unsafe {
                libc::sendto(
                    call.socket.as_raw_fd(),
                    bytes.as_ptr().cast(),
                    bytes.len(),
                    libc::MSG_DONTWAIT,
                    (&raw const self.party).cast(),
                    size_of::<libc::sockaddr_in>() as u32,
                )
            };
        }
        got
    }

    /// One packet from a call's socket, ciphered into the batch for the page. One read for one edge: the far side
    /// sends no second packet before the first has come back.
    fn down(&mut self, n: usize, slot: usize) -> bool {
        let call = &mut self.calls[n];
        let packet = &mut self.down.packets[slot];
        let area = packet.receive_area();
        // SAFETY: the kernel writes at most the area's length into it.
        let got = unsafe {
            libc::recv(call.socket.as_raw_fd(), area.as_mut_ptr().cast(), area.len(), libc::MSG_DONTWAIT)
        };
        if got < 0 {
            return false;
        }
        packet.received(got as usize);
        self.down.names[slot] = call.page;
        let protected = call.send.protect(call.index, packet).is_ok();
        call.index += 1;
        protected
    }
}

fn listen(poll: i32, socket: &Socket, number: u64) {
    let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: number };
    // SAFETY: the kernel reads the event.
    unsafe { libc::epoll_ctl(poll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) };
}
