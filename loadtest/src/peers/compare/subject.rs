//! What is measured: started with its calls up, so that only packets are left to be forwarded.

use super::super::floor::{Call, Crypto, Shape};
use super::super::process::Process;
use super::super::rtpengine::{self, Rtpengine};
use super::streams;
use crate::calls::{Calls, Plan, Role, Seating, Version};
use crate::engine::{self, Engine, Keys, PortId, Profile, Wanted};
use crate::gateway::{self, Gateway};
use bridgehead::base::Random;
use bridgehead::net;
use std::any::Any;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a gateway is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// As it is without a word.
    Default,
    /// With `shared_rtp_ports` on the trunk.
    Shared,
    /// With `io_uring`.
    Ring,
}

impl Setting {
    fn name(self) -> &'static str {
        match self {
            Setting::Default => "",
            Setting::Shared => "shared_rtp_ports ",
            Setting::Ring => "io_uring ",
        }
    }
}

/// One of those that are compared.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    Gateway { program: PathBuf, setting: Setting, crypto: Crypto },
    Floor(Shape, Crypto),
    Rtpengine { program: PathBuf, crypto: Crypto },
}

impl Subject {
    pub(super) fn name(&self) -> String {
        match self {
            Subject::Gateway { setting, crypto, .. } => {
                format!("gateway {}{}", setting.name(), crypto.name())
            }
            Subject::Floor(shape, crypto) => format!("floor {} {}", shape.name(), crypto.name()),
            Subject::Rtpengine { crypto, .. } => format!("rtpengine {}", crypto.name()),
        }
    }

    /// The floor that it stands on: the same sockets, the same cipher.
    pub(super) fn floor(&self) -> Option<Subject> {
        match self {
            Subject::Gateway { setting, crypto, .. } => {
                let shape = if *setting == Setting::Shared { Shape::Shared } else { Shape::Web };
                Some(Subject::Floor(shape, *crypto))
            }
            Subject::Rtpengine { crypto, .. } => Some(Subject::Floor(Shape::Legs, *crypto)),
            Subject::Floor(..) => None,
        }
    }

    /// The name of the peer that does the same.
    pub(super) fn peer(&self) -> Option<String> {
        match self {
            Subject::Gateway { crypto, .. } | Subject::Floor(_, crypto) => {
                Some(format!("rtpengine {}", crypto.name()))
            }
            Subject::Rtpengine { .. } => None,
        }
    }
}

/// Everything that is here, and a line for each that is not.
pub(super) fn all(gateway: Option<&Path>) -> (Vec<Subject>, Vec<String>) {
    let (mut subjects, mut absent) = (Vec::new(), Vec::new());
    match gateway.map(Path::to_owned).or_else(gateway::beside) {
        Some(program) => {
            for crypto in [Crypto::Sha1, Crypto::Gcm] {
                for setting in [Setting::Default, Setting::Shared, Setting::Ring] {
                    subjects.push(Subject::Gateway { program: program.clone(), setting, crypto });
                }
            }
        }
        None => absent.push("gateway: not built beside this program, and no --gateway: left out".into()),
    }
    for shape in [Shape::Legs, Shape::Web, Shape::Shared] {
        for crypto in [Crypto::Clear, Crypto::Sha1, Crypto::Gcm] {
            subjects.push(Subject::Floor(shape, crypto));
        }
    }
    match rtpengine::installed() {
        Some(program) => {
            for crypto in [Crypto::Clear, Crypto::Sha1, Crypto::Gcm] {
                subjects.push(Subject::Rtpengine { program: program.clone(), crypto });
            }
        }
        None => absent.push("rtpengine: not installed (apt install rtpengine-daemon): left out".into()),
    }
    (subjects, absent)
}

/// First addresses of the parties, on loopback.
const WEB: Ipv4Addr = Ipv4Addr::new(127, 16, 0, 1);
const SIP: Ipv4Addr = Ipv4Addr::new(127, 80, 0, 1);
/// How long setting up may take, and how many calls are set up at once.
const PATIENCE: Duration = Duration::from_mins(1);
const AT_ONCE: usize = 20;
/// Users of the gateway: each may have 16 calls.
const USERS: usize = 128;
/// Between two calls that are dialled: a gateway that has no time left refuses them.
const PACE: Duration = Duration::from_millis(4);

