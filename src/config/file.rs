//! The shape of `bridgehead.toml`. Unknown keys are errors; every default is safe.

use super::cores::parse_ports;
use super::dialogs::{self, Refresh, Refresher, Reliable};
use super::route::{Rewrite, Route};
use super::server::{Dns, Place, Probe, Server, Transport, avoid_s, failover_ms};
use super::trunk::{HeaderRule, IdentityAs, Reasons, Trusted};
use crate::sip::Block;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// Browsers: HTTP and WebSocket.
    pub http: Http,
    /// SIP.
    pub sip: Sip,
    /// RTP and WebRTC media.
    pub media: Media,
    /// Signing in by token.
    pub auth: Auth,
    /// Times of calls.
    pub calls: Calls,
    /// Caps.
    pub limits: Limits,
    /// The admin address.
    pub admin: Admin,
    /// The log.
    pub log: Log,
    /// What is kept of calls for `bridgehead trace`.
    pub trace: Trace,
    /// SIP phones that register through the gateway.
    pub phones: super::Phones,
    /// How names are resolved.
    pub dns: Dns,
    /// SIP servers and carriers.
    pub trunk: Vec<Trunk>,
    /// Browser users.
    pub user: Vec<User>,
    /// Secrets that tokens may refer to.
    pub secret: Vec<Secret>,
    /// Where calls go; the first that matches wins.
    pub route: Vec<Spanned<Route>>,
}

/// `[http]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address of the web server, WebSocket and SDK.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Other sites whose pages may use this gateway (`https://app.example`); `*` allows any.
    pub origins: Vec<String>,
    /// Certificate chain in PEM, leaf first; like every file that is named here, beside the configuration where it has no
    /// path from the root. With it, and `key`, `listen` speaks HTTPS and WSS, and nothing else. Read
    /// again when the file changes.
    pub certificate: Option<Spanned<PathBuf>>,
    /// Private key in PEM to `certificate`.
    pub key: Option<PathBuf>,
}

impl Default for Http {
    fn default() -> Self {
        Http { listen: (Ipv4Addr::LOCALHOST, 8080).into(), origins: Vec::new(), certificate: None, key: None }
    }
}

/// `[sip]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sip {
    /// Address for SIP over UDP and TCP.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Address that others must use to reach `listen`, where it differs (NAT).
    #[serde(deserialize_with = "maybe_address")]
    pub advertise: Option<SocketAddr>,
    /// Address for SIP over TLS, with `tls_certificate`; nowhere until told.
    #[serde(deserialize_with = "maybe_address")]
    pub tls_listen: Option<SocketAddr>,
    /// Certificate chain of SIP over TLS in PEM, leaf first. Shown by `tls_listen`, and to trunks that ask for one. Read
    /// again when the file changes, as are all files for TLS.
    pub tls_certificate: Option<Spanned<PathBuf>>,
    /// Private key in PEM to `tls_certificate`.
    pub tls_key: Option<PathBuf>,
    /// Certificate authorities in PEM. With them, `tls_listen` takes connections only of who shows a certificate that
    /// one of them signed.
    pub tls_client_ca: Option<Spanned<PathBuf>>,
    /// Certificate authorities in PEM, of trunks that name none of their own.
    pub tls_ca: PathBuf,
    /// What User-Agent and Server say; empty says nothing.
    pub user_agent: String,
    /// What requests from addresses of no trunk get: `refuse` (403, ten times a second each at most) or `ignore`.
    pub strangers: Strangers,
    /// Messages in ten seconds from an address of no trunk, refused or unreadable, after which it is not heard for
    /// `ban_s`; 0: never.
    pub ban_after: u32,
    /// Seconds for which such an address is not heard.
    pub ban_s: u32,
}

/// `strangers`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strangers {
    /// They are refused, without state.
    #[default]
    Refuse,
    /// Nobody is there.
    Ignore,
}

/// Where the system keeps the certificate authorities that it trusts.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

impl Default for Sip {
    fn default() -> Self {
        let user_agent = concat!("Bridgehead/", env!("CARGO_PKG_VERSION")).to_owned();
        Sip {
            listen: (Ipv4Addr::LOCALHOST, 5060).into(),
            advertise: None,
            tls_listen: None,
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
            tls_ca: SYSTEM_CA.into(),
            user_agent,
            strangers: Strangers::Refuse,
            ban_after: 200,
            ban_s: 300,
        }
    }
}

