//! Every bound of the system, each with its reason (I-BOUND): sizes, counts and times; those of a disk are in `disk.rs`,
//! those of repair in `repair.rs`. What must hold between them is asserted at the end, at compile time.

mod disk;
mod repair;
mod units;

use std::time::Duration;

pub use disk::*;
pub use repair::*;
pub use units::*;

// ---- names -------------------------------------------------------------------------------------------------------

/// One name: what every common file system can hold.
pub const NAME_SIZE_MAX: usize = 255;
/// A whole path, names and separators: Linux's PATH_MAX.
pub const PATH_SIZE_MAX: usize = 4096;
/// The name of an administrator or user: what fits in a certificate's common name.
pub const IDENTITY_NAME_SIZE_MAX: usize = 64;
/// Components of a path: bounds every walk to the root.
pub const PATH_DEPTH_MAX: usize = 256;
/// What a symbolic link points to: Linux's PATH_MAX.
pub const LINK_TARGET_SIZE_MAX: usize = 4096;
/// A media type.
pub const MEDIA_TYPE_SIZE_MAX: usize = 255;
/// Extended attributes of an entry, names and values together: they travel with every listing.
pub const XATTRS_SIZE_MAX: usize = 4096;
/// Extended attributes of an entry.
pub const XATTR_COUNT_MAX: usize = 64;

// ---- chunks and stripes ------------------------------------------------------------------------------------------

/// A file of this size or more is split into large chunks.
pub const LARGE_FILE_SIZE_MIN: u64 = GIB;
/// The largest chunk of any splitting rule.
pub const CHUNK_SIZE_MAX: usize = 4 * MIB;
/// A chunk whose stored payload is smaller is kept as `m + 1` replicas, not as a stripe.
pub const STRIPE_SIZE_MIN: usize = 128 * KIB;
/// A file of this size or less lives inside its version row.
pub const INLINE_SIZE_MAX: usize = 4 * KIB;
/// Payload bytes of one frame of a sealed payload: what a reader of a few bytes has to open. Part of the format.
pub const SEALED_FRAME_SIZE: usize = 64 * KIB;
/// What precedes the frames of a sealed payload.
pub const SEALED_HEADER_SIZE: usize = 32;
/// What each frame grows by: the tag of AES-GCM.
pub const SEALED_TAG_SIZE: usize = 16;
/// The largest payload, sealed.
pub const SEALED_SIZE_MAX: usize =
    SEALED_HEADER_SIZE + CHUNK_SIZE_MAX + CHUNK_SIZE_MAX / SEALED_FRAME_SIZE * SEALED_TAG_SIZE;
/// Shards of a stripe: GF(2^8) would allow 255; nobody deploys more than this.
pub const SHARD_COUNT_MAX: usize = 32;
/// Chunks that a version row lists itself; longer lists are manifest nodes in the block store.
pub const MANIFEST_INLINE_COUNT_MAX: usize = 64;
/// Entries of one manifest node.
pub const MANIFEST_NODE_COUNT_MAX: usize = 1024;
/// A file: bounded by three levels of full manifest nodes and more than any file system here can hold.
pub const FILE_SIZE_MAX: u64 = 1 << 50;

// ---- transfers ---------------------------------------------------------------------------------------------------

/// Bytes of chunks between reading and acknowledgement, over all files of an uploader.
pub const UPLOAD_WINDOW_SIZE: usize = 32 * MIB;
/// Bytes read from a local file at once.
pub const UPLOAD_READ_SIZE: usize = MIB;
/// Chunks of a file that wait to be taken: enough that the reader does not wait for the task that takes them.
pub const UPLOAD_QUEUE_COUNT_MAX: usize = 4;
/// A file that changes while it is read is read at most this many times. A writer that is faster than three reads is
/// not done yet.
pub const UPLOAD_TRY_COUNT_MAX: usize = 3;
/// Chunks of one file that are fetched at once: at most 4 MiB each.
pub const DOWNLOAD_CHUNK_COUNT_MAX: usize = 16;

// ---- wire --------------------------------------------------------------------------------------------------------

