//! A browser for tests: full ICE, DTLS and SRTP by str0m, on virtual time, with its SRTP keys to be seen.
//!
//! Only in tests and behind the feature `testkit`.

pub use super::dtls::force_profile;
use super::{Dtls, Local, Remote, dtls};
use crate::base::Random;
use crate::rtp::Keys;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;
use str0m::config::{CryptoProvider, DtlsCert, DtlsVersion, Fingerprint};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, IceCreds, Rtc, RtcConfig};
use str0m_proto::crypto::CryptoError;
use str0m_proto::crypto::dtls::{
    DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, KeyingMaterial, ProtocolVersion, SrtpProfile,
};

/// A datagram that the browser sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// From which of its addresses.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// The bytes.
    pub data: Vec<u8>,
}

/// A browser's peer connection.
#[derive(Debug)]
pub struct Browser {
    rtc: Rtc,
    keys: Slot,
    addresses: Vec<SocketAddr>,
    client: bool,
    sent: VecDeque<Sent>,
    events: VecDeque<str0m::Event>,
    next: Option<Instant>,
}

impl Browser {
    /// A new peer connection with these host addresses; RTP mode, PCMU as payload type 0. `client` says whether it
    /// insists on that DTLS role (`setup:active`), else on the other.
    pub fn new(
        now: Instant,
        random: &mut Random,
        version: Dtls,
        client: bool,
        addresses: &[SocketAddr],
    ) -> Browser {
        let version = match version {
            Dtls::Auto => DtlsVersion::Auto,
            Dtls::V12 => DtlsVersion::Dtls12,
            Dtls::V13 => DtlsVersion::Dtls13,
        };
        let mut rtc = RtcConfig::new()
            .set_crypto_provider(provider())
            .set_dtls_version(version)
            .set_local_ice_credentials(credentials(random))
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_pcmu(true, false)
            .clear_extension_map()
            .build(now);
        for address in addresses {
            rtc.add_local_candidate(Candidate::host(*address, "udp").expect("a usable address"));
        }
        let keys = BUILT.take().expect("the provider was asked");
        let addresses = addresses.to_vec();
        let (sent, events) = (VecDeque::new(), VecDeque::new());
        Browser { rtc, keys, addresses, client, sent, events, next: Some(now) }
    }

    /// What its description says.
    pub fn remote(&mut self) -> Remote {
        let api = self.rtc.direct_api();
        let creds = api.local_ice_credentials();
        let print = api.local_dtls_fingerprint().clone();
        let candidate = |(n, at): (usize, &SocketAddr)| {
            format!("{n} 1 udp {} {} {} typ host", 2_122_260_223 - n, at.ip(), at.port())
        };
        Remote {
            ufrag: creds.ufrag,
            pwd: creds.pass,
            fingerprints: vec![(print.hash_func, print.bytes)],
            dtls_client: self.client,
            ice_lite: false,
            candidates: self.addresses.iter().enumerate().map(candidate).collect(),
        }
    }

    /// Takes the gateway's description and begins; or (an ICE restart) goes on with its new credentials.
    pub fn describe(&mut self, now: Instant, local: &Local) {
        for address in &local.candidates {
            self.rtc.add_remote_candidate(Candidate::host(*address, "udp").expect("a usable address"));
        }
        let mut api = self.rtc.direct_api();
        let bytes = local.fingerprint.to_vec();
        api.set_remote_fingerprint(Fingerprint { hash_func: "sha-256".into(), bytes });
        api.set_remote_ice_credentials(IceCreds { ufrag: local.ufrag.clone(), pass: local.pwd.clone() });
        api.set_ice_controlling(true);
        api.start_dtls(self.client).expect("DTLS starts");
        self.handle_timeout(now);
    }

    /// New ICE credentials: an ICE restart begins. Its description is [`Browser::remote`] anew.
    pub fn restart(&mut self, random: &mut Random) {
        self.rtc.direct_api().set_local_ice_credentials(credentials(random));
    }

