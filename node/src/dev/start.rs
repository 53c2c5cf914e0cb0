//! From an empty directory, from stopped nodes, or from wherever an earlier attempt stopped, to a running cluster.

use client::health::missing;
use client::{ADMIN_FILE, Connection, CredentialFile};
use proto::certificates::{CreateToken, Grant};
use proto::cluster::ClusterStatus;
use proto::map::Role;
use types::limits::{DEV_START_PERIOD, DEV_START_TIMEOUT, DEV_TOKEN_VALIDITY};
use types::{Error, ErrorKind, Result};

use super::layout::Layout;
use super::process::free_ports;
use super::{DevCluster, Shape};
use crate::platform::RealPlatform;
use crate::token::JoinToken;

/// A running cluster.
#[derive(Debug)]
pub struct Started {
    /// A client with the administrator's rights.
    pub connection: Connection,
    /// Number of its nodes.
    pub nodes: usize,
    /// True when all of them were running before.
    pub was_up: bool,
}

impl DevCluster {
    /// True when the directory holds something that is not a cluster: [`DevCluster::up`] would mix its files with that.
    pub fn is_foreign(&self) -> Result<bool> {
        let disk = &*self.env.disk;
        Ok(disk.exists(&self.dir)
            && !Layout::exists(disk, &self.dir)
            && !disk.read_dir(&self.dir).map_err(Error::from)?.is_empty())
    }

    /// Creates what is missing (in this shape), starts what is not running, and waits until the cluster is complete.
    /// Tells `say` what it is waiting for, whenever that changes.
    pub async fn up(&self, shape: Shape, say: &(dyn Fn(&str) + Sync)) -> Result<Started> {
        shape.check()?;
        let disk = &self.env.disk;
        disk.create_dir_durably(&self.dir).map_err(|e| Error::from(e).context(self.dir.display()))?;
        let _lock = self.lock()?;
        let mut layout = self.load_or_plan(shape)?;
        let was_up = layout.nodes.iter().all(|node| self.running(node).is_some());
        if !was_up {
            self.start_all(&mut layout, say).await?;
        }
        let whole = layout.complement();
        let connection = self.wait_for(&layout, |status| missing(status, whole), say).await?;
        Ok(Started { connection, nodes: layout.nodes.len(), was_up })
    }

    fn load_or_plan(&self, shape: Shape) -> Result<Layout> {
        let disk = &*self.env.disk;
        if Layout::exists(disk, &self.dir) {
            return Layout::load(disk, &self.dir);
        }
        let layout = Layout::plan(
            shape,
            &free_ports(&self.env.random, usize::from(shape.nodes) * Layout::PORT_COUNT)?,
        );
        for node in &layout.nodes {
            let config = layout.config(node, &self.dir)?;
            disk.create_dir_durably(&config.data)?;
            config.disks.iter().try_for_each(|dir| disk.create_dir_durably(dir))?;
            disk.write_atomic(&node.config_file(&self.dir), config.to_toml().as_bytes())?;
        }
        self.save(&layout)?;
        Ok(layout)
    }

    /// Every step is recorded when it is done, and may be done twice.
    async fn start_all(&self, layout: &mut Layout, say: &(dyn Fn(&str) + Sync)) -> Result<()> {
        if !layout.nodes[0].joined {
            let config = layout.config(&layout.nodes[0], &self.dir)?;
            let admin = config.data.join(ADMIN_FILE);
            done_once(crate::init(&self.env, &RealPlatform(self.env.clone()), &config))?;
            let identity = CredentialFile::load(&*self.env.disk, &admin)?.identity;
            let endpoints = layout.nodes.iter().map(|node| node.native).collect();
            CredentialFile { endpoints, identity }.save(&*self.env.disk, &self.credentials())?;
            layout.nodes[0].joined = true;
            self.save(layout)?;
        }
        // First those that are already part of the cluster: they may all be needed for a quorum.
        self.start_joined(layout)?;
        if layout.nodes.iter().any(|node| !node.joined) {
            self.join_others(layout, say).await?;
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
    async fn join_others(&self, layout: &mut Layout, say: &(dyn Fn(&str) + Sync)) -> Result<()> {
        let cluster = self.wait_for(layout, |_| Vec::new(), say).await?.cluster;
        let credentials = CredentialFile::load(&*self.env.disk, &self.credentials())?;
        let waiting = layout.nodes.iter().filter(|node| !node.joined).count();
        let question = CreateToken {
            grant: Grant::Join(Role::Meta),
            uses: waiting as u32,
            valid_ms: DEV_TOKEN_VALIDITY.as_millis() as u64,
        };
        let (token, _) = JoinToken::create(&cluster, &credentials, &question).await?;
        for index in 0..layout.nodes.len() {
            if !layout.nodes[index].joined {
                let config = layout.config(&layout.nodes[index], &self.dir)?;
                let joined = done_once(
                    crate::join(&self.env, &RealPlatform(self.env.clone()), &config, &token)
                        .await
                        .map(|_| ()),
                );
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
        missing: impl Fn(&ClusterStatus) -> Vec<String>,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Connection> {
        let mut deadline = env::time::now() + DEV_START_TIMEOUT;
        let mut said = String::new();
        let mut error = None;
        loop {
            self.check_processes(layout)?;
            let waiting = match self.ask().await {
                Ok((connection, status)) => {
                    let missing = missing(&status);
                    if missing.is_empty() {
                        return Ok(connection);
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
                say(&waiting);
                said = waiting;
                deadline = env::time::now() + DEV_START_TIMEOUT;
            }
            if env::time::now() >= deadline {
                let error =
                    error.map(|e| format!("; the last error was: {}", e.message())).unwrap_or_default();
                return Err(Error::unavailable(format!(
                    "nothing changed for {} s: {said}{error}; the logs are in {}/node*/log",
                    DEV_START_TIMEOUT.as_secs(),
                    self.dir.display()
                )));
            }
            env::time::sleep(DEV_START_PERIOD).await;
        }
    }

    fn check_processes(&self, layout: &Layout) -> Result<()> {
        match layout.nodes.iter().find(|node| node.joined && self.running(node).is_none()) {
            None => Ok(()),
            Some(node) => Err(Error::unavailable(format!(
                "node {} has ended; the last lines of {}:\n{}",
                node.number,
                node.log_file(&self.dir).display(),
                self.last_words(node).join("\n")
            ))),
        }
    }

    async fn ask(&self) -> Result<(Connection, ClusterStatus)> {
        let connection = self.connect().await?;
        let status = connection.cluster.fetch_status().await?;
        Ok((connection, status))
    }
}

/// A step that an earlier attempt finished counts as done.
fn done_once(done: Result<()>) -> Result<()> {
    match done {
        Err(e) if e.kind() == ErrorKind::Exists => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_done() {
        assert_eq!(done_once(Err(Error::exists("x"))), Ok(()));
        assert_eq!(done_once(Err(Error::invalid("x"))), Err(Error::invalid("x")));
    }
}
