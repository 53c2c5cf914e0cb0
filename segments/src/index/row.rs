//! Keys and values of the index (docs/formats/disk-index.md).
//!
//! Owns: their bytes, and the refusal of what no record can be: the index is on a disk, too (I-DISK).
//! Knows nothing of: what is live, batches.

use proto::block::{Layout, ShardKey, ShardMeta};
use types::limits::SEALED_SIZE_MAX;
use types::{ChunkKey, DiskUuid, Error, Generation, KeyId, Millis, Profile, Result};

use crate::progress::ScrubProgress;
use crate::record::{ALIGNMENT, Content, Header};
use crate::segment::SEGMENT_HEADER_SIZE;

const VERSION: u8 = 2;
/// Table, chunk, generation, slot.
const KEY_SIZE: usize = 1 + ChunkKey::SIZE + 8 + 1;
const META_SIZE: usize = 16;
const ENTRY_SIZE: usize = 16 + META_SIZE;
const CHECKPOINT_SIZE: usize = 45;
const SCRUB_SIZE: usize = 44;

/// Where a record is, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) payload_size: u32,
    pub(crate) payload_crc: u32,
    pub(crate) meta: ShardMeta,
}

/// What an index knows of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Here it is.
    Stored(Entry),
    /// It was here, and must be put again.
    Lost(ShardMeta),
    /// It is not here, and not missed.
    Absent,
    /// Nothing yet: the index is being rebuilt.
    Unknown,
}

/// Live records of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) records: u64,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
}

/// The index knows every record before this position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) uuid: DiskUuid,
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) totals: Totals,
}

/// In the order of these bytes shards are listed.
pub(crate) fn key_bytes(table: u8, key: &ShardKey) -> [u8; KEY_SIZE] {
    let mut bytes = [0; KEY_SIZE];
    let (start, end) = bytes.split_at_mut(1 + ChunkKey::SIZE);
    start[0] = table;
    start[1..].copy_from_slice(&key.chunk.to_bytes());
    end[..8].copy_from_slice(&key.generation.0.to_be_bytes());
    end[8] = key.slot;
    bytes
}

pub(crate) fn parse_key(bytes: &[u8]) -> Result<ShardKey> {
    let bytes: &[u8; KEY_SIZE] = bytes.try_into().map_err(|_| damaged())?;
    let (chunk, rest) = bytes[1..].split_first_chunk().expect("it is longer");
    let (generation, slot) = rest.split_first_chunk().expect("it is longer");
    Ok(ShardKey {
        chunk: ChunkKey::from_bytes(chunk),
        generation: Generation(u64::from_be_bytes(*generation)),
        slot: slot[0],
    })
}

fn damaged() -> Error {
    Error::corrupt("the disk's index is damaged; it is thrown away and rebuilt")
}

/// What the index keeps of a shard that was lost.
pub(crate) fn meta_bytes(meta: &ShardMeta) -> [u8; META_SIZE] {
    let mut bytes = [0; META_SIZE];
    if let Layout::Shard { k, m } = meta.layout {
        bytes[..3].copy_from_slice(&[1, k, m]);
    }
    bytes[3] = meta.compressed.into();
    bytes[4..8].copy_from_slice(&meta.plain_size.to_le_bytes());
    bytes[8..12].copy_from_slice(&meta.stored_size.to_le_bytes());
    bytes[12..].copy_from_slice(&meta.key.0.to_le_bytes());
    bytes
}

pub(crate) fn parse_meta(bytes: &[u8]) -> Result<ShardMeta> {
    let bytes: &[u8; META_SIZE] = bytes.try_into().map_err(|_| damaged())?;
    let layout = match bytes[..3] {
        [0, 0, 0] => Layout::Replica,
        [1, k, m] if Profile::new(k, m).is_ok() => Layout::Shard { k, m },
        _ => return Err(damaged()),
    };
    Ok(ShardMeta {
        layout,
        plain_size: word(bytes, 4),
        stored_size: word(bytes, 8),
        compressed: bytes[3] != 0,
        key: KeyId(word(bytes, 12)),
    })
}

