//! One namespace: changes (batched), listings, versions, the journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use proto::Call;
use proto::cluster::FindNamespace;
use proto::namespace::{
    Done, Entry, FetchNamespace, Freshness, JournalPage, ListDir, ListVersions, Listing, Mode,
    NamespaceStats, Op, OpenVersion, Opened, PullJournal, Stat, Versions, View, WriteNamespace,
};
use types::limits::{
    BATCH_OP_COUNT_MAX, HISTORY_PAGE_COUNT_MAX, JOURNAL_PAGE_COUNT_MAX, LEADER_ATTEMPT_TIMEOUT,
    LEADER_PATIENCE, LIST_PAGE_COUNT_MAX, MIB,
};
use types::{
    Error, ErrorKind, Name, NamespaceId, NamespaceName, PartitionId, Path, RequestId, Result, Seq, VersionId,
};

use crate::batch::{BatchLimits, Batcher};
use crate::cluster::Cluster;

/// Bytes of changes in one batch: a batch of inline files stays well below the limit of a command.
const BATCH_SIZE_MAX: usize = MIB;

/// A namespace. Reads see at least what was written and read through this value before, the first one everything that was
/// acknowledged before it began.
pub struct Namespace {
    cluster: Arc<Cluster>,
    id: NamespaceId,
    partition: PartitionId,
    seen: Arc<AtomicU64>,
    writes: Batcher<Op, Done>,
    /// Set when an answer may be old; `None` when none may be.
    stale: Option<Arc<AtomicBool>>,
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Namespace").field("id", &self.id).finish()
    }
}

impl Namespace {
    /// Finds a namespace by name; `NotFound` when there is none.
    pub async fn open(cluster: Arc<Cluster>, name: &NamespaceName) -> Result<Self> {
        let id = cluster.ask_root(&FindNamespace { name: name.clone() }).await?.namespace;
        let partition = cluster.map().namespace_partition(id);
        let seen = Arc::new(AtomicU64::new(0));
        let limits =
            BatchLimits { count_max: BATCH_OP_COUNT_MAX, size_max: BATCH_SIZE_MAX, in_flight_max: 4 };
        let (writer, writer_seen) = (cluster.clone(), seen.clone());
        let writes = Batcher::start(limits, move |ops| {
            let (cluster, seen) = (writer.clone(), writer_seen.clone());
            async move { write_namespace(&cluster, id, partition, Mode::PerItem, ops, &seen).await }
        });
        Ok(Self { cluster, id, partition, seen, writes, stale: None })
    }

    /// From now on reads are answered from a replica that may be behind when no leader answers for a while, and `told` is
    /// set then. For people who want to see what there is: nothing may be done because of such an answer.
    pub fn accept_stale(self, told: Arc<AtomicBool>) -> Self {
        Self { stale: Some(told), ..self }
    }

    /// Assigned by the root partition when it was created.
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// Applies one change; concurrent ones share requests. `size` is roughly its bytes.
    pub async fn apply(&self, op: Op, size: usize) -> Result<Done> {
        self.writes.call(op, size).await
    }

    /// Applies several changes in order, each on its own or all or none. `Invalid` when there are too many for a batch.
    pub async fn apply_all(&self, mode: Mode, ops: Vec<Op>) -> Result<Vec<Result<Done>>> {
        write_namespace(&self.cluster, self.id, self.partition, mode, ops, &self.seen).await
    }

    /// The entry at a path; `None` when there is none.
    pub async fn stat(&self, path: &Path) -> Result<Option<Entry>> {
        match self.read(|view| Stat { view, path: path.clone() }).await {
            Ok(found) => {
                self.see(found.seq);
                Ok(Some(found.entry))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// One page of a directory: the entries after the name `after`.
    pub async fn list_dir(&self, path: &Path, after: Option<Name>) -> Result<Listing> {
        let limit = LIST_PAGE_COUNT_MAX as u32;
        let question = |view| ListDir { view, path: path.clone(), after: after.clone(), limit };
        let listing = self.read(question).await?;
        self.see(listing.seq);
        Ok(listing)
    }

    /// A whole directory, page by page.
    pub async fn list_whole_dir(&self, path: &Path) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries.last().map(|e| Name::parse(&e.name)).transpose()?;
            let page = self.list_dir(path, after).await?;
            if !append_page(&mut entries, page).map_err(|e| e.context(path))? {
                return Ok(entries);
            }
        }
    }

    /// Opens a version of a file, the newest unless named: its manifest, and tickets to read its chunks.
    pub async fn open_version(&self, path: &Path, version: Option<VersionId>) -> Result<Opened> {
        let question = |view| OpenVersion { view, path: path.clone(), version };
        let opened = self.read(question).await?;
        self.see(opened.seq);
        Ok(opened)
    }

    /// A page of a file's versions, newest first, starting with those older than `before`.
    pub async fn list_versions(&self, path: &Path, before: Option<VersionId>) -> Result<Versions> {
        let limit = HISTORY_PAGE_COUNT_MAX as u32;
        let page = self.read(|view| ListVersions { view, path: path.clone(), before, limit }).await?;
        self.see(page.seq);
        Ok(page)
    }

    /// Newest position and digest of the namespace.
    pub async fn fetch_namespace(&self) -> Result<NamespaceStats> {
        let view = View { namespace: self.id, freshness: Freshness::Linearizable };
        let stats = self.cluster.ask(self.partition, &FetchNamespace { view }).await?;
        self.see(stats.seq);
        Ok(stats)
    }

    /// The changes after a position; waits up to `wait` for the first.
    pub async fn pull_journal(&self, after: Seq, wait: Duration) -> Result<JournalPage> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let limit = JOURNAL_PAGE_COUNT_MAX as u32;
        let question = PullJournal { namespace: self.id, after, limit, wait_ms };
        let attempt = wait + LEADER_ATTEMPT_TIMEOUT;
        let deadline = self.cluster.deadline() + wait;
        let page = self.cluster.ask_until(self.partition, &question, attempt, deadline).await?;
        // Who was told of a change and then looks must find it.
        self.see(page.records.last().map_or(after, |record| record.seq));
        Ok(page)
    }