/// One frame holds the largest chunk or a full batch, and its header.
pub const FRAME_SIZE_MAX: usize = 16 * MIB;
/// The structured part of a request or reply.
pub const FRAME_HEADER_SIZE_MAX: usize = 8 * MIB;
/// Requests in progress that one connection may have before the server answers `Busy`.
pub const CONNECTION_REQUEST_COUNT_MAX: u32 = 1024;
/// Requests of clients in progress on one node, over all connections; and as many of other nodes.
pub const NODE_REQUEST_COUNT_MAX: usize = 4096;
/// Bytes of them.
pub const NODE_REQUEST_BYTES_MAX: usize = 512 * MIB;
/// Raft messages and heartbeats in progress on one node: several per group and peer.
pub const CONSENSUS_REQUEST_COUNT_MAX: usize = 8192;
/// Bytes of them: a full message per peer of a small cluster, with room left for one more.
pub const CONSENSUS_REQUEST_BYTES_MAX: usize = 128 * MIB;
/// Requests in progress that administer a cluster or ask for its state: few, and each is small.
pub const CONTROL_REQUEST_COUNT_MAX: usize = 512;
/// Bytes of them.
pub const CONTROL_REQUEST_BYTES_MAX: usize = 64 * MIB;
/// A request that names no deadline gets this one.
pub const REQUEST_DEADLINE_MS_DEFAULT: u32 = 10_000;
/// No request may ask for more.
pub const REQUEST_DEADLINE_MS_MAX: u32 = 120_000;

/// Connections that one door of a node holds open; every peer and client needs at most a few.
pub const CONNECTION_COUNT_MAX: usize = 8192;
/// Those of callers who are no nodes, over all doors: the rest is for nodes, two per peer.
pub const CONNECTION_CLIENT_COUNT_MAX: usize = CONNECTION_COUNT_MAX - 1024;
/// Connections to the pages of a node: a monitor or two, and a person.
pub const PAGE_CONNECTION_COUNT_MAX: usize = 16;
/// Bytes of a request for a page.
pub const PAGE_REQUEST_SIZE_MAX: usize = 8 * KIB;
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
/// Keys that a cluster has had: one more per tenant and rotation. They are one row.
pub const KEY_COUNT_MAX: usize = 4096;
/// Memory that a new passphrase is derived with, in KiB, and passes over it: a fifth of a second for whoever knows it,
/// and for each guess of whoever does not.
pub const PASSPHRASE_MEMORY_KIB: u32 = 64 * KIB as u32;
/// See [`PASSPHRASE_MEMORY_KIB`].
pub const PASSPHRASE_PASS_COUNT: u32 = 3;
/// What a node that starts may be told to spend on it.
pub const PASSPHRASE_MEMORY_KIB_MAX: u32 = 1024 * KIB as u32;
/// See [`PASSPHRASE_MEMORY_KIB_MAX`].
pub const PASSPHRASE_PASS_COUNT_MAX: u32 = 64;
/// Shorter ones are guessed, however long a guess takes.
pub const PASSPHRASE_SIZE_MIN: usize = 12;
/// One command: a full batch of inline files fits.
pub const COMMAND_SIZE_MAX: usize = 4 * MIB;
/// Commands waiting in a partition's proposer before it answers `Busy`.
pub const PROPOSER_QUEUE_COUNT_MAX: usize = 8192;
/// Bytes of commands waiting in a partition's proposer: a second or two of what a disk can log.
pub const PROPOSER_QUEUE_SIZE_MAX: usize = 64 * MIB;
/// Segments of a node's Raft log, all groups together: it is read as a whole when the node starts, which takes seconds
/// per GiB. When it is larger, what little is needed of old segments moves to the end of the log.
pub const LOG_SIZE_TARGET: u64 = GIB / 2;
/// Entries that a node keeps of all groups together, once their effect is on disk: half of the log, so that a moved
/// entry makes room for another one at least.
pub const LOG_TAILS_SIZE_MAX: u64 = LOG_SIZE_TARGET / 2;
/// Entries of one group that are kept at most, for nodes that were away for a while; who misses more gets a snapshot.
pub const LOG_TAIL_COUNT_MAX: u64 = 100_000;
/// However many groups share the log, this much is kept of each: openraft must never find that entries it is about to
/// apply were removed, and a node that restarts must not need a snapshot.
pub const LOG_TAIL_SIZE_MIN: u64 = 4 * MIB as u64;
/// While all groups together have no more log than this, nothing is removed that a node needs which answers but lags,
/// or which gets a snapshot at the moment. With more, it needs a newer snapshot: a voter that is slow must not stop the
/// others.
pub const LOG_HOLD_SIZE_MAX: u64 = GIB;
/// Sealed segments that wait for the archive. Beyond it the oldest are given up: a node that goes on without its archive
/// loses history, one without room for its log loses its vote.
pub const LOG_ARCHIVE_LAG_SIZE_MAX: u64 = 4 * GIB;
/// When less than this share of the log's disk is free, one part in so many, but less than [`LOG_RESERVE_SIZE_MAX`] in any
/// case, ordinary commands are refused; when it is a quarter of that, everything is but votes. A full disk would end the
/// log for good.
pub const LOG_RESERVE_SHARE: u64 = 20;
/// A few segments, and what the store writes while space is made.
pub const LOG_RESERVE_SIZE_MAX: u64 = 256 * MIB as u64;
/// Pieces of a snapshot, of about 2 MiB each, that are under way at once: enough that neither disk waits for the network.
pub const SNAPSHOT_WINDOW: usize = 4;
/// Snapshots that a node sends at once, over all groups. Each takes the memory of a window, and a view of the store that
/// keeps old versions of rows.
pub const SNAPSHOT_STREAM_COUNT_MAX: usize = 4;
/// Chunk ids in one `pin` request.
pub const PIN_COUNT_MAX: usize = 4096;
/// Rows of the chunk index that are read at once for a new Bloom filter, and added to it under one lock.
pub const FILTER_PAGE_COUNT: usize = 1024;
/// Rows of the chunk index in one page for a node.
pub const CHUNK_PAGE_COUNT: usize = 512;
/// How often a metaserver looks whether a Bloom filter is missing or full.
pub const FILTER_CHECK_PERIOD: Duration = Duration::from_secs(1);
/// Entries of one listing page.
pub const LIST_PAGE_COUNT_MAX: usize = 2000;
/// Reads of metadata that run at once: more than the requests a disk serves at a time.
pub const READ_THREAD_COUNT_MAX: usize = 16;
/// Reads that wait for a thread: as many as a node admits.
pub const READ_QUEUE_COUNT_MAX: usize = NODE_REQUEST_COUNT_MAX;
/// Readers of journals that wait on one node, a few kilobytes each: every device of a large installation.
pub const POLL_COUNT_MAX: usize = 100_000;
/// Records of one journal page.
pub const JOURNAL_PAGE_COUNT_MAX: usize = 2000;
/// Versions of one history page.
pub const HISTORY_PAGE_COUNT_MAX: usize = 1000;
/// Answers to writes that a partition remembers, so that a repeat is answered and not applied again: minutes of the
/// heaviest load, where a client repeats for seconds.
pub const ANSWER_COUNT_MAX: u64 = 1_000_000;
/// What they may take together, each counted with the longest message that is remembered.
pub const ANSWER_SIZE_MAX: u64 = 256 * MIB as u64;
/// What is remembered of the message of a refusal.
pub const ANSWER_MESSAGE_SIZE_MAX: usize = 256;
/// Commands of a partition that the operator has had skipped on one node: each is a bug.
pub const SKIP_COUNT_MAX: usize = 1024;
/// Entries of a partition's log that are applied as one batch.
pub const APPLY_ENTRY_COUNT_MAX: usize = 256;
/// How far behind the commands that are applied the one that stops a partition may be: a stop leaves nothing of its batch,
/// whose entries have as many commands as a proposer packs.
pub const SKIP_AHEAD_COUNT_MAX: u64 = (APPLY_ENTRY_COUNT_MAX * BATCH_OP_COUNT_MAX) as u64;
/// Why a command is skipped, in the operator's words.
pub const SKIP_REASON_SIZE_MAX: usize = 1024;
/// A digest of a partition reads all its rows: some millions a second.
pub const DIGEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Copies of a partition are asked for their digests this many times until they have been at the same command.
pub const COMPARE_TRY_COUNT_MAX: usize = 20;
/// Between two times: what a follower lags behind.
pub const COMPARE_PAUSE: Duration = Duration::from_millis(100);
/// A change of the map is computed again when another was faster, which takes two leaders each time.
pub const MAP_CHANGE_TRY_COUNT_MAX: usize = 5;
/// Namespaces of one page.
pub const NAMESPACE_PAGE_COUNT_MAX: usize = 1000;
/// Removed entries of one page.
pub const TRASH_PAGE_COUNT_MAX: usize = 1000;
/// Entries of a directory that is listed by time or size: its page is found by looking at all of them.
pub const SORT_ENTRY_COUNT_MAX: u64 = 1_000_000;
/// Entries that are looked at to find out how deep a directory is that is about to be moved.
pub const REACH_ENTRY_COUNT_MAX: usize = 10_000;

