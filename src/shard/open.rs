//! Binding all sockets of all shards, before any thread runs: what can't be had is said at start-up.

use super::config::{Config, Realm};
use super::control::{Control, Order};
use super::mailbox::Mailboxes;
use crate::base::{RealmId, ShardId};
use crate::net::{Listener, Poll, TcpOptions, Udp, UdpOptions, Waker};
use crate::sip::Transport;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;
use std::{fmt, io};

/// Connections that may wait to be accepted.
const BACKLOG: u16 = 1024;
/// Sources that one wait may report.
const EVENTS: usize = 1024;

/// A socket that could not be had.
#[derive(Debug)]
pub struct OpenError {
    /// What it was for.
    pub what: &'static str,
    /// Where it was to be bound.
    pub address: Option<SocketAddr>,
    /// What the system said.
    pub error: io::Error,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        if let Some(address) = self.address {
            write!(f, " on {address}")?;
        }
        write!(f, ": {}", self.error)
    }
}

impl std::error::Error for OpenError {}

/// Where everything listens, with the ports that the system chose.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// HTTP and WebSocket.
    pub http: Option<SocketAddr>,
    /// SIP over UDP, and TCP where it listens, by realm.
    pub sip: Vec<SocketAddr>,
    /// SIP over TLS, by realm.
    pub sip_tls: Vec<Option<SocketAddr>>,
    /// Web media, by shard, in the order of `WebMedia::listen`.
    pub web: Vec<Vec<SocketAddr>>,
    /// The smallest receive buffer of a web media socket that the system granted, in the kernel's own counting.
    pub web_receive_buffer: usize,
}

/// What a listener's connections speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Speech {
    /// HTTP and WebSocket.
    Web,
    /// SIP.
    Sip(RealmId, Transport),
}

/// A TCP listener, and when it is to be asked for connections.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) listener: Listener,
    pub(super) speech: Speech,
    pub(super) accept_at: Option<Instant>,
}

/// All that one shard's thread starts with.
#[derive(Debug)]
pub struct Seat {
    pub(super) shard: ShardId,
    pub(super) shards: u8,
    pub(super) config: Arc<Config>,
    pub(super) poll: Poll,
    pub(super) web: Vec<Udp>,
    pub(super) sip: Vec<Udp>,
    pub(super) doors: Vec<Door>,
    /// Where TLS listens, by realm.
    pub(super) secure: Vec<Option<SocketAddr>>,
    pub(super) mailboxes: Mailboxes,
    pub(super) orders: Receiver<Order>,
}

impl Seat {
    /// Its number.
    pub fn shard(&self) -> ShardId {
        self.shard
    }
}

/// Shards that are ready to run.
#[derive(Debug)]
pub struct Opened {
    /// One for each thread: `Loop::new(seat, …).run()`.
    pub seats: Vec<Seat>,
    /// One for each thread, for whoever steers them.
    pub controls: Vec<Control>,
    /// Where they listen.
    pub bound: Bound,
}

/// Binds the sockets of `shards` shards, in order.
pub fn open(config: &Arc<Config>, shards: u8) -> Result<Opened, OpenError> {
    let polls = (0..shards)
        .map(|n| Poll::new(ShardId(n), EVENTS))
        .collect::<io::Result<Vec<Poll>>>()
        .map_err(|error| OpenError { what: "the poll", address: None, error })?;
    let wakers: Vec<Waker> = polls.iter().map(Poll::waker).collect();
    let mut mailboxes = Mailboxes::connect(&wakers, config.caps.mailbox).into_iter();
    let mut opened = Opened { seats: Vec::new(), controls: Vec::new(), bound: Bound::default() };
    opened.bound.web_receive_buffer = usize::MAX;
    for (n, poll) in polls.into_iter().enumerate() {
        let (control, orders) = Control::new(poll.waker());
        let Some(mailboxes) = mailboxes.next() else { break };
        let mut doors = Vec::new();
        let web = open_web(config, n as u8, &mut opened.bound)?;
        let sip = open_sip(config, shards, &mut opened.bound, &mut doors)?;
        doors.extend(open_http(config, shards, &mut opened.bound)?);
        let seat = Seat {
            shard: ShardId(n as u8),
            shards,
            config: Arc::clone(config),
            web,
            sip,
            doors,
            secure: opened.bound.sip_tls.clone(),
            poll,
            mailboxes,
            orders,
        };
        opened.seats.push(seat);
        opened.controls.push(control);
    }
    Ok(opened)
}

/// Whether another process holds the port. With `SO_REUSEPORT` a second gateway of the same user would otherwise join
/// in without a word, and take half of the first one's traffic.
fn refuse_strangers(what: &'static str, address: SocketAddr, udp: bool) -> Result<(), OpenError> {
    let free = if udp { Udp::open(&UdpOptions::new(address)).map(drop) } else { Listener::probe(address) };
    free.map_err(|error| OpenError { what, address: Some(address), error })
}

