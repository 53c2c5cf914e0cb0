//! Opening a disk: the right one, locked, formatted if it is new, and recovered.
//!
//! Owns: the order of these. Knows nothing of: what each of them finds.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use env::{Env, Space};
use kv::Kv;
use types::limits::SEGMENT_SIZE_MAX;
use types::{ClusterId, DiskUuid, NodeId, Result};

use crate::engine::Engine;
use crate::files::SegmentFiles;
use crate::index::ShardIndex;
use crate::recovery;
use crate::segment;
use crate::shared::{Shared, Status};
use crate::superblock::{self, Expected, Superblock};
use crate::unsealed::Unsealed;

/// Where a disk is and whose it must be.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// Its directory, normally a mount point.
    pub root: PathBuf,
    /// The cluster it must belong to.
    pub cluster: ClusterId,
    /// The node it must belong to.
    pub node: NodeId,
    /// The disk that this node has seen here before, remembered in the node's own directory: an empty or foreign mount
    /// point is then refused. `None`: it has never seen one, and an empty directory is formatted.
    pub expected: Option<DiskUuid>,
    /// Size at which a segment is sealed.
    pub segment_size: u64,
}

impl DiskConfig {
    /// A disk at `root` with segments of the normal size.
    pub fn new(
        root: impl Into<PathBuf>,
        cluster: ClusterId,
        node: NodeId,
        expected: Option<DiskUuid>,
    ) -> Self {
        Self { root: root.into(), cluster, node, expected, segment_size: SEGMENT_SIZE_MAX }
    }
}

/// Identifies, locks, formats if new, and recovers.
pub(crate) fn open_engine(
    env: &Env,
    config: DiskConfig,
    open_index: impl Fn(&std::path::Path) -> Result<Arc<dyn Kv>> + Send + Sync + 'static,
) -> Result<Engine> {
    let DiskConfig { root, cluster, node, expected, segment_size } = config;
    assert!(segment_size <= SEGMENT_SIZE_MAX, "offsets in a segment take 32 bits");
    let (disk, expected) = (env.disk.clone(), Expected { cluster, node, uuid: expected });
    // Before anything is written: the directory may be the wrong one.
    superblock::identify(&*disk, &root, expected)?;
    disk.create_dir_durably(&segment::directory(&root))?;
    let lock = superblock::lock(&*disk, &root)?;
    let superblock = match superblock::identify(&*disk, &root, expected)? {
        Some(found) if found.failed => found,
        Some(found) => {
            superblock::sync(&*disk, &root)?;
            found
        }
        None => {
            let uuid = DiskUuid(env.random.bytes());
            let new = Superblock { cluster, uuid, node, disk: None, failed: false, generation: 1 };
            superblock::write(&*disk, &root, new)?;
            new
        }
    };
    let index = ShardIndex::open(&*disk, &root, Arc::new(open_index))?;
    let reason = || format!("disk {} failed a write before; replace it", root.display());
    let read_only = superblock.failed.then(reason);
    let shared = Arc::new(Shared {
        files: SegmentFiles::new(disk.clone(), root.clone()),
        disk,
        root,
        index,
        superblock: Mutex::new(superblock),
        unsealed: Mutex::new(Unsealed::default()),
        frontier: Mutex::default(),
        space: Mutex::new(Space { free: 0, total: 0 }),
        health: Arc::default(),
        status: Mutex::new(Status { read_only, ..Status::default() }),
    });
    let active = recovery::recover(&shared)?;
    shared.set_frontier(active.number, active.end);
    Ok(Engine { shared, active, segment_size, _lock: lock })
}
