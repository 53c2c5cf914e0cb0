//! The record: one shard, one replica or one note about a shard as it lies in a segment (docs/formats/segment.md).
//!
//! Owns: the bytes of a record and every check on them. A header that parses says what it is and that it is where it
//! was meant to be: a misdirected or stale write does not parse.
//! Knows nothing of: files, batches, the index.

use chunk::erasure::CodeId;
use proto::block::{Layout, ShardKey, ShardMeta};
use types::limits::{RECORD_BLOCK_SIZE, SEALED_SIZE_MAX, SEGMENT_SIZE_MAX};
use types::{ChunkId, ChunkKey, Generation, KeyId, Profile, Scope};

pub(crate) const HEADER_SIZE: usize = 104;
const TRAILER_SIZE: usize = 16;
/// Records begin at multiples of this, so that a search for the next one need not look at every byte.
pub(crate) const ALIGNMENT: usize = 8;

const MAGIC: [u8; 4] = *b"CSRC";
const TRAILER_MAGIC: [u8; 8] = *b"CSRECEND";
const VERSION: u8 = 1;
const KIND_SHARD: u8 = 1;
const KIND_REPLICA: u8 = 2;
const KIND_TOMBSTONE: u8 = 3;
const KIND_LOST: u8 = 4;
const FLAG_COMPRESSED: u8 = 1;

/// Offsets take 32 bits: a group commit may pass the size at which a segment is sealed, but not by this much.
const _: () = assert!(SEGMENT_SIZE_MAX <= 1 << 31);

/// The segment a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// First bytes of the disk's uuid.
    pub(crate) disk: [u8; 8],
    pub(crate) segment: u32,
}

/// What precedes a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) key: ShardKey,
    pub(crate) content: Content,
    pub(crate) payload_size: u32,
    pub(crate) payload_crc: u32,
    /// Where the record is in its segment.
    pub(crate) offset: u32,
    /// Where its group commit began. When this was written, all before it was durable: so a bad record before the batch
    /// of a good one was good once, and is damaged, not torn.
    pub(crate) batch_offset: u32,
}

/// What a record says about its key. Of several records of a key the last one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Here it is; the payload follows.
    Shard(ShardMeta),
    /// It is deleted.
    Deleted,
    /// What was stored before turned out to be bad: it must be put again.
    Lost(ShardMeta),
}

impl Content {
    pub(crate) fn meta(&self) -> Option<&ShardMeta> {
        match self {
            Content::Shard(meta) | Content::Lost(meta) => Some(meta),
            Content::Deleted => None,
        }
    }
}

/// Why bytes are not the record they should be.
pub(crate) type Flaw = &'static str;

impl Header {
    pub(crate) fn to_bytes(self, place: Place) -> [u8; HEADER_SIZE] {
        // What `parse` refuses must not be written: it would count as damage.
        assert!(self.payload_size as usize <= SEALED_SIZE_MAX, "plan_put() refuses larger payloads");
        assert!(self.batch_offset <= self.offset, "a record lies in its batch");
        let meta = self.content.meta();
        let code = match meta.map(|meta| meta.layout) {
            Some(Layout::Shard { k, m }) => CodeId::new(Profile { k, m }).number(),
            Some(Layout::Replica) | None => 0,
        };
        let kind = match self.content {
            Content::Shard(ShardMeta { layout: Layout::Shard { .. }, .. }) => KIND_SHARD,
            Content::Shard(_) => KIND_REPLICA,
            Content::Deleted => KIND_TOMBSTONE,
            Content::Lost(_) => KIND_LOST,
        };
        let (plain, stored) = meta.map_or((0, 0), |meta| (meta.plain_size, meta.stored_size));
        let flags = if meta.is_some_and(|meta| meta.compressed) { FLAG_COMPRESSED } else { 0 };
        let mut bytes = [0; HEADER_SIZE];
        let mut at = 0;
        let mut put = |part: &[u8]| {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        };
        put(&MAGIC);
        put(&[0; 4]);
        put(&[kind, VERSION, flags, self.key.slot]);
        put(&code.to_le_bytes());
        put(&self.key.chunk.id.0);
        put(&self.key.generation.0.to_le_bytes());
        for number in [
            plain,
            stored,
            self.payload_size,
            self.payload_crc,
            place.segment,
            self.offset,
            self.batch_offset,
            meta.map_or(0, |meta| meta.key.0),
        ] {
            put(&number.to_le_bytes());
        }
        put(&place.disk);
        put(&self.key.chunk.scope.0.to_le_bytes());
        put(&[0; 4]);
        assert_eq!(at, HEADER_SIZE, "the fields fill the header");
        let crc = crc32fast::hash(&bytes);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of the record that should be at `offset` of `place`.
    pub(crate) fn parse(bytes: &[u8; HEADER_SIZE], place: Place, offset: u32) -> Result<Header, Flaw> {
        if bytes[..4] != MAGIC {
            return Err("no record begins here");
        }
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let mut crc = crc32fast::Hasher::new();
        [&bytes[..4], &[0; 4], &bytes[8..]].into_iter().for_each(|part| crc.update(part));
        if number(4) != crc.finalize() {
            return Err("the header does not match its checksum");
        }
        if bytes[9] != VERSION {
            return Err("the record has another version");
        }
        if bytes[88..96] != place.disk || number(72) != place.segment || number(76) != offset {
            return Err("the record was written for another place");
        }
        let layout = match number(12) {
            0 => Layout::Replica,
            code => {
                let Profile { k, m } =
                    CodeId::parse(code).map_err(|_| "the erasure code is unknown")?.profile();
                Layout::Shard { k, m }
            }
        };
        let meta = ShardMeta {
            layout,
            plain_size: number(56),
            stored_size: number(60),
            compressed: bytes[10] & FLAG_COMPRESSED != 0,
            key: KeyId(number(84)),
        };
        let content = match (bytes[8], layout) {
            (KIND_SHARD, Layout::Shard { .. }) | (KIND_REPLICA, Layout::Replica) => Content::Shard(meta),
            (KIND_SHARD | KIND_REPLICA, _) => return Err("the header contradicts itself"),
            (KIND_TOMBSTONE, _) => Content::Deleted,
            (KIND_LOST, _) => Content::Lost(meta),
            _ => return Err("the record is of an unknown kind"),
        };
        let payload_size = number(64);
        let has_payload = matches!(content, Content::Shard(_));
        if payload_size as usize > SEALED_SIZE_MAX || has_payload != (payload_size > 0) || number(80) > offset
        {
            return Err("the header contradicts itself");
        }
        Ok(Header {
            key: ShardKey {
                chunk: ChunkKey {
                    id: ChunkId(bytes[16..48].try_into().expect("32 bytes")),
                    scope: Scope(number(96)),
                },
                generation: Generation(u64::from_le_bytes(bytes[48..56].try_into().expect("eight bytes"))),
                slot: bytes[11],
            },
            content,
            payload_size,
            payload_crc: number(68),
            offset,
            batch_offset: number(80),
        })
    }

    /// Where the next record begins.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + record_size(self.payload_size as usize)
    }
}

