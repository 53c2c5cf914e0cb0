//! Who a disk says it is, asked without opening it; and whose it is from now on.
//!
//! Owns: what others may know of a superblock, and the change of its node.
//! Knows nothing of: what is stored on the disk; who may have it.

use std::path::Path;

use env::Disk;
use types::{ClusterId, DiskId, DiskUuid, Error, NodeId, Result};

use super::superblock::{self, Superblock};

/// Who a disk says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskIdentity {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Which physical disk.
    pub uuid: DiskUuid,
    /// The node it belongs to.
    pub node: NodeId,
    /// Its id in the cluster; `None` before it was registered.
    pub disk: Option<DiskId>,
}

/// Whose disk is in a directory; `None` for an empty one, or none at all, that may be formatted. Changes nothing.
/// `Invalid` or `Corrupt` for a directory that holds something else, and for a disk whose superblocks are both damaged.
pub fn identify(disk: &dyn Disk, root: &Path) -> Result<Option<DiskIdentity>> {
    let identity = |found: Superblock| {
        let Superblock { cluster, uuid, node, disk, .. } = found;
        DiskIdentity { cluster, uuid, node, disk }
    };
    Ok(superblock::newest(disk, root)?.map(identity))
}

/// Makes the disk `uuid` in a directory one of `node`, under this id. Both superblocks say so on return: when one of them
/// is damaged later, the other must not bring back its old node. `Conflict` while a process uses it.
pub fn hand_over(disk: &dyn Disk, root: &Path, uuid: DiskUuid, node: NodeId, id: DiskId) -> Result<()> {
    let _lock = superblock::lock(disk, root)?;
    let found = superblock::newest(disk, root)?.filter(|found| found.uuid == uuid);
    let mut found =
        found.ok_or_else(|| Error::conflict(format!("disk {uuid} is not in {} any more", root.display())))?;
    (found.node, found.disk) = (node, Some(id));
    for _ in 0..2 {
        found.generation += 1;
        superblock::write(disk, root, found)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use env::{Env, OpenMode};
    use kv::MemKv;

    use super::*;
    use crate::{DiskConfig, DiskStore};

    const CLUSTER: ClusterId = ClusterId([1; 16]);

    fn open(env: &Env, node: u64) -> Result<std::sync::Arc<DiskStore>> {
        let config = DiskConfig::new("/d", CLUSTER, NodeId(node), None);
        DiskStore::open(env, config, |_| Ok(std::sync::Arc::new(MemKv::new(0))))
    }

    #[tokio::test]
    async fn a_disk_says_who_it_is_and_whose() {
        let (env, root) = (Env::simulated(1), Path::new("/d"));
        assert_eq!(identify(&*env.disk, root), Ok(None), "no directory");
        env.disk.create_dir_durably(root).unwrap();
        assert_eq!(identify(&*env.disk, root), Ok(None), "an empty one");
        let store = open(&env, 1).unwrap();
        let uuid = store.uuid();
        let want = DiskIdentity { cluster: CLUSTER, uuid, node: NodeId(1), disk: None };
        assert_eq!(identify(&*env.disk, root), Ok(Some(want)), "also while it is open");
        assert!(hand_over(&*env.disk, root, uuid, NodeId(2), DiskId(7)).is_err(), "in use");
        drop(store);
        assert!(
            hand_over(&*env.disk, root, DiskUuid([9; 16]), NodeId(2), DiskId(7)).is_err(),
            "another disk"
        );
        hand_over(&*env.disk, root, uuid, NodeId(2), DiskId(7)).unwrap();
        assert!(open(&env, 1).is_err());
        // Whichever superblock is damaged.
        for name in ["SUPER.a", "SUPER.b"] {
            let path = root.join(name);
            let kept = env.disk.read(&path).unwrap();
            env.disk.write_atomic(&path, b"rubbish").unwrap();
            let want = DiskIdentity { node: NodeId(2), disk: Some(DiskId(7)), ..want };
            assert_eq!(identify(&*env.disk, root), Ok(Some(want)), "{name}");
            env.disk.write_atomic(&path, &kept).unwrap();
        }
        assert_eq!(open(&env, 2).unwrap().id(), Some(DiskId(7)));
        for name in ["SUPER.a", "SUPER.b"] {
            env.disk.open(&root.join(name), OpenMode::ReadWrite).unwrap().write_at(&[b"rubbish"], 0).unwrap();
        }
        assert!(identify(&*env.disk, root).is_err(), "it holds something, but nobody knows whose");
    }
}
