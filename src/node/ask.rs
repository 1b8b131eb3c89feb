//! `bridgehead calls` and `bridgehead trace`: a running gateway is asked over its admin address.

use super::log::say;
use super::run::Failure;
use crate::admin::{List, encode};
use crate::trace::Told;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long the gateway has for an answer, a pause in it included.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const LONGEST: u64 = 64 << 20;

/// Prints the calls that run.
pub(super) fn calls(admin: SocketAddr, json: bool) -> Result<(), Failure> {
    let text = get(admin, "/calls")?;
    if json {
        say(format_args!("{text}"));
        return Ok(());
    }
    let list: List = serde_json::from_str(&text).map_err(|_| strange(admin))?;
    say(format_args!("{}", list.table().trim_end()));
    Ok(())
}

/// Prints one call's ladder.
pub(super) fn trace(admin: SocketAddr, call: &str, json: bool) -> Result<(), Failure> {
    let text = get(admin, &format!("/calls/{}/trace", encode(call)))?;
    if json {
        say(format_args!("{text}"));
        return Ok(());
    }
    let told: Told = serde_json::from_str(&text).map_err(|_| strange(admin))?;
    say(format_args!("{}", told.draw().trim_end()));
    Ok(())
}

fn strange(admin: SocketAddr) -> Failure {
    Failure::new(format_args!("what answers on {admin} is not a gateway of this version"))
}

fn get(admin: SocketAddr, path: &str) -> Result<String, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(format_args!("no gateway answers on {admin}: {error}; say --admin ADDR:PORT"))
    };
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).map_err(failed)?;
    let answer = String::from_utf8(answer).map_err(|_| strange(admin))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| strange(admin))?;
    if head.starts_with("HTTP/1.1 200 ") {
        return Ok(body.to_owned());
    }
    let said: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let said = said.as_ref().and_then(|value| value["error"].as_str());
    Err(said.map_or_else(|| strange(admin), Failure::new))
}