/// Bytes of a record with a payload of this size: header, payload, one CRC per block, trailer, padding.
pub(crate) fn record_size(payload_size: usize) -> u64 {
    (HEADER_SIZE + payload_size + tail_size(payload_size)) as u64
}

fn tail_size(payload_size: usize) -> usize {
    let end = payload_size + 4 * payload_size.div_ceil(RECORD_BLOCK_SIZE) + TRAILER_SIZE;
    end.next_multiple_of(ALIGNMENT) - payload_size
}

/// What follows a payload, and the CRC of the payload as a whole.
pub(crate) struct Tail {
    pub(crate) bytes: Vec<u8>,
    pub(crate) payload_crc: u32,
}

/// The tail of a payload; reads it once.
pub(crate) fn tail(payload: &[u8]) -> Tail {
    let mut bytes = Vec::with_capacity(tail_size(payload.len()));
    let mut whole = crc32fast::Hasher::new();
    for block in payload.chunks(RECORD_BLOCK_SIZE) {
        let mut crc = crc32fast::Hasher::new();
        crc.update(block);
        whole.combine(&crc);
        bytes.extend_from_slice(&crc.finalize().to_le_bytes());
    }
    let payload_crc = whole.finalize();
    let size = u32::try_from(payload.len()).expect("a payload is at most SEALED_SIZE_MAX");
    bytes.extend_from_slice(&payload_crc.to_le_bytes());
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend_from_slice(&TRAILER_MAGIC);
    assert!(bytes.len() <= tail_size(payload.len()), "what follows is padding, never a cut");
    bytes.resize(tail_size(payload.len()), 0);
    Tail { bytes, payload_crc }
}

/// Checks a payload, followed by its tail, against its header.
pub(crate) fn check_payload(header: &Header, payload_and_tail: &[u8]) -> Result<(), Flaw> {
    let size = header.payload_size as usize;
    if payload_and_tail.len() != size + tail_size(size) {
        return Err("the record is cut short");
    }
    let (payload, found) = payload_and_tail.split_at(size);
    let want = tail(payload);
    if want.payload_crc != header.payload_crc {
        return Err("the payload does not match its checksum");
    }
    // The payload is right, but a damaged table would make range reads fail later, and shows that the disk rots here.
    if found != want.bytes { Err("the checksum table is damaged") } else { Ok(()) }
}

/// Blocks of a payload that a range touches: their bytes in the payload, and their CRCs in the table.
pub(crate) struct Blocks {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) table_start: usize,
    pub(crate) table_end: usize,
}

impl Blocks {
    pub(crate) fn of(payload_size: usize, range: &std::ops::Range<usize>) -> Blocks {
        let (first, last) = (range.start / RECORD_BLOCK_SIZE, range.end.div_ceil(RECORD_BLOCK_SIZE));
        assert!(range.start <= range.end && range.end <= payload_size, "read_record() checked the range");
        let table = HEADER_SIZE + payload_size;
        let blocks = Blocks {
            start: first * RECORD_BLOCK_SIZE,
            end: payload_size.min(last * RECORD_BLOCK_SIZE),
            table_start: table + 4 * first,
            table_end: table + 4 * last,
        };
        assert!(blocks.start <= range.start && range.end <= blocks.end, "the blocks cover the range");
        blocks
    }

    /// Checks the blocks that were read against their part of the table.
    pub(crate) fn check(&self, blocks: &[u8], table: &[u8]) -> Result<(), Flaw> {
        let crcs = table.chunks_exact(4);
        // `zip` would take a block without a checksum for a good one (I-READ).
        assert_eq!(blocks.len().div_ceil(RECORD_BLOCK_SIZE), crcs.len(), "one checksum per block");
        let mut pairs = blocks.chunks(RECORD_BLOCK_SIZE).zip(crcs);
        match pairs.all(|(block, crc)| crc32fast::hash(block).to_le_bytes() == crc) {
            true => Ok(()),
            false => Err("a block does not match its checksum"),
        }
    }
}