/// What the index keeps of a shard that changed while it was rebuilt.
pub(crate) fn fresh_bytes(known: &Known) -> Vec<u8> {
    match known {
        Known::Stored(entry) => [&[1], &entry.to_bytes()[..]].concat(),
        Known::Lost(meta) => [&[2], &meta_bytes(meta)[..]].concat(),
        Known::Absent | Known::Unknown => vec![0],
    }
}

pub(crate) fn parse_fresh(bytes: &[u8]) -> Result<Known> {
    match bytes.split_first() {
        Some((0, [])) => Ok(Known::Absent),
        Some((1, rest)) => Ok(Known::Stored(Entry::parse(rest)?)),
        Some((2, rest)) => Ok(Known::Lost(parse_meta(rest)?)),
        _ => Err(damaged()),
    }
}

pub(crate) fn scrub_bytes(progress: &ScrubProgress) -> Vec<u8> {
    let ScrubProgress { segment, offset, checked, found, passes, last_pass } = *progress;
    let mut bytes = segment.to_le_bytes().to_vec();
    for number in [offset, checked, found, passes, last_pass.map_or(0, |time| time.0)] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// `None` for what cannot be: then it begins anew.
pub(crate) fn parse_scrub(bytes: &[u8]) -> Option<ScrubProgress> {
    let bytes: &[u8; SCRUB_SIZE] = bytes.try_into().ok()?;
    let number = |index: usize| {
        let at = 4 + 8 * index;
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
    };
    let is_place = number(0).is_multiple_of(ALIGNMENT as u64) && number(0) <= u32::MAX.into();
    is_place.then(|| ScrubProgress {
        segment: word(bytes, 0),
        offset: number(0),
        checked: number(1),
        found: number(2),
        passes: number(3),
        last_pass: Some(Millis(number(4))).filter(|time| time.0 > 0),
    })
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

impl Entry {
    /// True when this is where the payload of that record is, too: it was put twice.
    pub(crate) fn is_copy(&self, header: &Header) -> bool {
        let Entry { payload_size, payload_crc, meta, .. } = *self;
        header.content == Content::Shard(meta)
            && (header.payload_size, header.payload_crc) == (payload_size, payload_crc)
    }

    /// What the index says about a record in a segment; `None` when it has no payload.
    pub(crate) fn of(header: &Header, segment: u32) -> Option<Entry> {
        let Header { offset, payload_size, payload_crc, .. } = *header;
        match header.content {
            Content::Shard(meta) => Some(Entry { segment, offset, payload_size, payload_crc, meta }),
            Content::Deleted | Content::Lost(_) => None,
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; ENTRY_SIZE] {
        let mut bytes = [0; ENTRY_SIZE];
        for (i, number) in
            [self.segment, self.offset, self.payload_size, self.payload_crc].into_iter().enumerate()
        {
            bytes[4 * i..4 * i + 4].copy_from_slice(&number.to_le_bytes());
        }
        bytes[16..].copy_from_slice(&meta_bytes(&self.meta));
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Entry> {
        let bytes: &[u8; ENTRY_SIZE] = bytes.try_into().map_err(|_| damaged())?;
        // Before so many bytes are read.
        if !(1..=SEALED_SIZE_MAX).contains(&(word(bytes, 8) as usize)) {
            return Err(damaged());
        }
        Ok(Entry {
            segment: word(bytes, 0),
            offset: word(bytes, 4),
            payload_size: word(bytes, 8),
            payload_crc: word(bytes, 12),
            meta: parse_meta(&bytes[16..])?,
        })
    }
}

impl Checkpoint {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CHECKPOINT_SIZE);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.uuid.0);
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        for number in [self.offset, self.totals.records, self.totals.bytes] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Checkpoint> {
        let bytes: &[u8; CHECKPOINT_SIZE] = bytes.try_into().ok()?;
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        // Records begin at such places, and nowhere else does writing go on.
        let offset = number(21);
        let is_place = offset.is_multiple_of(ALIGNMENT as u64)
            && (SEGMENT_HEADER_SIZE..=u32::MAX.into()).contains(&offset);
        (bytes[0] == VERSION && is_place).then(|| Checkpoint {
            uuid: DiskUuid(bytes[1..17].try_into().expect("16 bytes")),
            segment: u32::from_le_bytes(bytes[17..21].try_into().expect("four bytes")),
            offset,
            totals: Totals { records: number(29), bytes: number(37) },
        })
    }
}
