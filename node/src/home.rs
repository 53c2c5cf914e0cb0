//! What a node keeps in its data directory: its membership of a cluster, the newest map it has seen, and the form of all
//! files that it alone reads (docs/formats/node-files.md).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::{Env, File, OpenMode};
use proto::command::Bootstrap;
use proto::map::ClusterMap;
use proto::seal::ClusterSecret;
use serde::{Deserialize, Serialize};
use types::{ClusterId, Error, NodeId, ReplicaId, Result};

/// A data directory that this process has locked.
#[derive(Debug)]
pub struct Home {
    env: Env,
    path: PathBuf,
    /// Held for as long as this value lives.
    _lock: Arc<dyn File>,
}

/// Who a node is; written by `init` or `join`, and whenever its credentials are renewed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Membership {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Assigned by the cluster when it joined; 1 on the first node.
    pub node: NodeId,
    /// The secret that the cluster's nodes share.
    pub secret: ClusterSecret,
    /// Its certificate and key, PEM.
    pub credentials: String,
    /// On the first node only: how the cluster begins.
    pub bootstrap: Option<Bootstrap>,
}

const MEMBERSHIP: &str = "identity";
const MAP: &str = "map";
/// First bytes of a file, before the CRC-32 of what follows: what is in them is too precious, or too secret, to be read as
/// something else.
const MAGIC: [u8; 4] = *b"CSNF";

impl Home {
    /// Locks a data directory, creating it if it is missing. `Exists` when another process uses it.
    pub fn lock(env: &Env, path: &Path) -> Result<Self> {
        let at = |e: std::io::Error| Error::from(e).context(format!("data directory {}", path.display()));
        env.disk.create_dir_durably(path).map_err(at)?;
        let lock = env.disk.open(&path.join("LOCK"), OpenMode::Create).map_err(at)?;
        if !lock.try_lock().map_err(at)? {
            return Err(Error::exists(format!(
                "data directory {} is in use by a running node: stop that first, or choose another directory",
                path.display()
            )));
        }
        Ok(Self { env: env.clone(), path: path.to_owned(), _lock: lock })
    }

    /// The path of `name` in this directory.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// True when a node was prepared here.
    pub fn is_prepared(&self) -> bool {
        self.has(MEMBERSHIP)
    }

    /// Writes the map the node begins with and what else `write` does, then who it is: in this order, so that a crash in
    /// between leaves a directory that counts as unprepared. `Exists` when it was prepared before.
    pub fn prepare(
        &self,
        membership: &Membership,
        map: &ClusterMap,
        write: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        if self.is_prepared() {
            return Err(Error::exists(format!(
                "{} already belongs to a node of a cluster: choose an empty directory",
                self.path.display()
            )));
        }
        self.save_map(map)?;
        write(self)?;
        self.save(MEMBERSHIP, membership)
    }

    /// Who the node is. `NotFound` when the directory was never prepared.
    pub fn membership(&self) -> Result<Membership> {
        if !self.is_prepared() {
            return Err(Error::not_found(format!(
                "{} holds no node yet: run `cloudsync init` for the first node of a cluster, `cloudsync join` for others",
                self.path.display()
            )));
        }
        let membership: Membership = self.load(MEMBERSHIP)?;
        if membership.node > ReplicaId::NODE_MAX {
            let (path, node) = (self.join(MEMBERSHIP), membership.node);
            return Err(Error::corrupt(format!("{} says node {node}, which none can be", path.display())));
        }
        Ok(membership)
    }

    /// Who the node is from now on: the same with newer credentials. The old ones stay until the new ones are durable.
    pub fn renew(&self, credentials: String) -> Result<()> {
        self.save(MEMBERSHIP, &Membership { credentials, ..self.membership()? })
    }

    /// The newest map that was saved.
    pub fn map(&self) -> Result<ClusterMap> {
        self.load(MAP)
    }

    /// Saves a map: after a restart the node finds the others with it.
    pub fn save_map(&self, map: &ClusterMap) -> Result<()> {
        self.save(MAP, map)
    }

    /// True when there is such a file in this directory.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.env.disk.exists(&self.join(name))
    }

    /// Writes a file of this directory as a whole, durably.
    pub(crate) fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        self.write(name, &proto::encode(value))
    }

    /// Writes a file of this directory as a whole, durably, whose content has a form of its own.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.join(name);
        let bytes = [&MAGIC, &crc32fast::hash(content).to_le_bytes()[..], content].concat();
        self.env.disk.write_atomic(&path, &bytes).map_err(|e| Error::from(e).context(path.display()))
    }

    /// The content of a file of this directory. `Corrupt` when it is not what was written.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.join(name);
        let bytes = self.env.disk.read(&path).map_err(|e| Error::from(e).context(path.display()))?;
        match bytes.strip_prefix(&MAGIC).and_then(|rest| rest.split_first_chunk()) {
            Some((crc, content)) if *crc == crc32fast::hash(content).to_le_bytes() => Ok(content.to_vec()),
            Some(_) => Err(Error::corrupt(format!("{} does not match its checksum", path.display()))),
            None => Err(Error::corrupt(format!("{} does not begin like a file of a node", path.display()))),
        }
    }

    /// Removes a file of this directory, if there is one.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        if self.has(name) {
            self.env.disk.remove_file(&self.join(name))?;
        }
        Ok(())
    }

    /// Reads a file of this directory.
    pub(crate) fn load<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        proto::decode(&self.read(name)?).map_err(|e| e.context(self.join(name).display()))
    }
}
