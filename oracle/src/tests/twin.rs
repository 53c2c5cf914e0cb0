//! A cluster in memory: three nodes with the real state machine, one of them the leader, that lag, lose answers and,
//! when told to, break a promise.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env::time::Instant;
use env::{Env, Random};
use kv::{Durability, Kv, MemKv, Overlay};
use net::{Dial, Reply, Request, Target};
use placement::{PgSlot, Table};
use proto::Method;
use proto::block::{ChunkRead, ChunkStored, GetChunk, PutChunk};
use proto::command::{Logged, NamespaceCommand, Stamped};
use proto::index::{Pin, Pinned};
use proto::map::{ClusterMap, DiskInfo, NodeInfo, Partition, PartitionKind, Role};
use proto::namespace::*;
use proto::seal::{ClusterSecret, Receipt, Ticket};
use proto::slots::SlotMap;
use tree::namespace::{self, NamespaceMachine};
use tree::{Replica, decode_answer};
use types::{
    ChunkId, DiskId, Epoch, Error, GcEpoch, Generation, Millis, NamespaceId, NamespaceName, NodeId,
    PartitionId, Possession, Profile, RequestId, Result, Scope, Seq, TenantId,
};

const SECRET: ClusterSecret = ClusterSecret::first([7; 32]);
/// The namespace `ann`.
const NAMESPACE: NamespaceId = NamespaceId(0x3a3f_0000_0000_0001);
const NODE_COUNT: u16 = 3;
/// Where the leader listens; the others on the next ports.
const FIRST_PORT: u16 = 7001;
/// Other nodes are this far behind.
const LAG: Duration = Duration::from_millis(40);

/// Of a hundred answers so many are lost.
const LOSS_PERCENT: u64 = 2;

/// How the cluster breaks a promise, once in a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// Acknowledges changes that are nowhere.
    LosesWrites,
    /// Does what was restored twice.
    DoesTwice,
    /// Ignores what a writer had seen.
    IgnoresBase,
    /// Other nodes answer whatever position they are shown (M7).
    AnswersBehind,
    /// The leader answers from a state that is behind.
    LeadsBehind,
    /// Names the position before the one that it shows (M6).
    ShowsAhead,
    /// Does a batch piece by piece.
    DoesHalves,
    /// Begins again from nothing after a while (M5).
    BeginsAgain,
    /// Forgets chunks, but not that it had them (S7).
    LosesChunks,
    /// Opens a version with the bytes of another.
    SwapsContents,
    /// Leaves records out of pages of the journal.
    SkipsRecords,
    /// One node applies commands in its own way.
    Diverges,
    /// Some calls never return.
    Hangs,
    /// One node never answers again (M8).
    LosesVoter,
}

/// One node's copy.
struct Voter {
    kv: MemKv,
    applied: usize,
}

struct State {
    replicas: Vec<Voter>,
    log: Vec<(Instant, Bytes)>,
    chunks: BTreeMap<ChunkId, Option<Bytes>>,
    last_opened: Option<chunk::manifest::Manifest>,
}

/// The cluster, and the network before it.
pub struct Twin {
    env: Env,
    random: Random,
    bug: Bug,
    started: Instant,
    replica: Replica<NamespaceMachine>,
    state: Mutex<State>,
    /// Writes come one after the other.
    writing: tokio::sync::Mutex<()>,
    /// Answers are lost, nodes lag and bugs bite.
    is_rough: AtomicBool,
}

impl Twin {
    pub fn new(seed: u64, bug: Bug) -> Arc<Self> {
        let replicas = (0..NODE_COUNT).map(|_| Voter { kv: MemKv::new(seed), applied: 0 }).collect();
        let state = State { replicas, log: Vec::new(), chunks: BTreeMap::new(), last_opened: None };
        let twin = Self {
            env: Env::simulated(seed),
            random: Random::seeded(seed + 1_000),
            bug,
            started: env::time::now(),
            replica: Replica::new(PartitionId(1), NamespaceMachine::default()),
            state: Mutex::new(state),
            writing: tokio::sync::Mutex::new(()),
            is_rough: AtomicBool::new(false),
        };
        twin.create(&mut twin.state.lock().unwrap());
        Arc::new(twin)
    }

    pub fn addresses() -> Vec<SocketAddr> {
        (0..NODE_COUNT).map(|n| SocketAddr::from(([10, 0, 0, 1], FIRST_PORT + n))).collect()
    }

    /// While it is rough, answers are lost, nodes lag, and bugs bite.
    pub fn set_rough(&self, is_rough: bool) {
        self.is_rough.store(is_rough, Ordering::Relaxed);
    }

    fn is_rough(&self) -> bool {
        self.is_rough.load(Ordering::Relaxed)
    }

