//! The DTLS that str0m drives, tapped: packets, certificate and keying material come to us and never reach str0m.
//!
//! str0m thus builds no SRTP and sends no RTCP; and DTLS packets go out on the newest verified path instead of waiting
//! for a nomination. All associations share one `dimpl::Config`, because building one validates the whole crypto
//! provider (1.5 ms against 50 µs). Key shares and signatures come from the system's randomness whatever our seed is:
//! a replayed simulation sees the same course of messages, not the same bytes.

use crate::rtp::{Keys, Profile};
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use str0m::config::{CryptoProvider, DtlsCert, DtlsVersion};
use str0m_proto::crypto::CryptoError;
use str0m_proto::crypto::dtls::{
    DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, KeyingMaterial, ProtocolVersion, SrtpProfile,
};

/// Largest DTLS datagram that we send: under every common path MTU, tunnels included.
const MTU: usize = 1200;
/// More outputs than any flight has: a bound, never met.
const OUTPUTS: usize = 256;

/// What one association has for its peer.
#[derive(Default)]
pub struct Tap {
    /// Datagrams to send, oldest first.
    pub packets: Vec<Vec<u8>>,
    /// The far side's certificate, DER.
    pub certificate: Option<Vec<u8>>,
    /// What the handshake exported.
    pub keys: Option<Keys>,
    /// The handshake is over.
    pub finished: bool,
    /// When DTLS wants to be woken.
    pub timeout: Option<Instant>,
    /// DTLS gave up (its timers ran out).
    pub failed: bool,
    /// Datagrams that DTLS refused since it was last asked.
    pub refused: u64,
    /// The far side said `close_notify`.
    pub closed: bool,
    /// The time, brought up to date before each datagram.
    pub now: Option<Instant>,
}

/// The tap's two ends: one in the association, one in the peer.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Tap>>);

impl Shared {
    /// The tap itself. Never contended: both ends live on one thread.
    pub fn lock(&self) -> MutexGuard<'_, Tap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    // It holds keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tap(…)")
    }
}

thread_local! {
    // str0m calls the provider in the midst of building an `Rtc`; this hands the tap over to whoever builds.
    static BUILT: RefCell<Option<Shared>> = const { RefCell::new(None) };
}

/// The tap of the `Rtc` that was just built on this thread.
pub fn take_built() -> Option<Shared> {
    BUILT.with_borrow_mut(Option::take)
}

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

/// A bare association, for the tap and for the test browser.
pub fn associate(cert: &DtlsCert, now: Instant, version: DtlsVersion) -> Result<dimpl::Dtls, CryptoError> {
    let (config, cert) = (Arc::clone(config()), cert.clone());
    match version {
        DtlsVersion::Dtls12 => Ok(dimpl::Dtls::new_12(config, cert, now)),
        DtlsVersion::Dtls13 => Ok(dimpl::Dtls::new_13(config, cert, now)),
        DtlsVersion::Auto => Ok(dimpl::Dtls::new_auto(config, cert, now)),
        other => Err(CryptoError::Other(format!("DTLS version {other} is unknown here"))),
    }
}

/// str0m's crypto with our DTLS.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| {
        let dtls_provider: &'static dyn DtlsProvider = &Tapping;
        Arc::new(CryptoProvider { dtls_provider, ..str0m_aws_lc_rs::default_provider() })
    }))
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

#[derive(Debug)]
struct Tapping;

impl DtlsProvider for Tapping {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        dimpl::certificate::generate_self_signed_certificate().ok()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        _mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let tap = Shared::default();
        BUILT.set(Some(tap.clone()));
        Ok(Box::new(Tapped { inner: associate(cert, now, version)?, tap, born: now }))
    }
}

struct Tapped {
    inner: dimpl::Dtls,
    tap: Shared,
    born: Instant,
}

impl std::fmt::Debug for Tapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tapped")
    }
}

impl DtlsInstance for Tapped {
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        let mut tap = self.tap.lock();
        // dimpl counts its timers from the time it heard last, and str0m tells it only when a timer is due.
        let timely = tap.now.is_none_or(|now| self.inner.handle_timeout(now).is_ok());
        if !timely || self.inner.handle_packet(packet).is_err() {
            // Anyone who can forge a source address can send this: a drop, never an end. The deadline ends it.
            tap.refused += 1;
        }
        Ok(())
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let client = self.inner.is_active();
        let mut tap = self.tap.lock();
        for _ in 0..OUTPUTS {
            match self.inner.poll_output(&mut *buffer) {
                DtlsOutput::Packet(packet) => tap.packets.push(packet.to_vec()),
                DtlsOutput::PeerCert(certificate) => tap.certificate = Some(certificate.to_vec()),
                DtlsOutput::KeyingMaterial(material, name) => tap.keys = keys(&material, name, client),
                DtlsOutput::Connected => tap.finished = true,
                DtlsOutput::CloseNotify => tap.closed = true,
                DtlsOutput::Timeout(at) => {
                    tap.timeout = Some(at);
                    return DtlsOutput::Timeout(at);
                }
                // No data channel was offered, and nothing larger than our MTU is ever made.
                _ => {}
            }
        }
        tap.failed = true;
        DtlsOutput::Timeout(tap.now.unwrap_or(self.born))
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        let mut tap = self.tap.lock();
        tap.now = Some(now);
        if self.inner.handle_timeout(now).is_err() {
            tap.failed = true;
        }
        Ok(())
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.inner.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.inner.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}
