//! The format and the name of a tree node (docs/formats/manifest-node.md).

use bytes::Bytes;
use types::limits::{CHUNK_SIZE_MAX, FILE_SIZE_MAX, MANIFEST_NODE_COUNT_MAX};
use types::{ChunkId, Error, Result};

/// Levels a tree can have: 64^6 chunks of the smallest size are more than `FILE_SIZE_MAX`.
pub const TREE_HEIGHT_MAX: u8 = 6;

/// What a node says about one child: a chunk of the file (level 0) or a node one level below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The chunk that holds it.
    pub id: ChunkId,
    /// Bytes of the file below it.
    pub size: u64,
    /// Chunks of the file below it.
    pub count: u64,
}

/// A node as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestNode {
    /// 0: entries are chunks of the file.
    pub level: u8,
    /// Children in the order of the file.
    pub entries: Vec<Entry>,
}

const MAGIC: [u8; 4] = *b"CSMN";
const VERSION: u8 = 1;
/// magic 4, version 1, level 1, entry count 2, crc 4.
const HEADER_SIZE: usize = 12;
const CRC_AT: usize = 8;
/// id 32, size 4: a chunk is smaller than 4 GiB and counts for one.
const LEAF_ENTRY_SIZE: usize = 36;
/// id 32, size 8, count 8.
const INNER_ENTRY_SIZE: usize = 48;

const _: () = assert!(HEADER_SIZE + MANIFEST_NODE_COUNT_MAX * INNER_ENTRY_SIZE <= CHUNK_SIZE_MAX);

impl ManifestNode {
    /// Bytes of the file below this node.
    pub fn size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    /// Chunks of the file below this node.
    pub fn count(&self) -> u64 {
        self.entries.iter().map(|entry| entry.count).sum()
    }

    /// The stored form: equal nodes give equal bytes.
    pub(super) fn to_bytes(&self) -> Bytes {
        let count =
            u16::try_from(self.entries.len()).expect("a node has at most MANIFEST_NODE_COUNT_MAX entries");
        let mut bytes = Vec::with_capacity(HEADER_SIZE + self.entries.len() * INNER_ENTRY_SIZE);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, self.level]);
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.id.0);
            if self.level == 0 {
                let size = u32::try_from(entry.size).expect("a chunk is at most CHUNK_SIZE_MAX");
                bytes.extend_from_slice(&size.to_le_bytes());
            } else {
                bytes.extend_from_slice(&entry.size.to_le_bytes());
                bytes.extend_from_slice(&entry.count.to_le_bytes());
            }
        }
        let crc = crc32fast::hash(&bytes);
        bytes[CRC_AT..HEADER_SIZE].copy_from_slice(&crc.to_le_bytes());
        bytes.into()
    }
}

/// The name of a tree node: BLAKE3 in a domain of its own, so that no run of file bytes can be read as a node and open
/// what it lists (I-AUTH).
pub fn node_id(bytes: &[u8]) -> ChunkId {
    let mut hasher = blake3::Hasher::new_derive_key("cloudsync 1 manifest node");
    hasher.update(bytes);
    ChunkId(*hasher.finalize().as_bytes())
}

/// Reads a node. Rubbish is `Corrupt`, a newer version `Invalid`; whatever it returns is within all limits.
pub fn parse_node(bytes: &[u8]) -> Result<ManifestNode> {
    let corrupt = |what: &str| Error::corrupt(format!("manifest node of {} bytes {what}", bytes.len()));
    if bytes.len() < HEADER_SIZE || bytes[..4] != MAGIC {
        return Err(corrupt("has no valid header"));
    }
    let (header, body) = bytes.split_at(HEADER_SIZE);
    if header[4] != VERSION {
        return Err(Error::invalid(format!(
            "manifest node has version {}, not {VERSION}: update",
            header[4]
        )));
    }
    let mut crc = crc32fast::Hasher::new();
    [&header[..CRC_AT], &[0; 4], body].into_iter().for_each(|part| crc.update(part));
    if header[CRC_AT..] != crc.finalize().to_le_bytes() {
        return Err(corrupt("does not match its checksum"));
    }
    let level = header[5];
    let count = usize::from(u16::from_le_bytes([header[6], header[7]]));
    let entry_size = if level == 0 { LEAF_ENTRY_SIZE } else { INNER_ENTRY_SIZE };
    if level >= TREE_HEIGHT_MAX
        || !(1..=MANIFEST_NODE_COUNT_MAX).contains(&count)
        || body.len() != count * entry_size
    {
        return Err(corrupt("has an impossible level, count or length"));
    }
    let entries: Vec<Entry> = body.chunks_exact(entry_size).map(parse_entry).collect();
    if !entries.iter().all(|entry| is_possible(entry, level)) {
        return Err(corrupt("has an entry of an impossible size"));
    }
    Ok(ManifestNode { level, entries })
}

fn parse_entry(bytes: &[u8]) -> Entry {
    let id = ChunkId(bytes[..32].try_into().expect("an entry begins with 32 bytes of id"));
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    if bytes.len() == LEAF_ENTRY_SIZE {
        let size = u32::from_le_bytes(bytes[32..].try_into().expect("four bytes"));
        return Entry { id, size: size.into(), count: 1 };
    }
    Entry { id, size: number(32), count: number(40) }
}

/// Keeps sums over a node far from overflow.
fn is_possible(entry: &Entry, level: u8) -> bool {
    let size_max = if level == 0 { CHUNK_SIZE_MAX as u64 } else { FILE_SIZE_MAX };
    (1..=size_max).contains(&entry.size) && (1..=entry.size).contains(&entry.count)
}
