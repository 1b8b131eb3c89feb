//! The system calls under the engine: `sendmmsg` and `recvmmsg` with a source address of choice and the kernel's own
//! arrival times; the clock; a socket's drops.
#![allow(unsafe_code)]

use bridgehead::base::Packet;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Datagrams of one call.
pub(super) const BATCH: usize = 32;
/// Bytes of control messages of one datagram: a source address and an arrival time.
const CONTROL: usize = 64;

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// The arrays of one `sendmmsg` or `recvmmsg`, kept between calls.
pub(super) struct Headers {
    names: Box<[libc::sockaddr_in; BATCH]>,
    parts: Box<[libc::iovec; BATCH]>,
    controls: Box<[Control; BATCH]>,
    messages: Box<[libc::mmsghdr; BATCH]>,
}

/// What is known of a received datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) from: SocketAddrV4,
    /// The address that it was sent to, where the socket tells.
    pub(super) to: Ipv4Addr,
    /// When the kernel took it in, ns since the Unix epoch.
    pub(super) at: u64,
}

impl Default for Headers {
    fn default() -> Self {
        // SAFETY: all-zero is a value of each: null pointers, zero lengths, family 0.
        unsafe {
            Headers {
                names: Box::new(MaybeUninit::zeroed().assume_init()),
                parts: Box::new(MaybeUninit::zeroed().assume_init()),
                controls: Box::new([Control([0; CONTROL]); BATCH]),
                messages: Box::new(MaybeUninit::zeroed().assume_init()),
            }
        }
    }
}

fn name(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

fn ip(address: libc::in_addr) -> Ipv4Addr {
    Ipv4Addr::from(address.s_addr.to_ne_bytes())
}

impl Headers {
    /// Sends one datagram a packet: from the socket's own address where `from` is unspecified, else from that one.
    /// Gives how many the kernel took.
    pub(super) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        packets: &mut [Packet],
        ways: &[(Ipv4Addr, SocketAddrV4)],
    ) -> io::Result<usize> {
        let count = packets.len().min(ways.len()).min(BATCH);
        for (n, (packet, (from, to))) in packets.iter_mut().zip(ways).take(count).enumerate() {
            self.names[n] = name(*to);
            let bytes = packet.bytes_mut();
            self.parts[n] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            self.point(n, 0);
            if !from.is_unspecified() {
                self.leave_by(n, *from);
            }
        }
        // SAFETY: the first `count` headers point at names, parts and controls of `self` and at packets borrowed until
        // this function returns; the kernel only reads them.
        let sent = unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                self.messages.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Receives into `packets` without waiting; what is known of each goes to `arrivals`. Gives how many came.
    pub(super) fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        packets: &mut [Packet],
        arrivals: &mut [Arrival],
    ) -> io::Result<usize> {
        let count = packets.len().min(arrivals.len()).min(BATCH);
        for (n, packet) in packets.iter_mut().take(count).enumerate() {
            let area = packet.receive_area();
            self.parts[n] = libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
            self.point(n, CONTROL);
        }
        // SAFETY: as in `send`; the kernel writes no more than the lengths given.
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
        for n in 0..got.min(count) {
            packets[n].received((self.messages[n].msg_len as usize).min(Packet::MAX));
            let from = self.names[n];
            let from = SocketAddrV4::new(ip(from.sin_addr), u16::from_be(from.sin_port));
            arrivals[n] = Arrival { from, to: Ipv4Addr::UNSPECIFIED, at: 0 };
            self.read_controls(n, &mut arrivals[n]);
        }
        Ok(got)
    }

    fn point(&mut self, n: usize, control: usize) {
        let message = &mut self.messages[n].msg_hdr;
        message.msg_name = (&raw mut self.names[n]).cast();
        message.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        message.msg_iov = &raw mut self.parts[n];
        message.msg_iovlen = 1;
        message.msg_control = if control > 0 { (&raw mut self.controls[n]).cast() } else { ptr::null_mut() };
        message.msg_controllen = control as _;
        message.msg_flags = 0;
    }

    /// Says which of this machine's addresses message `n` comes from (`IP_PKTINFO`).
    fn leave_by(&mut self, n: usize, from: Ipv4Addr) {
        let info = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let message = &mut self.messages[n].msg_hdr;
        message.msg_control = (&raw mut self.controls[n]).cast();
        let size = size_of::<libc::in_pktinfo>() as libc::c_uint;
        // SAFETY: the control area is aligned for a header and longer than a header and this value.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size) as _;
            let header = message.msg_control.cast::<libc::cmsghdr>();
            (*header).cmsg_level = libc::IPPROTO_IP;
            (*header).cmsg_type = libc::IP_PKTINFO;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            ptr::write_unaligned(libc::CMSG_DATA(header).cast::<libc::in_pktinfo>(), info);
        }
    }

    fn read_controls(&self, n: usize, arrival: &mut Arrival) {
        let message = &raw const self.messages[n].msg_hdr;
        // SAFETY: the kernel filled the control area and set its length; the macros stay within it, and values are
        // read unaligned after their kind has been looked at.
        unsafe {
            let mut header = libc::CMSG_FIRSTHDR(message);
            while !header.is_null() {
                let data = libc::CMSG_DATA(header);
                match ((*header).cmsg_level, (*header).cmsg_type) {
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                        let info = ptr::read_unaligned(data.cast::<libc::in_pktinfo>());
                        arrival.to = ip(info.ipi_addr);
                    }
                    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                        let time = ptr::read_unaligned(data.cast::<libc::timespec>());
                        arrival.at = nanoseconds(time);
                    }
                    _ => {}
                }
                header = libc::CMSG_NXTHDR(message, header);
            }
        }
    }
}

/// Asks for the address that datagrams were sent to, and for their arrival times. And never fragments: what can't be
/// fragmented needs no IP identification, which costs the kernel 3 % of a send.
pub(super) fn tell(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
    set(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    set(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

/// Asks for a receive queue beyond the system's limit, where we may, else up to it.
pub(super) fn queue(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let bytes = bytes as libc::c_int;
    set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
        .or_else(|_| set(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes))
}

fn set(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads an integer of the size given.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Datagrams that the kernel dropped at a socket.
pub(super) fn drops(fd: BorrowedFd<'_>) -> u32 {
    let mut memory = [0_u32; 9];
    let mut length = size_of_val(&memory) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `memory`.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            memory.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result < 0 { 0 } else { memory[libc::SK_MEMINFO_DROPS as usize] }
}

/// Lets sleeps of this thread end when they should: the kernel else rounds them by 50 µs.
pub(super) fn sleep_exactly() {
    // SAFETY: the call takes integers and touches no memory of ours. Its failure costs exactness only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64, 0_u64, 0_u64, 0_u64) };
}

fn nanoseconds(time: libc::timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds since the Unix epoch, by the clock that stamps arrivals.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes a whole `timespec`; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    nanoseconds(time)
}