    fn create(&self, state: &mut State) {
        let create = NamespaceCommand::Create {
            name: NamespaceName::parse("ann").unwrap(),
            owner: "user/ann".into(),
            tenant: TenantId::FIRST,
        };
        let bytes = Stamped { time: Millis(0), command: create }.encode();
        self.append(state, bytes);
    }

    /// True once in `times`, if the cluster has this bug.
    fn breaks(&self, bug: Bug, times: u64) -> bool {
        self.bug == bug && self.is_rough() && self.random.below(times) == 0
    }

    /// Applies a command on the leader, and later elsewhere.
    fn append(&self, state: &mut State, command: Bytes) -> Bytes {
        state.log.push((env::time::now(), command));
        self.catch_up(state, 0, Duration::ZERO)
    }

    /// Applies what is older than `lag` on a node; returns the last answer.
    fn catch_up(&self, state: &mut State, node: usize, lag: Duration) -> Bytes {
        let now = env::time::now();
        let mut answer = Bytes::new();
        let State { replicas, log, .. } = state;
        let replica = &mut replicas[node];
        while let Some((_, command)) = log.get(replica.applied).filter(|(time, _)| *time + lag <= now) {
            let command =
                if self.bug == Bug::Diverges && node == 2 { later(command) } else { command.clone() };
            let mut overlay = Overlay::new(&replica.kv);
            answer = self.replica.apply(&mut overlay, replica.applied as u64, &command).unwrap();
            let batch = overlay.into_batch();
            replica.kv.write(batch, Durability::Buffered).unwrap();
            replica.applied += 1;
        }
        answer
    }

    async fn write(&self, write: WriteNamespace) -> Result<Written> {
        let _alone = self.writing.lock().await;
        if self.bug != Bug::DoesHalves || write.mode != Mode::Atomic || !self.would_be_done(&write) {
            return self.write_whole(write);
        }
        let mut all = Vec::new();
        let mut seq = Seq(0);
        for op in write.ops.clone() {
            let (request, ops) = (RequestId(self.random.bytes()), vec![op]);
            let written = self.write_whole(WriteNamespace { request, ops, ..write })?;
            seq = written.seq;
            all.extend(written.results);
            env::time::sleep(Duration::from_millis(60)).await;
        }
        Ok(Written { seq, results: all })
    }

    /// True when all changes of a batch would succeed.
    fn would_be_done(&self, write: &WriteNamespace) -> bool {
        let state = self.state.lock().unwrap();
        let mut overlay = Overlay::new(&state.replicas[0].kv);
        let answer = self.replica.apply(&mut overlay, 0, &self.command(write.clone())).unwrap();
        decode_answer::<Written>(&answer).is_ok_and(|written| written.results.iter().all(Result::is_ok))
    }

    fn command(&self, write: WriteNamespace) -> Bytes {
        let command = NamespaceCommand::Write { author: "user/ann".into(), write };
        Stamped { time: self.env.clock.wall(), command }.encode()
    }

    fn write_whole(&self, mut write: WriteNamespace) -> Result<Written> {
        let mut state = self.state.lock().unwrap();
        if self.bug == Bug::BeginsAgain
            && self.started.elapsed() > Duration::from_secs(8)
            && state.log.len() > 200
        {
            state.log.clear();
            state.replicas.iter_mut().for_each(|replica| *replica = Voter { kv: MemKv::new(1), applied: 0 });
            self.create(&mut state);
        }
        if self.bug == Bug::IgnoresBase {
            for op in &mut write.ops {
                if let Op::CommitVersion { expect, .. } = op {
                    *expect = Expect::Any;
                }
            }
        }
        let is_restore = matches!(write.ops[..], [Op::RestoreVersion { .. }]);
        if self.breaks(Bug::LosesWrites, 20) {
            let mut overlay = Overlay::new(&state.replicas[0].kv);
            return decode_answer(&self.replica.apply(&mut overlay, 0, &self.command(write)).unwrap());
        }
        let answer = self.append(&mut state, self.command(write.clone()));
        if is_restore && self.bug == Bug::DoesTwice {
            self.append(
                &mut state,
                self.command(WriteNamespace { request: RequestId(self.random.bytes()), ..write }),
            );
        }
        decode_answer(&answer)
    }