// ---- formats -----------------------------------------------------------------------------------------------------

/// Nothing that is counted in 64 bits comes this far: a file or row that says so is damaged. What is read can be counted
/// on from there without a look at the end.
pub const COUNTER_MAX: u64 = 1 << 62;

// ---- cluster -----------------------------------------------------------------------------------------------------

/// Nodes of one cluster.
pub const NODE_COUNT_MAX: usize = 4096;
/// Certificates that a cluster knows of and that have not run out: every node has up to two most of the time, and there are
/// people.
pub const CERTIFICATE_COUNT_MAX: usize = 16384;
/// Certificates of one holder that have not run out: whoever asks for more renews in a loop.
pub const HOLDER_CERTIFICATE_COUNT_MAX: usize = 16;
/// Revoked certificates that have not run out: the list is sent as a whole.
pub const REVOKED_COUNT_MAX: usize = CERTIFICATE_COUNT_MAX;
/// Join tokens that have not run out.
pub const TOKEN_COUNT_MAX: usize = 1024;
/// Nodes that one join token can admit.
pub const TOKEN_USE_COUNT_MAX: u32 = 1024;
/// A forgotten join token lets nobody in after this time.
pub const TOKEN_VALIDITY_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often the leader of the root looks for tokens and certificates that have run out, to forget them.
pub const EXPIRED_LOOK_PERIOD: Duration = Duration::from_secs(600);
/// Disks of one node.
pub const NODE_DISK_COUNT_MAX: usize = 128;
/// Partitions of one kind: each is a Raft group.
pub const PARTITION_COUNT_MAX: u32 = 256;
/// Nodes that vote in one partition: more make every command slower, and these survive the loss of two.
pub const VOTER_COUNT_MAX: usize = 5;
/// Ranges that the slots of a kind may be divided into. Every node follows the map, which has them all.
pub const SLOT_RANGE_COUNT_MAX: usize = 4096;
/// Placement groups; a power of two.
pub const PG_COUNT_MAX: u16 = 16384;
/// Placement groups of a new cluster.
pub const PG_COUNT_DEFAULT: u16 = 4096;

