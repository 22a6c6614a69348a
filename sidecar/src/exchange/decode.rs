//! A side copy of a compressed answer, for reading its usage.
//!
//! We ask for no compression; an upstream that compresses all the same has its
//! bytes relayed as they are. Output is bounded, so that a few bytes can't
//! become gigabytes: beyond it the usage is estimated.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::{GzDecoder, ZlibDecoder};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// Text compresses to a tenth; a hundredth is an attack or not text.
const MAX_RATIO: u64 = 200;
/// So much is allowed whatever the ratio.
const FREE_BYTES: u64 = 256 * 1024;
/// Compressed bytes that are decoded at once: bounds what lies in memory.
const STEP: usize = 1024;

/// Decodes gzip and deflate.
pub(super) struct Decoder {
    /// `None`: given up.
    inflate: Option<Inflate>,
}

enum Inflate {
    Gzip(Box<GzDecoder<Output>>),
    Deflate(Box<ZlibDecoder<Output>>),
}

/// What has come out and was not read yet.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    /// How much more may come out.
    allowed: u64,
}

// ---------------------------------------------------------------- impl Decoder

impl Decoder {
    /// `None`: not compressed, or in a way that isn't read.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let encoding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes)?;
        let output = Output {
            bytes: Vec::new(),
            allowed: FREE_BYTES,
        };
        let inflate = match encoding.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Inflate::Gzip(Box::new(GzDecoder::new(output))),
            b"deflate" => Inflate::Deflate(Box::new(ZlibDecoder::new(output))),
            _ => return None,
        };
        Some(Self {
            inflate: Some(inflate),
        })
    }

    /// Decodes a chunk and gives `read` what comes out, piece by piece.
    pub(super) fn push(&mut self, chunk: &[u8], mut read: impl FnMut(Bytes)) {
        for step in chunk.chunks(STEP) {
            let Some(inflate) = &mut self.inflate else {
                return;
            };
            inflate.output().allowed += step.len() as u64 * MAX_RATIO;
            let decoded = inflate.write(step);
            let bytes = std::mem::take(&mut inflate.output().bytes);
            if decoded.is_err() {
                self.inflate = None;
            }
            if !bytes.is_empty() {
                read(bytes.into());
            }
        }
    }
}

impl Inflate {
    fn output(&mut self) -> &mut Output {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Deflate(decoder) => decoder.get_mut(),
        }
    }

    fn write(&mut self, step: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.write_all(step).and_then(|()| decoder.flush()),
            Self::Deflate(decoder) => decoder.write_all(step).and_then(|()| decoder.flush()),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len() as u64;
        self.allowed = self
            .allowed
            .checked_sub(length)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    fn decoder(encoding: &'static str) -> Option<Decoder> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        Decoder::of(&headers)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    #[test]
    fn chunks_split_anywhere_decode_to_the_same() {
        let text: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| n.to_string().into_bytes())
            .collect();
        let packed = gzip(&text);
        for size in [1, 7, 1000, packed.len()] {
            let mut side = decoder("gzip").expect("gzip is read");
            let mut decoded = Vec::new();
            for chunk in packed.chunks(size) {
                side.push(chunk, |bytes| decoded.extend_from_slice(&bytes));
            }
            assert_eq!(decoded.len(), text.len(), "chunks of {size}");
            assert!(decoded == text);
        }
    }

    #[test]
    fn deflate_is_read_and_others_are_not() {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"hello").expect("memory takes it");
        let packed = encoder.finish().expect("memory takes it");
        let mut decoded = Vec::new();
        let mut side = decoder("deflate").expect("deflate is read");
        side.push(&packed, |bytes| decoded.extend_from_slice(&bytes));
        assert_eq!(decoded, b"hello");
        assert!(decoder("br").is_none() && decoder("zstd").is_none());
    }

    #[test]
    fn a_bomb_is_given_up() {
        let packed = gzip(&vec![0; 64 << 20]);
        let mut side = decoder("gzip").expect("gzip is read");
        let mut decoded = 0;
        for chunk in packed.chunks(1000) {
            side.push(chunk, |bytes| decoded += bytes.len());
        }
        assert!(
            side.inflate.is_none() && decoded < 2 << 20,
            "{decoded} bytes came out"
        );
    }

    #[test]
    fn what_is_not_compressed_at_all_is_given_up() {
        let mut side = decoder("gzip").expect("gzip is read");
        side.push(b"{\"usage\": {}}", |bytes| panic!("{bytes:?} came out"));
        assert!(side.inflate.is_none());
    }
}