    /// A state of a node that is as fresh as asked for.
    fn view(&self, node: usize, view: View) -> Result<(MemKv, Seq)> {
        let mut state = self.state.lock().unwrap();
        let is_behind = node > 0 || self.breaks(Bug::LeadsBehind, 1);
        let node = if node == 0 && is_behind { 1 } else { node };
        let lag = if self.is_rough() { LAG } else { Duration::ZERO };
        self.catch_up(&mut state, node, lag);
        let kv = state.replicas[node].kv.clone();
        let seq = namespace::head(&kv, NAMESPACE)?.seq;
        match view.freshness {
            Freshness::Linearizable if node > 0 && self.bug != Bug::LeadsBehind => {
                Err(Error::stale_epoch("it does not lead"))
            }
            Freshness::AtLeast(wanted) if seq < wanted && node > 0 && self.bug != Bug::AnswersBehind => {
                Err(Error::stale_epoch("it is behind"))
            }
            Freshness::AtLeast(wanted) if seq < wanted && node == 0 => {
                Err(Error::invalid(format!("position {wanted} is ahead of {seq}")))
            }
            _ if self.breaks(Bug::ShowsAhead, 20) => Ok((kv, Seq(seq.0.saturating_sub(1)))),
            _ => Ok((kv, seq)),
        }
    }

    fn open(&self, node: usize, question: &OpenVersion) -> Result<Opened> {
        let (kv, seq) = self.view(node, question.view)?;
        let (version, manifest) = namespace::open_version(&kv, NAMESPACE, &question.path, question.version)?;
        let mut state = self.state.lock().unwrap();
        let is_inline = |manifest: &chunk::manifest::Manifest| manifest.size <= 4096;
        let other = state
            .last_opened
            .replace(manifest.clone())
            .filter(|other| is_inline(other) && is_inline(&manifest));
        let manifest = other.filter(|_| self.breaks(Bug::SwapsContents, 5)).unwrap_or(manifest);
        let tickets = listed(&manifest).iter().map(ticket).collect();
        Ok(Opened { seq, version, manifest, tickets })
    }

