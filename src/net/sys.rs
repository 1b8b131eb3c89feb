//! The system calls that neither std nor socket2 has: `recvmmsg`, `sendmmsg`, a socket's error queue and drop count.
#![allow(unsafe_code)]

use super::batch::{BATCH, Slot};
use super::ring::{Do, Ring};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

/// A socket address as the kernel reads and writes it.
#[repr(C)]
#[derive(Clone, Copy)]
union Address {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Address {
    // SAFETY: every field of the union is plain old data, for which all-zero is a value (family 0: unspecified).
    const NONE: Address = unsafe { MaybeUninit::zeroed().assume_init() };

    fn write(&mut self, address: SocketAddr) -> libc::socklen_t {
        match address {
            SocketAddr::V4(address) => {
                self.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                    sin_zero: [0; 8],
                };
                size_of::<libc::sockaddr_in>() as libc::socklen_t
            }
            SocketAddr::V6(address) => {
                self.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                };
                size_of::<libc::sockaddr_in6>() as libc::socklen_t
            }
        }
    }

    fn read(&self) -> Option<SocketAddr> {
        // SAFETY: the union was zeroed at first and is only written by `write` and by the kernel, so all its bytes
        // are initialised; `family` lies at offset 0 of both address structs.
        match i32::from(unsafe { self.family }) {
            libc::AF_INET => {
                // SAFETY: as above; any bytes are a `sockaddr_in`.
                let v4 = unsafe { self.v4 };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
            }
            libc::AF_INET6 => {
                // SAFETY: as above; any bytes are a `sockaddr_in6`.
                let v6 = unsafe { self.v6 };
                let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
                Some(SocketAddr::V6(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id)))
            }
            _ => None,
        }
    }
}

/// Message headers for one call of `recvmmsg` or `sendmmsg`, kept so that no call builds them on the stack.
pub(super) struct Headers {
    addresses: [Address; BATCH],
    parts: [libc::iovec; BATCH],
    messages: [libc::mmsghdr; BATCH],
    filled: usize,
    sockets: [RawFd; BATCH],
    /// What became of each of a ring's operations: bytes, or an error's negative number.
    results: [i32; BATCH],
}

// SAFETY: the raw pointers inside are written at the start of each call and read only by that call.
unsafe impl Send for Headers {}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Headers")
    }
}

impl Default for Headers {
    fn default() -> Self {
        let part = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        // SAFETY: all-zero is a value of `mmsghdr`: null pointers and zero lengths.
        let message: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        Headers {
            addresses: [Address::NONE; BATCH],
            parts: [part; BATCH],
            messages: [message; BATCH],
            filled: 0,
            sockets: [-1; BATCH],
            results: [0; BATCH],
        }
    }
}

impl Headers {
    /// Receives into `slots` (at most [`BATCH`] of them) without waiting. Gives how many of them now hold a datagram,
    /// and how many of these were longer than a slot (they are left empty).
    pub(super) fn receive(&mut self, fd: BorrowedFd<'_>, slots: &mut [Slot]) -> io::Result<(usize, usize)> {
        let count = slots.len().min(BATCH);
        for (n, slot) in slots.iter_mut().take(count).enumerate() {
            let area = slot.packet.receive_area();
            self.parts[n] = libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
            self.point(n, size_of::<Address>() as libc::socklen_t);
        }
        // SAFETY: the first `count` headers point at parts and addresses of `self` and at the receive areas of
        // distinct slots, all borrowed mutably and alive until this function returns; lengths are those of the areas.
        let got = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.messages.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        let mut cut = 0;
        for (n, slot) in slots.iter_mut().take(got).enumerate() {
            let message = &self.messages[n];
            let whole = message.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            let remote = self.addresses[n].read();
            cut += usize::from(!whole);
            slot.packet.received(match remote {
                Some(_) if whole => message.msg_len as usize,
                _ => 0,
            });
            slot.remote = remote.unwrap_or(slot.remote);
            (slot.send, slot.note) = (false, 0);
        }
        Ok((got, cut))
    }

    /// Receives one datagram into a slot without waiting. Gives whether it was longer than the slot (left empty then).
    pub(super) fn receive_one(&mut self, fd: BorrowedFd<'_>, slot: &mut Slot) -> io::Result<bool> {
        let name = &mut self.addresses[0];
        let mut length = size_of::<Address>() as libc::socklen_t;
        let area = slot.packet.receive_area();
        // SAFETY: the kernel writes at most `area.len()` bytes into the area and `length` bytes into the name; with
        // MSG_TRUNC it gives the datagram's whole length, of which no more than that was written.
        let got = unsafe {
            libc::recvfrom(
                fd.as_raw_fd(),
                area.as_mut_ptr().cast(),
                area.len(),
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                (&raw mut *name).cast(),
                &raw mut length,
            )
        };
        let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        let whole = got <= area.len();
        let remote = name.read();
        slot.packet.received(if whole && remote.is_some() { got } else { 0 });
        slot.remote = remote.unwrap_or(slot.remote);
        (slot.send, slot.note) = (false, 0);
        Ok(!whole)
    }