/// `[media]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// Address of web media and RTP sockets.
    pub listen: IpAddr,
    /// Address that others must use to reach `listen`, where it differs (NAT).
    pub advertise: Option<IpAddr>,
    /// More addresses for web media alone, beside `listen`.
    pub web_listen: Vec<IpAddr>,
    /// First UDP port of web media; the shard's number is added. 0: any free port.
    pub web_port: u16,
    /// Ports of RTP towards SIP, shared out among the shards.
    #[serde(deserialize_with = "ports")]
    pub rtp_ports: RangeInclusive<u16>,
    /// DTLS versions: `auto`, `1.2` or `1.3`.
    pub dtls: Dtls,
    /// Serve the sockets of RTP by `io_uring`, many with one system call, where the kernel has it (Linux 6.1).
    pub io_uring: bool,
}

impl Default for Media {
    fn default() -> Self {
        Media {
            listen: Ipv4Addr::LOCALHOST.into(),
            advertise: None,
            web_listen: Vec::new(),
            web_port: 10000,
            rtp_ports: 16384..=32767,
            dtls: Dtls::Auto,
            io_uring: false,
        }
    }
}

/// `dtls`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Dtls {
    /// Whatever the browser prefers.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// DTLS 1.2 only.
    #[serde(rename = "1.2")]
    V12,
    /// DTLS 1.3 only.
    #[serde(rename = "1.3")]
    V13,
}

/// `[auth]`: JSON Web Tokens, by which browser users may sign in without a `[[user]]` of their own.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The shared secret of HS256, of 32 bytes at least.
    pub jwt_secret: Option<Spanned<String>>,
    /// PEM file with the public key of ES256 (P-256) or RS256.
    pub jwt_public_key: Option<Spanned<PathBuf>>,
    /// What a token's `aud` must hold; without it, only tokens that have none are taken.
    pub audience: Option<Spanned<String>>,
    /// What a token's `iss` must be.
    pub issuer: Option<Spanned<String>>,
    /// The trunks at which tokens may give their bearers a SIP identity; none until named.
    pub trunks: Vec<Spanned<String>>,
}

/// `[[secret]]`: a digest password at a trunk, which a token names in place of bearing it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// Its name in tokens (`sip_secret`).
    pub name: Spanned<String>,
    /// The trunk whose challenges it may answer.
    pub trunk: Spanned<String>,
    /// The password.
    pub password: String,
}

/// `[calls]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calls {
    /// Seconds that a call may ring.
    pub ring_s: u32,
    /// Seconds that a SIP server has for its first reply.
    pub first_reply_s: u32,
    /// Seconds that running calls have after SIGTERM.
    pub drain_s: u32,
    /// Seconds that a browser's calls outlive its signalling connection while its media gives no sign of life.
    pub browser_grace_s: u32,
    /// Seconds that a browser's calls outlive its signalling connection while its media goes on.
    pub signalling_grace_s: u32,
    /// Seconds after which a SIP party that should send and is silent ends its call. 0: never.
    pub media_timeout_s: u32,
    /// SIP headers that pass between browsers and SIP servers with a call: `User-to-User`, and `X-` headers, whole or
    /// by their beginning (`X-Genesys-*`).
    pub attach: Vec<Spanned<String>>,
    /// What SIP parties hear that browsers hold: `off`, `melody` (our own), or a WAV file of one channel, 8000 Hz, 16 bits.
    /// Only parties that speak G.711 hear it.
    pub hold_music: Spanned<String>,
}

impl Default for Calls {
    fn default() -> Self {
        Calls {
            ring_s: 180,
            first_reply_s: 5,
            drain_s: 30,
            browser_grace_s: 20,
            signalling_grace_s: 60,
            media_timeout_s: 60,
            attach: Vec::new(),
            hold_music: told("off".to_owned()),
        }
    }
}

