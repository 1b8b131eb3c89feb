//! A browser's DTLS: a client association whose keys come out, and the certificate that all browsers share.

use super::profile;
use bridgehead::rtp::{Keys, Profile};
use dimpl::{Config, Dtls, DtlsCertificate, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Under every common path MTU.
const MTU: usize = 1200;

/// Which DTLS version the browsers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
pub enum Version {
    /// 1.2
    #[serde(rename = "1.2")]
    #[value(name = "1.2")]
    V12,
    /// 1.3
    #[serde(rename = "1.3")]
    #[value(name = "1.3")]
    V13,
}

/// What all browsers share.
#[derive(Clone)]
pub struct Identity {
    config: Arc<Config>,
    certificate: DtlsCertificate,
    version: Version,
    profile: Profile,
}

/// What became of a turn.
#[derive(Default)]
pub struct Turn {
    /// Datagrams to send.
    pub packets: Vec<Vec<u8>>,
    /// The keys, once.
    pub keys: Option<Keys>,
    /// The far side's certificate, once.
    pub certificate: Option<Vec<u8>>,
    /// When it wants to be woken.
    pub timeout: Option<Instant>,
}

impl Identity {
    /// A new certificate, and browsers that offer this profile alone.
    pub fn create(version: Version, profile: Profile) -> Option<Identity> {
        let config = Config::builder()
            .with_crypto_provider(profile::provider(profile))
            .mtu(MTU)
            .flight_start_rto(Duration::from_millis(400))
            .build()
            .ok()?;
        let certificate = dimpl::certificate::generate_self_signed_certificate().ok()?;
        Some(Identity { config: Arc::new(config), certificate, version, profile })
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> Vec<u8> {
        digest(&self.certificate.certificate)
    }
}

/// SHA-256.
pub fn digest(certificate: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate).as_ref().to_vec()
}

/// One association.
pub struct Association {
    dtls: Box<Dtls>,
    profile: Profile,
}

impl Association {
    /// Begins: the first turn holds the ClientHello.
    pub fn new(identity: &Identity, now: Instant) -> Association {
        let (config, certificate) = (Arc::clone(&identity.config), identity.certificate.clone());
        let mut dtls = match identity.version {
            Version::V12 => Dtls::new_12(config, certificate, now),
            Version::V13 => Dtls::new_13(config, certificate, now),
        };
        dtls.set_active(true);
        Association { dtls: Box::new(dtls), profile: identity.profile }
    }

    /// A datagram, or the time alone. An error ends the association.
    pub fn turn(&mut self, now: Instant, packet: Option<&[u8]>, buffer: &mut [u8]) -> Result<Turn, String> {
        self.dtls.handle_timeout(now).map_err(|error| error.to_string())?;
        if let Some(packet) = packet {
            self.dtls.handle_packet(packet).map_err(|error| error.to_string())?;
        }
        let mut turn = Turn::default();
        loop {
            match self.dtls.poll_output(buffer) {
                Output::Packet(packet) => {
                    turn.packets.push(profile::prefer(self.profile, packet).into_owned());
                }
                Output::PeerCert(certificate) => turn.certificate = Some(certificate.to_vec()),
                Output::KeyingMaterial(material, _) => {
                    turn.keys = Keys::from_exporter(self.profile, &material, true);
                }
                Output::BufferTooSmall { needed } => return Err(format!("a datagram of {needed} bytes")),
                Output::Timeout(at) => {
                    turn.timeout = Some(at);
                    return Ok(turn);
                }
                _ => {}
            }
        }
    }
}