    /// Receives one datagram from each of the sockets into the slot of its place, by one call and without waiting.
    /// [`Headers::result`] tells of each.
    pub(super) fn ring_receive<'a>(
        &mut self,
        ring: &mut Ring,
        sockets: impl Iterator<Item = BorrowedFd<'a>>,
        slots: &mut [Slot],
    ) -> io::Result<()> {
        let mut count = 0;
        for (slot, fd) in slots.iter_mut().take(BATCH).zip(sockets) {
            let area = slot.packet.receive_area();
            self.parts[count] = libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
            self.point(count, size_of::<Address>() as libc::socklen_t);
            self.sockets[count] = fd.as_raw_fd();
            count += 1;
        }
        // SAFETY: the headers point at parts and addresses of `self` and at the receive areas of distinct slots, all
        // borrowed mutably until this function returns.
        let done = unsafe { self.ring_run(ring, Do::Receive, count) };
        for (n, slot) in slots.iter_mut().take(count).enumerate() {
            let got = usize::try_from(self.results[n]).unwrap_or(0);
            let remote = self.addresses[n].read().filter(|_| got <= slot.packet.receive_area().len());
            slot.packet.received(if remote.is_some() { got } else { 0 });
            slot.remote = remote.unwrap_or(slot.remote);
            (slot.send, slot.note) = (false, 0);
        }
        done
    }

    /// What the last run of a ring gave for the operation of this place: bytes, of a datagram's whole length.
    pub(super) fn result(&self, n: usize) -> io::Result<usize> {
        let result = self.results[n];
        usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(result.wrapping_neg()))
    }

    /// Whether the last run of a ring did not get as far as this place.
    pub(super) fn is_undone(&self, n: usize) -> bool {
        self.results[n] == super::ring::UNDONE
    }

    /// # Safety
    /// As [`Ring::run`], for the first `count` headers.
    unsafe fn ring_run(&mut self, ring: &mut Ring, what: Do, count: usize) -> io::Result<()> {
        let headers = self.messages.iter_mut().map(|message| &raw mut message.msg_hdr);
        let pairs = self.sockets.iter().copied().zip(headers).take(count);
        // SAFETY: by this function's contract.
        unsafe { ring.run(what, pairs, &mut self.results) }
    }

    /// Adds a datagram to a run that leaves by several sockets; false where the run is full.
    pub(super) fn add_by(&mut self, fd: BorrowedFd<'_>, slot: &mut Slot) -> bool {
        let n = self.filled;
        self.add(slot).then(|| self.sockets[n] = fd.as_raw_fd()).is_some()
    }

    /// Sends the run, each datagram by its socket, by one call and without waiting. [`Headers::result`] tells of each.
    ///
    /// # Safety
    /// The slots given to [`Headers::add_by`] since [`Headers::start`] must not have been moved, changed or dropped,
    /// and their sockets not closed.
    pub(super) unsafe fn ring_send(&mut self, ring: &mut Ring) -> io::Result<()> {
        // SAFETY: the headers point at parts and addresses of `self` and, by this function's contract, at slots that
        // still lie where they lay.
        unsafe { self.ring_run(ring, Do::Send, self.filled) }
    }

    /// Begins a run of sends.
    pub(super) fn start(&mut self) {
        self.filled = 0;
    }

    /// Adds a datagram to the run; false where the run is full.
    pub(super) fn add(&mut self, slot: &mut Slot) -> bool {
        let n = self.filled;
        if n == BATCH {
            return false;
        }
        let length = self.addresses[n].write(slot.remote);
        let bytes = slot.packet.bytes_mut();
        self.parts[n] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        self.point(n, length);
        self.filled = n + 1;
        true
    }

    /// How many datagrams the run has.
    pub(super) fn run(&self) -> usize {
        self.filled
    }

    /// Sends the run from its datagram number `from` on, without waiting. Gives how many went out (at least one).
    ///
    /// # Safety
    /// The slots given to [`Headers::add`] since [`Headers::start`] must not have been moved, changed or dropped.
    pub(super) unsafe fn send(&mut self, fd: BorrowedFd<'_>, from: usize) -> io::Result<usize> {
        let messages = &mut self.messages[from..self.filled];
        let sent = if let [message] = messages {
            // A single datagram needs neither array nor header.
            let (part, header) = (&self.parts[from], &message.msg_hdr);
            // SAFETY: as below: the part is a slot that still lies where it lay, the name an address of `self`.
            let sent = unsafe {
                libc::sendto(
                    fd.as_raw_fd(),
                    part.iov_base,
                    part.iov_len,
                    libc::MSG_DONTWAIT,
                    header.msg_name.cast(),
                    header.msg_namelen,
                )
            };
            if sent < 0 { -1 } else { 1 }
        } else {
            // SAFETY: the headers point at parts and addresses of `self` and, by this function's contract, at slots
            // that still lie where they lay; the kernel only reads the bytes.
            unsafe {
                libc::sendmmsg(
                    fd.as_raw_fd(),
                    messages.as_mut_ptr(),
                    messages.len() as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            }
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    fn point(&mut self, n: usize, address_length: libc::socklen_t) {
        let message = &mut self.messages[n].msg_hdr;
        message.msg_name = (&raw mut self.addresses[n]).cast();
        message.msg_namelen = address_length;
        message.msg_iov = &raw mut self.parts[n];
        message.msg_iovlen = 1;
        message.msg_control = ptr::null_mut();
        message.msg_controllen = 0;
        message.msg_flags = 0;
    }
}

/// How many datagrams the kernel has dropped on this socket, mostly because its receive buffer was full.
pub(super) fn drops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut memory = [0_u32; 9];
    let mut length = size_of_val(&memory) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `memory`, which is that long and valid for any bytes.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            memory.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(memory[libc::SK_MEMINFO_DROPS as usize]) }
}

