//! A cluster of one service in memory: keeps chunks and versions, checks what the real servers check.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chunk::manifest::{Content, Manifest, content_root, node_id, parse_node};
use env::disk::SimDisk;
use env::time::{Duration, Instant};
use env::{Disk, Env, OpenMode};
use net::testing::Switchboard;
use net::{Caller, Reply, Request, Service, Transport};
use proto::Method;
use proto::block::{ChunkKind, ChunkRead, ChunkStored, GetChunk, PutChunk};
use proto::catalog::NamespaceFound;
use proto::index::{Pin, Pinned};
use proto::map::{self, ClusterMap, Partition, PartitionKind};
use proto::namespace::{
    Done, Entry, Expect, Found, Kind, NamespaceStats, NewContent, Op, OpenVersion, Opened, Stat, Version,
    WriteNamespace, Written,
};
use proto::seal::{ClusterSecret, Receipt};
use proto::slots::SlotMap;
use types::{
    ChunkId, DiskId, Epoch, Error, GcEpoch, Generation, Identity, InodeId, Millis, NamespaceId,
    NamespaceName, NodeId, PartitionId, Path, Possession, Profile, Result, Scope, Seq, VersionId,
};

use crate::{Blocks, Cluster, Endpoints, Namespace, Progress, Uploaded, Uploader, download_file};

const SECRET: ClusterSecret = ClusterSecret::first([7; 32]);
const NODE: NodeId = NodeId(1);
const NOW: Millis = Millis(1_800_000_000_000);

/// Bytes that look random; fewer are the beginning of more.
pub fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(b"flow test").finalize_xof().fill(&mut bytes);
    bytes
}

/// A client and the cluster it speaks to.
pub struct Twin {
    pub disk: Arc<SimDisk>,
    pub namespace: Arc<Namespace>,
    pub blocks: Arc<Blocks>,
    pub uploader: Uploader,
    pub progress: Arc<Progress>,
    server: Arc<TwinServer>,
}

impl Twin {
    pub async fn start() -> Self {
        let disk = Arc::new(SimDisk::new(1));
        let env = Env { disk: disk.clone(), ..Env::simulated(1) };
        let server = Arc::new(TwinServer { state: Mutex::default(), disk: disk.clone() });
        let (network, address) = (Switchboard::new(), "10.0.0.1:1".parse().unwrap());
        network.attach(address, server.clone());
        let dial = network.dialer("10.0.0.2:1".parse().unwrap(), Identity::User("anna".to_owned()));
        let endpoints = Endpoints { addresses: vec![address], transport: Transport::Quic };
        let (map, _) = tokio::sync::watch::channel(Arc::new(one_node(address)));
        let cluster = Arc::new(Cluster::new(env, dial, endpoints, map, Duration::from_secs(20)));
        let home = NamespaceName::parse("home").unwrap();
        let namespace = Arc::new(Namespace::open(cluster.clone(), &home).await.unwrap());
        let blocks = Arc::new(Blocks::new(cluster.clone()));
        let progress = Arc::new(Progress::default());
        let uploader = Uploader::new(cluster, namespace.clone(), blocks.clone(), progress.clone());
        Self { disk, namespace, blocks, uploader, progress, server }
    }

    /// Replaces a local file.
    pub fn write(&self, path: &str, bytes: &[u8]) {
        let file = self.disk.open(std::path::Path::new(path), OpenMode::Create).unwrap();
        file.set_len(0).unwrap();
        file.write_at(&[bytes], 0).unwrap();
    }

    pub async fn put(&self, path: &str) -> Result<Uploaded> {
        let source = std::path::Path::new(super::SOURCE);
        self.uploader.upload_file(source, &Path::parse(path)?, &crate::FileState::Absent).await
    }

    pub async fn download(&self, path: &Path, target: &str) -> Result<u64> {
        let opened = self.namespace.open_version(path, None).await?;
        let target = std::path::Path::new(target);
        download_file(self.disk.clone(), self.blocks.clone(), opened, target, &self.progress).await
    }

    /// Chunks and nodes that the cluster received.
    pub fn sent(&self) -> usize {
        self.server.state.lock().unwrap().put_count
    }

