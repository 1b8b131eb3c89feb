//! Session descriptions as the peers read them: by lines, without the gateway's `sdp` room.

use std::net::{IpAddr, SocketAddr};

/// What the first audio stream says.
#[derive(Clone, Debug, Default)]
pub struct Described {
    pub ip: Option<IpAddr>,
    pub port: u16,
    pub types: Vec<u8>,
    pub direction: &'static str,
    pub ufrag: String,
    pub pwd: String,
    pub fingerprint: Vec<u8>,
    pub setup: String,
    pub candidates: Vec<SocketAddr>,
    pub ssrc: Option<u32>,
}

fn candidate(value: &str) -> Option<SocketAddr> {
    let parts: Vec<&str> = value.split(' ').collect();
    Some(SocketAddr::new(parts.get(4)?.parse().ok()?, parts.get(5)?.parse().ok()?))
}

impl Described {
    pub fn read(text: &str) -> Option<Described> {
        let mut described = Described { direction: "sendrecv", ..Described::default() };
        for line in text.lines() {
            let Some((kind, value)) = line.split_once('=') else { continue };
            match kind {
                "c" => described.ip = value.rsplit(' ').next()?.parse().ok(),
                "m" => {
                    let parts: Vec<&str> = value.split(' ').collect();
                    if parts.first() != Some(&"audio") {
                        return None;
                    }
                    described.port = parts.get(1)?.parse().ok()?;
                    described.types = parts.iter().skip(3).filter_map(|part| part.parse().ok()).collect();
                }
                "a" => described.attribute(value),
                _ => {}
            }
        }
        (!described.types.is_empty()).then_some(described)
    }

    fn attribute(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name {
            "sendrecv" => self.direction = "sendrecv",
            "sendonly" => self.direction = "sendonly",
            "recvonly" => self.direction = "recvonly",
            "inactive" => self.direction = "inactive",
            "ice-ufrag" => self.ufrag = value.into(),
            "ice-pwd" => self.pwd = value.into(),
            "setup" => self.setup = value.into(),
            "candidate" => self.candidates.extend(candidate(value)),
            "ssrc" => self.ssrc = value.split(' ').next().and_then(|id| id.parse().ok()).or(self.ssrc),
            "fingerprint" => {
                let hex = value.split(' ').nth(1).unwrap_or("");
                self.fingerprint =
                    hex.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
            }
            _ => {}
        }
    }
}
