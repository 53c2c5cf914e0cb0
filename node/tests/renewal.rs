//! Goal: a node's certificate is renewed while it runs, and used without a restart; one that has run out is repaired with one
//! command. Method: a real node in this process, on real files and sockets, and a wall clock that the test sets.
#![allow(clippy::unwrap_used)] // All of this file is a test; helpers of tests fail loudly, too.

mod process;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::{ADMIN_FILE, Cluster, CredentialFile};
use env::Env;
use env::testing::TempDir;
use net::ClientConfig;
use node::config::NodeConfig;
use node::{Embedded, Node, RealPlatform, prepare_embedded};
use process::{Process, address};
use proto::certificates::{ListCertificates, RevokeCertificates, Which};
use types::{ErrorKind, Identity, NodeId, Result, Serial};

const TIMEOUT: Duration = Duration::from_secs(20);
const DAY_MS: i64 = 24 * 3600 * 1000;

/// A cluster of one node, which can be started and stopped, on a clock of its own.
struct Bench {
    env: Env,
    dir: TempDir,
    listen: SocketAddr,
    process: Option<Process>,
}

impl Bench {
    fn new() -> Self {
        let env = Env { clock: Env::simulated(0).clock, ..Env::real() };
        let listen = address(&env.random);
        Self { env, dir: env::testing::temp_dir(), listen, process: None }
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// What `cloudsync up` does, and what `cloudsync node` does when it is not `prepared`.
    async fn start(&mut self, prepared: bool) -> Result<()> {
        let node = start_node(self.env.clone(), self.data(), self.listen, prepared);
        self.process = Some(Process::start(node).await?);
        Ok(())
    }

    fn stop(&mut self) {
        self.process = None;
    }

    /// Connections of their own: what the node shows now is looked at.
    async fn connect(&self) -> Result<Arc<Cluster>> {
        let file = CredentialFile::load(&*self.env.disk, &self.data().join(ADMIN_FILE)).unwrap();
        Ok(file.connect(&self.env, ClientConfig::default(), TIMEOUT).await?.cluster)
    }

    /// Waits until the node has a valid certificate with this serial.
    async fn until_renewed(&self, serial: u64) {
        let cluster = self.connect().await.unwrap();
        eventually("a renewed certificate", async || {
            let list = cluster.ask_root(&ListCertificates {}).await.unwrap().certificates;
            let mine = list.iter().filter(|c| c.identity == Identity::Node(NodeId(1)));
            (mine.map(|c| c.serial).max() == Some(Serial(serial))).then_some(())
        })
        .await;
    }
}

/// Looks until there is something; fails after [`TIMEOUT`].
async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    env::time::timeout(TIMEOUT, found).await.unwrap_or_else(|_| panic!("{what} does not come"))
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
        let Embedded { config, .. } = prepare_embedded(&env, &platform, &data, None, listen)?;
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
    // With the first heartbeat after the command.
    let first = eventually("a refusal", async || bench.connect().await.err()).await;
    bench.stop();
    bench.start(true).await.unwrap();
    // After a restart without waiting for one.
    let second = bench.connect().await.err().unwrap();
    for error in [first, second] {
        assert!(error.kind() == ErrorKind::Denied && error.message().contains("was revoked"), "{error}");
    }
}
