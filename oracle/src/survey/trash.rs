//! Brings everything in the trash back into the tree, so that it is looked at like the rest.

use proto::namespace::{Expect, Op};
use types::{Error, InodeId, Name, Path, Result};

use crate::session::Session;

/// Directory for what was in the trash, or in the way of it.
const BACK: &str = "/back";
/// Roughly the bytes of a change.
const OP_SIZE: usize = 100;

/// Brings back what was removed from these paths, given in the order of removal. Returns what came back as something
/// else, or not at all.
pub(super) async fn bring_back(session: &Session, trash: &[(Path, InodeId)]) -> Result<Vec<String>> {
    let mut strangers = Vec::new();
    let apply = async |op: Op| session.namespace.apply(op, OP_SIZE).await;
    let back = |inode: InodeId| Path::parse(BACK)?.join(Name::parse(&inode.to_string())?);
    apply(Op::Mkdir { path: Path::parse(BACK)?, parents: true, attributes: Default::default() }).await?;
    // The last one removed from a path comes back first.
    for (path, inode) in trash.iter().rev() {
        let (parent, _) = path.split_last().ok_or_else(|| Error::internal("the root was removed"))?;
        apply(Op::Mkdir { path: parent, parents: true, attributes: Default::default() }).await?;
        if let Some(entry) = session.namespace.stat(path).await? {
            apply(mv(path.clone(), back(entry.inode)?)).await?;
        }
        let found = match apply(Op::Undelete { path: path.clone() }).await {
            Ok(done) => done.inode,
            Err(e) if e.is_transient() => return Err(e),
            Err(e) => {
                strangers.push(format!("{path} does not come back: {e}"));
                continue;
            }
        };
        if found != *inode {
            strangers.push(format!("{path} came back as {found}, the journal says {inode}"));
        }
        apply(mv(path.clone(), back(found)?)).await?;
    }
    Ok(strangers)
}

fn mv(source: Path, target: Path) -> Op {
    Op::Rename { source, expect: Expect::Any, target, replace: Expect::Absent }
}
