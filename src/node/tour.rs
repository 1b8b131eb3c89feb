//! The demo: a gateway with an embedded SIP server and three users, and what it says to whoever tries it.

use super::demo;
use super::log::say;
use super::run::{Failure, Node};
use crate::base::Random;
use crate::config::{File, Trunk, User};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

/// Who may sign in, each with its name as password.
const USERS: [&str; 3] = ["alice", "bob", "carol"];
/// What the embedded SIP server answers.
const NUMBERS: [(&str, &str); 2] = [("echo", "says what you say"), ("tone", "440 Hz")];
/// How many ports after the wanted one are tried.
const TRIES: u16 = 100;

/// Runs until a signal ends it.
pub fn run(mut file: File, cores: &[u16], random: &mut Random) -> Result<(), Failure> {
    let users: Vec<(String, String)> = USERS.iter().map(|&name| (name.to_owned(), name.to_owned())).collect();
    let server = demo::spawn(&users, random.fork())
        .map_err(|error| Failure::new(format_args!("the embedded SIP server: {error}")))?;
    take_free_ports(&mut file);
    file.media.web_listen.extend(private_address().filter(|&ip| ip != file.media.listen));
    file.trunk.insert(0, Trunk::plain("demo", server.address()));
    for user in USERS.iter().rev() {
        file.user.insert(0, User::plain(user, user, "demo"));
    }
    let node = Node::start(&file, cores, Some(described()), random)?;
    greet(&node, server.address(), &file);
    node.announce();
    node.wait()
}

/// What the softphone page reads at `/v1/demo.json`.
fn described() -> String {
    let users: Vec<_> = USERS.iter().map(|name| serde_json::json!({ "user": name, "password": name })).collect();
    let numbers: Vec<_> =
        NUMBERS.iter().map(|(number, label)| serde_json::json!({ "number": number, "label": label })).collect();
    serde_json::json!({ "users": users, "numbers": numbers }).to_string()
}

/// Moves every port that somebody else holds to the next free one: two demos run side by side.
fn take_free_ports(file: &mut File) {
    let udp = |address: SocketAddr| UdpSocket::bind(address).is_ok();
    let tcp = |address: SocketAddr| TcpListener::bind(address).is_ok();
    next_free(&mut file.http.listen, tcp);
    next_free(&mut file.sip.listen, udp);
    let mut media = SocketAddr::new(file.media.listen, file.media.web_port);
    next_free(&mut media, udp);
    file.media.web_port = media.port();
}

fn next_free(address: &mut SocketAddr, free: impl Fn(SocketAddr) -> bool) {
    if address.port() == 0 {
        return;
    }
    for port in address.port()..address.port().saturating_add(TRIES) {
        if free(SocketAddr::new(address.ip(), port)) {
            address.set_port(port);
            return;
        }
    }
}

/// The machine's own private address: Firefox never reaches a candidate on 127.0.0.1. Connecting a UDP socket sends
/// nothing; it only asks the routing table.
fn private_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if ip.is_private() => Some(ip.into()),
        _ => None,
    }
}

fn greet(node: &Node, sip: SocketAddr, file: &File) {
    let Some(http) = node.bound().http else { return };
    say(format_args!("Bridgehead demo: open http://{http}/ in a browser on this machine."));
    say(format_args!(""));
    say(format_args!("Three things to try:"));
    say(format_args!("  1. Sign in as alice (password alice) and call echo: you hear yourself."));
    say(format_args!("  2. Call tone: you hear 440 Hz."));
    say(format_args!("  3. Sign in as bob in a second tab, and call bob from the first."));
    say(format_args!(""));
    say(format_args!("The embedded SIP server is at {sip}; any SIP phone on this machine may use it as carol."));
    for ip in &file.media.web_listen {
        say(format_args!("Browsers' media (only that) listens on {ip} too: Firefox needs it. Ctrl-C ends the demo."));
    }
}
