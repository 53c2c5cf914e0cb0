//! Looks at everything once the clients have stopped and the cluster is whole: the second input of the checkers.

mod chunks;
mod found;
mod patience;
mod trash;

use futures::StreamExt;
use futures::stream;
use proto::namespace::{Entry, FetchNamespace, Kind, Record, Version};
use types::{Error, InodeId, Name, Path, Result, Seq};

use crate::replay::Tree;
use crate::session::Session;
use chunks::Source;
pub use found::{Digest, Kept, Served, Survey};
use patience::{CATCH_UP_PERIOD, CATCH_UP_TIMEOUT, READS_IN_FLIGHT, patiently};

/// Reads the journal, the tree, all versions of all files and the state of all voters; what is in the trash is brought
/// back, and looked at like the rest. Chunks are asked of every node that can serve them until `served_bytes_max` bytes
/// have come. An error is of what must always work: no leader answers for long, or a directory cannot be listed.
pub async fn survey(session: &Session, served_bytes_max: u64) -> Result<Survey> {
    session.cluster.refresh_map(session.cluster.map().epoch).await; // Who votes may have changed.
    let root = session.namespace.stat(&Path::root()).await?;
    let root = root.ok_or_else(|| Error::not_found("there is no root"))?.inode;
    let early = journal(session).await?;
    let early_tree = list_all(session).await?;
    let mut digests = vec![ask_voters(session, end_of(&early)).await];
    let strangers = trash::bring_back(session, Tree::after(root, &early).0.trash()).await?;
    let journal = journal(session).await?;
    let tree = list_all(session).await?;
    let (kept, sources) = read_all(session, &tree).await?;
    let served = chunks::ask_nodes(session, sources, served_bytes_max).await;
    digests.push(ask_voters(session, end_of(&journal)).await);
    Ok(Survey { root, early, early_tree, journal, tree, kept, served, digests, strangers })
}

fn end_of(journal: &[Record]) -> Seq {
    journal.last().map_or(Seq(0), |record| record.seq)
}

/// The journal up to what was acknowledged by now, or as much of it as comes: what is missing is for the checkers to see.
async fn journal(session: &Session) -> Result<Vec<Record>> {
    let head = session.namespace.fetch_namespace().await?.seq;
    let deadline = env::time::now() + CATCH_UP_TIMEOUT;
    let mut records: Vec<Record> = Vec::new();
    while end_of(&records) < head && env::time::now() < deadline {
        let cursor = end_of(&records);
        let page = session.namespace.pull_journal(cursor, CATCH_UP_PERIOD).await?;
        records.extend(page.records);
        if end_of(&records) < cursor {
            break; // It would go round in circles.
        }
    }
    Ok(records)
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

/// Every version of every file, and where its chunks are to be had.
async fn read_all(session: &Session, tree: &[(Path, Entry)]) -> Result<(Vec<Kept>, Vec<Source>)> {
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
            let (hash, sources) = match session.namespace.open_version(&path, Some(version.id)).await {
                Ok(opened) => {
                    let sources = chunks::sources(&opened);
                    (session.read(opened, None).await, sources)
                }
                Err(e) => (Err(e), Vec::new()),
            };
            (Kept { inode, version: version.id, base: version.base, hash }, sources)
        }
    };
    let found: Vec<_> = stream::iter(versions).map(read).buffered(READS_IN_FLIGHT).collect().await;
    let (kept, sources): (Vec<Kept>, Vec<Vec<Source>>) = found.into_iter().unzip();
    Ok((kept, sources.concat()))
}

/// The state of every voter, each once it has applied `seq`.
async fn ask_voters(session: &Session, seq: Seq) -> Vec<Digest> {
    let mut digests = Vec::new();
    for node in session.voters() {
        let question = FetchNamespace { view: session.at_least(seq) };
        let state = patiently(async || session.ask_node(node, &question).await).await;
        digests.push(Digest { node, state });
    }
    digests
}
