//! The last good config, kept on the pod's memory volume: a sidecar that
//! restarts while the operator is away serves everything that it served before.
//!
//! Two files, so that the one with secrets can be turned off and has no reader
//! but us: `config.bin` and `credentials.bin`, each a `Snapshot` behind a
//! header with a format version and a checksum. A file that doesn't check is as
//! good as none: nothing is repaired or guessed. Nothing here decides what a
//! resource means, and a volume that is full or missing fails no call.

mod file;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use llmroute_protocol::{Kind, Resource, Snapshot};
use prost::Message;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use file::CacheError;

const CONFIG: &str = "config.bin";
const CREDENTIALS: &str = "credentials.bin";

/// The cache of one sidecar.
pub struct Cache {
    dir: Option<PathBuf>,
    with_credentials: bool,
    /// Of what was written last: a credential that rotates doesn't rewrite the
    /// config, and a ping writes nothing.
    written: Mutex<[Option<Checksum>; 2]>,
}

type Checksum = [u8; 32];

/// What an earlier life of this sidecar left.
#[derive(Debug, Default)]
pub struct Remembered {
    /// The highest epoch that it followed.
    pub epoch: u64,
    /// Every resource at its last good version.
    pub resources: Vec<Resource>,
}

// ---------------------------------------------------------------- impl Cache

impl Cache {
    /// In `dir`, or nowhere. `with_credentials: false` keeps secrets in this
    /// process alone, at the price that targets with a key wait for the
    /// operator after a restart.
    pub fn new(dir: Option<PathBuf>, with_credentials: bool) -> Self {
        Self {
            dir,
            with_credentials,
            written: Mutex::default(),
        }
    }

    /// What is there. A file that can't be used is told and passed over.
    pub fn load(&self) -> Remembered {
        let mut remembered = Remembered::default();
        let Some(dir) = &self.dir else {
            return remembered;
        };
        for name in [CONFIG, CREDENTIALS] {
            if name == CREDENTIALS && !self.with_credentials {
                continue;
            }
            match file::read(&dir.join(name)) {
                Ok(Some(Snapshot {
                    epoch, resources, ..
                })) => {
                    remembered.epoch = remembered.epoch.max(epoch);
                    remembered.resources.extend(resources);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(file = name, %error, "cache not usable"),
            }
        }
        remembered
    }

    /// Writes what changed since the last call: atomically, each file by itself.
    pub fn store(&self, epoch: u64, resources: Vec<Resource>) -> Result<(), CacheError> {
        let Some(dir) = &self.dir else {
            return Ok(());
        };
        let secret = |r: &Resource| r.kind == i32::from(Kind::Credential);
        let (credentials, config) = resources.into_iter().partition::<Vec<_>, _>(secret);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let [config_sum, credentials_sum] = &mut *written;
        write_if_new(&dir.join(CONFIG), epoch, config, config_sum)?;
        if self.with_credentials {
            write_if_new(&dir.join(CREDENTIALS), epoch, credentials, credentials_sum)?;
        }
        Ok(())
    }
}

fn write_if_new(
    path: &std::path::Path,
    epoch: u64,
    mut resources: Vec<Resource>,
    last: &mut Option<Checksum>,
) -> Result<(), CacheError> {
    resources.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let snapshot = Snapshot {
        epoch,
        seq: 0,
        resources,
        unchanged: Vec::new(),
        hash: Bytes::new(),
        last: true,
    };
    let body = Zeroizing::new(snapshot.encode_to_vec());
    let checksum: Checksum = Sha256::digest(&*body).into();
    if *last == Some(checksum) {
        return Ok(());
    }
    // Unknown until the write is known to be whole.
    *last = None;
    file::write(path, &body, checksum)?;
    *last = Some(checksum);
    Ok(())
}

#[cfg(test)]
mod tests;
