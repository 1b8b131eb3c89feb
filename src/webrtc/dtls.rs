//! DTLS by dimpl, driven directly: one association each, which says packets, certificate and keying material.
//!
//! All associations share one `dimpl::Config`, because building one validates the whole crypto provider (1.5 ms against
//! 50 µs). Key shares and signatures come from the system's randomness whatever our seed is: a replayed simulation sees
//! the same course of messages, not the same bytes.

use super::Dtls;
use crate::rtp::{Keys, Profile};
use dimpl::{DtlsCertificate, KeyingMaterial, Output, SrtpProfile};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Largest DTLS datagram that we send: under every common path MTU, tunnels included.
const MTU: usize = 1200;
/// More outputs than any flight has: a bound, never met.
const OUTPUTS: usize = 256;
/// Room for one output; a certificate beyond it gets more.
const ROOM: usize = 2048;
/// Most room for one output.
const MOST_ROOM: usize = 1 << 16;

/// One configuration for all associations of the process.
fn config() -> &'static Arc<dimpl::Config> {
    static CONFIG: OnceLock<Arc<dimpl::Config>> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let config = dimpl::Config::builder()
            // ICE has shown the address already.
            .use_server_cookie(false)
            .mtu(MTU)
            // RFC 9147 section 5.8.2: 400 ms for real-time media; doubled six times it outlasts our own deadline.
            .flight_start_rto(Duration::from_millis(400))
            .flight_retries(6)
            .handshake_timeout(Duration::from_mins(1))
            .build();
        Arc::new(config.expect("a constant configuration is valid"))
    })
}

/// A bare association, for ours and for the test browser.
pub fn associate(certificate: &DtlsCertificate, now: Instant, version: Dtls) -> dimpl::Dtls {
    let (config, certificate) = (Arc::clone(config()), certificate.clone());
    match version {
        Dtls::V12 => dimpl::Dtls::new_12(config, certificate, now),
        Dtls::V13 => dimpl::Dtls::new_13(config, certificate, now),
        Dtls::Auto => dimpl::Dtls::new_auto(config, certificate, now),
    }
}

/// The house's name of a profile.
pub fn profile(name: SrtpProfile) -> Option<Profile> {
    match name {
        SrtpProfile::AES128_CM_SHA1_80 => Some(Profile::AesCm128Sha1_80),
        SrtpProfile::AEAD_AES_128_GCM => Some(Profile::AeadAes128Gcm),
        SrtpProfile::AEAD_AES_256_GCM => Some(Profile::AeadAes256Gcm),
        _ => None,
    }
}

#[cfg(any(test, feature = "testkit"))]
thread_local! {
    static FORCED: std::cell::Cell<Option<Profile>> = const { std::cell::Cell::new(None) };
}

/// For tests: takes what is exported on this thread as keys of this profile, whatever was negotiated. dimpl always
/// offers all three and picks AES-256-GCM, so that this is how two of our own ends come to use the others.
#[cfg(any(test, feature = "testkit"))]
pub fn force_profile(profile: Option<Profile>) {
    FORCED.set(profile);
}

/// The keys in what was exported.
pub fn keys(material: &KeyingMaterial, name: SrtpProfile, client: bool) -> Option<Keys> {
    let profile = profile(name)?;
    #[cfg(any(test, feature = "testkit"))]
    let profile = FORCED.get().unwrap_or(profile);
    Keys::from_exporter(profile, material, client)
}

/// One association.
pub struct Association {
    inner: dimpl::Dtls,
    /// The far side's certificate, DER.
    pub certificate: Option<Vec<u8>>,
    /// What the handshake exported.
    pub keys: Option<Keys>,
    /// The handshake is over.
    pub finished: bool,
    /// It gave up (its timers ran out).
    pub failed: bool,
    /// The far side said `close_notify`.
    pub closed: bool,
    /// When it wants to be woken.
    pub timeout: Option<Instant>,
}

impl std::fmt::Debug for Association {
    // It holds keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Association(…)")
    }
}

impl Association {
    /// Begins, as client or as server.
    pub fn begin(certificate: &DtlsCertificate, now: Instant, version: Dtls, client: bool) -> Association {
        let mut inner = associate(certificate, now, version);
        inner.set_active(client);
        let failed = inner.handle_timeout(now).is_err();
        let (keys, certificate, timeout) = (None, None, None);
        Association { inner, certificate, keys, finished: false, failed, closed: false, timeout }
    }

    /// A datagram; false where it makes no sense. Anyone who can forge a source address can send such: a drop, never an
    /// end.
    pub fn handle_packet(&mut self, now: Instant, packet: &[u8]) -> bool {
        // dimpl counts its timers from the time that it heard last.
        self.inner.handle_timeout(now).is_ok() && self.inner.handle_packet(packet).is_ok()
    }

    /// Time passes.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.failed |= self.inner.handle_timeout(now).is_err();
    }

    /// Says `close_notify`; false where it can't.
    pub fn close(&mut self) -> bool {
        self.inner.close().is_ok()
    }

    /// Takes what it says: datagrams go to `send`, everything else stays to be looked at.
    pub fn poll(&mut self, mut send: impl FnMut(&[u8])) {
        let client = self.inner.is_active();
        let (mut room, mut more) = ([0; ROOM], Vec::new());
        for _ in 0..OUTPUTS {
            let buffer = if more.is_empty() { &mut room[..] } else { &mut more[..] };
            match self.inner.poll_output(buffer) {
                Output::Packet(packet) => send(packet),
                Output::PeerCert(certificate) => self.certificate = Some(certificate.to_vec()),
                Output::KeyingMaterial(material, name) => self.keys = keys(&material, name, client),
                Output::Connected => self.finished = true,
                Output::CloseNotify => self.closed = true,
                Output::BufferTooSmall { needed } if needed <= MOST_ROOM => more = vec![0; needed],
                Output::BufferTooSmall { .. } => break,
                Output::Timeout(at) => {
                    self.timeout = Some(at);
                    return;
                }
                // No data channel was offered.
                _ => {}
            }
        }
        self.failed = true;
    }
}
