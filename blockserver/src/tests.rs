//! Goal: a chunk is acknowledged only when it survives one more loss, comes back while `m` disks are away, and gets its
//! redundancy back. Method: eight blockservers in one process on simulated disks; links that can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chunk::sealed::SealKey;
use env::{Env, OpenMode};
use kv::MemKv;
use net::{Caller, Reply, Request, Service, Transport};
use placement::{PgSlot, SlotState};
use proto::Call;
use proto::block::{
    ChunkKind, GetChunk, GetShard, Layout, PutChunk, PutShard, ShardKey, ShardMeta, ShardRead,
};
use proto::cluster::FilledSlot;
use proto::index::{Amendment, ChunkList, ChunkState, Exception, Holder, KnownChunk, News, Registration};
use proto::keys::Keys;
use proto::map::{ClusterMap, DiskInfo, DiskState, NodeInfo, Partition, PartitionKind, Role};
use proto::seal::{ClusterSecret, Receipt};
use proto::slots::SlotMap;
use segments::{DiskConfig, DiskStore};
use tokio::sync::watch;
use types::{
    ChunkId, ChunkKey, ClusterId, DiskId, DiskUuid, Epoch, Error, ErrorKind, GcEpoch, Identity, KeyId,
    NodeId, PartitionId, PgId, Profile, Result, Scope, TenantId,
};

use crate::disks::{Disks, report_of};
use crate::links::Links;
use crate::reconcile::Reconciled;
use crate::server::{Blockserver, Config};
use crate::task::Task;

mod repair;
mod sealed;

const SCOPE: Scope = Scope::FIRST;
const SECRET: ClusterSecret = ClusterSecret::first([5; 32]);
const HOME: types::NamespaceId = types::NamespaceId(7);
const ALICE: &str = "user/alice";

/// What all nodes share: who is cut off, what was registered, which slots were reported complete.
#[derive(Default)]
struct World {
    keys: Mutex<Keys>,
    keys_asked: AtomicUsize,
    servers: Mutex<BTreeMap<NodeId, Arc<Blockserver>>>,
    away: Mutex<BTreeSet<NodeId>>,
    index: Mutex<BTreeMap<ChunkKey, KnownChunk>>,
    /// The map by which the index sees who is at home.
    map: Mutex<Option<watch::Receiver<Arc<ClusterMap>>>>,
    complete: Mutex<Vec<FilledSlot>>,
    /// What becomes of an answer on its way.
    lie: Mutex<Option<Lie>>,
}

type Lie = Arc<dyn Fn(&Request, Reply) -> Reply + Send + Sync>;

struct WorldLinks(Arc<World>);

#[async_trait]
impl Links for WorldLinks {
    async fn call_node(&self, node: NodeId, request: Request, _timeout: Duration) -> Result<Reply> {
        if self.0.away.lock().unwrap().contains(&node) {
            return Err(Error::unavailable("away"));
        }
        let server = self.0.servers.lock().unwrap()[&node].clone();
        let caller = caller(Identity::Node(NodeId(1)));
        let reply = server.call(&caller, request.clone(), env::time::now()).await?;
        let lie = self.0.lie.lock().unwrap().clone();
        Ok(lie.map_or_else(|| reply.clone(), |lie| lie(&request, reply.clone())))
    }

    async fn register(&self, chunk: Registration) -> Result<Option<Receipt>> {
        let Registration { stored, parts } = chunk;
        let map = self.0.map.lock().unwrap().as_ref().unwrap().borrow().clone();
        let slots = map.slots(map.pg(&stored.chunk.id)).unwrap();
        let mut known = KnownChunk { stored, state: ChunkState::Live, exceptions: Vec::new() };
        for slot in 0..known.part_count(map.profile) {
            let disk = parts.iter().find(|(part, _)| *part == slot).map(|(_, disk)| *disk);
            if disk != Some(slots[usize::from(slot)].disk) {
                known.exceptions.push(Exception { slot, disk });
            }
        }
        self.0.index.lock().unwrap().insert(stored.chunk, known);
        Ok(Some(SECRET.receipt(&stored.chunk, stored.generation, GcEpoch(2), stored.sizes.content)))
    }

