//! The few messages of etcd's gRPC interface that are needed, as protobuf by hand. Pure.
//!
//! Owns: `PutRequest`, `TxnRequest` of puts, `RangeRequest` and what is read of their answers (etcd's `rpc.proto`).
//! Knows nothing of: HTTP/2.

use types::{Error, Result};

/// Kinds of fields.
const VARINT: u64 = 0;
const BYTES: u64 = 2;
/// Bytes before a message in a gRPC stream: not compressed, and its length.
const FRAME_HEADER: usize = 5;

/// A message being written.
#[derive(Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// With one more field of bytes or of a message.
    pub fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | BYTES);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// With one more field that is a number.
    pub fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3 | VARINT);
        self.varint(value);
        self
    }

    /// As gRPC sends it.
    pub fn framed(self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("a request of this program is small");
        let mut framed = vec![0];
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend(self.0);
        framed
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// Stores one value.
pub fn put(key: &[u8], value: &[u8]) -> Message {
    Message::default().bytes(1, key).bytes(2, value)
}

/// Stores several, all or none.
pub fn put_all(keys: &[Vec<u8>], value: &[u8]) -> Message {
    // TxnRequest.success = 2, RequestOp.request_put = 2
    keys.iter()
        .fold(Message::default(), |txn, key| txn.bytes(2, &Message::default().bytes(2, &put(key, value).0).0))
}

/// Reads what begins with `prefix`, at most `limit` of it if that is not 0, as of now.
pub fn range(prefix: &[u8], limit: u64) -> Message {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1; // Prefixes end with '/'.
    }
    Message::default().bytes(1, prefix).bytes(2, &end).number(3, limit)
}

/// A field of a message that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Sent as a varint.
    Number(u64),
    /// Bytes or a message.
    Bytes(&'a [u8]),
}

/// The message of an answer, without its frame.
pub fn unframed(answer: &[u8]) -> Result<&[u8]> {
    let broken = || Error::corrupt("etcd sent a broken frame");
    let (header, message) = answer.split_at_checked(FRAME_HEADER).ok_or_else(broken)?;
    let length = header[1..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    if header[0] == 0 && length == message.len() { Ok(message) } else { Err(broken()) }
}

/// The fields of a message, in order.
pub fn fields(mut message: &[u8]) -> Result<Vec<(u64, Value<'_>)>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let value = match tag & 7 {
            VARINT => Value::Number(take_varint(&mut message)?),
            BYTES => {
                let length = usize::try_from(take_varint(&mut message)?).unwrap_or(usize::MAX);
                let (value, rest) = message.split_at_checked(length).ok_or_else(cut_off)?;
                message = rest;
                Value::Bytes(value)
            }
            other => return Err(Error::corrupt(format!("etcd sent a field of kind {other}"))),
        };
        found.push((tag >> 3, value));
    }
    Ok(found)
}

/// How many pairs a `RangeResponse` has; each is read to its key and value.
pub fn count_pairs(response: &[u8]) -> Result<usize> {
    let mut count = 0;
    for (field, value) in fields(response)? {
        if let (2, Value::Bytes(pair)) = (field, value) {
            let pair = fields(pair)?;
            let is_whole = [1, 5].iter().all(|want| pair.iter().any(|(field, _)| field == want));
            count += usize::from(is_whole);
        }
    }
    Ok(count)
}

/// True when a `StatusResponse` says that who answers is the leader.
pub fn is_leader(response: &[u8]) -> Result<bool> {
    let (mut member, mut leader) = (0, None);
    for field in fields(response)? {
        match field {
            (1, Value::Bytes(header)) => {
                let id = fields(header)?.into_iter().find(|(field, _)| *field == 2);
                member = if let Some((_, Value::Number(id))) = id { id } else { 0 };
            }
            (4, Value::Number(id)) => leader = Some(id),
            _ => {}
        }
    }
    Ok(leader == Some(member))
}

fn take_varint(message: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().ok_or_else(cut_off)?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Error::corrupt("etcd sent a number without end"))
}

fn cut_off() -> Error {
    Error::corrupt("etcd sent a message that is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_what_protobuf_says() {
        // As `protoc --encode` writes them.
        assert_eq!(put(b"k", b"v").0, b"\x0a\x01k\x12\x01v");
        assert_eq!(
            put_all(&[b"a".to_vec(), b"b".to_vec()], b"v").0,
            b"\x12\x08\x12\x06\x0a\x01a\x12\x01v\x12\x08\x12\x06\x0a\x01b\x12\x01v"
        );
        assert_eq!(range(b"d/", 500).0, b"\x0a\x02d/\x12\x02d0\x18\xf4\x03");
        assert_eq!(put(b"k", b"v").framed(), b"\0\0\0\0\x06\x0a\x01k\x12\x01v");
    }

    #[test]
    fn answers_are_read() {
        let pair = Message::default().bytes(1, b"key").number(4, 1).bytes(5, b"value").0;
        let header = Message::default().number(1, 9).number(2, 300).0;
        let response = Message::default().bytes(1, &header).bytes(2, &pair).bytes(2, &pair).number(4, 2);
        assert_eq!(count_pairs(unframed(&response.framed()).unwrap()).unwrap(), 2);
        for (leader, want) in [(300, true), (301, false)] {
            let status = Message::default().bytes(1, &header).bytes(2, b"3.4").number(4, leader).0;
            assert_eq!(is_leader(&status).unwrap(), want);
        }
        assert!(!is_leader(b"").unwrap());
    }

    #[test]
    fn what_is_broken_is_refused() {
        for broken in
            [&b"\x0a"[..], b"\x0a\x05abc", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0d1234"]
        {
            assert!(fields(broken).is_err());
        }
        for broken in [&b"\0\0"[..], b"\0\0\0\0\x05abc", b"\x01\0\0\0\0"] {
            assert!(unframed(broken).is_err());
        }
    }
}
