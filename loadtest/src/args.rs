//! The command line.

use crate::calls::{Plan, Seating, Version, tls_client};
use crate::engine::{self, Settings};
use clap::{Parser, ValueEnum};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

/// SRTP profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Srtp {
    /// AES-CM-128-HMAC-SHA1-80
    Cm,
    /// AEAD-AES-128-GCM
    Gcm128,
    /// AEAD-AES-256-GCM
    Gcm256,
}

/// Plays browsers and SIP parties against a gateway, and measures it.
#[derive(Parser, Clone, Debug)]
#[command(name = "loadtest", max_term_width = 100)]
pub struct Args {
    /// quick, density, handshake, cps, idle, storm, soak, or a TOML file
    #[arg(long, default_value = "quick", value_name = "NAME|FILE")]
    pub profile: String,
    /// The gateway's binary, to be started here [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    pub gateway: Option<PathBuf>,
    /// Cores of a gateway that is started here [default: the last that we may use]
    #[arg(long, value_name = "LIST")]
    pub gateway_cores: Option<String>,
    /// More of the configuration of a gateway that is started here: a TOML file put before what the run needs
    #[arg(long, value_name = "FILE")]
    pub gateway_config: Option<PathBuf>,
    /// HTTP address of a gateway that runs already. It needs the users load0, load1, … with their names as passwords,
    /// and a route for them to a trunk at `--agent`
    #[arg(long, value_name = "ADDR:PORT")]
    pub http: Option<SocketAddr>,
    /// Its process, for CPU and memory
    #[arg(long)]
    pub pid: Option<u32>,
    /// Its admin address, for metrics
    #[arg(long, value_name = "ADDR:PORT")]
    pub admin: Option<SocketAddr>,
    /// Browsers connect by TLS (`wss:`)
    #[arg(long)]
    pub wss: bool,
    /// Where the generator's SIP agent listens
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:5960")]
    pub agent: SocketAddrV4,
    /// Core of the generator [default: the first that we may use]
    #[arg(long, value_name = "CORE")]
    pub core: Option<usize>,
    /// SRTP profile of the browsers
    #[arg(long, default_value = "cm")]
    pub srtp: Srtp,
    /// DTLS version of the browsers
    #[arg(long, default_value = "1.3")]
    pub dtls: Version,
    /// How browsers are told apart
    #[arg(long, default_value = "addresses")]
    pub web: Seating,
    /// How SIP parties are told apart
    #[arg(long, default_value = "addresses")]
    pub rtp: Seating,
    /// The generator's own address, where it is not on the gateway's machine
    #[arg(long, default_value = "127.0.0.1")]
    pub local: Ipv4Addr,
    /// Users to sign in as [default: as many as give each eight calls, and 64 at least]
    #[arg(long)]
    pub users: Option<usize>,
    /// Calls or sessions of the first step, instead of the profile's
    #[arg(long)]
    pub calls: Option<usize>,
    /// Calls that each step adds, instead of the profile's
    #[arg(long)]
    pub step: Option<usize>,
    /// Most calls, instead of the profile's
    #[arg(long)]
    pub most: Option<usize>,
    /// Seconds of each step, instead of the profile's
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Calls a second, instead of the profile's
    #[arg(long)]
    pub rate: Option<f64>,
    /// Sessions beside those of calls, instead of the profile's
    #[arg(long)]
    pub sessions: Option<usize>,
    /// Calls that come and go a second (in each step so many more), instead of the profile's
    #[arg(long)]
    pub churn: Option<f64>,
    /// How many steps, instead of the profile's
    #[arg(long)]
    pub steps: Option<usize>,
    /// Run generator and gateway before everything else on their cores (SCHED_FIFO): for machines that are not alone
    #[arg(long)]
    pub realtime: bool,
    /// Microseconds between two passes of the generator
    #[arg(long, default_value = "250")]
    pub tick_us: u64,
    /// Milliseconds between two packets of a stream, instead of about 20: for more calls than packets could be made for,
    /// where memory is what is asked about
    #[arg(long, value_name = "MS")]
    pub interval_ms: Option<u16>,
    /// Bytes of RTP payload
    #[arg(long, default_value = "160")]
    pub payload: usize,
    /// Where the report goes as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where charts go as SVG
    #[arg(long, value_name = "FILE")]
    pub chart: Option<PathBuf>,
}

impl Args {
    /// The SRTP profile.
    pub fn srtp(&self) -> engine::Profile {
        match self.srtp {
            Srtp::Cm => engine::Profile::AesCm128Sha1_80,
            Srtp::Gcm128 => engine::Profile::AeadAes128Gcm,
            Srtp::Gcm256 => engine::Profile::AeadAes256Gcm,
        }
    }

    /// How many users there are, where there are so many calls at most: the gateway's default is 16 calls of one.
    pub fn users(&self, most: usize) -> usize {
        self.users.unwrap_or_else(|| most.div_ceil(8).max(64))
    }

    /// What is to be played against a gateway at this address.
    pub fn plan(&self, http: SocketAddr, most: usize) -> Result<Plan, String> {
        let tls = if self.wss { Some(tls_client().map_err(|error| error.to_string())?) } else { None };
        let mut streams = Settings {
            tick: Duration::from_micros(self.tick_us.clamp(50, 20_000)),
            payload: self.payload.clamp(engine::Stamp::SIZE, 1200),
            ..Settings::default()
        };
        if let Some(ms) = self.interval_ms.map(|ms| ms.clamp(20, 2_000)) {
            (streams.interval, streams.timestamp) = (Duration::from_millis(ms.into()), 8 * u32::from(ms));
        }
        Ok(Plan {
            http,
            tls,
            agent: self.agent,
            local: self.local,
            users: self.users(most),
            version: self.dtls,
            profile: self.srtp(),
            web: self.web,
            rtp: self.rtp,
            patience: Duration::from_secs(10),
            streams,
        })
    }
}
