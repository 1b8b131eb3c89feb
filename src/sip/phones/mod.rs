//! SIP phones that register and call through us (RFC 5626 section 5, as a B2BUA): the server sees a contact of ours, the
//! phone is reached down the flow that it registered by, whatever its NAT made of its address.
//!
//! A phone's credentials are the server's business: challenges and their answers pass verbatim (`relay`), unless the
//! phone is a configured user whose secret we hold. Then we ask for its password ourselves (`guard`), and answer the
//! server with that secret. All that is known of a phone lives on one shard: that of its connection or, over UDP, the one
//! that a hash of its address names.

mod dial;
mod guard;
mod lost;
mod nat;
mod register;
mod relay;
mod table;

pub(super) use lost::FLOW_FAILED;
pub(super) use register::AskKey;
pub(super) use relay::{Inherited, Line, credentials};
pub(super) use table::{PhoneKey, Table};

use super::Transport;
use crate::base::Map;
use crate::leg::{Account, Secret, TrunkId};
use std::time::Duration;

/// Which phones may register through us, and where.
#[derive(Clone, Debug)]
pub struct Phones {
    /// The SIP server that knows them.
    pub trunk: TrunkId,
    /// The domains of their addresses, in lower case.
    pub domains: Vec<String>,
    /// By which transports they may come.
    pub transports: Vec<Transport>,
    /// Passwords by which users sign in whose secret at the server we hold: asked for by ourselves.
    pub users: Map<Account, Secret>,
    /// Longest expiry that a phone behind UDP is told, so that it comes back while its NAT remembers it; 60 s. The
    /// server is asked no more often than the expiry that it granted wants.
    pub udp_expires: Duration,
    /// How often something is sent to a phone behind UDP, so that its NAT does not forget it; 25 s.
    pub keepalive: Duration,
    /// Phones on one shard.
    pub most: usize,
    /// REGISTER in a second from one source that has no phone here yet.
    pub pace: u32,
}

impl Phones {
    /// Phones of these domains at this server, by any transport, with the defaults.
    pub fn new(trunk: TrunkId, domains: Vec<String>) -> Phones {
        Phones {
            trunk,
            domains,
            transports: vec![Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss],
            users: Map::default(),
            udp_expires: Duration::from_mins(1),
            keepalive: Duration::from_secs(25),
            most: 20_000,
            pace: 100,
        }
    }
}