    async fn look_up(&self, chunk: ChunkKey) -> Result<Option<KnownChunk>> {
        Ok(self.0.index.lock().unwrap().get(&chunk).cloned())
    }

    async fn list_chunks(
        &self,
        (first, last): (ChunkId, ChunkId),
        after: Option<ChunkKey>,
        flagged: bool,
        _fence: Epoch,
    ) -> Result<ChunkList> {
        let index = self.0.index.lock().unwrap();
        let is_flagged = |known: &KnownChunk| known.state == ChunkState::Lost || !known.exceptions.is_empty();
        let wanted = index.iter().filter(|(chunk, known)| {
            Some(**chunk) > after && (first..=last).contains(&chunk.id) && (!flagged || is_flagged(known))
        });
        // Small pages, so that there are several.
        let mut chunks: Vec<KnownChunk> = wanted.map(|(_, known)| known.clone()).take(3).collect();
        let more = chunks.len() == 3;
        chunks.truncate(2);
        Ok(ChunkList { chunks, more })
    }

    async fn amend(&self, amendment: Amendment) -> Result<bool> {
        let mut index = self.0.index.lock().unwrap();
        let Some(known) = index.get_mut(&amendment.chunk) else { return Ok(false) };
        Ok(match amendment.news {
            News::Moved { slot, was, now: Holder::Home } if known.holder(slot) == was => {
                known.exceptions.retain(|exception| exception.slot != slot);
                true
            }
            News::Moved { .. } => false,
            News::Lost => std::mem::replace(&mut known.state, ChunkState::Lost) != ChunkState::Lost,
            News::Found => std::mem::replace(&mut known.state, ChunkState::Live) == ChunkState::Lost,
        })
    }

    async fn fetch_keys(&self) -> Result<Keys> {
        self.0.keys_asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.0.keys.lock().unwrap().clone())
    }

    async fn finish_sync(&self, slots: Vec<FilledSlot>) -> Result<()> {
        self.0.complete.lock().unwrap().extend(slots);
        Ok(())
    }

    async fn refresh_map(&self) {}
}

struct Bench {
    world: Arc<World>,
    map: watch::Sender<Arc<ClusterMap>>,
    env: Env,
}

impl Bench {
    /// Eight nodes with a disk each; the only placement group is on the first six.
    fn new() -> Self {
        let env = Env::simulated(1);
        let world = Arc::new(World::default());
        *world.keys.lock().unwrap() = Keys { version: 1, keys: vec![key(2)], destroyed: vec![] };
        let (map, _) = watch::channel(Arc::new(first_map()));
        *world.map.lock().unwrap() = Some(map.subscribe());
        for node in 1..=8u32 {
            let id = NodeId(u64::from(node));
            let root = format!("/disk{node}");
            env.disk.create_dir_all(std::path::Path::new(&root)).unwrap();
            let config = DiskConfig::new(root, ClusterId([1; 16]), id, None);
            let disk = DiskStore::open(&env, config, |_| Ok(Arc::new(MemKv::new(0)))).unwrap();
            let disks = Arc::new(Disks::from_iter([(DiskId(node), disk)]));
            let config = Config { node: id, secret: SECRET, disks };
            let links = Arc::new(WorldLinks(world.clone()));
            let server = Blockserver::start(env.clone(), config, map.subscribe(), links).unwrap();
            crate::heal::keep_redundancy(&server);
            world.servers.lock().unwrap().insert(id, server);
        }
        Self { world, map, env }
    }

    fn server(&self, node: u64) -> Arc<Blockserver> {
        self.world.servers.lock().unwrap()[&NodeId(node)].clone()
    }

