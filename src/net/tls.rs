//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) under a stream, by rustls: certificates, tickets, and one connection's machine.

use super::trust::read_roots;
use crate::base::Now;
use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, mem};

/// The most that one connection keeps of what it has still to send, and of what it has taken but not yet encrypted.
const BUFFER: usize = 64 * 1024;
/// The most plaintext taken at once: the longest record (RFC 8446 section 5.1).
const RECORD: usize = 16 * 1024;
/// Reads of the socket in one turn, so that records without content keep nobody busy.
const TURN: usize = 8;
/// The content type with which every TLS connection begins (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
/// What a browser hears that speaks plain HTTP to a listener that does not.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\
    Content-Length: 45\r\n\r\nThis address speaks HTTPS: write https:// now";

/// Why a certificate can't be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadCertificate {
    /// The file holds no certificate in PEM.
    NoCertificate,
    /// The file holds no private key in PEM (PKCS #8, PKCS #1 or SEC 1).
    NoKey,
    /// The key is of a kind that is not supported, or not the certificate's.
    NoPair,
    /// The system gives no randomness.
    NoTickets,
}

impl fmt::Display for BadCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadCertificate::NoCertificate => "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)",
            BadCertificate::NoKey => "holds no private key in PEM (-----BEGIN PRIVATE KEY-----)",
            BadCertificate::NoPair => "the key is not the certificate's, or not ECDSA, RSA or Ed25519",
            BadCertificate::NoTickets => "the system gives no randomness",
        })
    }
}

impl std::error::Error for BadCertificate {}

/// The keys with which session tickets are sealed (RFC 8446 section 4.6.1): one for the whole process, so that a
/// browser resumes on whatever shard it lands, and after a change of the certificate. They change every six hours.
#[derive(Clone)]
pub struct Tickets(Arc<dyn ProducesTickets>);

impl fmt::Debug for Tickets {
    // They hold keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(…)")
    }
}

impl Tickets {
    /// New keys.
    pub fn new() -> Result<Tickets, BadCertificate> {
        let tickets = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|_| BadCertificate::NoTickets)?;
        Ok(Tickets(tickets))
    }
}

/// A certificate with its key, and all else that connections are accepted with. Cheap to copy.
#[derive(Clone)]
pub struct Certificate {
    config: Arc<ServerConfig>,
    /// Who speaks HTTP without TLS is told so.
    web: bool,
}

impl fmt::Debug for Certificate {
    // It holds a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate(…)")
    }
}

impl Certificate {
    /// Reads a chain, leaf first, and its key from PEM. ALPN offers `http/1.1` (RFC 7301).
    pub fn from_pem(chain: &[u8], key: &[u8], tickets: &Tickets) -> Result<Certificate, BadCertificate> {
        Certificate::new(read_chain(chain)?, read_key(key)?, None, tickets)
    }

    /// The same for SIP, without ALPN. Where authorities are given, every client must show a certificate that one of
    /// them signed.
    pub fn for_sip(
        chain: &[u8],
        key: &[u8],
        clients: Option<&[u8]>,
        tickets: &Tickets,
    ) -> Result<Certificate, BadCertificate> {
        let clients = clients.map(read_roots).transpose()?.map(|(roots, _)| roots);
        let mut certificate = Certificate::new(read_chain(chain)?, read_key(key)?, clients, tickets)?;
        let mut config = ServerConfig::clone(&certificate.config);
        config.alpn_protocols = Vec::new();
        certificate.config = Arc::new(config);
        certificate.web = false;
        Ok(certificate)
    }

    /// A new self-signed one, of ECDSA P-256, for these addresses and `localhost`, from yesterday for 90 days. With the
    /// SHA-256 of its DER, by which a person can recognise it.
    pub fn self_signed(
        now: Now,
        addresses: &[IpAddr],
        tickets: &Tickets,
    ) -> Result<(Certificate, [u8; 32]), BadCertificate> {
        const DAY: Duration = Duration::from_hours(24);
        let key = rcgen::KeyPair::generate().map_err(|_| BadCertificate::NoTickets)?;
        let names: Vec<String> =
            std::iter::once("localhost".to_owned()).chain(addresses.iter().map(IpAddr::to_string)).collect();
        let mut params = rcgen::CertificateParams::new(names).map_err(|_| BadCertificate::NoPair)?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "Bridgehead demo");
        let today = rcgen::date_time_ymd(1970, 1, 1) + now.unix;
        // Apple's browsers refuse what is valid for long.
        (params.not_before, params.not_after) = (today - DAY, today + 90 * DAY);
        let certificate = params.self_signed(&key).map_err(|_| BadCertificate::NoPair)?;
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, certificate.der()).as_ref());
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let certificate = Certificate::new(vec![certificate.der().clone()], key, None, tickets)?;
        Ok((certificate, fingerprint))
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        clients: Option<RootCertStore>,
        tickets: &Tickets,
    ) -> Result<Certificate, BadCertificate> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = match clients {
            Some(roots) => {
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()
                    .map_err(|_| BadCertificate::NoCertificate)?
            }
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| BadCertificate::NoPair)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|_| BadCertificate::NoPair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Tickets alone: nothing is kept for clients that may never come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(&tickets.0);
        config.send_tls13_tickets = 1;
        Ok(Certificate { config: Arc::new(config), web: true })
    }
}