// ---- times: connections ------------------------------------------------------------------------------------------

/// When a refused caller should come back: some requests have finished by then, or the node is overloaded anyway.
pub const REQUEST_RETRY_MS: u32 = 50;
/// A refused read may come back when a thread has answered a few others.
pub const READ_RETRY_MS: u32 = 20;
/// A reader of a journal that may not wait asks again after this time: as if it had waited for a while.
pub const POLL_RETRY_MS: u32 = 5_000;
/// A lost first packet of QUIC is sent again after three times this; the default would use up the time to connect.
pub const QUIC_INITIAL_RTT: Duration = Duration::from_millis(100);
/// After a failed accept, usually for want of file descriptors, a server waits this long before the next.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long the last packets of an answer, or of a server that stops, may take.
pub const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);
/// A server gives up a silent caller after this time: later than the caller gives up the server, so that the caller,
/// who can dial again, notices first.
pub const SERVER_SILENCE_MAX: Duration = Duration::from_millis(PEER_SILENCE_MS_MAX * 4);
/// A peer that takes no byte for this long is given up.
pub const PEER_STALL_MAX: Duration = Duration::from_secs(10);
/// A page is asked for and sent in this time, or its connection ends.
pub const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Places in a channel that carries nothing: its end is the message.
pub const LATCH_COUNT: usize = 1;

// ---- times: certificates -----------------------------------------------------------------------------------------

/// An authority outlives its cluster's hardware; renewing it means touching every credential file.
pub const AUTHORITY_VALIDITY: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// For how long the certificate of a node is valid: a stolen one is of no use after this time, and a node that was off
/// for a holiday still finds its way back.
pub const NODE_CERTIFICATE_VALIDITY: Duration = Duration::from_secs(90 * DAY_SECONDS);
/// For how long the credentials of a person are valid, unless told.
pub const PERSON_CERTIFICATE_VALIDITY: Duration = Duration::from_secs(365 * DAY_SECONDS);
/// For how long they can be valid at most.
pub const PERSON_CERTIFICATE_VALIDITY_MAX: Duration = Duration::from_secs(5 * 365 * DAY_SECONDS);
/// For how long a certificate is valid that a stopped meta node signs by itself: until a running cluster, which can list
/// and revoke its own, has issued another.
pub const LOCAL_CERTIFICATE_VALIDITY: Duration = Duration::from_secs(DAY_SECONDS);
/// A node renews its certificate when so many thirds of its life are over.
pub const CERTIFICATE_RENEW_THIRDS: u64 = 2;
/// Nodes that have joined together do not renew together: each waits for up to this part of the life longer.
pub const CERTIFICATE_JITTER_PART: u64 = 20;
/// A node looks at least this often whether its certificate is to be renewed: wall clocks are set, machines sleep.
pub const CERTIFICATE_LOOK_PERIOD: Duration = Duration::from_secs(3600);
/// How long a node waits between two attempts to renew, at most and at least.
pub const CERTIFICATE_RETRY_PAUSE_MAX: Duration = Duration::from_secs(600);
/// As above.
pub const CERTIFICATE_RETRY_PAUSE_MIN: Duration = Duration::from_secs(1);
/// How long before its end a command says that the credentials it was given run out.
pub const CREDENTIALS_WARN_BEFORE: Duration = Duration::from_secs(30 * DAY_SECONDS);
const DAY_SECONDS: u64 = 24 * 3600;
/// Clocks of machines differ: a new certificate is valid from this long before now.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(3600);
/// Clocks that are further apart than this are worth a word: tickets end early or late.
pub const CLOCK_APART_MS_MAX: i64 = 10_000;
/// How often a node asks for the keys of what it stores: for as long a destroyed key opens what it had sealed, and an
/// old one seals what is new.
pub const KEYS_REFRESH_PERIOD: Duration = Duration::from_secs(30);
/// How long a read ticket lives at most, from the start of the step it is issued in.
pub const TICKET_MS_MAX: u64 = 60 * 1000;
/// Tickets issued in the same step are equal, so that they can be cached.
pub const TICKET_STEP_MS: u64 = 15 * 1000;
/// How often a reader whose ticket is refused has it renewed.
pub const TICKET_ATTEMPT_COUNT: usize = 4;
/// Tickets that are renewed with one request.
pub const TICKET_RENEW_COUNT_MAX: usize = 256;
/// For how long after its end a ticket can be renewed.
pub const TICKET_RENEW_MS_MAX: u64 = DAY_SECONDS * 1000;
/// A reader has tickets renewed that it got longer ago than this, well before they end.
pub const TICKET_RENEW_AFTER: Duration = Duration::from_secs(30);

