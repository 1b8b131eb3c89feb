//! Floors: the least that a forwarder can do with given sockets and ciphers. No signalling, no timers, no rewriting, no
//! reports, no clock: epoll, read, decipher, cipher, write.
//!
//! A floor is a process of its own (`loadtest floor`), told over its standard input what to forward:
//!
//! ```text
//! <- call 127.16.0.1:4000 127.32.0.1:4001 [receive key and salt, send key and salt, in hexadecimal]
//! -> legs 127.0.0.1:5000 127.0.0.1:5001
//! <- forward
//! ```
//!
//! The addresses are those of the two parties (web, then SIP), the answer has those of the two legs, and the keys are
//! the floor's own view of the web leg. It forwards until its standard input is closed.

mod forward;
mod sys;
#[cfg(test)]
mod tests;

use bridgehead::net;
use bridgehead::rtp::{Keys, Profile};
use forward::Forwarder;
use std::fmt::Write as _;
use std::io::{self, BufRead, Write as _};
use std::net::SocketAddrV4;

/// Which sockets a floor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// A socket for each leg, `recvfrom` and `sendto`.
    Legs,
    /// One socket for all web legs (`recvmmsg`, `sendmmsg`), one for each SIP leg (`recvfrom`, `sendto`).
    Web,
    /// One socket for all web legs, one for all SIP legs; `recvmmsg`, `sendmmsg`.
    Shared,
}

/// What the web legs speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Crypto {
    /// RTP.
    Clear,
    /// SRTP, AES-CM with HMAC-SHA1-80.
    Sha1,
    /// SRTP, AES-GCM-128.
    Gcm,
}

impl Crypto {
    /// The SRTP profile, where there is one.
    pub fn profile(self) -> Option<Profile> {
        match self {
            Crypto::Clear => None,
            Crypto::Sha1 => Some(Profile::AesCm128Sha1_80),
            Crypto::Gcm => Some(Profile::AeadAes128Gcm),
        }
    }

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Crypto::Clear => "clear",
            Crypto::Sha1 => "sha1",
            Crypto::Gcm => "gcm",
        }
    }
}

impl Shape {
    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Legs => "legs",
            Shape::Web => "web",
            Shape::Shared => "shared",
        }
    }
}

/// How a floor is started.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Floor {
    /// Its sockets.
    #[arg(long, value_enum)]
    pub shape: Shape,
    /// What its web legs speak.
    #[arg(long, value_enum)]
    pub crypto: Crypto,
    /// The core that it is bound to.
    #[arg(long)]
    pub core: usize,
}

/// One call, as a floor is told of it.
#[derive(Clone, Debug)]
pub struct Call {
    /// The web party.
    pub web: SocketAddrV4,
    /// The SIP party.
    pub sip: SocketAddrV4,
    /// The floor's own keys towards the web party.
    pub keys: Option<Keys>,
}

impl Call {
    /// The line that tells a floor of it.
    pub fn line(&self) -> String {
        let mut line = format!("call {} {}", self.web, self.sip);
        for material in self.keys.iter().flat_map(|keys| [keys.receive, keys.send]) {
            line.push(' ');
            for byte in material {
                let _ = write!(line, "{byte:02x}");
            }
        }
        line.push('\n');
        line
    }

    fn parse(line: &str, profile: Option<Profile>) -> Option<Call> {
        let mut words = line.strip_prefix("call ")?.split_whitespace();
        let (web, sip) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let keys = match profile {
            None => None,
            Some(profile) => {
                let (receive, send) = (material(words.next()?)?, material(words.next()?)?);
                Some(Keys { profile, receive, send })
            }
        };
        words.next().is_none().then_some(Call { web, sip, keys })
    }
}

fn material(text: &str) -> Option<[u8; 46]> {
    let mut out = [0; 46];
    for (n, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    (text.len() == 92).then_some(out)
}

/// Is a floor, until standard input ends.
pub fn run(floor: Floor) -> io::Result<()> {
    net::pin(floor.core)?;
    let mut forwarder = Forwarder::new(floor.shape)?;
    let (mut line, mut out) = (String::new(), io::stdout().lock());
    loop {
        line.clear();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim_end() == "forward" {
            break;
        }
        let Some(call) = Call::parse(line.trim_end(), floor.crypto.profile()) else {
            return Err(io::Error::other("a line that is neither a call nor \"forward\""));
        };
        let [web, sip] = forwarder.add(&call)?;
        writeln!(out, "legs {web} {sip}")?;
        out.flush()?;
    }
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(0);
    });
    loop {
        forwarder.pass();
    }
}
