//! The words of these tests: who asks, for what, and how a refusal is checked.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use chunk::manifest::Manifest;
use net::{Caller, Transport};
use proto::block::{ChunkKind, Layout};
use proto::certificates::{CreateToken, Grant};
use proto::cluster::{Heartbeat, Join};
use proto::command::NewNode;
use proto::index::{Locator, Pin, Registration, Sizes, StoredChunk};
use proto::keys::UnlockKey;
use proto::map::Role;
use proto::namespace::{
    Attributes, DirRef, Expect, Freshness, ListDir, NewContent, Op, OrderBy, PageToken, View,
};
use proto::seal::ClusterSecret;
use types::{
    ChunkId, ClusterId, DiskId, Epoch, ErrorKind, FeatureLevel, Generation, Identity, Name, NamespaceId,
    Nanos, NodeId, PartitionId, Path, Possession, ReplicaId, Result, Scope, Seq, Stamp, Start, StoreUuid,
};

/// What a pin shows for every chunk of these tests.
pub const POSSESSION: Possession = Possession([9; 16]);

/// A chunk of the first tenant that a blockserver has stored.
pub fn registration(id: ChunkId, generation: Generation, size: u32) -> Registration {
    let stored = StoredChunk {
        chunk: id.within(Scope::FIRST),
        generation,
        kind: ChunkKind::Data,
        locator: Locator::Slots(Layout::Replica),
        possession: POSSESSION,
        sizes: Sizes { content: size.into(), plain: size, stored: size, disk: size + size / 2 },
    };
    Registration { stored, parts: vec![(0, DiskId(1)), (1, DiskId(2))] }
}

/// Asks for chunks of the first tenant, as one who has them.
pub fn pin(partition: PartitionId, chunks: Vec<ChunkId>) -> Pin {
    let chunks = chunks.into_iter().map(|chunk| (chunk, POSSESSION)).collect();
    Pin { partition, scope: Scope::FIRST, chunks }
}

pub const SECRET: ClusterSecret = ClusterSecret::first([5; 32]);
pub const UNLOCK: UnlockKey = UnlockKey([6; 32]);
pub const CLUSTER: ClusterId = ClusterId([1; 16]);
/// The namespace that every cluster begins with; an administrator's.
pub const HOME: NamespaceId = NamespaceId(0x04c4_0000_0000_0001);
/// The namespace `ann`, which Ann owns, in another partition.
pub const ANNS: NamespaceId = NamespaceId(0x3a3f_0000_0000_0001);
/// How long a new token is good for here.
pub const TOKEN_MS: u64 = 60_000;

/// Asks for a token that admits so many nodes of any role.
pub fn token_for(uses: u32) -> CreateToken {
    CreateToken { grant: Grant::Join(Role::Meta), uses, valid_ms: TOKEN_MS }
}

pub fn ann() -> Identity {
    Identity::User("ann".into())
}

pub fn bob() -> Identity {
    Identity::User("bob".into())
}

pub fn admin() -> Identity {
    Identity::Admin("admin".into())
}

pub fn node(id: u64) -> Identity {
    Identity::Node(NodeId(id))
}

/// Waits, in simulated time.
pub async fn later(ms: u64) {
    env::time::sleep(Duration::from_millis(ms)).await;
}

/// Tries until there is an answer; fails after a simulated minute.
pub async fn eventually<T>(what: &str, attempt: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(found) = attempt().await {
            return found;
        }
        later(20).await;
    }
    panic!("no {what} after a minute");
}

/// Checks that something was refused, and with which words.
#[track_caller]
pub fn refused<T: Debug>(result: Result<T>, kind: ErrorKind, words: &str) {
    let error = result.unwrap_err();
    assert!(error.kind() == kind && error.message().contains(words), "{error:?} is not {kind:?} … {words} …");
}

pub fn caller(who: &Identity) -> Caller {
    Caller { identity: who.clone(), address: "127.0.0.1:1".parse().unwrap(), transport: Transport::Tcp }
}

/// The metadata store of a node.
pub fn store(id: u64) -> StoreUuid {
    StoreUuid([id as u8; 16])
}

/// Every start of it: nothing here tells them apart.
pub fn start(id: u64) -> Start {
    Start { store: store(id), count: 1, nonce: 0 }
}

pub fn replica(id: u64) -> ReplicaId {
    ReplicaId::new(NodeId(id), 1)
}

pub fn new_node(id: u64, roles: &[Role]) -> NewNode {
    let address = |port: u64| format!("127.0.0.1:{port}").parse().unwrap();
    let (native, control) = (address(7000 + id * 2), address(7001 + id * 2));
    NewNode { zone: format!("z{id}"), roles: roles.to_vec(), native, control, store: Some(store(id)) }
}

pub fn join_with(secret: [u8; 32], request: String, id: u64, roles: &[Role]) -> Join {
    let NewNode { zone, roles, native, control, store } = new_node(id, roles);
    Join { secret, request, zone, roles, native, control, store, level: FeatureLevel::FIRST }
}

/// What a healthy node says of itself.
pub fn heartbeat(id: u64) -> Heartbeat {
    let NewNode { native, control, .. } = new_node(id, &[]);
    Heartbeat {
        node: NodeId(id),
        native,
        control,
        level: FeatureLevel::FIRST,
        epoch: Epoch(0),
        disks: BTreeMap::new(),
        disk_problems: Vec::new(),
        stamp: Some(Stamp { replica: replica(id), start: start(id), mark: 0 }),
        store_problem: String::new(),
        partitions: Vec::new(),
        revoked_version: 0,
        syncing_slots: 0,
        wall: types::Millis(0),
        bytes_received: 0,
        bytes_sent: 0,
    }
}

/// Only who holds metadata has a store to speak of.
pub fn of_roles(heartbeat: Heartbeat, roles: &[Role]) -> Heartbeat {
    Heartbeat { stamp: heartbeat.stamp.filter(|_| roles.contains(&Role::Meta)), ..heartbeat }
}

/// The newest state of Ann's namespace.
pub fn newest() -> View {
    View { namespace: ANNS, freshness: Freshness::Linearizable }
}

/// A state of Ann's namespace that holds `seq`.
pub fn at_least(seq: Seq) -> View {
    View { namespace: ANNS, freshness: Freshness::AtLeast(seq) }
}

pub fn p(path: &str) -> Path {
    Path::parse(path).unwrap()
}

pub fn mkdir(path: &str) -> Op {
    Op::Mkdir { path: p(path), parents: true, attributes: Default::default() }
}

pub fn mv(source: &str, target: &str) -> Op {
    Op::Rename { source: p(source), expect: Expect::Any, target: p(target), replace: Expect::Absent }
}

pub fn rm(path: &str) -> Op {
    Op::Remove { path: p(path), expect: Expect::Any, recursive: false }
}

/// A page of a directory by name.
pub fn list(view: View, path: &str, after: Option<&str>, limit: u32) -> ListDir {
    let after = after.map(|name| PageToken { value: 0, name: Name::parse(name).unwrap() });
    let dir = DirRef::Path(p(path));
    ListDir { view, dir, order: OrderBy::Name, descending: false, after, limit }
}

pub fn save(path: &str, expect: Expect, content: &str) -> Op {
    let manifest = Manifest::inline(Bytes::copy_from_slice(content.as_bytes()));
    let content = NewContent::File { manifest, receipts: Vec::new() };
    Op::CommitVersion { path: p(path), expect, content, attributes: Attributes::at(Nanos(5)) }
}