/// A subject with its calls up. Dropping it ends it.
pub(super) struct Running {
    media: Media,
    process: u32,
    _subject: Box<dyn Any>,
}

enum Media {
    Bare(Box<Engine>),
    Called(Box<Calls>),
}

impl Running {
    /// `cores` are that of the subject and our own.
    pub(super) fn start(subject: &Subject, calls: usize, cores: [usize; 2]) -> io::Result<Running> {
        match subject {
            Subject::Gateway { program, setting, crypto } => {
                start_gateway(program, *setting, *crypto, calls, cores)
            }
            Subject::Floor(shape, crypto) => start_floor(*shape, *crypto, calls, cores[0]),
            Subject::Rtpengine { program, crypto } => start_rtpengine(program, *crypto, calls, cores[0]),
        }
    }

    pub(super) fn process(&self) -> u32 {
        self.process
    }

    pub(super) fn engine(&mut self) -> &mut Engine {
        match &mut self.media {
            Media::Bare(engine) => engine,
            Media::Called(calls) => calls.engine(),
        }
    }

    /// Lets the streams flow for so long.
    pub(super) fn play(&mut self, time: Duration) -> io::Result<()> {
        let end = engine::now() + time.as_nanos() as u64;
        while engine::now() < end {
            match &mut self.media {
                Media::Bare(engine) => {
                    engine.pass()?;
                    engine.rest();
                }
                Media::Called(calls) => calls.turn()?,
            }
        }
        Ok(())
    }
}

/// The two parties of every call, each with an address of its own on one of the engine's two ports.
struct Parties {
    engine: Box<Engine>,
    web: (PortId, u16),
    sip: (PortId, u16),
    random: Random,
}

impl Parties {
    fn new() -> io::Result<Parties> {
        let mut engine = Box::new(Engine::new(streams())?);
        let mut open = || {
            let id = engine.open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
            let port = engine.address(id).ok_or(io::ErrorKind::AddrNotAvailable)?.port();
            Ok::<_, io::Error>((id, port))
        };
        let (web, sip) = (open()?, open()?);
        // The seed is the same for all: so are keys and streams.
        Ok(Parties { web, sip, engine, random: Random::from_number(7) })
    }

    fn addresses(&self, n: usize) -> [SocketAddrV4; 2] {
        [(WEB, self.web), (SIP, self.sip)]
            .map(|(base, (_, port))| SocketAddrV4::new(Ipv4Addr::from(u32::from(base) + n as u32), port))
    }

    fn material(&mut self) -> [u8; 46] {
        let mut material = [0; 46];
        self.random.fill(&mut material);
        material
    }

    /// Lets the parties of all calls stream, now that somebody forwards.
    fn join_all(&mut self, calls: Vec<([SocketAddrV4; 2], Option<Keys>)>) -> io::Result<()> {
        // The engine's clock ran on while calls were set up: it has nothing to make up for.
        loop {
            self.engine.pass()?;
            if !self.engine.rest().is_zero() {
                break;
            }
        }
        for (n, (legs, keys)) in calls.into_iter().enumerate() {
            self.join(n, legs, keys);
        }
        Ok(())
    }

    fn join(&mut self, n: usize, legs: [SocketAddrV4; 2], keys: Option<Keys>) {
        let [web, sip] = self.addresses(n);
        let end = |port, party: SocketAddrV4, remote, keys, ssrc| Wanted {
            port,
            address: *party.ip(),
            remote,
            keys,
            payload_type: 0,
            ssrc,
            rtcp: None,
        };
        let ssrc = 0x1000_0000 | n as u32;
        let web = self.engine.add(&end(self.web.0, web, legs[0], keys, ssrc));
        let sip = self.engine.add(&end(self.sip.0, sip, legs[1], None, ssrc ^ 0x4000_0000));
        self.engine.pair(web, sip);
    }
}

fn log(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("loadtest-{}-{name}.log", std::process::id()))
}