/// `[limits]`, each for the whole node.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Calls at once.
    pub calls: u32,
    /// Signed-in browser sessions.
    pub sessions: u32,
    /// Sessions of one user.
    pub sessions_per_user: u32,
    /// Calls at once of one user.
    pub calls_per_user: u32,
    /// Emergency calls at once for which `calls` leaves no room.
    pub emergency_calls: u32,
    /// HTTP and WebSocket connections.
    pub connections: u32,
    /// SIP connections over TCP and TLS.
    pub sip_connections: u32,
    /// Percent of its time that a core may be at work before new calls on it are refused with 503; 0: whatever it is.
    pub load: Spanned<u8>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            calls: 4_000,
            sessions: 20_000,
            sessions_per_user: 16,
            calls_per_user: 16,
            emergency_calls: 64,
            connections: 20_000,
            sip_connections: 20_000,
            load: told(95),
        }
    }
}

/// `[admin]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address for metrics, health, `bridgehead calls` and `bridgehead trace`; `off` for none. It asks for no password:
    /// keep it on loopback or a network of your own.
    #[serde(deserialize_with = "address_or_off")]
    pub listen: Option<SocketAddr>,
}

/// Where the admin address is until told otherwise.
pub const ADMIN: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9080));

impl Default for Admin {
    fn default() -> Self {
        Admin { listen: Some(ADMIN) }
    }
}

/// `[log]`
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is written: `error`, `warn`, `info` (a line for each ended call among it).
    pub level: Level,
    /// `text`, or `json`: one object a line.
    pub format: LogFormat,
}

/// `level`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What ends the gateway, or a part of it.
    Error,
    /// What an operator should look at, too.
    Warn,
    /// What happens in the ordinary course, too.
    #[default]
    Info,
}

impl Level {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
        }
    }

    /// The level of a name.
    pub fn parse(name: &str) -> Result<Level, String> {
        let levels = [Level::Error, Level::Warn, Level::Info];
        let found = levels.into_iter().find(|level| level.name() == name);
        found.ok_or_else(|| "it is error, warn or info".to_owned())
    }
}

/// `format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[trace]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trace {
    /// Whether anything is kept.
    pub enabled: bool,
    /// Messages and events of one call.
    pub entries: u32,
    /// Calls, those that are over included, for the whole node.
    pub calls: u32,
}

impl Default for Trace {
    fn default() -> Self {
        Trace { enabled: true, entries: 200, calls: 4_000 }
    }
}

