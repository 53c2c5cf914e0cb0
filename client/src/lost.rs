//! What is lost: the chunks that cannot be read, and the versions of files that need them.
//!
//! Owns: the walk through all namespaces, and what a version needs to be read.
//! Knows nothing of: why anything is lost, how it is shown.

use std::collections::BTreeSet;
use std::sync::Arc;

use chunk::manifest::{Content, parse_node};
use proto::disks::ListLost;
use proto::map::PartitionKind;
use proto::namespace::{Kind, Opened, Version};
use proto::seal::Ticket;
use types::{ChunkId, ChunkKey, Name, PartitionId, Path, Result, VersionId};

use crate::blocks::{Blocks, Wanted};
use crate::cluster::Cluster;
use crate::namespace::Namespace;

/// A version of a file that cannot be read as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostVersion {
    /// In which namespace.
    pub namespace: String,
    /// Its path there, when it was looked for.
    pub path: Path,
    /// Counted from 1.
    pub version: VersionId,
    /// It is the newest.
    pub is_newest: bool,
    /// Length in bytes.
    pub size: u64,
    /// Chunks of it that are lost. Nodes of its manifest count as well: what they name cannot be told.
    pub chunks: BTreeSet<ChunkId>,
}

/// All chunks that are lost. For administrators.
pub async fn lost_chunks(cluster: &Cluster) -> Result<BTreeSet<ChunkKey>> {
    let partitions: Vec<PartitionId> = cluster.map().of_kind(PartitionKind::Index).collect();
    let mut lost = BTreeSet::new();
    for partition in partitions {
        let mut after = None;
        loop {
            let page = cluster.ask(partition, &ListLost { partition, after }).await?;
            lost.extend(page.chunks);
            // One that does not go on would not end.
            after = page.next.filter(|next| after < Some(*next));
            if after.is_none() {
                break;
            }
        }
    }
    Ok(lost)
}

/// The versions that need one of these chunks, in all namespaces. What is in the trash is not looked at.
pub async fn lost_versions(cluster: &Arc<Cluster>, lost: &BTreeSet<ChunkKey>) -> Result<Vec<LostVersion>> {
    let (blocks, mut found) = (Blocks::new(cluster.clone()), Vec::new());
    for info in cluster.list_namespaces().await? {
        let namespace = Namespace::of(cluster.clone(), info.id);
        let scope = namespace.scope().await?;
        let lost: BTreeSet<ChunkId> =
            lost.iter().filter(|chunk| chunk.scope == scope).map(|c| c.id).collect();
        if lost.is_empty() {
            continue;
        }
        let walk = Walk { name: info.name, namespace, blocks: &blocks, lost };
        walk.run(&mut found).await?;
    }
    Ok(found)
}

struct Walk<'a> {
    name: String,
    namespace: Namespace,
    blocks: &'a Blocks,
    lost: BTreeSet<ChunkId>,
}

impl Walk<'_> {
    async fn run(&self, found: &mut Vec<LostVersion>) -> Result<()> {
        let mut dirs = vec![Path::root()];
        while let Some(dir) = dirs.pop() {
            for entry in self.namespace.list_whole_dir(&dir).await? {
                let path = dir.join(Name::parse(&entry.name)?)?;
                match entry.kind {
                    Kind::Dir => dirs.push(path),
                    Kind::File => self.file(&path, found).await?,
                    Kind::Symlink => {}
                }
            }
        }
        Ok(())
    }

    async fn file(&self, path: &Path, found: &mut Vec<LostVersion>) -> Result<()> {
        let (mut before, mut is_newest) = (None, true);
        loop {
            let page = self.namespace.list_versions(path, before).await?;
            for version in &page.versions {
                self.version(path, version, is_newest, found).await?;
                is_newest = false;
            }
            before = page.versions.last().map(|version| version.id).filter(|_| page.more);
            if before.is_none() {
                return Ok(());
            }
        }
    }

    async fn version(
        &self,
        path: &Path,
        version: &Version,
        is_newest: bool,
        found: &mut Vec<LostVersion>,
    ) -> Result<()> {
        let opened = self.namespace.open_version(path, Some(version.id)).await?;
        let chunks = self.needed(opened).await.map_err(|e| e.context(path))?;
        if !chunks.is_empty() {
            let (namespace, path) = (self.name.clone(), path.clone());
            let (version, size) = (version.id, version.size);
            found.push(LostVersion { namespace, path, version, is_newest, size, chunks });
        }
        Ok(())
    }

    /// The lost chunks that a version needs. Nothing below a lost node can be known.
    async fn needed(&self, opened: Opened) -> Result<BTreeSet<ChunkId>> {
        let is_lost = |id: &ChunkId| self.lost.contains(id);
        let mut needed = BTreeSet::new();
        let (mut nodes, height): (Vec<(ChunkId, Ticket)>, u8) = match opened.manifest.content {
            Content::Inline(_) | Content::Sealed { .. } => return Ok(needed),
            Content::Chunks(chunks) => {
                return Ok(chunks.into_iter().map(|chunk| chunk.id).filter(is_lost).collect());
            }
            Content::Tree { root, height, .. } => {
                (opened.tickets.into_iter().map(|ticket| (root, ticket)).collect(), height)
            }
        };
        for level in (0..height).rev() {
            let mut below = Vec::new();
            for (id, ticket) in nodes {
                if is_lost(&id) {
                    needed.insert(id);
                    continue;
                }
                let (bytes, tickets) = self.blocks.get_chunk(id, Wanted::Node, ticket).await?;
                let entries = parse_node(&bytes)?.entries.into_iter().map(|entry| entry.id);
                match level {
                    0 => needed.extend(entries.filter(is_lost)),
                    _ => below.extend(entries.zip(tickets)),
                }
            }
            nodes = below;
        }
        Ok(needed)
    }
}
