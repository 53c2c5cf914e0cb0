//! Content of log entries and persisted values as bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::EntryPayload;
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::{Error, Result};

use crate::engine::{Commands, Entry};
use crate::log;

/// First byte of everything that is encoded with serde.
const VERSION: u8 = 1;

const BLANK: u8 = 0;
const COMMANDS: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// An entry as the log keeps it and as it goes over the wire.
pub fn encode_entry(entry: &Entry) -> log::LogEntry {
    let body = match &entry.payload {
        EntryPayload::Blank => Bytes::from_static(&[BLANK]),
        EntryPayload::Normal(Commands(commands)) => {
            let size = commands.iter().map(|command| 4 + command.len()).sum::<usize>();
            let mut body = BytesMut::with_capacity(1 + size);
            body.put_u8(COMMANDS);
            for command in commands {
                body.put_u32_le(u32::try_from(command.len()).expect("propose() refuses larger commands"));
                body.put_slice(command);
            }
            body.freeze()
        }
        EntryPayload::Membership(membership) => {
            let mut body = vec![MEMBERSHIP];
            body.extend_from_slice(&encode(membership));
            body.into()
        }
    };
    log::LogEntry { id: (&entry.log_id).into(), body }
}

/// Reads an entry; commands share its memory.
pub fn decode_entry(entry: log::LogEntry) -> Result<Entry> {
    let log::LogEntry { id, mut body } = entry;
    let bad = || Error::corrupt(format!("entry {} of the raft log has no known content", id.index));
    if body.is_empty() {
        return Err(bad());
    }
    let payload = match body.get_u8() {
        BLANK => EntryPayload::Blank,
        COMMANDS => {
            let mut commands = Vec::new();
            while body.has_remaining() {
                let size = body.try_get_u32_le().map_err(|_| bad())? as usize;
                if body.len() < size {
                    return Err(bad());
                }
                commands.push(body.split_to(size));
            }
            EntryPayload::Normal(Commands(commands))
        }
        MEMBERSHIP => EntryPayload::Membership(decode(&body)?),
        _ => return Err(bad()),
    };
    Ok(Entry { log_id: id.into(), payload })
}

/// A value after a version byte.
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    postcard::to_extend(value, vec![VERSION]).expect("our values have no unserializable parts").into()
}

/// Reads a value; anything but one whole value is an error.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => match postcard::take_from_bytes(rest) {
            Ok((value, [])) => Ok(value),
            Ok(_) => Err(Error::invalid("a raft message or value is longer than it says")),
            Err(e) => Err(Error::invalid(format!("a raft message or value cannot be read: {e}"))),
        },
        Some((version, _)) => Err(Error::invalid(format!(
            "a raft message or value has version {version}: update the older node"
        ))),
        None => Err(Error::invalid("a raft message or value is empty")),
    }
}

/// Reads a value that this store has written: one that is not whole is damage. `Invalid` when a later build wrote it.
pub fn decode_stored<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let is_newer = bytes.first().is_some_and(|version| *version > VERSION);
    decode(bytes).map_err(|e| if is_newer { e } else { Error::corrupt(e.message()) })
}

#[cfg(test)]
mod tests {
    use openraft::Membership;

    use super::*;
    use crate::log::EntryId;

    #[test]
    fn entries_round_trip_and_nonsense_is_refused() {
        let id = EntryId { term: 3, index: 9 };
        let commands = Commands(vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from(vec![7; 5000])]);
        let membership = Membership::new_with_defaults(vec![[1, 2].into(), [3].into()], [9]);
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(commands),
            EntryPayload::Normal(Commands(vec![])),
            EntryPayload::Membership(membership),
        ] {
            let entry = Entry { log_id: id.into(), payload };
            let bytes = encode_entry(&entry);
            assert_eq!(decode_entry(bytes.clone()).unwrap(), entry);
            let cut = log::LogEntry { id, body: bytes.body.slice(..bytes.body.len() - 1) };
            assert!(decode_entry(cut.clone()).map_or(true, |found| found != entry), "{cut:?}");
        }
        assert!(decode_entry(log::LogEntry { id, body: Bytes::from_static(&[9]) }).is_err());
    }

    #[test]
    fn values_are_read_whole_or_not_at_all() {
        let bytes = encode(&(7u64, "seven"));
        assert_eq!(decode::<(u64, String)>(&bytes).unwrap(), (7, "seven".into()));
        let longer = [&bytes[..], b"x"].concat();
        for bad in [&b""[..], b"\x02", &bytes[..3], &longer] {
            assert!(decode::<(u64, String)>(bad).is_err(), "{bad:?}");
        }
    }
}
