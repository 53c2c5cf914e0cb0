//! What is measured: real processes of the `cloudsync` binary on loopback.
//!
//! Owns: starting and stopping them, their processor time, finding and killing the leader.
//! Knows nothing of: what is measured on them.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use env::Env;
use serde::Deserialize;
use serde_json::Value;
use types::{Error, Result};

use crate::session::Session;
use crate::{Bench, say};

/// How long a cluster may take to start or to come back.
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// How often we look whether something has happened.
const LOOK_PERIOD: Duration = Duration::from_millis(20);
/// Places to try for two free ports in a row.
const PORT_TRIES: usize = 64;

/// What kind of cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `cloudsync dev cluster up`: eight processes with a disk each, three zones.
    Cluster,
    /// `cloudsync up`: one process, six disks.
    Embedded,
}

impl Kind {
    /// What it is called in tables.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Cluster => "8-node cluster, 4+2, 3 zones",
            Kind::Embedded => "embedded, 6 disks, 4+2",
        }
    }
}

/// A cluster that runs.
pub struct Deployment {
    /// What kind.
    pub kind: Kind,
    env: Env,
    binary: PathBuf,
    dir: PathBuf,
    /// The process of the embedded kind.
    pid: Option<u32>,
}

/// What `dev cluster` writes down about its nodes.
#[derive(Deserialize)]
struct Layout {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    number: u64,
    pid: Option<u32>,
}

impl Deployment {
    /// Starts a new cluster and waits until it can store files.
    pub async fn start(bench: &Bench, kind: Kind) -> Result<Self> {
        say(format_args!("starting: {}", kind.title()));
        let binary = env::process::current_exe()?.with_file_name("cloudsync");
        if !bench.env.disk.exists(&binary) {
            return Err(Error::not_found(format!(
                "{} is missing: build it with `make build`, or start this with `make bench`",
                binary.display()
            )));
        }
        let dir = bench.scratch.join(match kind {
            Kind::Cluster => "cluster",
            Kind::Embedded => "embedded",
        });
        bench.env.disk.create_dir_all(&dir)?;
        let mut deployment = Self { kind, env: bench.env.clone(), binary, dir, pid: None };
        match kind {
            Kind::Cluster => deployment.bring_up().await?,
            Kind::Embedded => deployment.start_embedded().await?,
        }
        Ok(deployment)
    }

    /// The administrator's credential file.
    pub fn credentials(&self) -> PathBuf {
        self.data().join("admin.cred")
    }

    /// Processor seconds that all its processes have used so far.
    pub fn cpu_seconds(&self) -> f64 {
        self.pids().into_iter().filter_map(env::process::cpu_seconds_of).sum()
    }

    /// Finds the process that leads the partition of the namespace; the cluster kind only.
    pub async fn leader(&self) -> Result<u32> {
        let found = self.command(&["leader"]).await?;
        let number = found["node"].as_u64();
        let node = self.layout()?.nodes.into_iter().find(|node| Some(node.number) == number);
        node.and_then(|node| node.pid)
            .ok_or_else(|| Error::internal(format!("`dev cluster leader` answered {found}")))
    }

    /// Starts the nodes that do not run and waits until all slots are filled; the cluster kind only.
    pub async fn bring_up(&self) -> Result<()> {
        self.command(&["up", "--nodes", "8", "--zones", "3", "--profile", "4+2"]).await.map(|_| ())
    }

    /// Ends all processes and removes their data.
    pub async fn stop(self) {
        env::process::kill_all(&self.pids());
        if let Err(e) = self.env.disk.remove_dir_all(&self.dir) {
            say(format_args!("cannot remove {}: {e}", self.dir.display()));
        }
    }

    async fn start_embedded(&mut self) -> Result<()> {
        let data = self.data().display().to_string();
        let listen = format!("127.0.0.1:{}", free_port_pair()?);
        let args = ["up", "--data", &data, "--disks", "6", "--listen", &listen].map(str::to_owned);
        let log = self.dir.join("log");
        let pid = env::process::start_detached(&self.binary, &args, &log)?;
        self.pid = Some(pid);
        let deadline = env::time::now() + START_TIMEOUT;
        while let Err(e) = Session::open(&self.env, &self.credentials()).await {
            if !env::process::is_running(pid) || env::time::now() >= deadline {
                let words = self.env.disk.read(&log).unwrap_or_default();
                return Err(
                    e.context(format!("`cloudsync up` said {}", String::from_utf8_lossy(&words).trim()))
                );
            }
            env::time::sleep(LOOK_PERIOD).await;
        }
        Ok(())
    }

    /// Runs `cloudsync dev cluster …` to its end and returns what it answers.
    async fn command(&self, args: &[&str]) -> Result<Value> {
        let log = self.dir.join(format!("{}-{:x}.log", args[0], self.env.random.u64()));
        let dir = self.data().display().to_string();
        let common = ["-o", "json", "dev", "cluster", "--dir", &dir];
        let line: Vec<String> = common.iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        // The command has its own deadline, shorter than any patience for a measurement.
        let words = env::process::run_detached(&self.binary, &line, &log).await?;
        answer(&words).map_err(|e| e.context(format!("cloudsync {}", line.join(" "))))
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn pids(&self) -> Vec<u32> {
        match self.kind {
            Kind::Embedded => self.pid.into_iter().collect(),
            Kind::Cluster => {
                let nodes = self.layout().map(|layout| layout.nodes).unwrap_or_default();
                nodes.into_iter().filter_map(|node| node.pid).collect()
            }
        }
    }

    fn layout(&self) -> Result<Layout> {
        let path: &Path = &self.data().join("cluster.json");
        serde_json::from_slice(&self.env.disk.read(path)?)
            .map_err(|e| Error::corrupt(format!("{}: {e}", path.display())))
    }
}

impl Drop for Deployment {
    /// After an error or Ctrl-C nobody else would stop these processes. Waiting until they are gone is what lets
    /// their directory be removed next.
    fn drop(&mut self) {
        env::process::kill_all(&self.pids());
    }
}

/// The last line of a command's output that is a JSON value; an error if the value is one.
fn answer(words: &str) -> Result<Value> {
    let values = words.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let failed = || Error::unavailable(words.trim().to_owned());
    let value = values.into_iter().find(Value::is_object).ok_or_else(failed)?;
    if value.get("error").is_some() { Err(failed()) } else { Ok(value) }
}

/// The first of two ports in a row that nobody uses, for TCP and UDP alike.
fn free_port_pair() -> Result<u16> {
    for _ in 0..PORT_TRIES {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = first.local_addr()?.port();
        let Some(next) = port.checked_add(1) else { continue };
        let second = TcpListener::bind((Ipv4Addr::LOCALHOST, next));
        if second.is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::unavailable("no two free ports in a row on loopback"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_is_the_answer() {
        let words = "waiting: 3 of 8 nodes up\n{\"nodes\":7}\n{\"nodes\":8}\n5\nnoise";
        assert_eq!(answer(words).unwrap()["nodes"], 8);
    }

    #[test]
    fn errors_and_silence_are_errors() {
        for words in ["", "cloudsync: no", "{\"error\":{\"kind\":\"busy\",\"message\":\"later\"}}"] {
            assert!(answer(words).is_err(), "{words}");
        }
    }
}