/// `[[trunk]]`: a SIP server or carrier.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trunk {
    /// Its name in `[[user]]` and `[[route]]`.
    pub name: Spanned<String>,
    /// Its address or domain name, with or without port.
    #[serde(default)]
    pub address: Option<Place>,
    /// Or several: requests go to the active ones by weight, to those that stand by while no active one lives.
    #[serde(default)]
    pub servers: Vec<Server>,
    /// Milliseconds that a server has for its first reply before the next one is tried.
    #[serde(default = "failover_ms")]
    pub failover_ms: u32,
    /// Seconds for which a server is left alone that was silent.
    #[serde(default = "avoid_s")]
    pub avoid_s: u32,
    /// How its servers are asked how they are; nobody asks where absent.
    #[serde(default)]
    pub probe: Option<Probe>,
    /// How it is spoken to: `udp`, `tcp` or `tls`. Where absent, a domain's NAPTR and SRV records say it; else `udp`.
    /// Over TLS its certificate must name `domain`; where there is none, the name or address of the server.
    #[serde(default)]
    pub transport: Option<Transport>,
    /// Over UDP: requests over 1,300 bytes go over TCP, and over UDP after all where it takes no connection.
    #[serde(default = "yes")]
    pub tcp_when_large: bool,
    /// Certificate authorities in PEM that its certificate must be signed by, in place of `sip.tls_ca`; or that
    /// certificate itself.
    #[serde(default)]
    pub ca: Option<Spanned<PathBuf>>,
    /// Host part of the addresses there; `address`, or the first of `servers`, where empty.
    #[serde(default)]
    pub domain: String,
    /// Our own credentials for calls that are no user's.
    #[serde(default)]
    pub username: String,
    /// The password to `username`.
    #[serde(default)]
    pub password: String,
    /// Only challenges of this realm are answered; any of the trunk's where empty.
    #[serde(default)]
    pub realm: String,
    /// Other addresses from which it sends requests, alone or as blocks (`192.0.2.0/24`).
    #[serde(default, deserialize_with = "super::trunk::blocks")]
    pub accept: Vec<Block>,
    /// Codecs allowed towards it, best first.
    #[serde(default)]
    pub codecs: Vec<Spanned<String>>,
    /// All its calls' RTP goes by one port a shard, at less cost a packet. Only for a SIP server that gives each call an
    /// address and port of its own, and sends from there: a second call with the same one is ended with 503.
    #[serde(default)]
    pub shared_rtp_ports: bool,
    /// How numbers are dialled there: the called and calling numbers of its calls are made E.164 numbers before routes
    /// see them. Only the keys `country`, `national` and `international` are of use here.
    #[serde(default)]
    pub dialled_as: Option<Rewrite>,
    /// Calls at once, whichever way they go.
    #[serde(default)]
    pub max_calls: Option<u32>,
    /// Calls begun in any one second, whichever way they go.
    #[serde(default)]
    pub calls_per_second: Option<Spanned<u32>>,
    /// Reliable provisional responses: `off`, `supported` or `required`. What it requires is done whatever stands here.
    #[serde(default)]
    pub reliable: Reliable,
    /// Seconds of the session timer that calls with it have; 0: only where it asks for one.
    #[serde(default = "dialogs::session_expires")]
    pub session_expires_s: Spanned<u32>,
    /// The least seconds of a session timer that it may ask for.
    #[serde(default = "dialogs::min_se")]
    pub min_se_s: Spanned<u32>,
    /// Who refreshes sessions: `auto` (whoever it likes), `us` or `them`.
    #[serde(default)]
    pub refresher: Refresher,
    /// How we refresh sessions: by `update` where it allows that, or always by `invite`.
    #[serde(default)]
    pub refresh: Refresh,
    /// Calls to it go out without an offer, so that it makes one.
    #[serde(default)]
    pub delayed_offer: bool,
    /// Trust what it says of early media (P-Early-Media), and tell it.
    #[serde(default)]
    pub early_media: bool,
    /// Types of body parts that are passed on with calls from it and to it (`application/isup`), beside a caller's location
    /// (`application/pidf+xml`), which always is.
    #[serde(default)]
    pub bodies: Vec<Spanned<String>>,
    /// Whether its network is trusted with who calls: `none`, `from` (believed), `to` (told), or `both`.
    #[serde(default)]
    pub trust: Trusted,
    /// By which header it is told who calls, where it is trusted: `asserted`, `preferred` or `remote-party`.
    #[serde(default)]
    pub identity_as: IdentityAs,
    /// The only methods that it may send, beside ACK, BYE and CANCEL; all that the gateway does where empty.
    #[serde(default)]
    pub methods: Vec<Spanned<String>>,
    /// The longest body that it may send, in bytes.
    #[serde(default)]
    pub max_body: Option<Spanned<u32>>,
    /// Rules on headers of its INVITEs, in the order in which they act.
    #[serde(default)]
    pub headers: Vec<HeaderRule>,
    /// What its codes mean (`503 = "busy"`, `q850-34 = "overloaded"`), and what it is sent for a cause (`busy = 600`).
    #[serde(default)]
    pub reasons: Reasons,
    /// What is done with transfers in its calls. `local`: the gateway calls whoever is named, and joins the two that are
    /// left; `pass`: the party that is transferred goes there by itself (REFER), which browsers leave to the gateway;
    /// `refuse`. Without it browser users' transfers are local, and its own are refused: it could have any number called.
    #[serde(default)]
    pub transfer: Option<Transfer>,
    /// What is done where it says whom to call instead (3xx). `follow`: the gateway calls there, at the same SIP server, or
    /// by the routes as a dialled number; `pass`: a SIP caller is told; `refuse`, the default.
    #[serde(default)]
    pub redirects: Redirects,
}

/// `redirects`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Redirects {
    /// Followed by the gateway.
    Follow,
    /// Refused.
    #[default]
    Refuse,
    /// Passed on to the caller.
    Pass,
}

impl Redirects {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Redirects::Follow => "follow",
            Redirects::Refuse => "refuse",
            Redirects::Pass => "pass",
        }
    }
}

/// `transfer`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transfer {
    /// Carried out by the gateway.
    Local,
    /// Passed on to the other party.
    Pass,
    /// Refused.
    Refuse,
}

