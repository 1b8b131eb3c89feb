//! The certificate of HTTPS: read from its files, and read again when they change.

use super::log::{note, warn};
use super::run::Failure;
use crate::config::File;
use crate::net::{BadCertificate, Certificate, Tickets};
use crate::shard::{Control, Order};
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
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| format!("{}: can't be read: {error}", path.display()))
        };
        let (chain, key) = (read(&self.certificate)?, read(&self.key)?);
        Certificate::from_pem(&chain, &key, tickets).map_err(|bad| {
            let path = if bad == BadCertificate::NoCertificate { &self.certificate } else { &self.key };
            format!("{}: {bad}", path.display())
        })
    }

    fn look(&self) -> [Look; 2] {
        [&self.certificate, &self.key].map(|path| {
            let data = std::fs::metadata(path).ok()?;
            Some((data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
        })
    }

    /// Watches the files on a thread of its own and tells the shards of what is new. What can't be used is logged, and
    /// the old one stays. Connections that stand keep theirs.
    pub fn watch(self, tickets: Tickets, controls: Vec<Control>) -> Result<(), Failure> {
        let watch = move || {
            let mut used = self.look();
            let mut last = used;
            loop {
                thread::sleep(PERIOD);
                let look = self.look();
                let still = look == std::mem::replace(&mut last, look);
                if look == used || !still {
                    continue;
                }
                used = look;
                match self.load(&tickets) {
                    Ok(certificate) => {
                        note(format_args!("certificate: read anew from {}", self.certificate.display()));
                        for control in &controls {
                            control.send(Order::Certificate(certificate.clone()));
                        }
                    }
                    Err(error) => warn(format_args!("certificate: the old one stays: {error}")),
                }
            }
        };
        thread::Builder::new().name("certificate".into()).spawn(watch).map(drop).map_err(Failure::new)
    }
}