/// Reads certificates from PEM: one at least.
pub(super) fn read_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadCertificate> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| BadCertificate::NoCertificate)?;
    if chain.is_empty() { Err(BadCertificate::NoCertificate) } else { Ok(chain) }
}

/// Reads a private key from PEM.
pub(super) fn read_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, BadCertificate> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| BadCertificate::NoKey)
}

/// One connection's TLS.
#[derive(Debug)]
pub(super) struct Tls {
    connection: Box<Connection>,
    /// The first byte was looked at.
    greeted: bool,
    /// Who speaks HTTP without TLS is told so.
    web: bool,
    /// Plaintext that was taken, and whose ciphertext is not with the kernel yet: not reported as written.
    owed: usize,
    /// The last turn ended before the socket was empty.
    unread: bool,
}

impl Tls {
    /// `None` where the certificate can't serve.
    pub(super) fn new(certificate: &Certificate) -> Option<Tls> {
        let connection = ServerConnection::new(Arc::clone(&certificate.config)).ok()?;
        Some(Tls { greeted: false, web: certificate.web, ..Tls::of(connection.into()) })
    }

    /// The client's side.
    pub(super) fn client(connection: ClientConnection) -> Tls {
        Tls::of(connection.into())
    }

    fn of(mut connection: Connection) -> Tls {
        connection.set_buffer_limit(Some(BUFFER));
        Tls { connection: Box::new(connection), greeted: true, web: false, owed: 0, unread: false }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    pub(super) fn is_unread(&self) -> bool {
        self.unread
    }

    /// Reads plaintext once. `Ok(None)`: there is none yet; see [`Tls::is_unread`].
    pub(super) fn read(&mut self, socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.unread = false;
        if !self.greeted {
            let mut first = [0];
            match socket.peek(&mut first) {
                Ok(0) => return Ok(Some(0)),
                Ok(_) if first[0] != HANDSHAKE => return Err(refuse(socket, first[0], self.web)),
                Ok(_) => self.greeted = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        for _ in 0..TURN {
            match self.connection.reader().read(buffer) {
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An end without close_notify. HTTP and WebSocket have framing of their own, so nothing is cut short.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(0)),
                Err(error) => return Err(error),
            }
            match self.connection.read_tls(socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let result = self.connection.process_new_packets();
            // The handshake's next flight, or the alert that tells of the error.
            self.flush(socket)?;
            result.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        self.unread = true;
        Ok(None)
    }

    /// Takes plaintext, and says so only once all of it is with the kernel: until then the same bytes must be offered
    /// again. So a stream that is closed when its caller has nothing left to write has lost nothing.
    pub(super) fn write(&mut self, socket: &mut TcpStream, bytes: &[u8]) -> io::Result<Option<usize>> {
        if self.owed == 0 {
            let record = bytes.get(..bytes.len().min(RECORD)).unwrap_or(bytes);
            self.owed = self.connection.writer().write(record)?;
        }
        if !self.flush(socket)? || self.connection.is_handshaking() {
            return Ok(None);
        }
        let taken = mem::take(&mut self.owed);
        Ok((taken > 0).then_some(taken.min(bytes.len())))
    }

    /// Sends what waits; true where nothing is left.
    pub(super) fn flush(&mut self, socket: &mut TcpStream) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Says goodbye (close_notify, RFC 8446 section 6.1), as far as the kernel takes it.
    pub(super) fn close(&mut self, socket: &mut TcpStream) {
        self.connection.send_close_notify();
        let _ = self.flush(socket);
    }
}

/// What is no TLS. Plain HTTP, whose requests begin with a letter, is told what to do.
fn refuse(socket: &mut TcpStream, first: u8, web: bool) -> io::Error {
    if web && first.is_ascii_uppercase() {
        // Read, so that closing does not reset the connection before the answer is read.
        let _ = socket.read(&mut [0; 4096]);
        let _ = socket.write(PLAIN);
    }
    io::ErrorKind::InvalidData.into()
}