// ---- times: Raft -------------------------------------------------------------------------------------------------

/// How long a command may take. A leader that lost its majority does not know it; its callers must not wait forever.
pub const PROPOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long adding a node or changing voters may take: a snapshot may have to be sent first.
pub const MEMBERSHIP_CHANGE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a replica waits for a voter's word whether it is a member: the voter asks a majority first.
pub const MEMBER_ASK_TIMEOUT: Duration = Duration::from_millis(1500);
/// How often to check whether an earlier change is done.
pub const MEMBERSHIP_CHANGE_PAUSE: Duration = Duration::from_millis(50);
/// How far the boot-time clock may run ahead of the monotonic one before the machine counts as suspended: what can pass
/// between reading the two. A lease ends by more than that before an election can.
pub const CLOCK_JUMP_MS_MAX: u64 = 20;
/// How long a heartbeat waits for those of other groups to the same node, which are sent at the same time.
pub const HEARTBEAT_GATHER_TIME: Duration = Duration::from_millis(4);
/// The heartbeats of all groups to one node are given this long: the next ones are on their way by then.
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(500);
/// An append is given this long: a follower's disk may be slow without being dead, and heartbeats go separately.
pub const APPEND_TIMEOUT: Duration = Duration::from_secs(2);
/// A piece of a snapshot is written before it is answered; the last one makes all of it durable.
pub const SNAPSHOT_PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// A piece of a state that a replica asks for is read and sent at once; whoever is slower is asked again later.
pub const STATE_FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a host looks for groups without a state, and asks for one.
pub const STATE_FETCH_PERIOD: Duration = Duration::from_millis(200);
/// A view of the state is sent for at most this long: as long as it is kept, the store keeps what was deleted since.
pub const SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(3600);
/// A transfer that broke off may go on after at most this time: longer than a node takes to restart.
pub const SNAPSHOT_PAUSE_MAX: Duration = Duration::from_secs(60);
/// A follower that has not answered for longer gets a snapshot when it comes back and the log has moved on.
pub const FOLLOWER_SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long openraft may take to note a snapshot before it is tried again in the next round.
pub const SNAPSHOT_NOTE_TIMEOUT: Duration = Duration::from_secs(10);
/// Waits between attempts to reach a node: short at first, because most interruptions are.
pub const PEER_BACKOFF_MS: [u64; 6] = [10, 20, 50, 100, 200, 400];
/// How often a node writes down how far the log of its metadata store has come.
pub const STORE_MARK_PERIOD: Duration = Duration::from_secs(1);
/// How long a node waits before it opens a metadata store again that it could not go on with.
pub const STORE_REOPEN_PAUSE: Duration = Duration::from_millis(500);
/// How often a host looks for groups that have stopped.
pub const SUPERVISE_PERIOD: Duration = Duration::from_millis(200);
/// How long a group that has stopped stays so at first. Doubles with every time.
pub const GROUP_RESTART_PAUSE_MIN: Duration = Duration::from_millis(500);
/// How long a group that stops again and again stays so in the end.
pub const GROUP_RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often a host writes down how far the stores of others have come.
pub const ROSTER_SAVE_PERIOD: Duration = Duration::from_secs(5);
/// A group whose log's disk is full is asked again after this time: it is looked at so often.
pub const LOG_FULL_RETRY_MS: u32 = 1_000;
/// How long a voter may take to say whether its disk has room: it has only to look at a number.
pub const HAS_ROOM_TIMEOUT: Duration = Duration::from_secs(1);
/// How often to look for segments that an archive has not taken.
pub const LOG_ARCHIVE_PERIOD: Duration = Duration::from_secs(1);
/// How often the sizes of logs are checked.
pub const LOG_TRIM_PERIOD: Duration = Duration::from_secs(1);

// ---- times: nodes and their map ----------------------------------------------------------------------------------

