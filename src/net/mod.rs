//! Sockets: batched UDP, TCP, polling, and what else asks the kernel. The only room with system calls and `unsafe`.
//!
//! Nothing here blocks and nothing here allocates once a batch and a socket exist. A full socket drops and counts.

mod batch;
mod cpu;
mod fetch;
mod own;
mod poll;
mod query;
mod ring;
mod sys;
mod tcp;
mod tls;
mod trust;
mod udp;

pub use batch::{BATCH, Batch, Slot};
pub use cpu::{online_cores, pin, thread_time};
pub use fetch::fetch;
pub use own::own_address;
pub use poll::{Poll, Ready, Waker};
pub use query::Query;
pub use ring::try_ring;
pub use tcp::{ConnectOptions, Listener, READ_SIZE, Stream, TcpOptions};
pub use tls::{BadCertificate, Certificate, Tickets};
pub use trust::Trust;
pub use udp::{Counters, Received, Sockets, Udp, UdpOptions};
