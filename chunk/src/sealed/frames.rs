//! The frames of one payload: hot, so each byte is copied once and sealed or opened where it lies.

use std::ops::Range;

use bytes::Bytes;
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use types::limits::{SEALED_FRAME_SIZE, SEALED_HEADER_SIZE, SEALED_TAG_SIZE};
use types::{ChunkId, Error, Result};

use super::header::Header;
use super::key::SealKey;

/// A frame as it is kept: the last one of a payload may be shorter, and has its tag at least.
const FRAME_SIZE: usize = SEALED_FRAME_SIZE + SEALED_TAG_SIZE;

/// Seals and opens the frames of a payload.
pub(super) struct Frames<'a> {
    cipher: LessSafeKey,
    header: [u8; SEALED_HEADER_SIZE],
    key: &'a SealKey,
    id: &'a ChunkId,
}

impl<'a> Frames<'a> {
    pub(super) fn new(key: &'a SealKey, id: &'a ChunkId, header: Header) -> Self {
        Self { cipher: key.payload_key(id, &header), header: header.to_bytes(), key, id }
    }

    /// What opens a sealed payload, and its frames.
    pub(super) fn of<'b>(key: &'a SealKey, id: &'a ChunkId, sealed: &'b [u8]) -> Result<(Self, &'b [u8])> {
        let (header, bytes) = Header::split(sealed)?;
        let frames = Self::new(key, id, header);
        if (header.tenant, header.key) == (key.tenant, key.id) {
            Ok((frames, bytes))
        } else {
            Err(frames.damaged(&format!("it is sealed with key {} of tenant {}", header.key, header.tenant)))
        }
    }

    /// The header and all frames of a payload.
    pub(super) fn seal(&self, payload: &[u8]) -> Bytes {
        let mut sealed = Vec::with_capacity(sealed_size(payload.len()));
        sealed.extend_from_slice(&self.header);
        let count = payload.len().div_ceil(SEALED_FRAME_SIZE).max(1);
        for index in 0..count {
            let end = payload.len().min((index + 1) * SEALED_FRAME_SIZE);
            let start = sealed.len();
            sealed.extend_from_slice(&payload[index * SEALED_FRAME_SIZE..end]);
            let (nonce, aad) = (nonce(index, count), Aad::from(&self.header));
            let tag = self.cipher.seal_in_place_separate_tag(nonce, aad, &mut sealed[start..]);
            sealed.extend_from_slice(tag.expect("a frame is far below what AES-GCM can seal").as_ref());
        }
        assert_eq!(sealed.len(), sealed_size(payload.len()), "readers find frames by their size");
        sealed.into()
    }

    /// Bytes of the payload, cut at its end; opens the frames that have some of them.
    pub(super) fn open(&self, frames: &[u8], range: Range<usize>) -> Result<Bytes> {
        let count = frames.len().div_ceil(FRAME_SIZE);
        if count == 0 || frames.len() - (count - 1) * FRAME_SIZE < SEALED_TAG_SIZE {
            return Err(self.damaged(&format!("{} bytes are no frames", frames.len())));
        }
        let span = Span::of(frames.len() - count * SEALED_TAG_SIZE, range);
        self.open_span(&frames[span.bytes()], &span)
    }

    /// The same, of a payload of which only these frames are here.
    pub(super) fn open_span(&self, frames: &[u8], span: &Span) -> Result<Bytes> {
        if frames.len() != span.bytes().len() {
            let (found, wanted) = (frames.len(), span.bytes().len());
            return Err(self.damaged(&format!("{found} bytes of frames instead of {wanted}")));
        }
        let count = span.count;
        let mut payload = Vec::with_capacity(frames.len());
        for (index, frame) in span.frames.clone().zip(frames.chunks(FRAME_SIZE)) {
            let at = payload.len();
            payload.extend_from_slice(frame);
            let (nonce, aad) = (nonce(index, count), Aad::from(&self.header));
            if self.cipher.open_in_place(nonce, aad, &mut payload[at..]).is_err() {
                return Err(self.damaged(&format!("frame {index} of {count} does not open")));
            }
            payload.truncate(payload.len() - SEALED_TAG_SIZE);
        }
        Ok(Bytes::from(payload).slice(span.wanted()))
    }

    /// The key is wrong, or the bytes are: nobody can tell which.
    fn damaged(&self, what: &str) -> Error {
        let SealKey { tenant, id, .. } = self.key;
        Error::corrupt(format!(
            "what is stored of chunk {} does not fit key {id} of tenant {tenant}: {what}",
            self.id
        ))
    }
}

/// The frames that some bytes of a payload are in.
pub(super) struct Span {
    /// Bytes of the whole payload.
    size: usize,
    /// Frames that the payload has.
    count: usize,
    frames: Range<usize>,
    /// Which bytes of the payload.
    range: Range<usize>,
}

impl Span {
    /// Of a payload of `size` bytes; the range is cut at its end. One frame at least: it proves that there is no more.
    pub(super) fn of(size: usize, range: Range<usize>) -> Self {
        let count = size.div_ceil(SEALED_FRAME_SIZE).max(1);
        let start = range.start.min(size);
        let range = start..range.end.clamp(start, size);
        let first = (range.start / SEALED_FRAME_SIZE).min(count - 1);
        let last = range.end.div_ceil(SEALED_FRAME_SIZE).clamp(first + 1, count);
        Self { size, count, frames: first..last, range }
    }

    /// Where they are among all frames.
    pub(super) fn bytes(&self) -> Range<usize> {
        let end = self.size + self.count * SEALED_TAG_SIZE;
        self.frames.start * FRAME_SIZE..(self.frames.end * FRAME_SIZE).min(end)
    }

    /// Where the range is in what they hold.
    fn wanted(&self) -> Range<usize> {
        let skipped = self.frames.start * SEALED_FRAME_SIZE;
        self.range.start - skipped..self.range.end - skipped
    }
}

/// Bytes of a payload of `size` bytes, once it is sealed. An empty one has a frame, too: it is what proves it.
pub(super) fn sealed_size(size: usize) -> usize {
    SEALED_HEADER_SIZE + size + size.div_ceil(SEALED_FRAME_SIZE).max(1) * SEALED_TAG_SIZE
}

/// Of a frame of a payload of so many frames: they can neither be exchanged nor be cut off.
fn nonce(index: usize, count: usize) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..4].copy_from_slice(&(index as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&(count as u32).to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}
