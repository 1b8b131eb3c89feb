//! TCP: listeners that shards share, and streams that queue nothing: who writes keeps the bytes until they are taken.

use super::tls::{Certificate, Tls};
use super::trust::Trust;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// The most that one read takes.
pub const READ_SIZE: usize = 16 * 1024;

/// How to open a listener.
#[derive(Clone, Debug)]
pub struct TcpOptions {
    /// Where to bind; port 0 takes any.
    pub address: SocketAddr,
    /// The network device (or VRF) to stay on.
    pub device: Option<String>,
    /// Share the port with the other shards (`SO_REUSEPORT`).
    pub share: bool,
    /// Connections that may wait to be accepted.
    pub backlog: u16,
    /// Differentiated services code point, which accepted connections inherit.
    pub dscp: Option<u8>,
}

fn mark(socket: &Socket, address: SocketAddr, dscp: u8) -> io::Result<()> {
    let class = u32::from(dscp) << 2;
    if address.is_ipv6() { socket.set_tclass_v6(class) } else { socket.set_tos_v4(class) }
}

/// A bound, non-blocking TCP listener.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Opens one.
    pub fn open(options: &TcpOptions) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(options.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // Connections of an earlier process that linger in TIME_WAIT must not keep us from starting.
        socket.set_reuse_address(true)?;
        if options.address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if options.share {
            socket.set_reuse_port(true)?;
        }
        if let Some(device) = &options.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        if let Some(dscp) = options.dscp {
            mark(&socket, options.address, dscp)?;
        }
        socket.bind(&options.address.into())?;
        socket.listen(i32::from(options.backlog))?;
        let socket = TcpListener::from(socket);
        Ok(Listener { address: socket.local_addr()?, socket })
    }

    /// Fails where another socket listens on this address, whether or not that one would share it.
    pub fn probe(address: SocketAddr) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())
    }

    /// Where it is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next waiting connection. `Ok(None)`: none is left, wait for the next edge.
    pub fn accept(&self) -> io::Result<Option<(Stream, SocketAddr)>> {
        loop {
            match self.socket.accept() {
                Ok((stream, remote)) => {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    return Ok(Some((Stream { socket: stream, tls: None, rising: false }, remote)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // A connection that was gone before we took it is not the listener's fault.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn raw(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A non-blocking TCP connection, under TLS where it was told so.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    tls: Option<Tls>,
    /// We asked for it, and nobody has been told yet that it is up.
    rising: bool,
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Where to.
    pub remote: SocketAddr,
    /// The address to come from, where it matters; an unspecified one leaves it to the system.
    pub local: IpAddr,
    /// The network device (or VRF) to stay on.
    pub device: Option<String>,
    /// Differentiated services code point.
    pub dscp: Option<u8>,
}

/// What was sent and is not acknowledged for so long ends a connection of ours (`TCP_USER_TIMEOUT`).
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

impl Stream {
    /// Begins a connection. Its end is told by [`Stream::has_risen`], or an error of reading or writing.
    pub fn connect(options: &ConnectOptions) -> io::Result<Stream> {
        let socket = Socket::new(Domain::for_address(options.remote), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        if let Some(device) = &options.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        if let Some(dscp) = options.dscp {
            mark(&socket, options.remote, dscp)?;
        }
        if !options.local.is_unspecified() {
            socket.bind(&SocketAddr::new(options.local, 0).into())?;
        }
        match socket.connect(&options.remote.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(Stream { socket: socket.into(), tls: None, rising: true })
    }

    /// Speaks TLS from now on, as the client, with whom `name` names. False where it names nobody.
    pub fn secure_towards(&mut self, trust: &Trust, name: &str) -> bool {
        self.tls = trust.connect(name).map(Tls::client);
        self.tls.is_some()
    }

    /// True once, when a connection that we asked for is up, TLS included.
    pub fn has_risen(&mut self) -> bool {
        let up = self.rising && !self.is_handshaking() && self.socket.peer_addr().is_ok();
        self.rising &= !up;
        up
    }

    /// Speaks TLS from now on, as the server. False where the certificate can't serve.
    pub fn secure(&mut self, certificate: &Certificate) -> bool {
        self.tls = Tls::new(certificate);
        self.tls.is_some()
    }

    /// Whether TLS is not up yet: each turn may cost a public-key operation.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::is_handshaking)
    }

    /// Whether the last [`Stream::read`] ended before the socket was empty, though it said that nothing is there.
    pub fn is_unread(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::is_unread)
    }

    /// Reads once. `Ok(None)`: nothing is there, wait for the next edge. `Ok(Some(0))`: the far side has ended.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if let Some(tls) = &mut self.tls {
            return tls.read(&mut self.socket, buffer);
        }
        loop {
            match self.socket.read(buffer) {
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes once. `Ok(None)`: the kernel takes nothing now, wait for the next edge and offer the same bytes again.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        if let Some(tls) = &mut self.tls {
            return tls.write(&mut self.socket, bytes);
        }
        loop {
            match self.socket.write(bytes) {
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what TLS itself has to say. For every edge, whether or not there is something to write.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.flush(&mut self.socket).map(drop),
            None => Ok(()),
        }
    }

    /// Ends our direction, so that the far side reads all that was written before it reads the end.
    pub fn shut(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close(&mut self.socket);
        }
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }

    pub(super) fn raw(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
