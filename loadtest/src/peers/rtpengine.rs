//! rtpengine in user space, as a peer: a process bound to a core, told by its `ng` protocol what to forward.
//!
//! The web leg is SRTP with keys by SDES and not by DTLS, so that the engine has them without a handshake. What is
//! measured is not touched by that: once the keys are there, each packet goes the same way through rtpengine.

use super::ng::{Client, Value};
use super::process::Process;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bridgehead::rtp::{Keys, Profile};
use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};

/// A running rtpengine.
pub(super) struct Rtpengine {
    pub(super) process: Process,
    client: Client,
    calls: usize,
}

/// Where it is installed, if it is.
pub(super) fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join("rtpengine"))
        .find(|file| file.is_file())
}

/// What a call became.
pub(super) struct Legs {
    pub(super) web: SocketAddrV4,
    pub(super) sip: SocketAddrV4,
    /// The web party's own keys.
    pub(super) keys: Option<Keys>,
}

impl Rtpengine {
    /// Starts one with one worker thread on `core`.
    pub(super) fn start(program: &Path, core: usize, log: &Path) -> io::Result<Rtpengine> {
        // The port is free a moment before, and rtpengine says so if it is no longer.
        let control = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Process::pinned(program, core);
        command.args(["--table=-1", "--foreground", "--log-stderr", "--log-level=3", "--num-threads=1"]);
        command.args(["--interface=127.0.0.1", "--port-min=20000", "--port-max=59999", "--timeout=3600"]);
        // The parties' addresses are told, and are right.
        command.args(["--endpoint-learning=off", &format!("--listen-ng={control}")]);
        let process = Process::start(&mut command, log)?;
        let mut engine = Rtpengine { process, client: Client::new(control)?, calls: 0 };
        let mut tries = 0;
        while let Err(error) = engine.client.ask("ping", &[]) {
            tries += 1;
            if tries == 5 || engine.process.ended().is_some() {
                return Err(io::Error::other(format!("{error}; see {}", log.display())));
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        Ok(engine)
    }

    /// Begins a call between two parties. `secret` is the web party's sending key and salt.
    pub(super) fn add(
        &mut self,
        web: SocketAddrV4,
        sip: SocketAddrV4,
        secret: Option<(Profile, [u8; 46])>,
    ) -> io::Result<Legs> {
        self.calls += 1;
        let call =
            [("call-id", Value::Text(format!("call-{}", self.calls))), ("from-tag", Value::text("web"))];
        let common = [
            ("flags", Value::list(&["trust address"])),
            ("ICE", Value::text("remove")),
            ("rtcp-mux", Value::list(&["demux"])),
        ];
        let offer = sdp(web, secret.map(|(profile, material)| crypto(profile, &material)).as_deref());
        let mut entries = Vec::from(call.clone());
        entries.extend(common.clone());
        entries.push(("sdp", Value::Text(offer)));
        entries.push(("transport-protocol", Value::text("RTP/AVP")));
        let offered = self.sdp("offer", &entries)?;
        let mut entries = Vec::from(call);
        entries.extend(common);
        entries.push(("to-tag", Value::text("sip")));
        entries.push(("sdp", Value::Text(sdp(sip, None))));
        let answered = self.sdp("answer", &entries)?;
        let wrong = |what: &str| io::Error::other(format!("rtpengine: no {what} in\n{answered}"));
        let keys = match secret {
            None => None,
            Some((profile, send)) => {
                let receive =
                    answered.lines().find_map(|line| material(profile, line)).ok_or_else(|| wrong("key"))?;
                Some(Keys { profile, receive, send })
            }
        };
        let web = media(&answered).ok_or_else(|| wrong("address"))?;
        let sip = media(&offered).ok_or_else(|| wrong("address"))?;
        Ok(Legs { web, sip, keys })
    }

    fn sdp(&mut self, command: &str, entries: &[(&str, Value)]) -> io::Result<String> {
        match self.client.ask(command, entries)?.remove("sdp") {
            Some(Value::Text(sdp)) => Ok(sdp),
            _ => Err(io::Error::other(format!("rtpengine: no SDP after {command}"))),
        }
    }

    /// Its version, for the report.
    pub(super) fn version(program: &Path) -> String {
        let told = std::process::Command::new(program).arg("--version").output();
        let text = told.map(|told| [told.stdout, told.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.trim().strip_prefix("Version: ").unwrap_or(text.trim()).to_owned()
    }
}

fn sdp(party: SocketAddrV4, crypto: Option<&str>) -> String {
    let protocol = if crypto.is_some() { "RTP/SAVP" } else { "RTP/AVP" };
    let (ip, port) = (party.ip(), party.port());
    let crypto = crypto.map(|crypto| format!("{crypto}\r\n")).unwrap_or_default();
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} {protocol} 0\r\n\
         a=rtpmap:0 PCMU/8000\r\n{crypto}a=sendrecv\r\na=ptime:20\r\n"
    )
}

fn suite(profile: Profile) -> &'static str {
    match profile {
        Profile::AesCm128Sha1_80 => "AES_CM_128_HMAC_SHA1_80",
        Profile::AeadAes128Gcm => "AEAD_AES_128_GCM",
        Profile::AeadAes256Gcm => "AEAD_AES_256_GCM",
    }
}

/// A key in SDP (RFC 4568, RFC 7714 section 14).
fn crypto(profile: Profile, material: &[u8; 46]) -> String {
    let length = profile.key_length() + profile.salt_length();
    format!("a=crypto:1 {} inline:{}", suite(profile), STANDARD.encode(&material[..length]))
}

fn material(profile: Profile, line: &str) -> Option<[u8; 46]> {
    let rest = line.trim_end().strip_prefix("a=crypto:")?;
    let mut words = rest.split(' ').skip(1);
    if words.next()? != suite(profile) {
        return None;
    }
    let key = words.next()?.strip_prefix("inline:")?;
    // Lifetime and MKI may follow; padding may be left out.
    let key = key.split('|').next()?.trim_end_matches('=');
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(key).ok()?;
    let mut out = [0; 46];
    let length = profile.key_length() + profile.salt_length();
    (bytes.len() == length).then(|| out[..length].copy_from_slice(&bytes))?;
    Some(out)
}

/// Where an SDP wants its media.
fn media(sdp: &str) -> Option<SocketAddrV4> {
    let ip = sdp.lines().find_map(|line| line.strip_prefix("c=IN IP4 "))?;
    let port = sdp.lines().find_map(|line| line.strip_prefix("m=audio "))?.split(' ').next()?;
    match SocketAddr::new(ip.trim_end().parse().ok()?, port.parse().ok()?) {
        SocketAddr::V4(address) if address.port() != 0 => Some(address),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_through_sdp_and_come_back() {
        for profile in [Profile::AesCm128Sha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm] {
            let length = profile.key_length() + profile.salt_length();
            let mut wanted = [0; 46];
            (0..length).for_each(|n| wanted[n] = n as u8 * 5 + 1);
            let line = crypto(profile, &wanted);
            assert_eq!(material(profile, &line), Some(wanted));
            assert_eq!(material(profile, &format!("{}|2^31|1:1", line.trim_end_matches('='))), Some(wanted));
            assert_eq!(material(profile, &line[..line.len() - 8]), None);
        }
        let line = crypto(Profile::AesCm128Sha1_80, &[7; 46]);
        assert_eq!(material(Profile::AeadAes128Gcm, &line), None);
        assert_eq!(material(Profile::AesCm128Sha1_80, "a=sendrecv"), None);
    }

    #[test]
    fn an_address_is_read_from_sdp() {
        let party: SocketAddrV4 = "127.16.0.3:4002".parse().unwrap();
        assert_eq!(media(&sdp(party, None)), Some(party));
        assert_eq!(media("c=IN IP4 127.0.0.1\r\nm=audio 0 RTP/AVP 0\r\n"), None);
        assert_eq!(media("v=0\r\n"), None);
    }
}
