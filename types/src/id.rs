//! Ids. Each is its own type, so that arguments cannot be swapped by accident.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

macro_rules! number_ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty)),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }

        impl $name {
            /// The next id.
            #[must_use]
            pub fn next(self) -> Self { Self(self.0 + 1) }
        }
    )*};
}

macro_rules! byte_ids {
    ($($(#[$doc:meta])* $name:ident[$len:literal]),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(#[serde(with = "serde_bytes")] pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }

        impl $name {
            /// Reads lower- or upper-case hexadecimal of the full length; anything else is `Invalid`.
            pub fn parse(text: &str) -> Result<Self> {
                let bytes = parse_hex(text).filter(|b| b.len() == $len).ok_or_else(|| {
                    Error::invalid(format!("{text:?} is not {} hexadecimal digits", $len * 2))
                })?;
                let mut id = [0; $len];
                id.copy_from_slice(&bytes);
                Ok(Self(id))
            }
        }
    )*};
}

number_ids! {
    /// A process of the cluster. Assigned by the root partition and never reused.
    NodeId(u64),
    /// A disk of a node. Assigned by the root partition and never reused.
    DiskId(u32),
    /// A placement group: all chunks whose id starts with the same bits.
    PgId(u16),
    /// One store of a node as the members of its Raft groups know it: the node and, in the lower 16 bits, which of its
    /// stores, counted from 1. A node whose store was lost comes back as another replica.
    ReplicaId(u64),
    /// A Raft group of the metadata.
    PartitionId(u32),
    /// A root that is shared and synced as one. Its upper bits are the slot it was created in.
    NamespaceId(u64),
    /// A file or directory. Unique in the cluster: its upper bits are the slot it was created in.
    InodeId(u64),
    /// A version of a file or link, counted from 1 for each.
    VersionId(u64),
    /// Position in a namespace's journal, dense from 1.
    Seq(u64),
    /// Version of the cluster map.
    Epoch(u64),
    /// What a partition's log may hold: a build knows all levels up to its newest, and a partition never goes back.
    FeatureLevel(u32),
    /// Garbage collection cycle.
    GcEpoch(u32),
    /// One incarnation of a chunk's stored bytes. Upper 24 bits: the [`GcEpoch`] it was written in. Lower 40 bits: a
    /// fingerprint of the stored bytes.
    Generation(u64),
    /// Whose data it is: what is stored for one tenant can be made unreadable without the others noticing. 0 is the
    /// cluster itself.
    TenantId(u32),
    /// A key of the key ring. Never reused in a cluster; 0 is the key that unlocks the ring.
    KeyId(u32),
    /// Within which equal chunks are stored once, and outside of which nobody learns that they are: a tenant.
    Scope(u32),
    /// Which of the cluster's secrets vouches for something.
    SecretId(u16),
    /// A certificate. Those that the root partition issues are counted from 1; see [`Serial::is_counted`].
    Serial(u64),
}

byte_ids! {
    /// BLAKE3-256 of a chunk's plain bytes: its name everywhere.
    ChunkId[32],
    /// Says that its holder has the bytes of a chunk, not just its id.
    Possession[16],
    /// Created by `init`; written on every disk and in every certificate.
    ClusterId[16],
    /// Created when a disk is formatted; identifies the physical disk.
    DiskUuid[16],
    /// Chosen by a client for one logical write; a repeat of it is not applied again.
    RequestId[16],
    /// Created with a metadata store; a copy of the store has it, too.
    StoreUuid[16],
    /// A join token as it is listed: the first bytes of its hash. Says nothing of its secret.
    TokenId[8],
}

impl Serial {
    const UNCOUNTED: u64 = 1 << 63;

    /// A serial for a certificate that no root partition knows of, from a random number.
    pub fn uncounted(random: u64) -> Self {
        Self(random | Self::UNCOUNTED)
    }

    /// True for what the root partition has issued, and so can list.
    pub fn is_counted(self) -> bool {
        self.0 & Self::UNCOUNTED == 0
    }
}

impl ChunkId {
    /// This chunk, as it is stored in a scope.
    pub const fn within(self, scope: Scope) -> ChunkKey {
        ChunkKey { id: self, scope }
    }

    /// Placement group among `pg_count` (a power of two): the first bits of the id, so that the chunks of a group are
    /// one range of ids.
    pub fn pg(&self, pg_count: u16) -> PgId {
        assert!(pg_count.is_power_of_two(), "checked when a cluster map is built");
        let prefix = u16::from_be_bytes([self.0[0], self.0[1]]);
        // With one group every bit is shifted out, which `>>` refuses.
        PgId(prefix.checked_shr(16 - pg_count.trailing_zeros()).unwrap_or(0))
    }
}

/// A chunk as it is stored: scopes share nothing, whatever their chunks are called. In the order of ids, so that a
/// placement group is one range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkKey {
    /// The hash of its plain bytes.
    pub id: ChunkId,
    /// Whose it is.
    pub scope: Scope,
}

impl fmt::Display for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of scope {}", self.id, self.scope)
    }
}

impl ChunkKey {
    /// How many bytes it has as a part of a key.
    pub const SIZE: usize = 36;

