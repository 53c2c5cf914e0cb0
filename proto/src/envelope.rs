//! The envelope around every encoded message: version, flags, postcard bytes, compressed when that pays.
//!
//! Format: `docs/formats/envelope.md`. Fields are only ever added at the end of a struct together with a new version;
//! enum variants are only ever appended.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::limits::FRAME_HEADER_SIZE_MAX;
use types::{Error, Result};

/// The version written, and the only one there has been.
const VERSION: u8 = 1;
/// Payload as it is.
const PLAIN: u8 = 0;
/// Payload is a zstd frame, preceded by its plain size (u32, little-endian).
const ZSTD: u8 = 1;
/// Smaller messages are not worth a call to the compressor.
const COMPRESS_SIZE_MIN: usize = 512;

/// Encodes a message.
pub fn encode<T: Serialize>(message: &T) -> Bytes {
    wrap(extend(message, vec![VERSION, PLAIN]))
}

/// The payload alone, not compressed: the same message gives the same bytes, whatever wrote it.
pub fn encode_plain<T: Serialize>(message: &T) -> Vec<u8> {
    extend(message, Vec::new())
}

/// Puts a payload into an envelope.
pub fn seal_plain(plain: &[u8]) -> Bytes {
    wrap([&[VERSION, PLAIN], plain].concat())
}

fn extend<T: Serialize>(message: &T, start: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(message, start).expect("our messages have no unserializable parts")
}

/// Compresses what stands in an envelope when that pays.
fn wrap(bytes: Vec<u8>) -> Bytes {
    let plain = &bytes[2..];
    // What a reader refuses to decompress is written as it is; whether it may travel is the carrier's business.
    if bytes.len() < COMPRESS_SIZE_MIN || plain.len() > FRAME_HEADER_SIZE_MAX {
        return bytes.into();
    }
    match compress(plain) {
        Some(compressed) => {
            assert!(compressed.len() < bytes.len(), "compression that does not pay is thrown away");
            compressed.into()
        }
        None => bytes.into(),
    }
}

/// Reads a message. Anything but exactly one whole message of a known version is `Invalid`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    decode_plain(&open(bytes)?)
}

/// Takes the payload out of an envelope; `Invalid` when it is none.
pub fn open(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    let bad = |what: &str| Error::invalid(format!("message cannot be read: {what}"));
    let (&[version, flags], payload) = bytes.split_first_chunk().ok_or_else(|| bad("it is empty"))?;
    if version != VERSION {
        return Err(bad(&format!(
            "its version is {version}, this program knows {VERSION}; update the older side"
        )));
    }
    match flags {
        PLAIN => Ok(payload.into()),
        ZSTD => Ok(decompress(payload).ok_or_else(|| bad("its compression is damaged"))?.into()),
        _ => Err(bad(&format!("unknown flags {flags}"))),
    }
}

/// Reads a payload; `Invalid` unless it is exactly one whole message.
pub fn decode_plain<T: DeserializeOwned>(payload: &[u8]) -> Result<T> {
    match postcard::take_from_bytes(payload) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => {
            Err(Error::invalid(format!("message cannot be read: {} bytes too many", rest.len())))
        }
        Err(e) => Err(Error::invalid(format!("message cannot be read: {e}"))),
    }
}

/// `None` when it does not pay.
fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    assert!(
        plain.len() <= FRAME_HEADER_SIZE_MAX,
        "decompress() would refuse what encode() lets through here"
    );
    let size = u32::try_from(plain.len()).ok()?;
    let frame = zstd::bulk::compress(plain, 1).ok()?;
    if frame.len() + plain.len() / 8 > plain.len() {
        return None;
    }
    let mut bytes = Vec::with_capacity(6 + frame.len());
    bytes.extend([VERSION, ZSTD]);
    bytes.extend(size.to_le_bytes());
    bytes.extend(frame);
    Some(bytes)
}

fn decompress(payload: &[u8]) -> Option<Vec<u8>> {
    let (size, frame) = payload.split_first_chunk()?;
    let size = u32::from_le_bytes(*size) as usize;
    // Before a byte is allocated for it.
    if size > FRAME_HEADER_SIZE_MAX {
        return None;
    }
    zstd::bulk::decompress(frame, size).ok().filter(|plain| plain.len() == size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        assert_eq!(encode(&(7u64, "a")), Bytes::from_static(&[1, 0, 7, 1, b'a']));
        let long = vec![7u8; 2000];
        let compressed = encode(&long);
        assert_eq!(compressed[..6], [1, 1, 0xd2, 0x07, 0, 0]);
        assert_eq!(decode::<Vec<u8>>(&compressed).unwrap(), long);
    }

    /// More than `decompress` takes is written as it is: a row that grew too large must stay readable.
    #[test]
    fn what_is_written_can_be_read_whatever_its_size() {
        for size in [COMPRESS_SIZE_MIN, FRAME_HEADER_SIZE_MAX - 4, FRAME_HEADER_SIZE_MAX - 3, 9 << 20] {
            let text = "a".repeat(size);
            assert!(decode::<String>(&encode(&text)) == Ok(text), "{size} bytes");
        }
    }

    #[test]
    #[should_panic(expected = "decompress() would refuse")]
    fn what_cannot_be_read_again_is_not_compressed() {
        compress(&vec![0; FRAME_HEADER_SIZE_MAX + 1]);
    }

    #[test]
    fn bad_bytes_are_told_apart() {
        let check = |bytes: &[u8], want: &str| {
            let error = decode::<(u64, String)>(bytes).unwrap_err();
            assert!(error.message().contains(want), "{error}");
        };
        check(&[], "empty");
        check(&[2, 0, 7, 1, b'a'], "version is 2");
        check(&[1, 9, 7, 1, b'a'], "flags 9");
        check(&[1, 0, 7, 1, b'a', b'b'], "1 bytes too many");
        check(&[1, 0, 7, 2, b'a'], "cannot be read");
        check(&[1, 1, 0xff, 0xff, 0xff, 0xff, 0], "damaged");
        check(&[1, 1, 4, 0, 0, 0, 1, 2, 3], "damaged");
    }
}
