//! One file of the cache: header, checksum, body.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use llmroute_protocol::Snapshot;
use prost::Message;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Names the format; a file of another one is left alone and rewritten later.
const HEADER: &[u8; 16] = b"llmroute cache 1";
const CHECKSUM: usize = 32;
/// Far above what a pod is sent (the design target is 256 KiB), below what
/// would hurt a pod with a memory limit of 96 MiB.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Why a file of the cache can't be read or written. No variant holds a byte of it.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The volume refused.
    #[error("the state folder can't be used")]
    Io(#[from] io::Error),
    /// Larger than anything that is ever written.
    #[error("the file is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not written by this version.
    #[error("the file has another format")]
    Format,
    /// Torn or edited.
    #[error("the checksum doesn't match")]
    Checksum,
    /// The checksum matches and the body isn't one of ours.
    #[error("the body is malformed")]
    Body,
}

/// The snapshot in `path`; `None` where there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Snapshot>, CacheError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(CacheError::TooLarge);
    }
    parse(&bytes).map(Some)
}

pub(super) fn parse(bytes: &[u8]) -> Result<Snapshot, CacheError> {
    let rest = bytes.strip_prefix(HEADER).ok_or(CacheError::Format)?;
    let (checksum, body) = rest.split_at_checked(CHECKSUM).ok_or(CacheError::Format)?;
    if Sha256::digest(body)[..] != *checksum {
        return Err(CacheError::Checksum);
    }
    Snapshot::decode(body).map_err(|_| CacheError::Body)
}

/// Writes beside and renames over, readable by nobody else.
pub(super) fn write(path: &Path, body: &[u8], checksum: [u8; 32]) -> Result<(), CacheError> {
    let beside = path.with_extension("tmp");
    let written = write_whole(&beside, body, checksum).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // A full volume must not stay full of half a file.
        let _ = fs::remove_file(&beside);
    }
    Ok(written?)
}

fn write_whole(path: &Path, body: &[u8], checksum: [u8; 32]) -> io::Result<()> {
    // A leftover may belong to another mode: never written through.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(HEADER)?;
    file.write_all(&checksum)?;
    // No sync: the volume is memory, and a node that dies takes it along.
    file.write_all(body)
}
