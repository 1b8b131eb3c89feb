//! The machine's own address.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// The address by which this machine reaches others: that of its default route. Nothing is sent. `None` where there is
/// no route, or only loopback.
pub fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation (RFC 5737): it is routed as any foreign one, and nobody has it.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}
