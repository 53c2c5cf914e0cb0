//! Goal: I-SEAL: what people store is on no disk, log or metadata file of a node in the clear, and comes back as long as
//! its key exists. Method: a real node in this process, on real files and sockets; every file of its data directory is
//! searched.
#![allow(clippy::unwrap_used)] // All of this file is a test; helpers of tests fail loudly, too.

mod process;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::{
    ADMIN_FILE, Blocks, Connection, CredentialFile, FileState, Namespace, Progress, Uploader, download_file,
};
use env::testing::TempDir;
use env::{Disk, Env};
use net::ClientConfig;
use node::config::NodeConfig;
use node::{Embedded, Node, RealPlatform, prepare_embedded};
use process::{Process, address};
use proto::keys::{DestroyKeys, RotateKeys};
use types::{Error, ErrorKind, NamespaceName, Path, Result, TenantId};

const LARGE: usize = 3 << 20;
const SMALL: usize = 1000;
const RUN: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(20);

/// A cluster of one node with six disks, and its administrator.
struct Bench {
    env: Env,
    dir: TempDir,
    listen: SocketAddr,
    process: Option<Process>,
}

impl Bench {
    async fn new() -> Self {
        let (env, dir) = (Env::real(), env::testing::temp_dir());
        let listen = address(&env.random);
        let mut bench = Self { env, dir, listen, process: None };
        bench.start().await.unwrap();
        bench
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    async fn start(&mut self) -> Result<()> {
        let node = start_node(self.env.clone(), self.data(), self.listen);
        self.process = Some(Process::start(node).await?);
        Ok(())
    }

    fn stop(&mut self) {
        self.process = None;
    }

    async fn connect(&self) -> Connection {
        let file = CredentialFile::load(&*self.env.disk, &self.data().join(ADMIN_FILE)).unwrap();
        file.connect(&self.env, ClientConfig::default(), TIMEOUT).await.unwrap()
    }

    /// Stores bytes as a new file of this name.
    async fn put(&self, name: &str, bytes: &[u8]) {
        let (source, target) = (self.dir.join(name), Path::parse(&format!("/{name}")).unwrap());
        self.env.disk.write_atomic(&source, bytes).unwrap();
        let cluster = self.connect().await.cluster;
        let home = NamespaceName::parse("home").unwrap();
        let namespace = Arc::new(Namespace::open(cluster.clone(), &home).await.unwrap());
        let blocks = Arc::new(Blocks::new(cluster.clone()));
        let uploader = Uploader::new(cluster, namespace, blocks, Arc::new(Progress::default()));
        let state = FileState::of(&target, None).unwrap();
        uploader.upload_file(&source, &target, &state).await.unwrap();
        self.env.disk.remove_file(&source).unwrap();
    }

    async fn get(&self, name: &str) -> Result<Vec<u8>> {
        let (path, place) =
            (Path::parse(&format!("/{name}")).unwrap(), self.dir.join(format!("{name}.back")));
        let cluster = self.connect().await.cluster;
        let namespace = Namespace::open(cluster.clone(), &NamespaceName::parse("home").unwrap()).await?;
        let opened = namespace.open_version(&path, None).await?;
        let (disk, blocks) = (self.env.disk.clone(), Arc::new(Blocks::new(cluster)));
        download_file(disk, blocks, opened, &place, &Progress::default()).await?;
        let bytes = self.env.disk.read(&place).unwrap();
        self.env.disk.remove_file(&place).unwrap();
        Ok(bytes)
    }

    /// Every file of the data directory that has one of these runs in it, and the number of bytes that were looked at.
    fn search(&self, runs: &HashSet<&[u8]>) -> (Vec<PathBuf>, usize) {
        let (mut found, mut size) = (Vec::new(), 0);
        for path in files(&*self.env.disk, &self.data()) {
            let bytes = self.env.disk.read(&path).unwrap();
            size += bytes.len();
            if bytes.windows(RUN).any(|run| runs.contains(run)) {
                found.push(path);
            }
        }
        (found, size)
    }
}

async fn start_node(env: Env, data: PathBuf, listen: SocketAddr) -> Result<Node> {
    let platform = RealPlatform(env.clone());
    let Embedded { config, .. } = prepare_embedded(&env, &platform, &data, None, listen)?;
    Node::start(env, Arc::new(platform), NodeConfig { admin: None, ..config }).await
}

/// Files below a directory.
fn files(disk: &dyn Disk, dir: &LocalPath) -> Vec<PathBuf> {
    let paths = disk.read_dir(dir).unwrap().into_iter().map(|name| dir.join(name));
    paths
        .flat_map(|path| match disk.metadata(&path) {
            Ok(found) if found.is_dir => files(disk, &path),
            Ok(_) => vec![path],
            Err(_) => Vec::new(),
        })
        .collect()
}

/// Bytes without a pattern: nothing but encryption would change them.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    env::Random::seeded(seed).fill(&mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn no_plain_byte_reaches_a_disk() {
    let mut bench = Bench::new().await;
    let (large, small) = (noise(1, LARGE), noise(2, SMALL));
    bench.put("large", &large).await;
    bench.put("small", &small).await;
    let name = b"large";
    let runs: HashSet<&[u8]> = large.chunks_exact(RUN).chain(small.chunks_exact(RUN)).collect();
    assert_eq!(runs.len(), LARGE / RUN + SMALL / RUN);
    for _ in 0..2 {
        let (found, size) = bench.search(&runs);
        assert_eq!(found, Vec::<PathBuf>::new());
        assert!(size > LARGE * 3 / 2, "the stripes are among the {size} bytes that were searched");
        let has_name = |path: &PathBuf| {
            let bytes = bench.env.disk.read(path).unwrap();
            bytes.windows(name.len()).any(|run| run == name)
        };
        let named = files(&*bench.env.disk, &bench.data()).into_iter().filter(has_name).count();
        assert!(named > 0, "the metadata is among the files that were searched");
        // What a clean stop writes is searched as well.
        bench.stop();
        bench.start().await.unwrap();
    }
    assert!(bench.get("large").await.unwrap() == large && bench.get("small").await.unwrap() == small);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_and_are_destroyed() {
    let mut bench = Bench::new().await;
    let contents: Vec<(String, Vec<u8>)> =
        (0..4).map(|n| (format!("f{n}"), noise(n, if n % 2 == 0 { LARGE } else { SMALL }))).collect();
    let (before, after) = contents.split_at(2);
    for (name, bytes) in before {
        bench.put(name, bytes).await;
    }
    bench.connect().await.cluster.ask_root(&RotateKeys {}).await.unwrap();
    bench.stop();
    bench.start().await.unwrap();
    for (name, bytes) in after {
        bench.put(name, bytes).await;
    }
    bench.stop();
    bench.start().await.unwrap();
    for (name, bytes) in &contents {
        assert!(bench.get(name).await.unwrap() == *bytes, "{name} is read after a rotation and a restart");
    }

    let destroy = DestroyKeys { tenant: TenantId::FIRST, dry_run: false };
    assert_eq!(bench.connect().await.cluster.ask_root(&destroy).await.unwrap().keys.len(), 2);
    bench.stop();
    bench.start().await.unwrap();
    for (name, bytes) in &contents {
        let error = bench.get(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{name} of {} bytes: {error}", bytes.len());
        assert!(error.message().contains("of tenant 1 was destroyed"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_start_with_another_key() {
    let mut bench = Bench::new().await;
    bench.put("small", &noise(3, SMALL)).await;
    bench.stop();
    let path = bench.data().join("keys/cluster.key");
    let good = bench.env.disk.read(&path).unwrap();
    let mut check = async |change: &dyn Fn(&dyn Disk) -> std::io::Result<()>, kind, words: &str| {
        change(&*bench.env.disk).unwrap();
        let error: Error = bench.start().await.unwrap_err();
        assert!(error.kind() == kind && error.message().contains(words), "{error}");
    };
    let other = format!("{}\n", "ab".repeat(32));
    check(&|disk| disk.write_atomic(&path, other.as_bytes()), ErrorKind::Denied, "not that of the cluster")
        .await;
    check(&|disk| disk.write_atomic(&path, b"?"), ErrorKind::Invalid, "64 hexadecimal digits").await;
    check(&|disk| disk.remove_file(&path), ErrorKind::NotFound, "keys/cluster.key is missing").await;
    bench.env.disk.write_atomic(&path, &good).unwrap();
    bench.start().await.unwrap();
    assert_eq!(bench.get("small").await.unwrap(), noise(3, SMALL));
}
