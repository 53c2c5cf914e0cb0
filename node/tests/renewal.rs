//! Goal: a node's certificate is renewed while it runs, and used without a restart; one that has run out is repaired with one
//! command. Method: a real node in this process, on real files and sockets, and a wall clock that the test sets.
#![allow(clippy::unwrap_used)] // All of this file is a test; helpers of tests fail loudly, too.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use client::{ADMIN_FILE, Cluster, CredentialFile};
use env::Env;
use env::testing::TempDir;
use net::ClientConfig;
use node::config::NodeConfig;
use node::{Embedded, Node, RealPlatform, prepare_embedded};
use proto::certificates::{ListCertificates, RevokeCertificates, Which};
use tokio::sync::oneshot;
use types::{ErrorKind, Identity, NodeId, Result, Serial};

const TIMEOUT: Duration = Duration::from_secs(20);
const DAY_MS: i64 = 24 * 3600 * 1000;

/// A cluster of one node, which can be started and stopped, on a clock of its own.
struct Bench {
    env: Env,
    dir: TempDir,
    listen: SocketAddr,
    process: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Bench {
    fn new() -> Self {
        let env = Env { clock: Env::simulated(0).clock, ..Env::real() };
        let port = 20_000 + env.random.below(20_000) as u16;
        let listen = format!("127.0.0.1:{port}").parse().unwrap();
        Self { env, dir: env::testing::temp_dir(), listen, process: None }
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// What `cloudsync up` does, and what `cloudsync node` does when it is not `prepared`.
    async fn start(&mut self, prepared: bool) -> Result<()> {
        let (started, outcome) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let (env, data, listen) = (self.env.clone(), self.data(), self.listen);
        let thread = env::testing::process("node", async move {
            match start_node(env, data, listen, prepared).await {
                Ok(node) => {
                    started.send(Ok(())).unwrap();
                    let _ = stopped.await;
                    node.stop().await.unwrap();
                }
                Err(e) => started.send(Err(e)).unwrap(),
            }
        });
        let outcome = outcome.await.unwrap();
        self.process = Some((stop, thread));
        if outcome.is_err() {
            self.stop();
        }
        outcome
    }

    fn stop(&mut self) {
        if let Some((stop, thread)) = self.process.take() {
            let _ = stop.send(());
            thread.join().unwrap();
        }
    }

    /// Connections of their own: what the node shows now is looked at.
    async fn connect(&self) -> Result<Arc<Cluster>> {
        let file = CredentialFile::load(&*self.env.disk, &self.data().join(ADMIN_FILE)).unwrap();
        Ok(file.connect(&self.env, ClientConfig::default(), TIMEOUT).await?.cluster)
    }

    /// Waits until the node has a valid certificate with this serial.
    async fn until_renewed(&self, serial: u64) {
        let cluster = self.connect().await.unwrap();
        for _ in 0..200 {
            let list = cluster.ask_root(&ListCertificates {}).await.unwrap().certificates;
            let mine = |c: &proto::certificates::CertificateInfo| c.identity == Identity::Node(NodeId(1));
            if list.iter().filter(|c| mine(c)).map(|c| c.serial).max() == Some(Serial(serial)) {
                return;
            }
            env::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no certificate {serial}");
    }
}

/// This process must not end while a node in it closes its stores: RocksDB aborts it then.
impl Drop for Bench {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn start_node(env: Env, data: PathBuf, listen: SocketAddr, prepared: bool) -> Result<Node> {
    let platform = RealPlatform(env.clone());
    let config = if prepared {
        NodeConfig {
            native: listen,
            control: SocketAddr::new(listen.ip(), listen.port() + 1),
            disks: disks(&data),
            data,
            ..NodeConfig::default()
        }
    } else {
        let Embedded { config, .. } = prepare_embedded(&env, &platform, &data, 6, listen)?;
        config
    };
    Node::start(env, Arc::new(platform), NodeConfig { admin: None, ..config }).await
}

fn disks(data: &std::path::Path) -> Vec<PathBuf> {
    (1..=6).map(|n| data.join(format!("disk{n}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_in_time_and_repaired_when_it_is_too_late() {
    let mut bench = Bench::new();
    bench.start(false).await.unwrap();
    let before = bench.connect().await.unwrap();
    bench.stop();
    // Two thirds of its life, and the most that it is spread by.
    bench.env.clock.jump(65 * DAY_MS);
    bench.start(true).await.unwrap();
    bench.until_renewed(3).await;
    // The first one has run out: what listens shows the other, and so does the node when it asks itself.
    bench.env.clock.jump(30 * DAY_MS);
    let after = bench.connect().await.unwrap();
    for cluster in [&before, &after] {
        assert!(cluster.fetch_status().await.unwrap().nodes[&NodeId(1)].silent_ms.unwrap() < 5000);
    }
    bench.stop();
    bench.start(true).await.unwrap();
    assert!(bench.connect().await.is_ok(), "it was stored, too");
    bench.stop();

    bench.env.clock.jump(300 * DAY_MS);
    let error = bench.start(true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    for words in ["certificate of node 1 ran out", "token create --renew 1", "cloudsync renew --config"] {
        assert!(error.message().contains(words), "{error}");
    }
    // A cluster of one helps itself: nobody else could.
    bench.start(false).await.unwrap();
    bench.until_renewed(4).await;
    assert!(bench.connect().await.is_ok(), "the administrator's had run out as well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_keeps_in_mind_whom_it_turns_away() {
    let mut bench = Bench::new();
    bench.start(false).await.unwrap();
    let cluster = bench.connect().await.unwrap();
    let which = Which::Of(Identity::Admin("admin".into()));
    cluster.ask_root(&RevokeCertificates { which, own: None, force: true }).await.unwrap();
    for restarts in 0..2 {
        let mut refused = None;
        for _ in 0..100 {
            refused = bench.connect().await.err();
            // The first heartbeat after the command has not come, or after the start is not needed.
            if refused.is_some() || restarts > 0 {
                break;
            }
            env::time::sleep(Duration::from_millis(50)).await;
        }
        let error = refused.unwrap();
        assert!(error.kind() == ErrorKind::Denied && error.message().contains("was revoked"), "{error}");
        bench.stop();
        bench.start(true).await.unwrap();
    }
}
