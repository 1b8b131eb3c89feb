//! TLS towards a SIP server: whom to believe, by which names (RFC 5922), and what to say who we are.

use super::tls::{BadCertificate, read_chain, read_key};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use std::fmt;
use std::sync::Arc;
use webpki::EndEntityCert;

/// Certificate authorities, and the certificate that we offer. Cheap to copy.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl fmt::Debug for Trust {
    // It may hold a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust(…)")
    }
}

/// Reads authorities. Some that a system's bundle holds are not understood; those are passed over.
pub(super) fn read_roots(
    authorities: &[u8],
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), BadCertificate> {
    let all = read_chain(authorities)?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(all.iter().cloned());
    if added == 0 { Err(BadCertificate::NoCertificate) } else { Ok((roots, all)) }
}

impl Trust {
    /// Reads authorities from PEM, and a chain with its key, which a server that asks for one is given.
    pub fn from_pem(authorities: &[u8], own: Option<(&[u8], &[u8])>) -> Result<Trust, BadCertificate> {
        let (roots, named) = read_roots(authorities)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Arc::new(Domain { roots, named, provider: Arc::clone(&provider) });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| BadCertificate::NoPair)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match own {
            Some((chain, key)) => builder
                .with_client_auth_cert(read_chain(chain)?, read_key(key)?)
                .map_err(|_| BadCertificate::NoPair)?,
            None => builder.with_no_client_auth(),
        };
        Ok(Trust(Arc::new(config)))
    }

    /// A connection to whom `name` names: a domain, which is told by SNI, or an address. `None` for what is neither.
    pub(super) fn connect(&self, name: &str) -> Option<ClientConnection> {
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let name = ServerName::try_from(name.to_owned()).ok()?;
        ClientConnection::new(Arc::clone(&self.0), name).ok()
    }
}

/// Judges a server's certificate.
#[derive(Debug)]
struct Domain {
    roots: RootCertStore,
    /// The authorities as they were given: a server's own certificate among them is believed, too.
    named: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

/// Whether a certificate is a SIP domain's (RFC 5922 sections 7.1 and 7.2): by a URI of scheme `sip` without user part,
/// or a DNS name. Never by a wildcard.
fn is_for(certificate: &EndEntityCert<'_>, domain: &str) -> bool {
    let of_uri = |uri: &str| {
        let (scheme, rest) = uri.split_once(':')?;
        let host = rest.split([';', '?']).next().filter(|host| !host.contains('@'))?;
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        scheme.eq_ignore_ascii_case("sip").then(|| host.eq_ignore_ascii_case(domain))
    };
    certificate.valid_uri_names().any(|uri| of_uri(uri) == Some(true))
        || certificate.valid_dns_names().any(|name| name.eq_ignore_ascii_case(domain))
}

impl ServerCertVerifier for Domain {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        if !self.named.iter().any(|named| named == end_entity) {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        }
        let wrong = Error::InvalidCertificate(CertificateError::NotValidForName);
        match server_name {
            ServerName::DnsName(name) => {
                let certificate = EndEntityCert::try_from(end_entity)
                    .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
                if !is_for(&certificate, name.as_ref()) {
                    return Err(wrong);
                }
            }
            name => verify_server_name(&parsed, name)?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn certificate(names: &[&str], uris: &[&str]) -> CertificateDer<'static> {
        let mut params =
            CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn is_named(names: &[&str], uris: &[&str], domain: &str) -> bool {
        let der = certificate(names, uris);
        is_for(&EndEntityCert::try_from(&der).unwrap(), domain)
    }

    #[test]
    fn a_domain_is_named_by_a_sip_uri_or_a_dns_name_and_never_by_a_wildcard() {
        assert!(is_named(&["pbx.example"], &[], "PBX.example"));
        assert!(is_named(&[], &["sip:pbx.example"], "pbx.example"));
        assert!(is_named(&["other.example"], &["sip:Pbx.Example"], "pbx.example"));
        for (names, uris) in [
            (&["*.example"][..], &[][..]),
            (&["other.example"], &["sip:other.example"]),
            (&[], &["sips:pbx.example"]),
            (&[], &["https://pbx.example"]),
            (&[], &["sip:alice@pbx.example"]),
            (&["example"], &[]),
        ] {
            assert!(!is_named(names, uris, "pbx.example"), "{names:?} {uris:?}");
        }
    }

    fn judge(authorities: Vec<CertificateDer<'static>>, shown: &CertificateDer<'_>, name: &str) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let domain = Domain { roots, named: authorities, provider };
        let now = UnixTime::now();
        domain.verify_server_cert(shown, &[], &name.try_into().unwrap(), &[], now).is_ok()
    }

    #[test]
    fn a_server_s_own_certificate_is_believed_where_it_is_named_and_no_other_of_that_name() {
        let (own, other) = (certificate(&["pbx.example"], &[]), certificate(&["pbx.example"], &[]));
        assert!(judge(vec![own.clone()], &own, "pbx.example"));
        assert!(!judge(vec![own.clone()], &own, "pbx2.example"));
        assert!(!judge(vec![own], &other, "pbx.example"));
        let at = certificate(&["192.0.2.1"], &[]);
        assert!(judge(vec![at.clone()], &at, "192.0.2.1"));
        assert!(!judge(vec![at.clone()], &at, "192.0.2.2"));
    }
}
