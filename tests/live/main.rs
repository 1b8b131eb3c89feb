//! Real sockets, on loopback only: what the kernel does is asserted, not assumed.

mod counting;
mod ended;
mod forward;
mod latch;
mod net;
mod node;
mod pressure;
mod rig;
mod ring;
mod sip_streams;
mod tls;
mod torture;
