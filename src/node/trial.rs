//! `bridgehead demo`: what makes a gateway of the configuration that anybody can try.

use super::demo::Demo;
use super::log::say;
use super::run::Failure;
use crate::base::Random;
use crate::config::{Args, File, Trunk, User};
use crate::demo::{self, Config};
use crate::net::{Certificate, Listener, TcpOptions, Tickets, Udp, UdpOptions, own_address};
use crate::shard::clock;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Who may sign in; passwords are the names.
const USERS: [&str; 3] = ["alice", "bob", "carol"];
/// Where the embedded SIP server listens, if that is free.
const PORT: u16 = 5160;
/// Where HTTPS listens, if that is free.
const HTTPS_PORT: u16 = 8443;
/// How many ports are tried.
const TRIES: u16 = 200;
/// The trunk's name.
const NAME: &str = "demo";

/// A gateway to be tried, and its SIP server.
#[derive(Debug)]
pub struct Trial {
    /// The SIP server; it lives as long as this.
    pub demo: Demo,
    /// What the softphone page is told.
    pub page: String,
    https: Option<Https>,
}

/// A certificate made for the occasion.
#[derive(Debug)]
struct Https {
    certificate: Certificate,
    fingerprint: [u8; 32],
}

impl Trial {
    /// Starts the SIP server, and adds to the configuration what it needs: free ports where none were asked for, the
    /// trunk, the users, web media on the machine's own address.
    pub fn prepare(
        args: &Args,
        https: bool,
        file: &mut File,
        shards: u16,
        random: &mut Random,
    ) -> Result<Trial, Failure> {
        let own = https && file.http.certificate.is_none();
        let https = if own { Some(Https::prepare(args, file)?) } else { None };
        choose_ports(args, file, shards);
        let users = USERS.map(|name| demo::User { name: name.into(), password: name.into() });
        let demo = start(&users, random).map_err(|error| {
            Failure::new(format_args!("the embedded SIP server can't listen near port {PORT}: {error}"))
        })?;
        file.trunk.push(Trunk::plain(NAME, demo.address()));
        let told: Vec<&str> = file.user.iter().map(|user| user.name.get_ref().as_str()).collect();
        let missing: Vec<&str> = USERS.into_iter().filter(|name| !told.contains(name)).collect();
        file.user.extend(missing.into_iter().map(|name| User::plain(name, name, NAME)));
        if file.media.listen.is_loopback() && file.media.web_listen.is_empty() {
            // Firefox never reaches a candidate on 127.0.0.1.
            file.media.web_listen.extend(own_address());
        }
        Ok(Trial { demo, page: page(), https })
    }

    /// The certificate that was made for it.
    pub fn certificate(&self) -> Option<Certificate> {
        self.https.as_ref().map(|https| https.certificate.clone())
    }

    /// Says what to do now.
    pub fn announce(&self, http: Option<SocketAddr>, web: &[IpAddr]) {
        say(format_args!("the embedded SIP server listens on udp {}", self.demo.address()));
        for ip in web {
            say(format_args!("web media, and nothing else, listens on {ip} too: Firefox needs it"));
        }
        let Some(http) = http else { return };
        match &self.https {
            None => say(format_args!("\nOpen http://{http}/ and try three things:")),
            Some(https) => https.announce(http),
        }
        say(format_args!("  1. sign in as alice (password alice) and call echo: you hear yourself"));
        say(format_args!("  2. call music, or ivr, which counts the keys you press"));
        say(format_args!("  3. open a second tab, sign in as bob (password bob), and call alice"));
    }
}

impl Https {
    /// Makes the certificate, and lets the web server listen on the machine's own address unless it was told where.
    fn prepare(args: &Args, file: &mut File) -> Result<Https, Failure> {
        let own = own_address();
        if args.http.is_none() && file.http.listen.ip().is_loopback() {
            let ip = own.ok_or_else(|| {
                Failure::new("--https: this machine has no address but loopback; say --http ADDR:PORT")
            })?;
            file.http.listen = (ip, HTTPS_PORT).into();
        }
        let mut addresses = vec![Ipv4Addr::LOCALHOST.into()];
        addresses.extend(own);
        addresses.extend(Some(file.http.listen.ip()).filter(|ip| !ip.is_unspecified()));
        addresses.dedup();
        let tickets = Tickets::new().map_err(Failure::new)?;
        let (certificate, fingerprint) =
            Certificate::self_signed(clock(), &addresses, &tickets).map_err(Failure::new)?;
        Ok(Https { certificate, fingerprint })
    }

    fn announce(&self, mut http: SocketAddr) {
        if let (true, Some(own)) = (http.ip().is_unspecified(), own_address()) {
            http.set_ip(own);
        }
        let hex: Vec<String> = self.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
        say(format_args!(
            "\nThis certificate was made now, so browsers warn of it. Its SHA-256 fingerprint:"
        ));
        say(format_args!("  {}", hex.join(":")));
        say(format_args!("Anybody on this network can reach the page and sign in as the demo's users."));
        say(format_args!("\nOpen https://{http}/ here or on a phone in the same network,"));
        say(format_args!("pass by the browser's warning, and try three things:"));
    }
}

fn start(users: &[demo::User], random: &mut Random) -> io::Result<Demo> {
    let mut last = None;
    for port in PORT..PORT + TRIES {
        let config = Config::new((Ipv4Addr::LOCALHOST, port).into(), users.to_vec());
        match Demo::spawn(config, random.fork()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
            result => return result,
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

/// Where a port was not asked for, the next free one.
fn choose_ports(args: &Args, file: &mut File, shards: u16) {
    if args.config.is_some() {
        return;
    }
    let udp = |address| Udp::open(&UdpOptions::new(address)).is_ok();
    let tcp = |address| {
        Listener::open(&TcpOptions { address, device: None, share: false, backlog: 1, dscp: None }).is_ok()
    };
    if args.http.is_none() {
        let http = &mut file.http.listen;
        http.set_port(next(http.port(), |port| tcp((http.ip(), port).into())));
    }
    if args.admin.is_none()
        && let Some(admin) = &mut file.admin.listen
    {
        admin.set_port(next(admin.port(), |port| tcp((admin.ip(), port).into())));
    }
    if args.sip.is_none() {
        let sip = &mut file.sip.listen;
        let free = |address: SocketAddr| udp(address) && tcp(address);
        sip.set_port(next(sip.port(), |port| free((sip.ip(), port).into())));
        if let Some(advertised) = &mut file.sip.advertise {
            advertised.set_port(sip.port());
        }
    }
    if args.media_port.is_none() && file.media.web_port != 0 {
        let ip = file.media.listen;
        let free = |first: u16| (0..shards).all(|shard| udp((ip, first.saturating_add(shard)).into()));
        file.media.web_port = next(file.media.web_port, free);
    }
}

/// The first of the next ports that is free; the wished one where none is, so that its error tells.
fn next(wish: u16, free: impl Fn(u16) -> bool) -> u16 {
    (wish..wish.saturating_add(TRIES)).find(|&port| free(port)).unwrap_or(wish)
}

fn page() -> String {
    let users: Vec<_> =
        USERS.iter().map(|name| serde_json::json!({ "user": name, "password": name })).collect();
    let numbers =
        demo::NUMBERS.map(|(number, label)| serde_json::json!({ "number": number, "label": label }));
    serde_json::json!({ "users": users, "numbers": numbers }).to_string()
}