    /// A datagram arrives.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, data: &[u8]) {
        if let Ok(receive) = Receive::new(Protocol::Udp, from, to, data) {
            // What it refuses it would drop in life, too.
            let _ = self.rtc.handle_input(str0m::Input::Receive(now, receive));
        }
        self.settle();
    }

    /// Time passes.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = self.rtc.handle_input(str0m::Input::Timeout(now));
        self.settle();
    }

    fn settle(&mut self) {
        self.next = None;
        while let Ok(output) = self.rtc.poll_output() {
            match output {
                str0m::Output::Timeout(at) => {
                    self.next = Some(at);
                    break;
                }
                str0m::Output::Event(event) => self.events.push_back(event),
                str0m::Output::Transmit(send) => {
                    let data = send.contents.to_vec();
                    self.sent.push_back(Sent { from: send.source, to: send.destination, data });
                }
            }
        }
    }

    /// The next datagram it sends.
    pub fn poll_send(&mut self) -> Option<Sent> {
        self.sent.pop_front()
    }

    /// The next thing it tells (RTP packets that arrived, and more).
    pub fn poll_event(&mut self) -> Option<str0m::Event> {
        self.events.pop_front()
    }

    /// When it wants [`Browser::handle_timeout`]; `None` where it is dead.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Its SRTP keys, as seen from the browser.
    pub fn keys(&self) -> Option<Keys> {
        self.keys.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says `close_notify`.
    pub fn close(&mut self) {
        let _ = self.rtc.close();
        self.settle();
    }

    /// str0m itself, to declare and write media. Call [`Browser::handle_timeout`] afterwards.
    pub fn rtc(&mut self) -> &mut Rtc {
        &mut self.rtc
    }
}

fn credentials(random: &mut Random) -> IceCreds {
    IceCreds { ufrag: random.token(8), pass: random.token(24) }
}

#[derive(Clone, Debug, Default)]
struct Slot(Arc<Mutex<Option<Keys>>>);

thread_local! {
    static BUILT: RefCell<Option<Slot>> = const { RefCell::new(None) };
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| {
        let dtls_provider: &'static dyn DtlsProvider = &Watching;
        Arc::new(CryptoProvider { dtls_provider, ..str0m_aws_lc_rs::default_provider() })
    }))
}

#[derive(Debug)]
struct Watching;

impl DtlsProvider for Watching {
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
        let slot = Slot::default();
        BUILT.set(Some(slot.clone()));
        let version = match version {
            DtlsVersion::Dtls12 => Dtls::V12,
            DtlsVersion::Dtls13 => Dtls::V13,
            _ => Dtls::Auto,
        };
        Ok(Box::new(Watched { inner: dtls::associate(cert, now, version), slot }))
    }
}

#[derive(Debug)]
struct Watched {
    inner: dimpl::Dtls,
    slot: Slot,
}

impl DtlsInstance for Watched {
    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let client = self.inner.is_active();
        match self.inner.poll_output(buffer) {
            DtlsOutput::KeyingMaterial(material, name) => {
                let keys = dtls::keys(&material, name, client);
                // str0m's own SRTP must speak the profile that the test forces, if any.
                let name = keys.as_ref().map_or(name, |keys| named(keys.profile));
                let length = name.keying_material_len().min(material.len());
                *self.slot.0.lock().unwrap_or_else(PoisonError::into_inner) = keys;
                DtlsOutput::KeyingMaterial(KeyingMaterial::new(&material[..length]), name)
            }
            other => other,
        }
    }
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }
    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.handle_packet(packet)
    }
    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.inner.handle_timeout(now)
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

fn named(profile: crate::rtp::Profile) -> SrtpProfile {
    match profile {
        crate::rtp::Profile::AesCm128Sha1_80 => SrtpProfile::AES128_CM_SHA1_80,
        crate::rtp::Profile::AeadAes128Gcm => SrtpProfile::AEAD_AES_128_GCM,
        crate::rtp::Profile::AeadAes256Gcm => SrtpProfile::AEAD_AES_256_GCM,
    }
}
