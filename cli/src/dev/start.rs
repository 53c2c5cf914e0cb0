//! `dev cluster up`: from an empty directory, from stopped nodes, or from wherever an earlier attempt stopped.

use std::io::Write;
use std::time::Duration;

use serde_json::json;
use types::{Error, ErrorKind, Profile, Result};

use super::layout::Layout;
use super::process::free_ports;
use super::ready::missing;
use super::{Dev, Shape};
use crate::admin;
use crate::config::{overriding_variables, variables};
use crate::credentials::{ADMIN_FILE, CredentialFile};
use crate::exit::Failure;
use crate::node;
use crate::output::{Outcome, count};
use crate::session::Session;

/// How long a starting cluster may make no progress: eight nodes on two busy cores start in a tenth of it.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How often we ask whether it has.
const START_PERIOD: Duration = Duration::from_millis(200);
/// How long a join token is good for: all nodes join within seconds.
const TOKEN_VALIDITY: Duration = Duration::from_secs(600);

impl Dev<'_> {
    /// Starts what is not running, and makes what is not there.
    pub(super) async fn up(&self, shape: Shape) -> Result<Outcome, Failure> {
        let variables = variables();
        if let Some(name) = overriding_variables(&variables).first() {
            return Err(Failure::usage(Error::invalid(format!(
                "{name} is set: it would override the configuration of every node alike; unset it"
            ))));
        }
        check_shape(shape)?;
        let disk = &self.env.disk;
        if disk.exists(&self.dir)
            && !Layout::exists(&**disk, &self.dir)
            && !disk.read_dir(&self.dir).map_err(Error::from)?.is_empty()
        {
            return Err(Failure::refused(format!(
                "{} is not empty and not a cluster: choose another directory",
                self.dir.display()
            )));
        }
        disk.create_dir_all(&self.dir).map_err(|e| Error::from(e).context(self.dir.display()))?;
        let _lock = self.lock()?;
        let mut layout = self.load_or_plan(shape)?;
        let running = layout.nodes.iter().filter(|node| self.running(node).is_some()).count();
        let was_up = running == layout.nodes.len();
        if !was_up {
            self.start_all(&mut layout).await?;
        }
        let session = self.wait_for(&layout, missing).await?;
        let nodes = layout.nodes.len();
        let what = if was_up { "already up" } else { "up" };
        let text = format!(
            "{} {what}, cluster {}; to use it:\n{}",
            count(nodes as u64, "node"),
            session.cluster.map().cluster,
            self.variables()?.text
        );
        let credentials = self.credentials().display().to_string();
        Ok(Outcome::ok(text, json!({ "nodes": nodes, "was_up": was_up, "credentials": credentials })))
    }

    fn load_or_plan(&self, shape: Shape) -> Result<Layout> {
        let disk = &*self.env.disk;
        if Layout::exists(disk, &self.dir) {
            return Layout::load(disk, &self.dir);
        }
        let layout = Layout::plan(shape, &free_ports(usize::from(shape.nodes) * 2)?);
        for node in &layout.nodes {
            let config = layout.config(node, &self.dir)?;
            disk.create_dir_all(&config.data)?;
            config.disks.iter().try_for_each(|dir| disk.create_dir_all(dir))?;
            disk.write_atomic(&node.config_file(&self.dir), config.to_toml().as_bytes())?;
        }
        self.save(&layout)?;
        Ok(layout)
    }

    /// Every step is written down when it is done, and may be done twice.
    async fn start_all(&self, layout: &mut Layout) -> Result<()> {
        if !layout.nodes[0].joined {
            let config = layout.config(&layout.nodes[0], &self.dir)?;
            let admin = config.data.join(ADMIN_FILE);
            done_once(node::init(self.env, &config))?;
            let identity = CredentialFile::load(&*self.env.disk, &admin)?.identity;
            let endpoints = layout.nodes.iter().map(|node| node.native).collect();
            CredentialFile { endpoints, identity }.save(&*self.env.disk, &self.credentials())?;
            layout.nodes[0].joined = true;
            self.save(layout)?;
        }
        // Those that are part of the cluster already: they may all be needed for a quorum.
        self.start_joined(layout)?;
        if layout.nodes.iter().any(|node| !node.joined) {
            self.join_others(layout).await?;
            self.start_joined(layout)?;
        }
        Ok(())
    }

    fn start_joined(&self, layout: &mut Layout) -> Result<()> {
        let count = layout.nodes.len();
        for node in layout.nodes.iter_mut().filter(|node| node.joined) {
            self.start(node, count)?;
        }
        self.save(layout)
    }

    /// One after the other, so that a node's number becomes its id.
    async fn join_others(&self, layout: &mut Layout) -> Result<()> {
        let session = self.wait_for(layout, |_, _| Vec::new()).await?;
        let token = admin::create_token(&session, TOKEN_VALIDITY).await?;
        for index in 0..layout.nodes.len() {
            if !layout.nodes[index].joined {
                let config = layout.config(&layout.nodes[index], &self.dir)?;
                let joined = done_once(node::join(self.env, &config, &token).await.map(|_| ()));
                joined.map_err(|e| e.context(format!("node {}", layout.nodes[index].number)))?;
                layout.nodes[index].joined = true;
                self.save(layout)?;
            }
        }
        Ok(())
    }

    /// Asks until nothing is missing. Gives up early when a process has ended: waiting would not bring it back.
    async fn wait_for(
        &self,
        layout: &Layout,
        missing: impl Fn(&Layout, &proto::cluster::ClusterStatus) -> Vec<String>,
    ) -> Result<Session> {
        let mut deadline = env::time::now() + START_TIMEOUT;
        let mut said = String::new();
        let mut error = None;
        loop {
            self.check_processes(layout)?;
            let waiting = match self.ask().await {
                Ok((session, status)) => {
                    let missing = missing(layout, &status);
                    if missing.is_empty() {
                        return Ok(session);
                    }
                    missing.join(", ")
                }
                Err(e) if e.is_transient() => {
                    error = Some(e);
                    "no answer yet".to_owned()
                }
                Err(e) => return Err(e),
            };
            if waiting != said {
                // Nobody is left to be told when standard error is closed.
                let _ = writeln!(std::io::stderr(), "waiting: {waiting}");
                said = waiting;
                deadline = env::time::now() + START_TIMEOUT;
            }
            if env::time::now() >= deadline {
                let error =
                    error.map(|e| format!("; the last error was: {}", e.message())).unwrap_or_default();
                return Err(Error::unavailable(format!(
                    "nothing changed for {} s: {said}{error}; the logs are in {}/node*/log",
                    START_TIMEOUT.as_secs(),
                    self.dir.display()
                )));
            }
            env::time::sleep(START_PERIOD).await;
        }
    }

    fn check_processes(&self, layout: &Layout) -> Result<()> {
        match layout.nodes.iter().find(|node| node.joined && self.running(node).is_none()) {
            None => Ok(()),
            Some(node) => Err(Error::unavailable(format!(
                "node {} has ended; the last lines of {}:\n{}",
                node.number,
                node.log_file(&self.dir).display(),
                self.last_words(node)
            ))),
        }
    }

    async fn ask(&self) -> Result<(Session, proto::cluster::ClusterStatus)> {
        let session = self.session().await?;
        let status = admin::fetch_status(&session).await?;
        Ok((session, status))
    }
}

/// A step that an earlier attempt has finished is finished.
fn done_once(done: Result<()>) -> Result<()> {
    match done {
        Err(e) if e.kind() == ErrorKind::Exists => Ok(()),
        done => done,
    }
}

/// A cluster that could never store a file is a mistake on the command line.
fn check_shape(shape: Shape) -> Result<(), Failure> {
    let Profile { k, m } = shape.profile;
    if usize::from(shape.nodes) < shape.profile.n() {
        return Err(Failure::usage(Error::invalid(format!(
            "{} nodes with a disk each cannot keep {k}+{m} shards: ask for --nodes {} or a smaller --profile",
            shape.nodes,
            shape.profile.n()
        ))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn too_few_nodes_for_the_profile_are_refused() {
        let profile = Profile { k: 4, m: 2 };
        assert_eq!(check_shape(Shape { nodes: 6, zones: 3, profile }), Ok(()));
        let failure = check_shape(Shape { nodes: 5, zones: 3, profile }).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.error.message().contains("--nodes 6"));
    }

    #[test]
    fn what_is_done_is_done() {
        assert_eq!(done_once(Err(Error::exists("x"))), Ok(()));
        assert_eq!(done_once(Err(Error::invalid("x"))), Err(Error::invalid("x")));
    }
}
