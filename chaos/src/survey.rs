//! Looks at everything once the workers have stopped and the cluster is whole.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use net::Request;
use proto::namespace::{Entry, FetchNamespace, Freshness, Kind, Op, Record, Version, View};
use types::{Error, InodeId, Name, NodeId, Path, Result, Seq};

use crate::history::{Digest, Kept, Survey};
use crate::replay::Tree;
use crate::session::Session;

/// Versions that are read at once.
const READS_IN_FLIGHT: usize = 8;
/// How long a voter may take to apply what the others have.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is asked.
const CATCH_UP_PERIOD: Duration = Duration::from_millis(100);
/// Directory for what was in the trash, or in the way of it.
const BACK: &str = "/back";

/// Brings everything back from the trash and reads all versions of all files.
pub async fn take(session: &Session) -> Result<Survey> {
    let root =
        session.namespace.stat(&Path::root()).await?.ok_or_else(|| Error::not_found("there is no root"))?;
    let early = journal(session).await?;
    let mut digests = vec![ask_voters(session, end_of(&early)).await?];
    bring_back(session, root.inode, &early).await?;
    let journal = journal(session).await?;
    let tree = list_all(session).await?;
    let kept = read_all(session, &tree).await?;
    digests.push(ask_voters(session, end_of(&journal)).await?);
    Ok(Survey { root: root.inode, early, journal, tree, kept, digests })
}

fn end_of(journal: &[Record]) -> Seq {
    journal.last().map_or(Seq(0), |record| record.seq)
}

async fn journal(session: &Session) -> Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let page = session.namespace.pull_journal(end_of(&records), Duration::ZERO).await?;
        let is_end = page.records.is_empty();
        records.extend(page.records);
        if is_end || end_of(&records) >= page.head {
            return Ok(records);
        }
    }
}

/// Brings everything in the trash back into the tree, so that it is looked at like the rest.
async fn bring_back(session: &Session, root: InodeId, journal: &[Record]) -> Result<()> {
    let mut replay = Tree::new(root);
    for record in journal {
        let _ = replay.apply(record); // A record that breaks a rule is reported by the checker of I-TREE.
    }
    let apply = async |op: Op| session.namespace.apply(op, 0).await;
    let back = |inode: InodeId| Path::parse(BACK)?.join(Name::parse(&inode.to_string())?);
    apply(Op::Mkdir { path: Path::parse(BACK)?, parents: true }).await?;
    // The last one removed from a path comes back first.
    for (path, inode) in replay.trash().iter().rev() {
        let (parent, _) = path.split_last().ok_or_else(|| Error::internal("the root was removed"))?;
        apply(Op::Mkdir { path: parent, parents: true }).await?;
        if let Some(entry) = session.namespace.stat(path).await? {
            apply(Op::Rename { source: path.clone(), target: back(entry.inode)? }).await?;
        }
        let found = apply(Op::Undelete { path: path.clone() }).await?.inode;
        if found != *inode {
            return Err(Error::internal(format!("{path} came back as {found}, the journal says {inode}")));
        }
        apply(Op::Rename { source: path.clone(), target: back(found)? }).await?;
    }
    Ok(())
}

/// A recursive listing that hides nothing: what is listed twice appears twice.
async fn list_all(session: &Session) -> Result<Vec<(Path, Entry)>> {
    let mut all = Vec::new();
    let mut dirs = vec![Path::root()];
    while let Some(dir) = dirs.pop() {
        for entry in session.namespace.list_whole_dir(&dir).await? {
            let path = dir.join(Name::parse(&entry.name)?)?;
            if entry.kind == Kind::Dir {
                dirs.push(path.clone());
            }
            all.push((path, entry));
        }
    }
    Ok(all)
}

async fn read_all(session: &Session, tree: &[(Path, Entry)]) -> Result<Vec<Kept>> {
    let mut versions: Vec<(&Path, InodeId, Version)> = Vec::new();
    for (path, entry) in tree.iter().filter(|(_, entry)| entry.kind == Kind::File) {
        let mut before = None;
        loop {
            let page = session.namespace.list_versions(path, before).await?;
            before = page.versions.last().map(|version| version.id);
            versions.extend(page.versions.into_iter().map(|version| (path, entry.inode, version)));
            if !page.more {
                break;
            }
        }
    }
    let read = |(path, inode, version): (&Path, InodeId, Version)| {
        let path = path.clone();
        async move {
            let bytes =
                async { session.read(session.namespace.open_version(&path, Some(version.id)).await?).await };
            let content = bytes.await.map_err(|e| e.to_string());
            Kept { inode, version: version.id, base: version.base, content }
        }
    };
    Ok(stream::iter(versions).map(read).buffer_unordered(READS_IN_FLIGHT).collect().await)
}

/// The state of every voter, each once it has applied `seq`.
async fn ask_voters(session: &Session, seq: Seq) -> Result<Vec<Digest>> {
    let mut digests = Vec::new();
    for node in session.cluster.map().voters.clone() {
        digests.push(ask_voter(session, node, seq).await?);
    }
    Ok(digests)
}

async fn ask_voter(session: &Session, node: NodeId, seq: Seq) -> Result<Digest> {
    let view = View { namespace: session.namespace.id(), freshness: Freshness::AtLeast(seq) };
    let request = Request::of(&FetchNamespace { view }, Bytes::new());
    let deadline = env::time::now() + CATCH_UP_TIMEOUT;
    loop {
        match session.cluster.call_node(node, request.clone(), CATCH_UP_TIMEOUT).await {
            Ok(reply) => {
                let stats = reply.answer::<FetchNamespace>()?;
                return Ok(Digest { node, seq: stats.seq, digest: stats.digest });
            }
            Err(e) if e.is_transient() && env::time::now() < deadline => {
                env::time::sleep(CATCH_UP_PERIOD).await
            }
            Err(e) => return Err(e.context(format!("the digest of voter {node}"))),
        }
    }
}
