//! Real sockets, on loopback only: what the kernel does is asserted, not assumed.

mod net;