/// How often a node tells the leader of the root partition that it is there.
pub const NODE_HEARTBEAT_PERIOD: Duration = Duration::from_millis(300);
/// A node that is silent for longer is presumed down, and its slots get substitutes.
pub const NODE_SILENCE_MS_MAX: u64 = 1_500;
/// How often the leader of the root partition looks for silent nodes.
pub const NODE_WATCH_PERIOD: Duration = Duration::from_millis(200);
/// How often leaders compare their voters with the map's.
pub const VOTERS_CHECK_PERIOD: Duration = Duration::from_millis(500);
/// Changes of members that are under way at once, over all partitions: each may have a whole state sent.
pub const MEMBERSHIP_CHANGE_COUNT_MAX: usize = 2;
/// How long a leader leads at least before it hands over to the one that the map prefers. A node that stops hands over
/// to others, and is down for them before that.
pub const LEADER_STAY: Duration = Duration::from_secs(10);
/// A node that stops hands over what it leads first: for as long as an election would take at most.
pub const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it looks whether another leads.
pub const HAND_OVER_LOOK_PERIOD: Duration = Duration::from_millis(10);
/// So many looks later it asks the next voter: an election that is asked for takes a few round trips and writes.
pub const HAND_OVER_LOOK_COUNT: usize = 20;
/// A copy that has for so long not come to where the newest one was is behind: one that is well needs a heartbeat or two
/// to say so.
pub const REPLICA_BEHIND_MS_MAX: u64 = 5_000;
/// How long a new cluster may take to elect itself.
pub const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a new node tries to reach the leader of the root partition.
pub const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// One attempt of it, at one address.
pub const JOIN_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two rounds over all addresses.
pub const JOIN_PAUSE: Duration = Duration::from_millis(200);
/// Between two attempts to get ids for new disks.
pub const DISK_REGISTER_PAUSE: Duration = Duration::from_millis(500);
/// Requests of a node to the metadata give up after this time; their callers decide what then.
pub const NODE_REQUEST_DEADLINE: Duration = Duration::from_secs(8);

// ---- times: reads and writes of metadata -------------------------------------------------------------------------

/// One attempt of a request to a partition: a leader that needs longer is likely dead, and all requests may be repeated.
pub const LEADER_ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// A read that needs a leader waits this long for one: longer than an election takes.
pub const LEADER_PATIENCE: Duration = Duration::from_secs(5);
/// An election takes about a second; by then the second round of voters has an answer.
pub const CLIENT_BACKOFF_MS: [u64; 5] = [10, 30, 60, 100, 150];
/// A read on a replica that lags waits this long for it to catch up, then sends the reader to another.
pub const READ_CATCH_UP_MS_MAX: u64 = 50;
/// A reader of the journal waits at most this long for the next record.
pub const JOURNAL_WAIT_MS_MAX: u32 = 60_000;

// ---- times: chunks and disks -------------------------------------------------------------------------------------

/// One attempt to store or read a chunk; a killed node is noticed by the transport much sooner.
pub const CHUNK_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// A node that has not made a shard durable by then is treated as down for this chunk.
pub const SHARD_WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// When all but one shard are durable, the last one gets this much more time before a repair intent takes its place.
pub const SHARD_STRAGGLER_TIMEOUT: Duration = Duration::from_secs(1);
/// One attempt to read a shard from another node.
pub const SHARD_READ_TIMEOUT: Duration = Duration::from_secs(3);
/// A part that has not come after this time, at the earliest, is asked for from one more disk.
pub const SHARD_HEDGE_MIN: Duration = Duration::from_millis(20);
/// And after this time in any case.
pub const SHARD_HEDGE_AFTER: Duration = Duration::from_millis(150);
/// One request for a page of a disk's shards.
pub const SHARD_LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a node looks at the directories of its disks: whether they are there, and what they say.
pub const DISK_LOOK_PERIOD: Duration = Duration::from_secs(2);
/// A directory that does not answer a look by then is not waited for.
pub const DISK_LOOK_PATIENCE: Duration = Duration::from_millis(1_000);
/// A directory that has not answered a look for so long counts as failed: disks that turn up after a minute exist, but
/// nobody wants to wait for them.
pub const DISK_SILENCE_MAX: Duration = Duration::from_secs(10);
/// A node that starts waits so long for its disks to open before it serves with those that have.
pub const DISK_OPEN_PATIENCE: Duration = Duration::from_secs(5);
/// Between a failed attempt to open a disk and the next. Doubles with every failure.
pub const DISK_OPEN_PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause: each attempt may read much of the disk.
pub const DISK_OPEN_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Who gives a node a disk waits so long until it serves; a large one goes on being opened.
pub const DISK_ADOPT_PATIENCE: Duration = Duration::from_secs(6);
/// How often it looks whether it does.
pub const DISK_ADOPT_LOOK_PERIOD: Duration = Duration::from_millis(50);