fn start_floor(shape: Shape, crypto: Crypto, calls: usize, core: usize) -> io::Result<Running> {
    let mut parties = Parties::new()?;
    let mut command = Process::pinned(std::env::current_exe()?, core);
    command.args(["floor", "--shape", shape.name(), "--crypto", crypto.name(), "--core", &core.to_string()]);
    let mut process = Process::start(&mut command, &log("floor"))?;
    let mut up = Vec::new();
    for n in 0..calls {
        let [web, sip] = parties.addresses(n);
        let keys = crypto.profile().map(|profile| Keys {
            profile,
            receive: parties.material(),
            send: parties.material(),
        });
        process.tell(&Call { web, sip, keys: keys.clone() }.line())?;
        let line = process.line()?;
        let legs = line.strip_prefix("legs ").and_then(|rest| {
            let (web, sip) = rest.split_once(' ')?;
            Some([web.parse().ok()?, sip.parse().ok()?])
        });
        let legs = legs.ok_or_else(|| io::Error::other(format!("the floor said: {line}")))?;
        let keys = keys.map(|keys| Keys { receive: keys.send, send: keys.receive, ..keys });
        up.push((legs, keys));
    }
    process.tell("forward\n")?;
    parties.join_all(up)?;
    let media = Media::Bare(parties.engine);
    Ok(Running { media, process: process.id(), _subject: Box::new(process) })
}

fn start_rtpengine(program: &Path, crypto: Crypto, calls: usize, core: usize) -> io::Result<Running> {
    let mut parties = Parties::new()?;
    let mut peer = Rtpengine::start(program, core, &log("rtpengine"))?;
    let mut up = Vec::new();
    for n in 0..calls {
        let [web, sip] = parties.addresses(n);
        let secret = crypto.profile().map(|profile| (profile, parties.material()));
        let legs = peer.add(web, sip, secret)?;
        up.push(([legs.web, legs.sip], legs.keys));
    }
    parties.join_all(up)?;
    let media = Media::Bare(parties.engine);
    Ok(Running { media, process: peer.process.id(), _subject: Box::new(peer) })
}

fn start_gateway(
    program: &Path,
    setting: Setting,
    crypto: Crypto,
    calls: usize,
    cores: [usize; 2],
) -> io::Result<Running> {
    let agent = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let agent = SocketAddrV4::new(Ipv4Addr::LOCALHOST, agent);
    // A child inherits where it may run: all its threads share the one core, as rtpengine's do.
    net::pin(cores[0])?;
    let gateway = Gateway::start(&gateway::Wanted {
        program: program.to_owned(),
        cores: cores[0].to_string(),
        agent,
        users: USERS,
        tls: false,
        most: calls * 2 + 64,
        trunk: if setting == Setting::Shared { "shared_rtp_ports = true\n".into() } else { String::new() },
        media: if setting == Setting::Ring { "io_uring = true\n".into() } else { String::new() },
        extra: String::new(),
    });
    net::pin(cores[1])?;
    let gateway = gateway?;
    let process = gateway.pid.ok_or_else(|| io::Error::other("the gateway has no process"))?;
    let mut played = Calls::new(
        Plan {
            http: gateway.http,
            tls: None,
            agent,
            local: Ipv4Addr::LOCALHOST,
            users: USERS,
            version: Version::V13,
            profile: crypto.profile().unwrap_or(Profile::AesCm128Sha1_80),
            web: Seating::Addresses,
            rtp: Seating::Addresses,
            patience: Duration::from_secs(20),
            streams: streams(),
        },
        7,
    )?;
    let end = engine::now() + PATIENCE.as_nanos() as u64;
    let mut next = 0;
    while played.talking() < calls {
        if played.sessions() < calls && played.sessions() < played.signed_in() + AT_ONCE {
            played.connect()?;
        }
        let room = played.calls() < calls && played.calls() < played.talking() + AT_ONCE;
        if room && engine::now() >= next {
            played.dial(Role::Talk)?;
            next = engine::now() + PACE.as_nanos() as u64;
        }
        played.turn()?;
        // One that is full refuses the rest, and goes on doing so.
        let full = played.tally().failed() as usize > calls / 10 + AT_ONCE;
        if full || engine::now() > end {
            let (up, log) = (played.talking(), gateway.log());
            return Err(io::Error::other(format!(
                "{up} of {calls} calls came up: {:?}\n{log}",
                played.tally().failures
            )));
        }
    }
    Ok(Running { media: Media::Called(Box::new(played)), process, _subject: Box::new(gateway) })
}
