//! Sockets of single questions: a datagram socket or a connection to one far side, each for one answer.

use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

/// One of them, non-blocking.
#[derive(Debug)]
pub enum Query {
    /// Datagrams, heard from the far side alone.
    Datagram(UdpSocket),
    /// A connection, and what of the question was not sent yet.
    Stream(TcpStream, Vec<u8>),
}

/// Any address of the same family.
fn any(of: SocketAddr, port: u16) -> SocketAddr {
    let ip = if of.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(ip, port)
}

impl Query {
    /// Sends one datagram, from this port; from any other where it is taken.
    pub fn send(port: u16, server: SocketAddr, data: &[u8]) -> io::Result<Query> {
        let open = |port| {
            let socket = Socket::new(Domain::for_address(server), Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_nonblocking(true)?;
            socket.bind(&any(server, port).into())?;
            // The kernel lets nobody else in, and says where nobody is.
            socket.connect(&server.into())?;
            Ok::<_, io::Error>(UdpSocket::from(socket))
        };
        let socket = open(port).or_else(|_| open(0))?;
        socket.send(data)?;
        Ok(Query::Datagram(socket))
    }

    /// Begins a connection, by which this is sent.
    pub fn connect(server: SocketAddr, data: Vec<u8>) -> io::Result<Query> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        match socket.connect(&server.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        Ok(Query::Stream(socket.into(), data))
    }

    /// Writes what can be written, then reads once. `Ok(None)`: nothing is there, wait for the next edge. `Ok(Some(0))`
    /// by a connection: it has ended.
    pub fn turn(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let result = match self {
                Query::Datagram(socket) => socket.recv(buffer),
                Query::Stream(stream, rest) => {
                    if rest.is_empty() {
                        stream.read(buffer)
                    } else {
                        match stream.write(rest) {
                            Ok(count) => {
                                rest.drain(..count);
                                continue;
                            }
                            Err(error) => Err(error),
                        }
                    }
                }
            };
            match result {
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn raw(&self) -> RawFd {
        match self {
            Query::Datagram(socket) => socket.as_raw_fd(),
            Query::Stream(stream, _) => stream.as_raw_fd(),
        }
    }
}