    pub fn bytes_done(&self) -> u64 {
        self.progress.bytes_done.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Does something to the local disk with each of the next `count` chunks that are put.
    pub fn when_a_chunk_arrives(&self, count: usize, action: fn(&SimDisk)) {
        self.server.state.lock().unwrap().interrupt = Some((count, action));
    }

    /// The cluster takes so many chunks and no more.
    pub fn refuse_chunks_after(&self, count: usize) {
        self.server.state.lock().unwrap().put_count_max = Some(count);
    }
}

/// One node that is everything, with one disk.
fn one_node(address: std::net::SocketAddr) -> ClusterMap {
    let node = map::NodeInfo {
        zone: String::new(),
        native: address,
        control: address,
        roles: vec![],
        up: true,
        confirmed: true,
        store: None,
    };
    let disk = map::DiskInfo { node: NODE, capacity: 1, ..map::DiskInfo::default() };
    let slots = vec![placement::PgSlot::serving(DiskId(1))];
    let kinds = [PartitionKind::Root, PartitionKind::Tree, PartitionKind::Index, PartitionKind::Index];
    let partition = |(id, kind)| Partition { id: PartitionId(id), kind, voters: vec![NODE] };
    let partitions = (0..).zip(kinds).map(partition).collect();
    ClusterMap {
        cluster: Default::default(),
        epoch: Epoch(1),
        gc_epoch: GcEpoch(1),
        profile: Profile { k: 1, m: 1 },
        pg_count: 1,
        nodes: BTreeMap::from([(NODE, node)]),
        disks: BTreeMap::from([(DiskId(1), disk)]),
        table: Some(placement::Table { pgs: vec![slots] }),
        relaxed_count: 0,
        partitions,
        tree: SlotMap::shared_out(&[PartitionId(1)]),
        index: SlotMap::shared_out(&[PartitionId(2), PartitionId(3)]),
    }
}

/// What is at the other end of the wire.
struct TwinServer {
    state: Mutex<TwinState>,
    disk: Arc<SimDisk>,
}

/// Still so many times, this.
type Interrupt = (usize, fn(&SimDisk));

#[derive(Default)]
struct TwinState {
    chunks: BTreeMap<ChunkId, bytes::Bytes>,
    files: BTreeMap<Path, (Entry, Manifest)>,
    versions: u64,
    put_count: usize,
    put_count_max: Option<usize>,
    interrupt: Option<Interrupt>,
}

#[async_trait]
impl Service for TwinServer {
    async fn call(&self, caller: &Caller, request: Request, _deadline: Instant) -> Result<Reply> {
        let mut state = self.state.lock().unwrap();
        let reader = caller.identity.to_string();
        let header = match Method::from_number(request.method).expect("a method") {
            Method::FindNamespace => proto::encode(&NamespaceFound { namespace: NamespaceId(1) }),
            Method::Pin => proto::encode(&state.pin(&proto::decode(&request.header)?)),
            Method::PutChunk => {
                let stored = state.put_chunk(&proto::decode(&request.header)?, request.body)?;
                state.interrupt(&self.disk);
                proto::encode(&stored)
            }
            Method::GetChunk => {
                let (read, body) = state.get_chunk(&reader, &proto::decode(&request.header)?)?;
                return Ok(Reply { header: proto::encode(&read), body });
            }
            Method::WriteNamespace => {
                let WriteNamespace { ops, .. } = proto::decode(&request.header)?;
                let results = ops.into_iter().map(|op| state.commit(op)).collect();
                proto::encode(&Written { seq: Seq(1), results })
            }
            Method::Stat => {
                let Stat { path, .. } = proto::decode(&request.header)?;
                let (entry, _) = state.find(&path)?;
                proto::encode(&Found { seq: Seq(1), entry, contents: None })
            }
            Method::FetchNamespace => {
                proto::encode(&NamespaceStats { scope: Scope::FIRST, ..NamespaceStats::default() })
            }
            Method::OpenVersion => {
                let OpenVersion { path, .. } = proto::decode(&request.header)?;
                proto::encode(&state.open_version(&reader, &path)?)
            }
            other => panic!("{other:?} is no part of a transfer"),
        };
        Ok(Reply { header, body: bytes::Bytes::new() })
    }
}

/// Nobody here looks at the size.
fn receipt(chunk: ChunkId) -> Receipt {
    SECRET.receipt(&chunk.within(Scope::FIRST), Generation(1), GcEpoch(1), 1)
}

impl TwinState {
    fn pin(&self, pin: &Pin) -> Pinned {
        let found = |(chunk, possession): &(ChunkId, Possession)| {
            let bytes = self.chunks.get(chunk)?;
            (chunk::possession(bytes) == *possession).then(|| receipt(*chunk))
        };
        Pinned { receipts: pin.chunks.iter().map(found).collect() }
    }

