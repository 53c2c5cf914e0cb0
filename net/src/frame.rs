//! The frame: the unit of every transport. Layout and golden bytes: `docs/formats/frame.md`.
//!
//! Owns: encoding, decoding and the size limits of frames.
//! Knows nothing of: connections.

#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};
use types::limits::{FRAME_HEADER_SIZE_MAX, FRAME_SIZE_MAX};
use types::{Advice, ClusterId, Error, ErrorKind, Result};

use crate::{Reply, Request};

/// Bytes in front of every frame's header.
pub(crate) const PREFIX_SIZE: usize = 24;
/// Bytes of the prefix that follow its length field and count as part of the length.
const PREFIX_REST: usize = PREFIX_SIZE - 4;
/// First bytes of every hello, in all versions.
const HELLO_MAGIC: [u8; 4] = *b"CLSY";
const HELLO_SIZE: usize = 24;
/// Error code and retry time in front of an error's message.
const ERROR_FIXED_SIZE: usize = 5;
/// Longer error messages are cut: a message is for a person.
const ERROR_MESSAGE_SIZE_MAX: usize = 4096;

/// What a frame is. The number stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hello = 1,
    Request = 2,
    Reply = 3,
    Error = 4,
    Ping = 5,
}

/// The fixed start of a frame, checked against the limits when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub kind: Kind,
    pub method: u16,
    /// Ties a reply to its request; chosen by the caller, unique on its connection.
    pub id: u64,
    /// How long the caller still waits; 0 for "as long as the server thinks right".
    pub deadline_ms: u32,
    pub header_size: usize,
    pub body_size: usize,
}

impl Prefix {
    pub(crate) fn payload_size(&self) -> usize {
        self.header_size + self.body_size
    }

    pub(crate) fn encode(&self) -> [u8; PREFIX_SIZE] {
        let wire = |size: usize| u32::try_from(size).expect("check_size() holds before a frame is made");
        let mut bytes = [0; PREFIX_SIZE];
        bytes[0..4].copy_from_slice(&wire(PREFIX_REST + self.payload_size()).to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[6..8].copy_from_slice(&self.method.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.deadline_ms.to_le_bytes());
        bytes[20..24].copy_from_slice(&wire(self.header_size).to_le_bytes());
        bytes
    }

    /// Reads and checks a prefix. An error means that the stream cannot be read any further.
    pub(crate) fn decode(bytes: &[u8; PREFIX_SIZE]) -> Result<Self> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let kind = match bytes[4] {
            1 => Kind::Hello,
            2 => Kind::Request,
            3 => Kind::Reply,
            4 => Kind::Error,
            5 => Kind::Ping,
            other => {
                return Err(Error::invalid(format!(
                    "frame of unknown kind {other}; the peer is broken or newer"
                )));
            }
        };
        let length = u32_at(0) as usize;
        let header_size = u32_at(20) as usize;
        let body_size = length.checked_sub(PREFIX_REST + header_size).ok_or_else(|| {
            Error::invalid(format!("frame of {length} bytes cannot hold its header of {header_size} bytes"))
        })?;
        check_size(header_size, body_size)?;
        let mut id = [0; 8];
        id.copy_from_slice(&bytes[8..16]);
        Ok(Self {
            kind,
            method: u16::from_le_bytes([bytes[6], bytes[7]]),
            id: u64::from_le_bytes(id),
            deadline_ms: u32_at(16),
            header_size,
            body_size,
        })
    }
}

/// Refuses what does not fit into a frame.
pub(crate) fn check_size(header_size: usize, body_size: usize) -> Result<()> {
    if header_size > FRAME_HEADER_SIZE_MAX {
        return Err(Error::invalid(format!(
            "message of {header_size} bytes is over the limit of {FRAME_HEADER_SIZE_MAX}; send it in smaller parts"
        )));
    }
    if header_size + body_size > FRAME_SIZE_MAX {
        return Err(Error::invalid(format!(
            "frame of {} bytes is over the limit of {FRAME_SIZE_MAX}; send it in smaller parts",
            header_size + body_size
        )));
    }
    Ok(())
}

/// One message on a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub prefix: Prefix,
    pub header: Bytes,
    pub body: Bytes,
}

impl Frame {
    fn new(kind: Kind, id: u64, header: Bytes, body: Bytes) -> Self {
        let (header_size, body_size) = (header.len(), body.len());
        Self { prefix: Prefix { kind, method: 0, id, deadline_ms: 0, header_size, body_size }, header, body }
    }

    /// A request whose caller waits for `deadline_ms`. Its size must have been checked.
    pub(crate) fn request(id: u64, request: Request, deadline_ms: u32) -> Self {
        let mut frame = Self::new(Kind::Request, id, request.header, request.body);
        frame.prefix.method = request.method;
        frame.prefix.deadline_ms = deadline_ms;
        frame
    }

    /// The answer to request `id`: what the service said, or that its reply does not fit.
    pub(crate) fn answer(id: u64, result: Result<Reply>) -> Self {
        match result {
            Ok(reply) => match check_size(reply.header.len(), reply.body.len()) {
                Ok(()) => Self::new(Kind::Reply, id, reply.header, reply.body),
                Err(e) => Self::error(id, &Error::internal(e.message()).context("reply")),
            },
            Err(e) => Self::error(id, &e),
        }
    }