/// In a simulation a piece of blocking work takes at most this long.
pub const SIMULATED_WORK_MS_MAX: u64 = 2;

// ---- times: this machine -----------------------------------------------------------------------------------------

/// How long freed memory waits for its next use before it goes back to the system: with the allocator's own default a
/// put of 1 GiB took 240,000 page faults, with this 100,000 (decision 0010). Never giving it back saves little more.
pub const PURGE_DELAY_MS: i32 = 10_000;
/// How often to check whether a process has ended.
pub const PROCESS_LOOK_PERIOD: Duration = Duration::from_millis(20);
/// A trouble that lasts is told when it begins, when it ends, and this often meanwhile.
pub const LOG_REMINDER_PERIOD: Duration = Duration::from_secs(60);
/// How often a progress line is drawn.
pub const PROGRESS_PERIOD_MS: u64 = 100;
/// How long a voter may be away, unless the configuration says otherwise, before another takes its place: longer than a
/// reboot or an update takes.
pub const META_DOWN_OUT_DEFAULT: Duration = Duration::from_secs(600);
/// The least and the most that a configuration may say. A voter must be down, and stay so for a moment.
pub const META_DOWN_OUT_RANGE: std::ops::RangeInclusive<u32> = 5..=86_400;
/// How long a message takes in a simulation at least, and at most so much longer when all is well: one way between two
/// machines of a data centre.
pub const SIM_LATENCY: Duration = Duration::from_millis(1);
/// For how long a simulation holds back a message that others are to overtake: several round trips.
pub const SIM_LATE_BY: Duration = Duration::from_millis(80);
/// How long a voter of a simulation may be away before another takes its place: longer than any fault that ends.
pub const SIM_META_DOWN_OUT: Duration = Duration::from_secs(20);
/// Entries of a partition's log that a simulated node keeps: few enough that a run trims its logs, and more than are
/// written while a voter is away.
pub const SIM_LOG_TAIL_COUNT: u64 = 200;
/// For how long a simulated voter is cut off before another one loses what it has acknowledged meanwhile: longer than a
/// node takes to remember how far its store has come.
pub const SIM_BEHIND: Duration = Duration::from_secs(3);
/// For how long a simulated machine that wakes up hears its clients only: longer than a lease.
pub const SIM_WAKE_TIME: Duration = Duration::from_millis(500);
/// How long a simulated cluster may take to become whole after the last fault: failure detection, elections and filling
/// all slots of a disk, several times over.
pub const SIM_HEAL_TIMEOUT: Duration = Duration::from_secs(180);
/// How long every acknowledged chunk may lack parts once its cluster is whole: several rounds of repair.
pub const SIM_PARTS_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a simulation looks whether its cluster is whole.
pub const SIM_HEAL_PERIOD: Duration = Duration::from_millis(500);
/// How far apart a simulation looks at what a cluster at rest holds: no multiple of what happens periodically.
pub const SIM_REST_LOOK_PERIOD: Duration = Duration::from_millis(37);
/// How long the clients of a simulation may take to come back once they are told to stop.
pub const SIM_STOP_TIMEOUT: Duration = Duration::from_secs(240);
/// Real time after which a simulation hangs: a hundred times what a minute of eight nodes takes.
pub const SIM_RUN_TIMEOUT: Duration = Duration::from_secs(240);
/// How often something that hangs on purpose looks whether it still has to: nobody measures how fast it goes on.
pub const HUNG_DISK_PERIOD: Duration = Duration::from_millis(50);
/// How often a simulated disk that hangs is asked whether it still does.
pub const SIM_HUNG_DISK_PERIOD: Duration = Duration::from_millis(10);
/// How long a client of a simulation looks for its cluster, in simulated time.
pub const SIM_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one question to a development cluster may take; it is asked again while the cluster starts.
pub const DEV_QUESTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a starting development cluster may make no progress: eight nodes on two busy cores need a tenth of it.
pub const DEV_START_TIMEOUT: Duration = Duration::from_secs(120);
/// How often to ask whether it has.
pub const DEV_START_PERIOD: Duration = Duration::from_millis(200);
/// How long a node that was told to stop waits for disks and peers: by then all that will answer has.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a node of a development cluster may take to stop on its own.
pub const DEV_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the join token of a development cluster is valid: all nodes join within seconds.
pub const DEV_TOKEN_VALIDITY: Duration = Duration::from_secs(600);

// ---- what must hold between them ---------------------------------------------------------------------------------