    async fn pull(&self, node: usize, question: PullJournal) -> Result<JournalPage> {
        let view = View { namespace: NAMESPACE, freshness: Freshness::AtLeast(question.after) };
        let deadline = env::time::now() + Duration::from_millis(question.wait_ms.into());
        loop {
            let (kv, _) = self.view(node, view)?;
            let mut page = namespace::pull_journal(&kv, NAMESPACE, question.after, question.limit)?;
            if page.records.len() > 2 && self.breaks(Bug::SkipsRecords, 3) {
                page.records.remove(1);
            }
            if !page.records.is_empty() || env::time::now() >= deadline {
                return Ok(page);
            }
            env::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn put_chunk(&self, put: &PutChunk, body: Bytes) -> ChunkStored {
        let body = (!self.breaks(Bug::LosesChunks, 10)).then_some(body);
        self.state.lock().unwrap().chunks.insert(put.id, body);
        ChunkStored { receipt: receipt(&put.id) }
    }

    fn get_chunk(&self, get: &GetChunk) -> Result<(ChunkRead, Bytes)> {
        let found = self.state.lock().unwrap().chunks.get(&get.id).cloned().flatten();
        let body = found.ok_or_else(|| Error::not_found("no disk has it"))?;
        let entries = match get.kind {
            proto::block::ChunkKind::Data => Vec::new(),
            proto::block::ChunkKind::ManifestNode => chunk::manifest::parse_node(&body)?.entries,
        };
        let (start, count) = get.range.unwrap_or((0, u32::MAX));
        let end = body.len().min(start.saturating_add(count) as usize);
        let tickets = entries.iter().map(|entry| ticket(&entry.id)).collect();
        Ok((ChunkRead { tickets }, body.slice(start as usize..end)))
    }

    async fn answer(&self, node: usize, request: Request) -> Result<Reply> {
        let Request { method, header, body } = request;
        let mut answer_body = Bytes::new();
        let header = match Method::from_number(method).expect("a method") {
            Method::FetchMap => proto::encode(&proto::cluster::MapFetched { map: Some(map()) }),
            Method::FindNamespace => proto::encode(&proto::catalog::NamespaceFound { namespace: NAMESPACE }),
            Method::WriteNamespace if node > 0 => {
                return Err(Error::stale_epoch("it does not lead"));
            }
            Method::WriteNamespace => proto::encode(&self.write(proto::decode(&header)?).await?),
            Method::Stat => {
                let Stat { view, path } = proto::decode(&header)?;
                let (kv, seq) = self.view(node, view)?;
                let (entry, contents) = namespace::stat(&kv, NAMESPACE, &path)?;
                proto::encode(&Found { seq, entry, contents })
            }
            Method::ListDir => {
                let question: ListDir = proto::decode(&header)?;
                let (kv, seq) = self.view(node, question.view)?;
                let listing = namespace::list_dir(&kv, &question)?;
                proto::encode(&Listing { seq, ..listing })
            }
            Method::ListVersions => {
                let ListVersions { view, path, before, limit } = proto::decode(&header)?;
                let (kv, seq) = self.view(node, view)?;
                let versions = namespace::list_versions(&kv, NAMESPACE, &path, before, limit)?;
                proto::encode(&Versions { seq, ..versions })
            }
            Method::OpenVersion => proto::encode(&self.open(node, &proto::decode(&header)?)?),
            Method::PullJournal => proto::encode(&self.pull(node, proto::decode(&header)?).await?),
            Method::FetchNamespace => {
                let FetchNamespace { view } = proto::decode(&header)?;
                let (kv, seq) = self.view(node, view)?;
                proto::encode(&NamespaceStats { seq, ..namespace::fetch_namespace(&kv, NAMESPACE)? })
            }
            Method::Pin => {
                let Pin { chunks, .. } = proto::decode(&header)?;
                let state = self.state.lock().unwrap();
                let pinned = |(chunk, _): &(ChunkId, Possession)| {
                    state.chunks.contains_key(chunk).then(|| receipt(chunk))
                };
                proto::encode(&Pinned { receipts: chunks.iter().map(pinned).collect() })
            }
            Method::PutChunk => proto::encode(&self.put_chunk(&proto::decode(&header)?, body)),
            Method::GetChunk => {
                let (read, body) = self.get_chunk(&proto::decode(&header)?)?;
                answer_body = body;
                proto::encode(&read)
            }
            other => panic!("{other:?} is asked for by no client"),
        };
        Ok(Reply { header, body: answer_body })
    }
}

#[async_trait]
impl Dial for Twin {
    async fn call(&self, target: &Target, request: Request, timeout: Duration) -> Result<Reply> {
        let node = usize::from(target.address.port() - FIRST_PORT);
        let travel = async || env::time::sleep(Duration::from_micros(300 + self.random.below(4_000))).await;
        travel().await;
        if self.bug == Bug::LosesVoter && node == 2 {
            return Err(Error::unavailable("refused"));
        }
        if self.breaks(Bug::Hangs, 300) {
            env::time::sleep(Duration::from_secs(600)).await;
        }
        let answer = self.answer(node, request).await;
        travel().await;
        if self.is_rough() && self.random.below(100) < LOSS_PERCENT {
            env::time::sleep(timeout).await;
            return Err(Error::unavailable("no answer"));
        }
        answer
    }
}

/// The same command, a millisecond later.
fn later(command: &Bytes) -> Bytes {
    let Ok(Logged::Command { body, .. }) = Logged::read(command) else { panic!("it is one of ours") };
    let mut stamped: Stamped<NamespaceCommand> = proto::decode(body).unwrap();
    stamped.time.0 += 1;
    stamped.encode()
}

/// Nobody here looks at the size.
fn receipt(chunk: &ChunkId) -> Receipt {
    SECRET.receipt(&chunk.within(Scope::FIRST), Generation(1), GcEpoch(1), 1)
}

fn ticket(chunk: &ChunkId) -> Ticket {
    SECRET.ticket("user/ann", NamespaceId(1), &chunk.within(Scope::FIRST), Millis(0))
}

fn listed(manifest: &chunk::manifest::Manifest) -> Vec<ChunkId> {
    match &manifest.content {
        chunk::manifest::Content::Inline(_) | chunk::manifest::Content::Sealed { .. } => Vec::new(),
        chunk::manifest::Content::Chunks(chunks) => chunks.iter().map(|chunk| chunk.id).collect(),
        chunk::manifest::Content::Tree { root, .. } => vec![*root],
    }
}

fn map() -> ClusterMap {
    let kinds = [PartitionKind::Root, PartitionKind::Tree, PartitionKind::Index];
    let ids = || 1..=u64::from(NODE_COUNT);
    let voters = Vec::from_iter(ids().map(NodeId));
    let partition = |(id, kind)| Partition { id: PartitionId(id), kind, voters: voters.clone() };
    let partitions = (0..).zip(kinds).map(partition).collect();
    let node = |(id, address)| {
        let roles = vec![Role::Meta, Role::Block];
        (
            NodeId(id),
            NodeInfo {
                zone: String::new(),
                native: address,
                control: address,
                roles,
                up: true,
                confirmed: true,
                store: None,
            },
        )
    };
    let disk = |id: u64| {
        let info = DiskInfo { node: NodeId(id), capacity: 1, ..DiskInfo::default() };
        (DiskId(id as u32), info)
    };
    ClusterMap {
        cluster: Default::default(),
        epoch: Epoch(1),
        gc_epoch: GcEpoch(1),
        profile: Profile { k: 1, m: 1 },
        pg_count: 1,
        nodes: ids().zip(Twin::addresses()).map(node).collect(),
        disks: ids().map(disk).collect(),
        table: Some(Table { pgs: vec![vec![PgSlot::serving(DiskId(1)), PgSlot::serving(DiskId(2))]] }),
        relaxed_count: 0,
        partitions,
        tree: SlotMap::shared_out(&[PartitionId(1)]),
        index: SlotMap::shared_out(&[PartitionId(2)]),
    }
}
