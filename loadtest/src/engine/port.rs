//! A socket of the generator.

use super::{READABLE, sys};
use mio::unix::SourceFd;
use mio::{Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Bytes wanted for a receive queue: the generator must never be the one who drops.
const QUEUE: usize = 32 << 20;

/// Names a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub(super) u32);

pub(super) struct Port {
    socket: UdpSocket,
    address: SocketAddrV4,
    /// It may have datagrams.
    pub(super) ready: bool,
}

impl Port {
    pub(super) fn open(address: SocketAddrV4) -> io::Result<Port> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        sys::queue(socket.as_fd(), QUEUE)?;
        sys::tell(socket.as_fd())?;
        socket.bind(&SocketAddr::V4(address).into())?;
        let address = socket.local_addr()?.as_socket_ipv4().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Port { socket: socket.into(), address, ready: false })
    }

    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.socket.as_raw_fd()), token, READABLE)
    }

    pub(super) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn drops(&self) -> u32 {
        sys::drops(self.fd())
    }
}