impl Transfer {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Transfer::Local => "local",
            Transfer::Pass => "pass",
            Transfer::Refuse => "refuse",
        }
    }
}

/// `[[user]]`: a browser user.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name to sign in with.
    pub name: Spanned<String>,
    /// The password to sign in with.
    pub password: String,
    /// The trunk to register with; none where empty.
    #[serde(default)]
    pub trunk: Option<Spanned<String>>,
    /// User part at the SIP server; `name` where empty.
    #[serde(default)]
    pub sip_user: String,
    /// Digest user name at the SIP server; `sip_user` where empty.
    #[serde(default)]
    pub sip_username: String,
    /// Digest password at the SIP server; `password` where empty.
    #[serde(default)]
    pub sip_password: String,
}

pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let fix = match text.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]:5060"),
            Ok(ip) => format!("{ip}:5060"),
            Err(_) => "127.0.0.1:5060".to_owned(),
        };
        format!("{text:?} is not an address and port; write it as \"{fix}\"")
    })
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    parse_address(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// An address and port, or `off`.
pub(super) fn parse_address_or_off(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" { Ok(None) } else { parse_address(text).map(Some) }
}

fn address_or_off<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    parse_address_or_off(&String::deserialize(from)?).map_err(D::Error::custom)
}

fn maybe_address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    address(from).map(Some)
}

fn ports<'de, D: Deserializer<'de>>(from: D) -> Result<RangeInclusive<u16>, D::Error> {
    parse_ports(&String::deserialize(from)?).map_err(D::Error::custom)
}

impl File {
    /// Takes files that are named without a path from the root for ones beside the configuration: what a service finds
    /// must not hang on where it was started.
    pub(super) fn beside(&mut self, config: &Path) {
        let folder = config.parent().unwrap_or(Path::new(""));
        let sip = &mut self.sip;
        let spanned = [
            &mut self.http.certificate,
            &mut self.auth.jwt_public_key,
            &mut sip.tls_certificate,
            &mut sip.tls_client_ca,
        ];
        let trunks = self.trunk.iter_mut().filter_map(|trunk| trunk.ca.as_mut());
        let spanned = spanned.into_iter().flatten().chain(trunks).map(Spanned::get_mut);
        let plain = [&mut sip.tls_ca].into_iter().chain(&mut self.http.key).chain(&mut sip.tls_key);
        for path in spanned.chain(plain) {
            *path = folder.join(&*path);
        }
        let music = self.calls.hold_music.get_mut();
        if !["off", "melody"].contains(&music.as_str()) {
            *music = folder.join(&*music).display().to_string();
        }
    }
}

fn yes() -> bool {
    true
}

/// A value that no file gave.
pub(super) fn told<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

impl Trunk {
    /// A SIP server with nothing but a name and an address.
    pub fn plain(name: &str, address: impl Into<Place>) -> Trunk {
        Trunk {
            name: told(name.to_owned()),
            address: Some(address.into()),
            servers: Vec::new(),
            failover_ms: failover_ms(),
            avoid_s: avoid_s(),
            probe: None,
            transport: None,
            tcp_when_large: true,
            ca: None,
            domain: String::new(),
            username: String::new(),
            password: String::new(),
            realm: String::new(),
            accept: Vec::new(),
            codecs: Vec::new(),
            shared_rtp_ports: false,
            dialled_as: None,
            max_calls: None,
            calls_per_second: None,
            reliable: Reliable::default(),
            session_expires_s: dialogs::session_expires(),
            min_se_s: dialogs::min_se(),
            refresher: Refresher::default(),
            refresh: Refresh::default(),
            delayed_offer: false,
            early_media: false,
            bodies: Vec::new(),
            trust: Trusted::None,
            identity_as: IdentityAs::Asserted,
            methods: Vec::new(),
            max_body: None,
            headers: Vec::new(),
            reasons: Reasons::new(),
            transfer: None,
            redirects: Redirects::default(),
        }
    }
}

impl User {
    /// A user with the same name and password at the SIP server.
    pub fn plain(name: &str, password: &str, trunk: &str) -> User {
        User {
            name: told(name.to_owned()),
            password: password.to_owned(),
            trunk: Some(told(trunk.to_owned())),
            sip_user: String::new(),
            sip_username: String::new(),
            sip_password: String::new(),
        }
    }
}
