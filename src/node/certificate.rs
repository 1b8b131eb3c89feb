//! Certificates, of HTTPS and of SIP over TLS: read from their files, and read again when they change.

use super::log::{note, warn};
use super::run::Failure;
use crate::config::{File, Transport, Trunk};
use crate::net::{BadCertificate, Certificate, Tickets, Trust};
use crate::shard::{Control, Order, SipTls};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// How often the files are looked at. New ones are read once they have stood still for so long.
const PERIOD: Duration = Duration::from_secs(1);

/// Where a certificate and its key come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The chain, leaf first, in PEM.
    pub certificate: PathBuf,
    /// The key, in PEM.
    pub key: PathBuf,
}

/// How a file looked: its inode, its size, and when it was written.
type Look = Option<(u64, u64, i64, i64)>;

impl Source {
    /// What the configuration names, where it does.
    pub fn of(file: &File) -> Option<Source> {
        let (certificate, key) = (file.http.certificate.as_ref()?, file.http.key.as_ref()?);
        Some(Source { certificate: certificate.get_ref().clone(), key: key.clone() })
    }

    /// Reads both. The error is one line that names the file.
    pub fn load(&self, tickets: &Tickets) -> Result<Certificate, String> {
        let (chain, key) = self.read()?;
        Certificate::from_pem(&chain, &key, tickets).map_err(|bad| self.blame(bad))
    }

    fn read(&self) -> Result<(Vec<u8>, Vec<u8>), String> {
        Ok((read(&self.certificate)?, read(&self.key)?))
    }

    fn blame(&self, bad: BadCertificate) -> String {
        let path = if bad == BadCertificate::NoCertificate { &self.certificate } else { &self.key };
        format!("{}: {bad}", path.display())
    }

    /// The files.
    pub fn paths(&self) -> Vec<PathBuf> {
        vec![self.certificate.clone(), self.key.clone()]
    }
}

/// What TLS under SIP is made of.
#[derive(Clone, Debug)]
pub struct Tls {
    own: Option<Source>,
    listens: bool,
    clients: Option<PathBuf>,
    authorities: PathBuf,
    /// Somebody is to be believed who has no authorities of his own.
    needed: bool,
    trunks: Vec<Option<PathBuf>>,
}

impl Tls {
    /// What the configuration names; `None` where nothing of it speaks TLS.
    pub fn of(file: &File) -> Option<Tls> {
        let sip = &file.sip;
        let own = sip.tls_certificate.as_ref().zip(sip.tls_key.as_ref());
        let own = own.map(|(certificate, key)| Source {
            certificate: certificate.get_ref().clone(),
            key: key.clone(),
        });
        let secure = |trunk: &&Trunk| trunk.transport == Some(Transport::Tls);
        let listens = sip.tls_listen.is_some();
        (listens || file.trunk.iter().any(Trunk::may_be_tls)).then(|| Tls {
            own,
            listens,
            clients: sip.tls_client_ca.as_ref().map(|path| path.get_ref().clone()),
            authorities: sip.tls_ca.clone(),
            needed: file.trunk.iter().filter(secure).any(|trunk| trunk.ca.is_none()),
            trunks: file
                .trunk
                .iter()
                .map(|trunk| trunk.ca.as_ref().map(|path| path.get_ref().clone()))
                .collect(),
        })
    }

    /// Reads all of it. The error is one line that names the file.
    pub fn load(&self, tickets: &Tickets) -> Result<SipTls, String> {
        let own = self.own.as_ref().map(Source::read).transpose()?;
        let clients = self.clients.as_ref().map(read).transpose()?;
        let certificate = match (&self.own, &own) {
            (Some(source), Some((chain, key))) if self.listens => {
                let made = Certificate::for_sip(chain, key, clients.as_deref(), tickets);
                Some(made.map_err(|bad| source.blame(bad))?)
            }
            _ => None,
        };
        let trust = |path: &PathBuf| {
            let own = own.as_ref().map(|(chain, key)| (chain.as_slice(), key.as_slice()));
            let trust = Trust::from_pem(&read(path)?, own);
            trust.map_err(|bad| format!("{}: {bad}", path.display()))
        };
        let trunks = self.trunks.iter().map(|path| path.as_ref().map(&trust).transpose());
        let trunks = trunks.collect::<Result<Vec<_>, String>>()?;
        let others = match trust(&self.authorities) {
            Ok(trust) => Some(trust),
            Err(what) if self.needed => {
                return Err(format!("{what}; a trunk over TLS needs ca = \"FILE\", or sip.tls_ca"));
            }
            Err(_) => None,
        };
        Ok(SipTls { certificate, trunks, others })
    }

    /// The files.
    pub fn paths(&self) -> Vec<PathBuf> {
        let own = self.own.iter().flat_map(Source::paths);
        let trunks = self.trunks.iter().flatten().cloned();
        own.chain(self.clients.clone()).chain([self.authorities.clone()]).chain(trunks).collect()
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: can't be read: {error}", path.display()))
}

fn look(paths: &[PathBuf]) -> Vec<Look> {
    let one = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
    };
    paths.iter().map(one).collect()
}

/// Watches files on a thread of its own and tells the shards of what is new. What can't be used is logged, and the old
/// one stays. Connections that stand keep theirs.
pub fn watch<T: Clone + 'static>(
    what: &'static str,
    paths: Vec<PathBuf>,
    read: impl Fn() -> Result<T, String> + Send + 'static,
    order: fn(T) -> Order,
    controls: Vec<Control>,
) -> Result<(), Failure> {
    let watch = move || {
        let mut used = look(&paths);
        let mut last = used.clone();
        loop {
            thread::sleep(PERIOD);
            let now = look(&paths);
            let still = now == std::mem::replace(&mut last, now.clone());
            if now == used || !still {
                continue;
            }
            used = now;
            match read() {
                Ok(new) => {
                    let first = paths.first().map(|path| path.display().to_string()).unwrap_or_default();
                    note(format_args!("{what}: read anew from {first}"));
                    for control in &controls {
                        control.send(order(new.clone()));
                    }
                }
                Err(error) => warn(format_args!("{what}: the old one stays: {error}")),
            }
        }
    };
    thread::Builder::new().name("certificate".into()).spawn(watch).map(drop).map_err(Failure::new)
}
