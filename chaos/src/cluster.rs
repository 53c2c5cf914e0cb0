//! The cluster that is broken: real processes, started and stopped by `cloudsync dev cluster`.
//!
//! Owns: its directory, finding its processes, signals.
//! Knows nothing of: what is done to it, and why.

use std::path::{Path, PathBuf};

use env::Env;
use env::process::{self, Signal};
use serde::Deserialize;
use types::{Error, NodeId, Result};

/// Lines of a log that say what went wrong.
const LOG_LINES: usize = 3;

/// A cluster in a directory. Its processes end when it is dropped; its files stay.
pub struct DevCluster {
    env: Env,
    binary: PathBuf,
    dir: PathBuf,
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

impl DevCluster {
    /// Starts a cluster in `dir` and waits until it can store files.
    pub async fn start(env: &Env, dir: &Path, node_count: u16) -> Result<Self> {
        let binary = process::current_exe()?.with_file_name("cloudsync");
        if !env.disk.exists(&binary) {
            return Err(Error::not_found(format!(
                "{} is missing: build it with `make build`",
                binary.display()
            )));
        }
        if env.disk.exists(&dir.join("cluster")) {
            let error =
                format!("{} has the cluster of an earlier run: choose another directory", dir.display());
            return Err(Error::exists(error));
        }
        env.disk.create_dir_all(dir)?;
        let cluster = Self { env: env.clone(), binary, dir: dir.to_owned() };
        let nodes = node_count.to_string();
        cluster.command(&["up", "--nodes", &nodes, "--zones", "3", "--profile", "4+2"]).await?;
        Ok(cluster)
    }

    /// The administrator's credential file.
    pub fn credentials(&self) -> PathBuf {
        self.data().join("admin.cred")
    }

    /// `kill -9`, all at once; on return the processes are gone.
    pub async fn kill(&self, nodes: &[NodeId]) -> Result<()> {
        self.on_nodes("kill", nodes).await
    }

    /// Starts nodes again.
    pub async fn restart(&self, nodes: &[NodeId]) -> Result<()> {
        self.on_nodes("restart", nodes).await
    }

    /// Sends a signal to one node.
    pub fn signal(&self, node: NodeId, signal: Signal) -> Result<()> {
        let found = self.layout()?.nodes.into_iter().find(|n| n.number == node.0).and_then(|n| n.pid);
        match found {
            Some(pid) if process::signal(pid, signal) => Ok(()),
            _ => Err(Error::not_found(format!("node {node} does not run"))),
        }
    }

    /// Nodes without a process, with their last words.
    pub fn ended(&self) -> Result<Vec<String>> {
        let nodes = self.layout()?.nodes.into_iter();
        let ended = nodes.filter(|node| !node.pid.is_some_and(process::is_running));
        Ok(ended
            .map(|node| format!("node {} has ended: {}", node.number, self.last_words(node.number)))
            .collect())
    }

    /// Lines of all logs that tell of a panic.
    pub fn panics(&self) -> Result<Vec<String>> {
        let nodes = self.layout()?.nodes.into_iter();
        let panics = |node: Node| {
            let log = self.log(node.number);
            let lines = log.lines().filter(|line| line.contains("panicked at"));
            lines.map(|line| format!("node {}: {line}", node.number)).collect::<Vec<_>>()
        };
        Ok(nodes.flat_map(panics).collect())
    }

    /// Runs `cloudsync dev cluster …` to its end.
    async fn command(&self, args: &[&str]) -> Result<()> {
        let log = self.dir.join(format!("{}-{:016x}.log", args[0], self.env.random.u64()));
        let dir = self.data().display().to_string();
        let common = ["-o", "json", "dev", "cluster", "--dir", &dir];
        let line: Vec<String> = common.iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        // The command has its own deadlines.
        let words = process::run_detached(&self.binary, &line, &log).await?;
        let answer =
            words.lines().rev().find_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        if answer.is_some_and(|value| value.is_object() && value.get("error").is_none()) {
            self.env.disk.remove_file(&log)?;
            return Ok(());
        }
        Err(Error::unavailable(format!("cloudsync dev cluster {}: {words}", args.join(" "))))
    }

    async fn on_nodes(&self, verb: &str, nodes: &[NodeId]) -> Result<()> {
        let numbers: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
        let args: Vec<&str> = std::iter::once(verb).chain(numbers.iter().map(String::as_str)).collect();
        self.command(&args).await
    }

    fn data(&self) -> PathBuf {
        self.dir.join("cluster")
    }

    fn log(&self, number: u64) -> String {
        let path = self.data().join(format!("node{number}/log"));
        String::from_utf8_lossy(&self.env.disk.read(&path).unwrap_or_default()).into_owned()
    }

    fn last_words(&self, number: u64) -> String {
        let log = self.log(number);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join(" / ")
    }

    fn layout(&self) -> Result<Layout> {
        let path = self.data().join("cluster.json");
        serde_json::from_slice(&self.env.disk.read(&path)?)
            .map_err(|e| Error::corrupt(format!("{}: {e}", path.display())))
    }
}

impl Drop for DevCluster {
    /// After an error or Ctrl-C nobody else would stop these processes. Waiting until they are gone is what lets their
    /// directory be removed next.
    fn drop(&mut self) {
        let nodes = self.layout().map(|layout| layout.nodes).unwrap_or_default();
        process::kill_all(&nodes.iter().filter_map(|node| node.pid).collect::<Vec<_>>());
    }
}
