//! The system calls of a floor, and nothing around them: no batch type, no pool, no source addresses of choice.
#![allow(unsafe_code)]

use bridgehead::base::Packet;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

/// Datagrams of one `recvmmsg` or `sendmmsg`, and events of one `epoll_wait`.
pub(super) const BATCH: usize = 64;

/// An address as the kernel has it.
#[derive(Clone, Copy)]
pub(super) struct Name(libc::sockaddr_in);

impl Name {
    pub(super) fn new(address: SocketAddrV4) -> Name {
        Name(libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: address.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
            sin_zero: [0; 8],
        })
    }

    /// Address and port in one number, as a key.
    #[inline]
    pub(super) fn key(&self) -> u64 {
        u64::from(self.0.sin_addr.s_addr) << 16 | u64::from(self.0.sin_port)
    }
}

const NOBODY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
const NAME: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;

/// Waits for one datagram less than forever: `None` where there is none after all.
#[inline]
pub(super) fn receive(socket: &impl AsRawFd, packet: &mut Packet) -> Option<Name> {
    let mut name = Name::new(NOBODY);
    let mut length = NAME;
    let area = packet.receive_area();
    // SAFETY: the kernel writes at most the area's length into it, and at most `length` bytes into the name.
    let got = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            area.as_mut_ptr().cast(),
            area.len(),
            libc::MSG_DONTWAIT,
            (&raw mut name.0).cast(),
            &raw mut length,
        )
    };
    packet.received(usize::try_from(got).ok()?);
    Some(name)
}

#[inline]
pub(super) fn send(socket: &impl AsRawFd, packet: &Packet, to: &Name) {
    let bytes = packet.bytes();
    // SAFETY: the kernel reads the packet and the name, both whole and alive.
    unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_DONTWAIT,
            (&raw const to.0).cast(),
            NAME,
        )
    };
}

/// Packets, and the headers of one system call that point at them.
pub(super) struct Rows {
    pub(super) packets: Vec<Packet>,
    pub(super) names: Vec<Name>,
    parts: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

impl Default for Rows {
    fn default() -> Rows {
        let part = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        // SAFETY: all-zero is a value of `mmsghdr`: null pointers and zero lengths.
        let message: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        Rows {
            packets: (0..BATCH).map(|_| Packet::default()).collect(),
            names: vec![Name::new(NOBODY); BATCH],
            parts: vec![part; BATCH],
            messages: vec![message; BATCH],
        }
    }
}

impl Rows {
    #[inline]
    fn point(&mut self, n: usize, base: *mut u8, length: usize) {
        self.parts[n] = libc::iovec { iov_base: base.cast(), iov_len: length };
        let message = &mut self.messages[n].msg_hdr;
        message.msg_iov = &raw mut self.parts[n];
        message.msg_iovlen = 1;
        message.msg_name = (&raw mut self.names[n].0).cast();
        message.msg_namelen = NAME;
    }

    /// Takes what is there, up to a batch; gives how many.
    pub(super) fn receive(&mut self, socket: &impl AsRawFd) -> usize {
        for n in 0..BATCH {
            let base = self.packets[n].receive_area().as_mut_ptr();
            self.point(n, base, Packet::MAX);
        }
        let messages = self.messages.as_mut_ptr();
        // SAFETY: every header points at a packet's area of the length given, a name and a part of `self`.
        let got = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages,
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let got = usize::try_from(got).unwrap_or(0);
        for n in 0..got {
            self.packets[n].received((self.messages[n].msg_len as usize).min(Packet::MAX));
        }
        got
    }

    /// Sends the first `count` packets to their names; what the kernel refuses is lost.
    pub(super) fn send(&mut self, socket: &impl AsRawFd, count: usize) {
        for n in 0..count {
            let bytes = self.packets[n].bytes_mut();
            let (base, length) = (bytes.as_mut_ptr(), bytes.len());
            self.point(n, base, length);
        }
        let mut from = 0;
        while from < count {
            // SAFETY: every header from `from` to `count` points at a packet, a name and a part of `self`.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.messages.as_mut_ptr().add(from),
                    (count - from) as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            };
            from += usize::try_from(sent).unwrap_or(0).max(1);
        }
    }
}

/// An epoll, level-triggered: a socket is reported in every wait while it is readable, so one read a report loses none.
pub(super) struct Poll {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    pub(super) fn new() -> io::Result<Poll> {
        // SAFETY: the call takes an integer.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        Ok(Poll { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; BATCH] })
    }

    pub(super) fn add(&self, socket: &impl AsRawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: the kernel only reads the event, and refuses a descriptor that is none.
        let result = unsafe {
            let (epoll, fd) = (self.epoll.as_raw_fd(), socket.as_raw_fd());
            libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until something is readable; gives how many are.
    pub(super) fn wait(&mut self) -> usize {
        let (events, room) = (self.events.as_mut_ptr(), self.events.len() as libc::c_int);
        // SAFETY: the kernel writes at most as many events as there is room for.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events, room, -1) };
        usize::try_from(count).unwrap_or(0)
    }

    #[inline]
    pub(super) fn token(&self, n: usize) -> u64 {
        self.events[n].u64
    }
}
