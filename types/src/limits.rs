//! Every bound of the system on one page, each with its reason (I-BOUND).

/// 2^10 bytes.
pub const KIB: usize = 1 << 10;
/// 2^20 bytes.
pub const MIB: usize = 1 << 20;
/// 2^30 bytes.
pub const GIB: u64 = 1 << 30;

// ---- names -------------------------------------------------------------------------------------------------------

/// One name: what every common file system can hold.
pub const NAME_SIZE_MAX: usize = 255;
/// A whole path, names and separators: Linux's PATH_MAX.
pub const PATH_SIZE_MAX: usize = 4096;
/// The name of an administrator or user: what fits in a certificate's common name.
pub const IDENTITY_NAME_SIZE_MAX: usize = 64;
/// Components of a path: bounds every walk to the root.
pub const PATH_DEPTH_MAX: usize = 256;

// ---- chunks and stripes ------------------------------------------------------------------------------------------

/// A file of this size or more is split into large chunks.
pub const LARGE_FILE_SIZE_MIN: u64 = GIB;
/// The largest chunk of any splitting rule.
pub const CHUNK_SIZE_MAX: usize = 4 * MIB;
/// A chunk whose stored payload is smaller is kept as `m + 1` replicas, not as a stripe.
pub const STRIPE_SIZE_MIN: usize = 128 * KIB;
/// A file of this size or less lives inside its version row.
pub const INLINE_SIZE_MAX: usize = 4 * KIB;
/// Shards of a stripe: GF(2^8) would allow 255; nobody deploys more than this.
pub const SHARD_COUNT_MAX: usize = 32;
/// Chunks that a version row lists itself; longer lists are manifest nodes in the block store.
pub const MANIFEST_INLINE_COUNT_MAX: usize = 64;
/// Entries of one manifest node.
pub const MANIFEST_NODE_COUNT_MAX: usize = 1024;
/// A file: bounded by three levels of full manifest nodes and more than any file system here can hold.
pub const FILE_SIZE_MAX: u64 = 1 << 50;

// ---- wire --------------------------------------------------------------------------------------------------------

/// One frame holds the largest chunk or a full batch, and its header.
pub const FRAME_SIZE_MAX: usize = 16 * MIB;
/// The structured part of a request or reply.
pub const FRAME_HEADER_SIZE_MAX: usize = 8 * MIB;
/// Requests in progress that one connection may have before the server answers `Busy`.
pub const CONNECTION_REQUEST_COUNT_MAX: u32 = 1024;
/// Requests in progress on one node over all connections.
pub const NODE_REQUEST_COUNT_MAX: usize = 4096;
/// Bytes of request bodies in progress on one node.
pub const NODE_REQUEST_BYTES_MAX: usize = 512 * MIB;
/// A request that names no deadline gets this one.
pub const REQUEST_DEADLINE_MS_DEFAULT: u32 = 10_000;
/// No request may ask for more.
pub const REQUEST_DEADLINE_MS_MAX: u32 = 120_000;

/// Connections one node holds open; every peer and client needs at most a few.
pub const CONNECTION_COUNT_MAX: usize = 8192;
/// First contact with another process: one round trip anywhere on earth, and one lost packet.
pub const CONNECT_MS_MAX: u64 = 1_000;
/// Certificates and hello after the first contact: two round trips and some arithmetic on a busy machine.
pub const HANDSHAKE_MS_MAX: u64 = 2_000;
/// An idle connection says this often that it is alive.
pub const HEARTBEAT_MS: u64 = 600;
/// A peer that is silent for four heartbeats is presumed dead.
pub const PEER_SILENCE_MS_MAX: u64 = 2_500;
/// A server that stops lets calls in progress finish for this long.
pub const SHUTDOWN_MS_MAX: u64 = 5_000;

// ---- metadata ----------------------------------------------------------------------------------------------------

/// Operations in one request and in one Raft entry.
pub const BATCH_OP_COUNT_MAX: usize = 512;
/// Bytes of commands that a proposer packs into one Raft entry (a single larger command still goes alone).
pub const ENTRY_SIZE_TARGET: usize = MIB;
/// One command: a full batch of inline files fits.
pub const COMMAND_SIZE_MAX: usize = 4 * MIB;
/// Commands waiting in a partition's proposer before it answers `Busy`.
pub const PROPOSER_QUEUE_COUNT_MAX: usize = 8192;
/// Bytes of commands waiting in a partition's proposer: a second or two of what a disk can log.
pub const PROPOSER_QUEUE_SIZE_MAX: usize = 64 * MIB;
/// Chunk ids in one `pin` request.
pub const PIN_COUNT_MAX: usize = 4096;
/// Entries of one listing page.
pub const LIST_PAGE_COUNT_MAX: usize = 2000;
/// Records of one journal page.
pub const JOURNAL_PAGE_COUNT_MAX: usize = 2000;
/// Versions of one history page.
pub const HISTORY_PAGE_COUNT_MAX: usize = 1000;
/// The reply to a write is remembered at least this long, so that a repeat is answered and not applied again.
pub const IDEMPOTENCY_MS: u64 = 24 * 3600 * 1000;
/// Namespaces of one cluster: the root partition keeps a row for each.
pub const NAMESPACE_COUNT_MAX: usize = 100_000;

// ---- cluster -----------------------------------------------------------------------------------------------------

/// Nodes of one cluster.
pub const NODE_COUNT_MAX: usize = 4096;
/// Disks of one node.
pub const NODE_DISK_COUNT_MAX: usize = 128;
/// Placement groups; a power of two.
pub const PG_COUNT_MAX: u16 = 16384;
/// Placement groups of a new cluster.
pub const PG_COUNT_DEFAULT: u16 = 4096;

// ---- disk --------------------------------------------------------------------------------------------------------

/// A segment file is sealed at this size.
pub const SEGMENT_SIZE_MAX: u64 = GIB;
/// Bytes covered by one CRC of a record.
pub const RECORD_BLOCK_SIZE: usize = 64 * KIB;
/// Writes that wait for one group commit of a disk before it answers `Busy`.
pub const DISK_QUEUE_COUNT_MAX: usize = 4096;
/// A group commit takes in no more writes once it has this many bytes.
pub const GROUP_COMMIT_SIZE_MAX: usize = 16 * MIB;
/// A disk with less free space takes no more shards, so that it can still record deletions and write its index.
pub const DISK_FREE_BYTES_MIN: u64 = 256 * MIB as u64;

/// Sizes of memory and of files are one kind of number here.
const _: () = assert!(usize::BITS == 64);
const _: () = assert!(CHUNK_SIZE_MAX + FRAME_HEADER_SIZE_MAX < FRAME_SIZE_MAX);
const _: () = assert!(HEARTBEAT_MS * 4 <= PEER_SILENCE_MS_MAX);
const _: () = assert!(BATCH_OP_COUNT_MAX * (INLINE_SIZE_MAX + 1024) <= COMMAND_SIZE_MAX);
const _: () = assert!(COMMAND_SIZE_MAX < FRAME_SIZE_MAX);
const _: () = assert!(PG_COUNT_DEFAULT.is_power_of_two() && PG_COUNT_MAX.is_power_of_two());
const _: () = assert!(GROUP_COMMIT_SIZE_MAX as u64 <= SEGMENT_SIZE_MAX);
const _: () = assert!(INLINE_SIZE_MAX < STRIPE_SIZE_MIN);