fn open_web(config: &Config, shard: u8, bound: &mut Bound) -> Result<Vec<Udp>, OpenError> {
    const WHAT: &str = "web media over UDP";
    let media = &config.web_media;
    let port = if media.port == 0 { 0 } else { media.port.saturating_add(u16::from(shard)) };
    let open = |&ip: &IpAddr| {
        let address = SocketAddr::new(ip, port);
        let realm = config.realms.first();
        let options = UdpOptions {
            receive_buffer: media.buffer,
            send_buffer: media.buffer,
            dscp: realm.and_then(|realm| realm.media_dscp),
            gather: true,
            whole: true,
            ..UdpOptions::new(address)
        };
        Udp::open(&options).map_err(|error| OpenError { what: WHAT, address: Some(address), error })
    };
    let sockets = media.listen.iter().map(open).collect::<Result<Vec<Udp>, OpenError>>()?;
    bound.web.push(sockets.iter().map(Udp::address).collect());
    for socket in &sockets {
        bound.web_receive_buffer = bound.web_receive_buffer.min(socket.receive_buffer());
    }
    Ok(sockets)
}

/// How often another free port is tried where only UDP has it.
const TRIES: usize = 16;

fn open_sip(
    config: &Config,
    shards: u8,
    bound: &mut Bound,
    doors: &mut Vec<Door>,
) -> Result<Vec<Udp>, OpenError> {
    let mut sockets = Vec::new();
    for (n, realm) in config.realms.iter().enumerate() {
        let id = RealmId(n as u8);
        let known = bound.sip.get(n).copied();
        let mut tries = if known.is_none() && realm.sip.port() == 0 { TRIES } else { 1 };
        let (socket, tcp) = loop {
            let socket = open_sip_udp(config, realm, shards, known)?;
            let tcp = realm.sip_tcp.then(|| {
                let first = known.is_none() && realm.sip.port() != 0;
                open_sip_tcp("SIP over TCP", realm, shards, first, socket.address())
            });
            tries -= 1;
            match tcp.transpose() {
                Err(_) if tries > 0 => {}
                tcp => break (socket, tcp?),
            }
        };
        let door = |listener, transport| {
            let speech = Speech::Sip(id, transport);
            Door { listener, speech, accept_at: None }
        };
        doors.extend(tcp.map(|listener| door(listener, Transport::Tcp)));
        if known.is_none() {
            bound.sip.push(socket.address());
        }
        let address = bound.sip_tls.get(n).copied().flatten().or(realm.sip_tls);
        let first = known.is_none() && address.is_some_and(|address| address.port() != 0);
        let tls = address.map(|address| open_sip_tcp("SIP over TLS", realm, shards, first, address));
        let tls = tls.transpose()?;
        if known.is_none() {
            bound.sip_tls.push(tls.as_ref().map(Listener::address));
        }
        doors.extend(tls.map(|listener| door(listener, Transport::Tls)));
        sockets.push(socket);
    }
    Ok(sockets)
}

fn open_sip_udp(
    config: &Config,
    realm: &Realm,
    shards: u8,
    known: Option<SocketAddr>,
) -> Result<Udp, OpenError> {
    const WHAT: &str = "SIP over UDP";
    let address = known.unwrap_or(realm.sip);
    if known.is_none() && shards > 1 && address.port() != 0 {
        refuse_strangers(WHAT, address, true)?;
    }
    let options = UdpOptions {
        device: realm.device.clone(),
        share: shards > 1,
        receive_buffer: config.web_media.buffer,
        send_buffer: config.web_media.buffer,
        dscp: realm.sip_dscp,
        gather: true,
        errors: true,
        ..UdpOptions::new(address)
    };
    Udp::open(&options).map_err(|error| OpenError { what: WHAT, address: Some(address), error })
}

fn open_sip_tcp(
    what: &'static str,
    realm: &Realm,
    shards: u8,
    first: bool,
    address: SocketAddr,
) -> Result<Listener, OpenError> {
    if first && shards > 1 {
        refuse_strangers(what, address, false)?;
    }
    let (device, dscp) = (realm.device.clone(), realm.sip_dscp);
    let options = TcpOptions { address, device, share: shards > 1, backlog: BACKLOG, dscp };
    Listener::open(&options).map_err(|error| OpenError { what, address: Some(address), error })
}

fn open_http(config: &Config, shards: u8, bound: &mut Bound) -> Result<Option<Door>, OpenError> {
    const WHAT: &str = "HTTP";
    let Some(address) = bound.http.or(config.http.listen) else { return Ok(None) };
    if bound.http.is_none() && shards > 1 && address.port() != 0 {
        refuse_strangers(WHAT, address, false)?;
    }
    let options = TcpOptions { address, device: None, share: shards > 1, backlog: BACKLOG, dscp: None };
    let listener =
        Listener::open(&options).map_err(|error| OpenError { what: WHAT, address: Some(address), error })?;
    bound.http = Some(listener.address());
    Ok(Some(Door { listener, speech: Speech::Web, accept_at: None }))
}