    fn away(&self, nodes: &[u64]) {
        *self.world.away.lock().unwrap() = nodes.iter().map(|n| NodeId(*n)).collect();
    }

    async fn put(&self, node: u64, bytes: &Bytes) -> Result<Receipt> {
        let request =
            PutChunk { scope: SCOPE, id: chunk::chunk_id(bytes), kind: ChunkKind::Data, receipts: vec![] };
        let stored = self.server(node).put_chunk(&alice(), request, bytes.clone()).await?;
        SECRET.check_receipt(&chunk::chunk_id(bytes).within(SCOPE), &stored.receipt)?;
        Ok(stored.receipt)
    }

    async fn get(&self, node: u64, id: ChunkId) -> Result<Bytes> {
        let ticket = SECRET.ticket(ALICE, HOME, &id.within(SCOPE), self.env.clock.wall());
        let request = GetChunk { id, ticket, kind: ChunkKind::Data, range: None };
        Ok(self.server(node).get_chunk(&alice(), request).await?.1)
    }

    /// The keys that nodes are told of from now on; they ask when they must.
    fn set_keys(&self, version: u64, keys: Vec<SealKey>, destroyed: Vec<(KeyId, TenantId)>) {
        *self.world.keys.lock().unwrap() = Keys { version, keys, destroyed };
    }

    /// Changes all answers to questions of type `Q` from now on.
    fn lie<Q: Call>(&self, change: impl Fn(&Q, &mut Q::Answer) + Send + Sync + 'static) {
        let lie = move |request: &Request, reply: Reply| {
            if request.method != Q::METHOD as u16 {
                return reply;
            }
            let mut answer = reply.answer::<Q>().unwrap();
            change(&proto::decode(&request.header).unwrap(), &mut answer);
            Reply { header: proto::encode(&answer), body: reply.body }
        };
        *self.world.lie.lock().unwrap() = Some(Arc::new(lie));
    }

    fn change_map(&self, change: impl Fn(&mut ClusterMap)) {
        self.map.send_modify(|map| {
            let mut new = ClusterMap::clone(map);
            new.epoch = new.epoch.next();
            change(&mut new);
            *map = Arc::new(new);
        });
    }

