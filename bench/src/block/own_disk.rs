//! A disk of the benchmark: the engine of a node on a directory of its own, with an index as nodes have it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::Env;
use kv::{Kv, RocksKv};
use proto::block::{Layout, ShardKey, ShardMeta};
use segments::{DiskConfig, DiskStore};
use types::{ClusterId, Generation, KeyId, NodeId, Result, Scope};

use super::segment_files;

/// Whose it is: always the same, so that another process can open it.
const CLUSTER: ClusterId = ClusterId([7; 16]);
const NODE: NodeId = NodeId(1);
/// Indexes have this name, with a number or without.
const INDEX: &str = "index";

/// What all shards are said to be.
pub const META: ShardMeta = ShardMeta {
    layout: Layout::Shard { k: 4, m: 2 },
    plain_size: 1,
    stored_size: 1,
    compressed: false,
    key: KeyId(1),
};

/// A disk that is open or can be opened.
pub struct OwnDisk {
    env: Env,
    config: DiskConfig,
}

impl OwnDisk {
    /// The disk in a directory, new if there is none.
    pub fn at(env: &Env, root: &Path) -> Self {
        Self { env: env.clone(), config: DiskConfig::new(root, CLUSTER, NODE, None) }
    }

    /// Its segments are sealed at this size.
    #[must_use]
    pub fn with_segment_size(mut self, size: u64) -> Self {
        self.config.segment_size = size;
        self
    }

    /// Opens it, recovered as far as a node waits for that.
    pub async fn open(&self) -> Result<Arc<DiskStore>> {
        let (env, config) = (self.env.clone(), self.config.clone());
        let open_index =
            |path: &Path| Ok(Arc::new(RocksKv::open(path, kv::Options::default())?) as Arc<dyn Kv>);
        env::task::blocking(move || {
            env.disk.create_dir_all(&config.root)?;
            DiskStore::open(&env, config, open_index)
        })
        .await
    }

    /// Takes the index away.
    pub fn remove_index(&self) -> Result<()> {
        for name in self.env.disk.read_dir(self.root())? {
            if name.to_string_lossy().starts_with(INDEX) {
                self.env.disk.remove_dir_all(&self.root().join(name))?;
            }
        }
        Ok(())
    }

    /// Removes everything.
    pub fn remove(self) -> Result<()> {
        Ok(self.env.disk.remove_dir_all(self.root())?)
    }

    /// Its only segment.
    pub fn segment(&self) -> Result<PathBuf> {
        let mut all = segment_files::list(&*self.env.disk, self.root())?;
        assert_eq!(all.len(), 1, "what is read fits in one segment");
        Ok(all.remove(0))
    }

    /// Where its superblock, segments and index are.
    pub fn root(&self) -> &Path {
        &self.config.root
    }
}

/// The name of shard `n`; nothing follows from one name for the next, as with hashes.
pub fn key(n: u64) -> ShardKey {
    let chunk = chunk::chunk_id(&n.to_le_bytes()).within(Scope(1));
    ShardKey { chunk, generation: Generation(1), slot: 0 }
}
