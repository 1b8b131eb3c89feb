//! What the server may be told, and what it counts.

use crate::base::counters;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// One of its users.
#[derive(Clone)]
pub struct User {
    /// The name: user part of the address and digest user name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({}, …)", self.name)
    }
}

/// The server's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The bound address of the SIP socket. RTP has the same IP address.
    pub address: SocketAddr,
    /// The digest realm.
    pub realm: String,
    /// Its users.
    pub users: Vec<User>,
    /// Most calls to numbers of ours at once.
    pub calls: usize,
    /// Most contacts of one user; the oldest makes room.
    pub contacts: usize,
    /// How long a nonce is good for.
    pub nonce: Duration,
    /// Registrations are not granted for longer.
    pub longest: Duration,
    /// Nor for shorter (423).
    pub shortest: Duration,
    /// How long `delay` rings.
    pub ring: Duration,
    /// A call of ours ends after so long without a packet, where packets should come.
    pub silence: Duration,
    /// A call of ours ends after so long in any case.
    pub talk: Duration,
}

impl Config {
    /// The defaults.
    pub fn new(address: SocketAddr, users: Vec<User>) -> Config {
        Config {
            address,
            realm: "bridgehead".to_owned(),
            users,
            calls: 200,
            contacts: 8,
            nonce: Duration::from_mins(5),
            longest: Duration::from_hours(1),
            shortest: Duration::from_secs(30),
            ring: Duration::from_secs(5),
            silence: Duration::from_mins(1),
            talk: Duration::from_hours(2),
        }
    }
}

counters! {
    /// What the server counts.
    pub struct Counters {
        /// SIP messages heard.
        received,
        /// SIP datagrams that were no messages, and responses that were malformed.
        malformed,
        /// Requests refused for a fault in them.
        refused,
        /// 401 and 407 sent.
        challenged,
        /// Wrong credentials.
        forbidden,
        /// Registrations made, refreshed or removed.
        registered,
        /// Requests forwarded.
        forwarded,
        /// Responses forwarded.
        returned,
        /// Responses that belong to nothing that was forwarded here.
        stray,
        /// Calls answered by numbers of ours.
        answered,
        /// Calls refused because too many were up, or no port was free.
        full,
        /// Answers sent again because no ACK came.
        repeated,
        /// Calls ended from here: no ACK, silence, too long.
        ended,
        /// RTP packets heard and sent back.
        echoed,
        /// RTP packets of our sounds.
        played,
        /// RTP packets from elsewhere than agreed, or not RTP, or of another payload type.
        rtp_dropped,
    }
}