    /// Says that request `id` failed.
    pub(crate) fn error(id: u64, error: &Error) -> Self {
        let retry_after_ms = match (error.kind(), error.advice()) {
            (ErrorKind::Busy, Advice::Retry(ms)) => u32::try_from(ms).unwrap_or(u32::MAX),
            _ => 0,
        };
        let message = error.message();
        let end =
            (0..=ERROR_MESSAGE_SIZE_MAX.min(message.len())).rev().find(|&i| message.is_char_boundary(i));
        let mut header = BytesMut::with_capacity(ERROR_FIXED_SIZE + message.len());
        header.put_u8(error_code(error.kind()));
        header.put_u32_le(retry_after_ms);
        header.put_slice(&message.as_bytes()[..end.unwrap_or(0)]);
        Self::new(Kind::Error, id, header.freeze(), Bytes::new())
    }

    /// First frame of each side on a connection.
    pub(crate) fn hello(hello: &Hello) -> Self {
        let mut header = BytesMut::with_capacity(HELLO_SIZE);
        header.put_slice(&HELLO_MAGIC);
        header.put_u16_le(hello.version);
        header.put_u16_le(hello.oldest);
        header.put_slice(&hello.cluster.0);
        Self::new(Kind::Hello, 0, header.freeze(), Bytes::new())
    }

    /// Says nothing but "I am alive".
    pub(crate) fn ping() -> Self {
        Self::new(Kind::Ping, 0, Bytes::new(), Bytes::new())
    }

    /// All bytes of the frame.
    pub(crate) fn size(&self) -> usize {
        PREFIX_SIZE + self.prefix.payload_size()
    }

    /// Reads one frame that fills `bytes` exactly.
    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self> {
        let (start, _) = bytes
            .split_first_chunk::<PREFIX_SIZE>()
            .ok_or_else(|| Error::invalid(format!("{} bytes are too few for a frame", bytes.len())))?;
        let prefix = Prefix::decode(start)?;
        if bytes.len() != PREFIX_SIZE + prefix.payload_size() {
            return Err(Error::invalid(format!(
                "frame says {} bytes but has {}",
                PREFIX_SIZE + prefix.payload_size(),
                bytes.len()
            )));
        }
        let payload = bytes.split_off(PREFIX_SIZE);
        Ok(Self::from_payload(prefix, payload))
    }

    /// Joins a prefix with the bytes that followed it.
    pub(crate) fn from_payload(prefix: Prefix, mut payload: Bytes) -> Self {
        assert_eq!(payload.len(), prefix.payload_size(), "the reader reads exactly this much");
        let body = payload.split_off(prefix.header_size);
        Self { prefix, header: payload, body }
    }

    /// What the service said; for frames that answer a request.
    pub(crate) fn into_result(self) -> Result<Reply> {
        match self.prefix.kind {
            Kind::Reply => Ok(Reply { header: self.header, body: self.body }),
            Kind::Error => Err(decode_error(&self.header)),
            other => Err(Error::invalid(format!(
                "expected a reply but got {other:?}; the peer is broken or newer"
            ))),
        }
    }

    /// The request in this frame; for frames of that kind.
    pub(crate) fn into_request(self) -> Request {
        Request { method: self.prefix.method, header: self.header, body: self.body }
    }
}

/// What each side says first: `docs/formats/frame.md` promises that all versions can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The protocol this side speaks.
    pub version: u16,
    /// The oldest it accepts.
    pub oldest: u16,
    /// The cluster it believes it talks to.
    pub cluster: ClusterId,
}

impl Hello {
    /// Reads the hello in `frame`. A refusal comes back as the error it carries.
    pub(crate) fn decode(frame: &Frame) -> Result<Self> {
        let header = &frame.header;
        if frame.prefix.kind == Kind::Error {
            return Err(decode_error(header));
        }
        if frame.prefix.kind != Kind::Hello || header.len() < HELLO_SIZE || header[..4] != HELLO_MAGIC {
            return Err(Error::invalid("the peer does not begin with hello; it is broken or not CloudSync"));
        }
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let mut cluster = ClusterId::default();
        cluster.0.copy_from_slice(&header[8..HELLO_SIZE]);
        Ok(Self { version: u16_at(4), oldest: u16_at(6), cluster })
    }
}

fn error_code(kind: ErrorKind) -> u8 {
    let index = ErrorKind::ALL.iter().position(|k| *k == kind).expect("ALL lists every kind");
    u8::try_from(index + 1).expect("there are ten kinds")
}

fn decode_error(header: &[u8]) -> Error {
    let Some((fixed, message)) = header.split_first_chunk::<ERROR_FIXED_SIZE>() else {
        return Error::internal("the peer sent an error without content");
    };
    let message = String::from_utf8_lossy(message).into_owned();
    let retry_after_ms = u32::from_le_bytes([fixed[1], fixed[2], fixed[3], fixed[4]]);
    match usize::from(fixed[0]).checked_sub(1).and_then(|index| ErrorKind::ALL.get(index)) {
        Some(ErrorKind::Busy) => Error::busy(message, retry_after_ms),
        Some(kind) => Error::new(*kind, message),
        None => Error::internal(format!("error of unknown kind {}: {message}", fixed[0])),
    }
}