    /// Asks for an answer as fresh as this session has a right to: at first everything acknowledged before, later what
    /// the session has seen. Without it fails with the cause, in less time than a change is given.
    async fn read<Q: Call>(&self, question: impl Fn(View) -> Q) -> Result<Q::Answer> {
        let view = |freshness| View { namespace: self.id, freshness };
        let seen = match self.seen.load(Ordering::Relaxed) {
            0 => Freshness::Linearizable,
            seq => Freshness::AtLeast(Seq(seq)),
        };
        let patience = env::time::now() + LEADER_PATIENCE;
        let (partition, deadline) = (self.partition, self.cluster.deadline());
        let ask = |freshness, deadline| {
            let question = question(view(freshness));
            async move { self.cluster.ask_until(partition, &question, LEADER_ATTEMPT_TIMEOUT, deadline).await }
        };
        match (ask(seen, patience.min(deadline)).await, &self.stale) {
            (Err(e), Some(told)) if e.is_transient() => {
                let answer = ask(Freshness::Stale, deadline).await.map_err(|_| e)?;
                told.store(true, Ordering::Relaxed);
                Ok(answer)
            }
            (answer, _) => answer,
        }
    }

    fn see(&self, seq: Seq) {
        self.seen.fetch_max(seq.0, Ordering::Relaxed);
    }
}

async fn write_namespace(
    cluster: &Cluster,
    namespace: NamespaceId,
    partition: PartitionId,
    mode: Mode,
    ops: Vec<Op>,
    seen: &AtomicU64,
) -> Result<Vec<Result<Done>>> {
    if ops.len() > BATCH_OP_COUNT_MAX {
        return Err(Error::invalid(format!(
            "{} changes in one batch, at most {BATCH_OP_COUNT_MAX} are allowed",
            ops.len()
        )));
    }
    let (request, count) = (RequestId(cluster.env.random.bytes()), ops.len());
    let written = cluster.ask(partition, &WriteNamespace { namespace, request, mode, ops }).await?;
    seen.fetch_max(written.seq.0, Ordering::Relaxed);
    if written.results.len() != count {
        return Err(Error::internal(format!("{} answers to {count} changes", written.results.len())));
    }
    Ok(written.results)
}

/// Adds a page to the entries before it; true when there is more. `Corrupt` when it does not go on after them: whoever
/// asks for the next page would not come to an end.
fn append_page(entries: &mut Vec<Entry>, page: Listing) -> Result<bool> {
    let names = entries.last().into_iter().chain(&page.entries).map(|entry| &entry.name);
    if !names.is_sorted_by(|a, b| a < b) {
        return Err(Error::corrupt("the server lists names out of order"));
    }
    if page.more && page.entries.is_empty() {
        return Err(Error::corrupt("the server lists nothing and says that there is more"));
    }
    entries.extend(page.entries);
    Ok(page.more)
}

#[cfg(test)]
mod tests {
    use proto::namespace::Kind;
    use types::{InodeId, Millis};

    use super::*;

    fn entries(names: &[&str]) -> Vec<Entry> {
        let entry = |name: &&str| Entry {
            name: (*name).to_owned(),
            inode: InodeId(1),
            kind: Kind::Dir,
            size: 0,
            modified: Millis(0),
            version: VersionId(0),
            content_root: Default::default(),
        };
        names.iter().map(entry).collect()
    }

    /// What there is after a page, and whether there is more; or that the page is refused.
    #[track_caller]
    fn check(before: &[&str], page: &[&str], more: bool, want: Option<&[&str]>) {
        let mut all = entries(before);
        let done = append_page(&mut all, Listing { seq: Seq(1), entries: entries(page), more });
        match want {
            Some(want) => assert_eq!((done, all), (Ok(more), entries(want))),
            None => assert_eq!(done.map_err(|e| e.kind()), Err(ErrorKind::Corrupt)),
        }
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended() {
        check(&[], &[], false, Some(&[]));
        check(&["a"], &[], false, Some(&["a"]));
        check(&["a"], &["b", "c"], true, Some(&["a", "b", "c"]));
        check(&["B"], &["a", "é"], false, Some(&["B", "a", "é"]));
        check(&[], &[], true, None);
        check(&["a"], &[], true, None);
        check(&["a"], &["a"], true, None);
        check(&["b"], &["a"], false, None);
        check(&[], &["b", "a"], false, None);
        check(&[], &["a", "a"], false, None);
    }
}