/// Sizes of memory and of files are one kind of number here.
const _: () = assert!(usize::BITS == 64);
const _: () = assert!(SEALED_SIZE_MAX + FRAME_HEADER_SIZE_MAX < FRAME_SIZE_MAX);
const _: () = assert!(CHUNK_SIZE_MAX.is_multiple_of(SEALED_FRAME_SIZE));
const _: () = assert!(HEARTBEAT_MS * 4 <= PEER_SILENCE_MS_MAX);
const _: () = assert!(SLOT_RANGE_COUNT_MAX > PARTITION_COUNT_MAX as usize);
const _: () = assert!(BATCH_OP_COUNT_MAX * (INLINE_SIZE_MAX + 1024) <= COMMAND_SIZE_MAX);
const _: () = assert!(COMMAND_SIZE_MAX < FRAME_SIZE_MAX);
const _: () = assert!(PG_COUNT_DEFAULT.is_power_of_two() && PG_COUNT_MAX.is_power_of_two());
const _: () = assert!(INLINE_SIZE_MAX < STRIPE_SIZE_MIN);
const _: () = assert!(CONNECTION_CLIENT_COUNT_MAX < CONNECTION_COUNT_MAX);
/// Whoever has nothing else in progress can send the largest frame.
const _: () = assert!(FRAME_SIZE_MAX <= CONTROL_REQUEST_BYTES_MAX);
const _: () = assert!(FRAME_SIZE_MAX <= CONSENSUS_REQUEST_BYTES_MAX);

const fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}
/// Five heartbeats may be lost before a node counts as down.
const _: () = assert!(NODE_SILENCE_MS_MAX >= 5 * ms(NODE_HEARTBEAT_PERIOD));
/// Who hands over because it stops is not handed the same back.
const _: () = assert!(ms(LEADER_STAY) > ms(HAND_OVER_TIMEOUT) + NODE_SILENCE_MS_MAX);
/// The watcher looks more often than anything can change.
const _: () = assert!(ms(NODE_WATCH_PERIOD) <= ms(NODE_HEARTBEAT_PERIOD));
/// A chunk's attempt outlives the coordinator's own waiting, so that the client hears what was wrong.
const _: () = assert!(ms(CHUNK_ATTEMPT_TIMEOUT) > ms(SHARD_WRITE_TIMEOUT) + ms(SHARD_STRAGGLER_TIMEOUT));
const _: () = assert!(ms(SHARD_HEDGE_AFTER) < ms(SHARD_READ_TIMEOUT));
const _: () = assert!(ms(DISK_READ_TIMEOUT) < ms(SHARD_READ_TIMEOUT));
const _: () = assert!(ms(DISK_READ_TIMEOUT) < ms(DISK_HANG_MAX));
/// Several attempts fit into the patience, the patience into a deadline.
const _: () = assert!(ms(LEADER_PATIENCE) >= 3 * ms(LEADER_ATTEMPT_TIMEOUT));
const _: () = assert!(ms(NODE_REQUEST_DEADLINE) > ms(LEADER_PATIENCE));
const _: () = assert!(ms(NODE_REQUEST_DEADLINE) <= REQUEST_DEADLINE_MS_MAX as u64);
/// A waiting reader of the journal is answered before its request runs out.
const _: () = assert!(JOURNAL_WAIT_MS_MAX < REQUEST_DEADLINE_MS_MAX);
/// The server is the last to notice that a connection is dead.
const _: () = assert!(ms(SERVER_SILENCE_MAX) > PEER_SILENCE_MS_MAX);
const _: () = assert!(TICKET_MS_MAX.is_multiple_of(TICKET_STEP_MS));
/// A ticket is renewed before it ends, also when the clocks are apart.
const _: () = assert!(TICKET_MS_MAX - TICKET_STEP_MS > ms(TICKET_RENEW_AFTER) + CLOCK_APART_MS_MAX as u64);
/// Each node can have its old certificate and its new one.
const _: () = assert!(CERTIFICATE_COUNT_MAX >= 3 * NODE_COUNT_MAX);
/// Between the last moment to renew and the end is time for thousands of attempts.
const _: () = assert!(CERTIFICATE_RENEW_THIRDS < 3 && CERTIFICATE_JITTER_PART > 3);
const _: () = assert!(ms(NODE_CERTIFICATE_VALIDITY) > 100 * ms(CERTIFICATE_LOOK_PERIOD));
const _: () = assert!(ms(PERSON_CERTIFICATE_VALIDITY_MAX) < ms(AUTHORITY_VALIDITY));
const _: () = assert!(ms(MEMBERSHIP_CHANGE_TIMEOUT) > ms(SNAPSHOT_PIECE_TIMEOUT));
const _: () = assert!(ms(JOIN_ATTEMPT_TIMEOUT) < ms(JOIN_TIMEOUT));
/// A disk that answers at all is not silent, and whoever gives a node a disk hears what came of it.
const _: () = assert!(ms(DISK_SILENCE_MAX) > ms(DISK_LOOK_PERIOD) + ms(DISK_LOOK_PATIENCE));
const _: () = assert!(ms(DISK_ADOPT_PATIENCE) < REQUEST_DEADLINE_MS_DEFAULT as u64);
