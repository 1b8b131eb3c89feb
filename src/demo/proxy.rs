//! The stateless proxy (RFC 3261 section 16.11): requests to where a user is, responses back along the Vias.

use super::auth::Gate;
use super::location::Binding;
use super::reply::Stamped;
use sip_codec::{Header, Host, Message, Name, StartLine, Via, ViaOut, Writer};
use std::net::SocketAddr;

/// Marks branches of ours.
const BRANCH: &str = "z9hG4bKbh";

/// The branch that we add to a request, from what its retransmissions, its CANCEL and its ACK have in common with it.
/// With a secret in it, so that nobody can make us return a response to what we never forwarded.
fn branch(gate: &Gate, message: &Message<'_>, above: &Via<'_>) -> Option<String> {
    let from = message.from().ok()?;
    let (call_id, cseq) = (message.call_id().ok()?, message.cseq().ok()?.number.to_string());
    let sent_by = format!("{}:{}", above.host, above.port.unwrap_or(5060));
    let parts = [above.branch().unwrap_or(""), &sent_by, from.tag().unwrap_or(""), call_id, &cseq];
    Some(format!("{BRANCH}{}", gate.sign(&[&["branch"], &parts[..]].concat())))
}

/// A request as it goes on to a contact. The Via elements are taken apart, each in a line of its own.
pub fn forward(
    gate: &Gate,
    own: SocketAddr,
    request: &Message<'_>,
    source: SocketAddr,
    target: &Binding,
    hops: u8,
) -> Option<Vec<u8>> {
    let via = request.via().ok()?;
    let branch = branch(gate, request, &via)?;
    let mut data = Vec::with_capacity(request.size() + 256);
    let mut writer = Writer::request(&mut data, request.method()?, &target.uri);
    let host = Host::from(own.ip());
    let ours = ViaOut { transport: "UDP", host, port: Some(own.port()), branch: &branch, rport: true };
    writer.header(Name::Via, ours).header(Name::Via, Stamped { via, source });
    for value in request.values(Name::Via).skip(1) {
        writer.line(Header { name: Name::Via, value });
    }
    writer.header(Name::MaxForwards, hops);
    for line in request.iter() {
        // Credentials for us have done their duty (section 22.3); Route named us, or there was none.
        let taken = [Name::Via, Name::MaxForwards, Name::ProxyAuthorization, Name::Route, Name::ContentType];
        if !taken.contains(&line.name) {
            writer.line(line);
        }
    }
    match (request.header(Name::ContentType), request.body()) {
        (Some(kind), body) if !body.is_empty() => writer.body(kind, body).ok()?,
        _ => writer.finish().ok()?,
    }
    Some(data)
}

/// A response as it goes back, and whither; `None` where it answers nothing that went through here.
pub fn back(gate: &Gate, own: SocketAddr, response: &Message<'_>) -> Option<(SocketAddr, Vec<u8>)> {
    let StartLine::Response { code, reason } = response.start() else { return None };
    let mut vias = response.values(Name::Via).map(Via::parse);
    let (ours, next) = (vias.next()?.ok()?, vias.next()?.ok()?);
    let here = ours.host.ip() == Some(own.ip()) && ours.port == Some(own.port());
    if !here || ours.branch() != Some(branch(gate, response, &next)?.as_str()) {
        return None;
    }
    let ip = next.received().or_else(|| next.host.ip())?;
    let port = next.rport().flatten().or(next.port).unwrap_or(5060);
    let mut data = Vec::with_capacity(response.size());
    let mut writer = Writer::response(&mut data, code, reason);
    for value in response.values(Name::Via).skip(1) {
        writer.line(Header { name: Name::Via, value });
    }
    for line in response.iter() {
        if ![Name::Via, Name::ContentType].contains(&line.name) {
            writer.line(line);
        }
    }
    match (response.header(Name::ContentType), response.body()) {
        (Some(kind), body) if !body.is_empty() => writer.body(kind, body).ok()?,
        _ => writer.finish().ok()?,
    }
    Some(((ip, port).into(), data))
}

/// A status, and a header that explains it.
pub type Obstacle = ((u16, &'static str), Option<(Name<'static>, String)>);

/// What keeps a request from being forwarded: Max-Forwards spent, an extension that we would have to know, a route
/// to elsewhere.
pub fn obstacle(own: SocketAddr, request: &Message<'_>) -> Option<Obstacle> {
    if request.max_forwards().ok().flatten() == Some(0) {
        return Some(((483, "Too Many Hops"), None));
    }
    if let Some(extension) = request.header(Name::ProxyRequire) {
        return Some(((420, "Bad Extension"), Some((Name::Unsupported, extension.to_owned()))));
    }
    let elsewhere = |route: Result<sip_codec::NameAddr<'_>, _>| {
        route.ok().and_then(|route| super::location::address(route.uri)) != Some(own)
    };
    request.addresses(Name::Route).any(elsewhere).then_some(((403, "Forbidden"), None))
}