    /// As a part of a key, in the same order.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..32].copy_from_slice(&self.id.0);
        bytes[32..].copy_from_slice(&self.scope.0.to_be_bytes());
        bytes
    }

    /// Reads that part of a key.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let (id, scope) = bytes.split_first_chunk::<32>().expect("it is longer");
        let scope = scope.first_chunk::<4>().expect("four bytes are left");
        Self { id: ChunkId(*id), scope: Scope(u32::from_be_bytes(*scope)) }
    }
}

impl Scope {
    /// Where the tenant that every cluster begins with stores.
    pub const FIRST: Self = Self::of(TenantId::FIRST);

    /// Where a tenant's chunks are, unless a policy says otherwise.
    pub const fn of(tenant: TenantId) -> Self {
        Self(tenant.0)
    }

    /// Whose key seals what is stored in it.
    pub const fn tenant(self) -> TenantId {
        TenantId(self.0)
    }
}

impl PgId {
    /// First and last chunk id of this group among `pg_count` groups.
    pub fn range(self, pg_count: u16) -> (ChunkId, ChunkId) {
        let shift = 16 - pg_count.trailing_zeros();
        let first = self.0.checked_shl(shift).unwrap_or(0);
        let last = first | u16::MAX.checked_shr(pg_count.trailing_zeros()).unwrap_or(0);
        let mut range = (ChunkId([0; 32]), ChunkId([0xff; 32]));
        range.0.0[..2].copy_from_slice(&first.to_be_bytes());
        range.1.0[..2].copy_from_slice(&last.to_be_bytes());
        range
    }
}

impl ReplicaId {
    /// No node that can have one has a larger id.
    pub const NODE_MAX: NodeId = NodeId((1 << 48) - 1);

    /// The `store`-th store of `node`.
    pub fn new(node: NodeId, store: u16) -> Self {
        assert!(node <= Self::NODE_MAX, "nodes are counted from 1, and read no larger");
        Self(node.0 << 16 | u64::from(store))
    }

    /// Where it is.
    pub fn node(self) -> NodeId {
        NodeId(self.0 >> 16)
    }

    /// Which of its node's stores it is.
    pub fn store(self) -> u16 {
        self.0 as u16
    }
}

impl TenantId {
    /// The cluster itself: whose secrets are not data of anybody.
    pub const CLUSTER: Self = Self(0);
    /// The tenant that every cluster begins with.
    pub const FIRST: Self = Self(1);
}

impl FeatureLevel {
    /// Where every partition begins.
    pub const FIRST: Self = Self(1);
}

/// The bits of a generation that say what is stored.
const FINGERPRINT_MASK: u64 = (1 << 40) - 1;

impl Generation {
    /// A generation of `epoch`, of stored bytes with this fingerprint (its lower 40 bits).
    pub fn new(epoch: GcEpoch, fingerprint: u64) -> Self {
        Self((u64::from(epoch.0) << 40) | (fingerprint & FINGERPRINT_MASK))
    }

    /// True when both have the same stored bytes: of one, shards of the other can be read.
    pub fn is_like(self, other: Self) -> bool {
        self.0 & FINGERPRINT_MASK == other.0 & FINGERPRINT_MASK
    }

    /// The cycle in which this generation was written.
    pub fn epoch(self) -> GcEpoch {
        GcEpoch((self.0 >> 40) as u32)
    }
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |d: u8| u8::try_from((d as char).to_digit(16)?).ok();
    digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? * 16 + nibble(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_keys_are_in_the_order_of_their_bytes() {
        let key = |id: u8, scope| ChunkKey { id: ChunkId([id; 32]), scope: Scope(scope) };
        let keys = [key(1, 1), key(1, 2), key(1, 256), key(2, 1)];
        assert!(keys.is_sorted() && keys.map(ChunkKey::to_bytes).is_sorted());
        assert_eq!(keys.map(|key| ChunkKey::from_bytes(&key.to_bytes())), keys);
    }

    #[test]
    fn hex_round_trips_and_bad_hex_is_refused() {
        let id = ChunkId([0xab; 32]);
        assert_eq!(ChunkId::parse(&id.to_string()), Ok(id));
        for bad in ["", "ab", &"x".repeat(64), &"a".repeat(63), &"é".repeat(32)] {
            assert!(ChunkId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_generation_knows_its_epoch() {
        let generation = Generation::new(GcEpoch(7), u64::MAX);
        assert_eq!(generation.epoch(), GcEpoch(7));
        assert!(generation.is_like(Generation::new(GcEpoch(8), u64::MAX)));
        assert!(!generation.is_like(Generation::new(GcEpoch(7), u64::MAX - 1)));
    }

    #[test]
    fn a_pg_is_a_range_of_ids() {
        let mut id = ChunkId([0; 32]);
        id.0[0] = 0xff;
        id.0[1] = 0x0f;
        assert_eq!(id.pg(4096), PgId(0xff0));
        assert_eq!(id.pg(1), PgId(0));
        assert_eq!(PgId(0xff0).range(4096).0.0[..3], [0xff, 0, 0]);
        assert_eq!(PgId(0xff0).range(4096).1.0[..3], [0xff, 0x0f, 0xff]);
    }
}