    /// Waits until `done`. In real time: the disks have threads of their own, for which no simulated clock waits.
    async fn until(&self, done: impl Fn() -> bool) {
        for _ in 0..3000 {
            if done() {
                return;
            }
            env::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it never happened");
    }

    /// Overwrites everything a node has written.
    fn damage(&self, node: u64) {
        let segments = PathBuf::from(format!("/disk{node}/seg"));
        for name in self.env.disk.read_dir(&segments).unwrap() {
            let file = self.env.disk.open(&segments.join(name), OpenMode::ReadWrite).unwrap();
            let size = usize::try_from(file.len().unwrap()).unwrap();
            file.write_at(&[&vec![0; size - 4096]], 4096).unwrap();
        }
    }

    /// Shards that a node knows it has lost.
    fn lost(&self, node: u64) -> u64 {
        self.server(node).disks.open().values().map(|disk| disk.stats().unwrap().lost).sum()
    }

    /// Has a node read its part of every chunk, so that it notices what is damaged.
    async fn look_at(&self, node: u64, chunks: &[Bytes]) {
        for disk in self.server(node).disks.open().values() {
            for bytes in chunks {
                let _ = disk.get_shard(chunk::chunk_id(bytes).within(SCOPE), None, None, None).await;
            }
        }
    }

    /// Parts that are not at home, in all: slot and holder.
    fn exceptions(&self) -> Vec<Exception> {
        self.world.index.lock().unwrap().values().flat_map(|known| known.exceptions.clone()).collect()
    }

    fn state_of(&self, bytes: &Bytes) -> ChunkState {
        self.world.index.lock().unwrap()[&chunk::chunk_id(bytes).within(SCOPE)].state
    }

    /// Gives a slot to a disk that has nothing of it.
    fn move_slot(&self, task: Task, previous: Option<u32>) {
        let Task { slot, disk, since, .. } = task;
        let previous = previous.map(DiskId);
        let new = PgSlot { disk, state: SlotState::Syncing, previous, returns: false, since };
        self.change_slot(slot.into(), new);
    }

    fn is_complete(&self, task: Task) -> bool {
        let Task { pg, slot, disk, since } = task;
        self.world.complete.lock().unwrap().contains(&FilledSlot { pg, slot, disk, since })
    }

    fn change_slot(&self, slot: usize, change: PgSlot) {
        self.change_map(|map| map.table.as_mut().unwrap().pgs[0][slot] = change);
    }
}

fn key(id: u32) -> SealKey {
    SealKey { tenant: TenantId::FIRST, id: KeyId(id), secret: [id as u8; 32] }
}

pub(crate) fn first_map() -> ClusterMap {
    let address = "127.0.0.1:1".parse().unwrap();
    let node = NodeInfo {
        zone: "z".into(),
        native: address,
        control: address,
        roles: vec![Role::Block],
        up: true,
        confirmed: true,
        store: None,
    };
    let disk = |id: u32| DiskInfo {
        node: NodeId(u64::from(id)),
        uuid: DiskUuid([0; 16]),
        capacity: 1,
        state: DiskState::Healthy,
        is_out: false,
    };
    let slots = (1..=6).map(|id| PgSlot::serving(DiskId(id))).collect();
    ClusterMap {
        cluster: ClusterId([1; 16]),
        epoch: Epoch(1),
        gc_epoch: GcEpoch(2),
        profile: Profile { k: 4, m: 2 },
        pg_count: 1,
        nodes: (1..=8).map(|id| (NodeId(id), node.clone())).collect(),
        disks: (1..=8).map(|id| (DiskId(id), disk(id))).collect(),
        table: Some(placement::Table { pgs: vec![slots] }),
        relaxed_count: 0,
        partitions: vec![Partition {
            id: PartitionId(0),
            kind: PartitionKind::Root,
            voters: vec![NodeId(1)],
        }],
        tree: SlotMap::default(),
        index: SlotMap::default(),
    }
}

fn alice() -> Identity {
    Identity::User("alice".into())
}

fn caller(identity: Identity) -> Caller {
    Caller { identity, address: "127.0.0.1:1".parse().unwrap(), transport: Transport::Tcp }
}

/// Bytes that do not compress.
fn noise(seed: u64, size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    env::Random::seeded(seed).fill(&mut bytes);
    bytes.into()
}

/// A replica, a stripe, a compressed stripe, and chunks whose size is no multiple of anything.
fn samples() -> Vec<Bytes> {
    let text: Vec<u8> = (0..900_000u32).flat_map(|n| format!("{} ", n % 1000).into_bytes()).collect();
    vec![
        noise(1, 1),
        noise(2, 5_000),
        noise(3, 300_001),
        noise(4, 1 << 20),
        Bytes::from(text).slice(0..2_000_003),
    ]
}

#[tokio::test]
async fn every_two_nodes_may_be_away_for_a_read() {
    let bench = Bench::new();
    for bytes in samples() {
        bench.put(1, &bytes).await.unwrap();
        let id = chunk::chunk_id(&bytes);
        for (a, b) in (1..=6).flat_map(|a| (a + 1..=6).map(move |b| (a, b))) {
            bench.away(&[a, b]);
            let reader = (1..=8).find(|n| *n != a && *n != b).unwrap();
            assert_eq!(
                bench.get(reader, id).await.unwrap(),
                bytes,
                "{} bytes without {a} and {b}",
                bytes.len()
            );
        }
        bench.away(&[]);
    }
    assert_eq!(bench.world.index.lock().unwrap().len(), samples().len());
}

/// I-ACK: all parts are durable, on other disks if their own are away, and come home when those are back.
#[tokio::test]
async fn parts_of_disks_that_are_away_go_to_others_and_come_home() {
    let bench = Bench::new();
    bench.away(&[3, 4]);
    let chunks = samples();
    for bytes in &chunks {
        bench.put(1, bytes).await.unwrap();
    }
    let guests: BTreeSet<_> = bench.exceptions().iter().map(|exception| exception.disk).collect();
    assert_eq!(guests, [7, 8].map(|id| Some(DiskId(id))).into());
    // Two more may go, as if nothing were away.
    bench.away(&[1, 2, 3, 4]);
    for bytes in &chunks {
        assert_eq!(bench.get(5, chunk::chunk_id(bytes)).await.unwrap(), *bytes);
    }
    bench.away(&[]);
    bench.until(|| bench.exceptions().is_empty()).await;
    bench.away(&[1, 2, 7, 8]);
    for bytes in &chunks {
        assert_eq!(bench.get(5, chunk::chunk_id(bytes)).await.unwrap(), *bytes);
    }
}

/// Nobody waits for a disk that the map says is down.
#[tokio::test]
async fn where_no_disk_is_left_a_chunk_is_thin_and_with_too_few_it_is_refused() {
    let bench = Bench::new();
    let (bytes, small) = (noise(7, 300_000), noise(8, 5_000));
    bench.away(&[3, 4, 7, 8]);
    let error = bench.put(1, &bytes).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("4 of 6 parts are durable, 5 are needed"), "{error}");
    assert!(bench.world.index.lock().unwrap().is_empty(), "what is not durable is not known");