    fn put_chunk(&mut self, put: &PutChunk, body: bytes::Bytes) -> Result<ChunkStored> {
        if self.put_count_max.is_some_and(|max| self.put_count >= max) {
            return Err(Error::denied("no more chunks"));
        }
        self.put_count += 1;
        let id = match put.kind {
            ChunkKind::Data => chunk::chunk_id(&body),
            ChunkKind::ManifestNode => node_id(&body),
        };
        let entries = match put.kind {
            ChunkKind::Data => Vec::new(),
            ChunkKind::ManifestNode => parse_node(&body)?.entries,
        };
        assert_eq!((id, entries.len()), (put.id, put.receipts.len()));
        entries
            .iter()
            .zip(&put.receipts)
            .try_for_each(|(e, r)| SECRET.check_receipt(&e.id.within(Scope::FIRST), r))?;
        self.chunks.insert(id, body);
        Ok(ChunkStored { receipt: receipt(id) })
    }

    fn interrupt(&mut self, disk: &SimDisk) {
        if let Some((count, action)) = &mut self.interrupt
            && *count > 0
        {
            *count -= 1;
            action(disk);
        }
    }

    fn get_chunk(&self, reader: &str, get: &GetChunk) -> Result<(ChunkRead, bytes::Bytes)> {
        SECRET.check_ticket(reader, &get.id.within(Scope::FIRST), &get.ticket, NOW)?;
        let body = self.chunks.get(&get.id).ok_or_else(|| Error::not_found("no such chunk"))?;
        let entries = match get.kind {
            ChunkKind::Data => Vec::new(),
            ChunkKind::ManifestNode => parse_node(body)?.entries,
        };
        let tickets = entries
            .iter()
            .map(|entry| SECRET.ticket(reader, NamespaceId(1), &entry.id.within(Scope::FIRST), NOW))
            .collect();
        let (start, count) = get.range.unwrap_or((0, u32::MAX));
        let end = body.len().min(start.saturating_add(count) as usize);
        Ok((ChunkRead { tickets }, body.slice(start as usize..end)))
    }

    fn commit(&mut self, op: Op) -> Result<Done> {
        let Op::CommitVersion { path, expect, content, attributes } = op else { panic!("{op:?}") };
        let NewContent::File { manifest, receipts } = content else { panic!("{content:?}") };
        manifest.check()?;
        let listed = listed(&manifest);
        assert_eq!(listed.len(), receipts.len());
        listed
            .iter()
            .zip(&receipts)
            .try_for_each(|(chunk, r)| SECRET.check_receipt(&chunk.within(Scope::FIRST), r))?;
        let newest = self.files.get(&path);
        let newest = newest.map_or(Expect::Absent, |(entry, _)| Expect::Version(entry.inode, entry.version));
        if expect != newest {
            return Err(Error::conflict("another version is there"));
        }
        self.versions += 1;
        let (inode, version) = (InodeId(1), VersionId(self.versions));
        let (size, content_root) = (manifest.size, content_root(&manifest));
        let entry = Entry::new(path.to_string().trim_start_matches('/'), inode, Kind::File);
        let entry = Entry { size, version, content_root, attributes, ..entry };
        self.files.insert(path, (entry, manifest));
        Ok(Done { inode, version: Some(version), seq: Seq(self.versions), namespace: None })
    }

    fn find(&self, path: &Path) -> Result<(Entry, Manifest)> {
        self.files.get(path).cloned().ok_or_else(|| Error::not_found(format!("{path} does not exist")))
    }

    fn open_version(&self, reader: &str, path: &Path) -> Result<Opened> {
        let (entry, manifest) = self.find(path)?;
        let version = Version {
            inode: entry.inode,
            id: entry.version,
            base: None,
            author: reader.to_owned(),
            committed: NOW,
            attributes: entry.attributes,
            size: entry.size,
            content_root: entry.content_root,
            target: String::new(),
        };
        let tickets = listed(&manifest)
            .iter()
            .map(|chunk| SECRET.ticket(reader, NamespaceId(1), &chunk.within(Scope::FIRST), NOW))
            .collect();
        Ok(Opened { seq: Seq(1), version, manifest, tickets })
    }
}

/// Chunks that a manifest names itself.
fn listed(manifest: &Manifest) -> Vec<ChunkId> {
    match &manifest.content {
        Content::Inline(_) | Content::Sealed { .. } => Vec::new(),
        Content::Chunks(chunks) => chunks.iter().map(|chunk| chunk.id).collect(),
        Content::Tree { root, .. } => vec![*root],
    }
}