/// Lets a socket keep what comes back by ICMP (ip(7), `IP_RECVERR`).
pub(super) fn hear_errors(fd: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    let (level, name) =
        if v6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) } else { (libc::IPPROTO_IP, libc::IP_RECVERR) };
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads one int.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether the kernel is to refuse datagrams that are longer than their path takes (`EMSGSIZE`), or to cut them up.
/// Those that fit leave alike, with "don't fragment" set; but one that may never be cut needs no identification
/// (RFC 6864 section 4.1), and the kernel makes none, which is a fortieth of its work for a small packet. IPv6 has no
/// such field.
pub(super) fn keep_whole(fd: BorrowedFd<'_>, whole: bool) -> io::Result<()> {
    let how: libc::c_int = if whole { libc::IP_PMTUDISC_DO } else { libc::IP_PMTUDISC_WANT };
    // SAFETY: the kernel reads one int.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const how).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A datagram that came back.
pub(super) struct Returned {
    /// Where it was sent to.
    pub(super) to: Option<SocketAddr>,
    /// How much of it there is.
    pub(super) length: usize,
    /// Network, host, protocol or port: nobody is there (RFC 3261 section 18.4).
    pub(super) unreachable: bool,
}

/// Room for the control message of an error: its header, the error, the address of who reports it.
#[repr(C, align(8))]
struct Control([u8; 128]);

/// Takes the oldest datagram out of a socket's error queue; `WouldBlock` where there is none.
pub(super) fn receive_error(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Returned> {
    let mut name = Address::NONE;
    let mut control = Control([0; 128]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero is a value of `msghdr`: null pointers and zero lengths.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of::<Address>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: every pointer is to a local or the caller's buffer, with its length, all alive until the call returns.
    let got =
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
    let length = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has written whole control messages into `control` and their length into `message`.
    let first = unsafe { libc::CMSG_FIRSTHDR(&raw const message).as_ref() };
    let known = [(libc::IPPROTO_IP, libc::IP_RECVERR), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)];
    let unreachable = first.is_some_and(|header| {
        let whole = header.cmsg_len >= size_of::<libc::cmsghdr>() + size_of::<libc::sock_extended_err>();
        // SAFETY: an error message of this length begins with a `sock_extended_err`, of which any bytes are a value.
        let error =
            || unsafe { ptr::read_unaligned(libc::CMSG_DATA(header).cast::<libc::sock_extended_err>()) };
        known.contains(&(header.cmsg_level, header.cmsg_type)) && whole && is_unreachable(&error())
    });
    Ok(Returned { to: name.read(), length, unreachable })
}

/// ICMP type 3 but "fragmentation needed" (RFC 792), ICMPv6 type 1 (RFC 4443).
fn is_unreachable(error: &libc::sock_extended_err) -> bool {
    match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP => error.ee_type == 3 && error.ee_code != 4,
        libc::SO_EE_ORIGIN_ICMP6 => error.ee_type == 1,
        _ => false,
    }
}

/// Adds a descriptor to an epoll, level-triggered: it is reported in every wait while it is readable.
pub(super) fn add_level(poll: RawFd, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
    // SAFETY: the kernel only reads the event, and refuses a descriptor that is none.
    let result = unsafe { libc::epoll_ctl(poll, libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Binds the calling thread to one core.
pub(super) fn set_affinity(core: usize) -> io::Result<()> {
    // SAFETY: all-zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    if core >= 8 * size_of::<libc::cpu_set_t>() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: `core` is within the set, as checked.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is a whole set of the size given; thread 0 is the calling one.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The cores that the calling thread may run on.
pub(super) fn affinity() -> io::Result<Vec<usize>> {
    // SAFETY: all-zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the kernel writes at most the size given into `set`.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every number asked for is within the set.
    Ok((0..8 * size_of::<libc::cpu_set_t>()).filter(|&n| unsafe { libc::CPU_ISSET(n, &set) }).collect())
}

/// CPU time that the calling thread has used.
pub(super) fn thread_time() -> std::time::Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes a whole `timespec`.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    if result < 0 {
        return std::time::Duration::ZERO;
    }
    std::time::Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernel_form() {
        for text in ["192.0.2.7:5060", "[2001:db8::7]:49170", "[fe80::1%3]:9", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut raw = Address::NONE;
            assert!(raw.write(address) >= 16);
            assert_eq!(raw.read(), Some(address));
        }
        assert_eq!(Address::NONE.read(), None);
    }
}