    bench.away(&[4, 7, 8]);
    env::time::sleep(types::limits::DISK_SUSPECT_TIME).await;
    bench.put(1, &bytes).await.unwrap();
    assert_eq!(bench.exceptions(), [Exception { slot: 3, disk: None }]);
    bench.change_map(|map| (3..=8).for_each(|id| map.nodes.get_mut(&NodeId(id)).unwrap().up = false));
    bench.put(1, &small).await.unwrap();
    assert_eq!(bench.exceptions().len(), 2, "two copies of three are durable");
    bench.away(&[]);
    bench.change_map(|map| map.nodes.values_mut().for_each(|node| node.up = true));
    bench.until(|| bench.exceptions().is_empty()).await;
    // The part that was missing exists now: the two nodes that hold its neighbours may go.
    bench.away(&[2, 3]);
    assert_eq!(bench.get(5, chunk::chunk_id(&bytes)).await.unwrap(), bytes);
    bench.away(&[1, 2]);
    assert_eq!(bench.get(5, chunk::chunk_id(&small)).await.unwrap(), small);
}

/// Other nodes are input: whatever one answers, the reader gets its bytes from others, or an error.
#[tokio::test]
async fn answers_that_cannot_be_are_errors() {
    let bench = Bench::new();
    let bytes = noise(11, 300_000);
    bench.put(1, &bytes).await.unwrap();
    let id = chunk::chunk_id(&bytes);
    let lies: [fn(&GetShard, &mut ShardRead); 6] = [
        |_, read| read.meta.layout = Layout::Shard { k: 255, m: 255 },
        |_, read| read.meta.layout = Layout::Shard { k: 0, m: 0 },
        |_, read| read.meta.stored_size = u32::MAX,
        |_, read| read.key.slot = 77,
        |asked, read| read.key.slot = asked.slot.map_or(read.key.slot, |slot| (slot + 1) % 6),
        |asked, read| {
            read.key.generation = asked.generation.map_or(read.key.generation, |asked| asked.next())
        },
    ];
    for (which, lie) in lies.into_iter().enumerate() {
        bench.lie::<GetShard>(lie);
        // Node 7 holds nothing of the chunk, node 2 one shard.
        for reader in [7, 2] {
            let found = bench.get(reader, id).await;
            assert!(found.as_ref().map_or(true, |found| *found == bytes), "lie {which}, reader {reader}");
        }
    }
    bench.lie::<GetShard>(|_, _| {});
    assert_eq!(bench.get(7, id).await.unwrap(), bytes);
}

/// A disk that lies keeps its checksums right: the seal finds it out, and what it has is made again.
#[tokio::test]
async fn wrong_bytes_under_a_right_checksum_are_outvoted() {
    for bytes in [noise(12, 300_000), noise(13, 5_000)] {
        let bench = Bench::new();
        bench.put(1, &bytes).await.unwrap();
        let id = chunk::chunk_id(&bytes);
        let (server, chunk) = (bench.server(2), id.within(SCOPE));
        let disk = server.disks.get(&DiskId(2)).unwrap();
        let found = disk.get_shard(chunk, None, None, None).await.unwrap();
        let wrong = noise(99, found.bytes.len());
        disk.delete(found.key).await.unwrap();
        disk.put_shard(found.key, found.meta, wrong.clone(), None, segments::Purpose::Store).await.unwrap();
        // Node 7 holds nothing, node 2 is the liar itself.
        for reader in [7, 2, 1] {
            assert_eq!(bench.get(reader, id).await.unwrap(), bytes, "reader {reader}");
        }
        let read = || futures::executor::block_on(disk.get_shard(chunk, None, None, None));
        bench.until(|| read().is_ok_and(|read| read.bytes == found.bytes)).await;
    }
}

#[tokio::test]
async fn a_slot_of_another_node_is_not_filled() {
    let server = Bench::new().server(7);
    let task = Task { pg: PgId(0), slot: 5, disk: DiskId(6), since: Epoch(0) };
    assert_eq!(server.reconcile(task).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn shards_that_no_chunk_has_are_refused() {
    let bench = Bench::new();
    let put = |slot, layout| {
        let (server, body) = (bench.server(3), noise(1, 100));
        let meta = ShardMeta { layout, plain_size: 300, stored_size: 300, compressed: false, key: KeyId(1) };
        let key = ShardKey { chunk: ChunkId([3; 32]).within(SCOPE), generation: types::Generation(1), slot };
        let request = PutShard { disk: DiskId(3), key, meta, crc: crc32fast::hash(&body) };
        async move {
            let caller = caller(Identity::Node(NodeId(1)));
            server.call(&caller, Request::of(&request, body), env::time::now()).await.map(|_| ())
        }
    };
    assert_eq!(put(5, Layout::Shard { k: 4, m: 2 }).await, Ok(()));
    for (slot, layout) in [
        (6, Layout::Shard { k: 4, m: 2 }),
        (0, Layout::Shard { k: 0, m: 2 }),
        (0, Layout::Shard { k: 255, m: 255 }),
        (200, Layout::Replica),
    ] {
        assert_eq!(put(slot, layout).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn the_same_chunk_at_once_is_stored_once() {
    let bench = Bench::new();
    let bytes = noise(9, 200_000);
    let puts = (0..20).map(|_| bench.put(1, &bytes));
    let receipts: BTreeSet<_> =
        futures::future::join_all(puts).await.into_iter().map(|r| r.unwrap().generation).collect();
    assert_eq!(receipts.len(), 1);
    assert_eq!(bench.world.index.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let bench = Bench::new();
    let bytes = noise(1, 1000);
    let id = chunk::chunk_id(&bytes);
    let server = bench.server(1);
    let put = |id, kind, receipts, bytes: Bytes, who: Identity| {
        let server = server.clone();
        async move {
            server.put_chunk(&who, PutChunk { scope: SCOPE, id, kind, receipts }, bytes).await.unwrap_err()
        }
    };
    let data = ChunkKind::Data;
    assert!(put(id, data, vec![], noise(2, 10), alice()).await.message().contains("send them again"));
    assert!(put(id, data, vec![], Bytes::new(), alice()).await.message().contains("a chunk has 1 to"));
    assert_eq!(put(id, data, vec![], bytes.clone(), Identity::Anonymous).await.kind(), ErrorKind::Denied);
    // Bytes stored as file content are not a manifest node, whatever they look like.
    let node = put(id, ChunkKind::ManifestNode, vec![], bytes.clone(), alice()).await;
    assert!(node.message().contains("send them again"), "{node}");

    bench.put(1, &bytes).await.unwrap();
    let get = |ticket, kind, who: Identity| {
        let server = server.clone();
        async move { server.get_chunk(&who, GetChunk { id, ticket, kind, range: None }).await }
    };
    let now = bench.env.clock.wall();
    let ticket = SECRET.ticket(ALICE, HOME, &id.within(SCOPE), now);
    assert!(get(ticket, data, alice()).await.is_ok());
    assert_eq!(get(ticket, data, Identity::User("bob".into())).await.unwrap_err().kind(), ErrorKind::Denied);
    let foreign = ClusterSecret::first([6; 32]).ticket(ALICE, HOME, &id.within(SCOPE), now);
    assert_eq!(get(foreign, data, alice()).await.unwrap_err().kind(), ErrorKind::Denied);
    let error = get(ticket, ChunkKind::ManifestNode, alice()).await.unwrap_err();
    assert!(error.message().contains("is not a manifest node"), "{error}");
    let missing = bench.get(1, ChunkId([9; 32])).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    bench.away(&[4]);
    let unknown = bench.get(1, ChunkId([9; 32])).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Unavailable, "somebody who may have it did not answer");
}

#[tokio::test]
async fn a_manifest_node_vouches_for_what_it_lists() {
    let bench = Bench::new();
    let chunks: Vec<Bytes> = (0..100).map(|n| noise(n, 100)).collect();
    let mut builder = chunk::manifest::TreeBuilder::new();
    let mut receipts = Vec::new();
    for bytes in &chunks {
        receipts.push(bench.put(1, bytes).await.unwrap());
        builder.push(chunk::manifest::ChunkRef { id: chunk::chunk_id(bytes), size: 100 });
    }
    let _ = builder.finish();
    let (id, node) = builder.next_node().unwrap();
    let count = chunk::manifest::parse_node(&node).unwrap().entries.len();
    let below = receipts[..count].to_vec();
    let put = |receipts| {
        let request = PutChunk { scope: SCOPE, id, kind: ChunkKind::ManifestNode, receipts };
        let (server, node) = (bench.server(1), node.clone());
        async move { server.put_chunk(&alice(), request, node).await }
    };
    assert!(put(below[1..].to_vec()).await.unwrap_err().message().contains("receipts for a manifest node"));
    let mut swapped = below.clone();
    swapped.swap(0, 1);
    assert_eq!(put(swapped).await.unwrap_err().kind(), ErrorKind::Denied);
    // The oldest receipt below decides how old the node's is.
    let first = chunk::chunk_id(&chunks[0]);
    let mut old = below.clone();
    old[0] = SECRET.receipt(&first.within(SCOPE), below[0].generation, GcEpoch(1), below[0].size);
    assert_eq!(put(old).await.unwrap().receipt.epoch, GcEpoch(1));
    assert_eq!(put(below).await.unwrap().receipt.epoch, GcEpoch(2));

    let ticket = SECRET.ticket(ALICE, HOME, &id.within(SCOPE), bench.env.clock.wall());
    let request = GetChunk { id, ticket, kind: ChunkKind::ManifestNode, range: None };
    let (read, bytes) = bench.server(2).get_chunk(&alice(), request).await.unwrap();
    assert_eq!((bytes, read.tickets.len()), (node, count));
    SECRET.check_ticket(ALICE, &first.within(SCOPE), &read.tickets[0], bench.env.clock.wall()).unwrap();
}
