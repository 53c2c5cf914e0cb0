//! One namespace: changes (batched), listings, versions, the journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use proto::Call;
use proto::namespace::{
    DirRef, Done, Entry, FetchNamespace, Found, Freshness, JournalPage, ListDir, ListTrash, ListVersions,
    Listing, Mode, NamespaceStats, Op, OpenVersion, Opened, OrderBy, PageToken, PullJournal, Stat, TrashPage,
    Versions, View, WriteNamespace,
};
use tokio::sync::OnceCell;
use types::limits::{
    BATCH_OP_COUNT_MAX, HISTORY_PAGE_COUNT_MAX, JOURNAL_PAGE_COUNT_MAX, LEADER_ATTEMPT_TIMEOUT,
    LEADER_PATIENCE, LIST_PAGE_COUNT_MAX, MIB, TRASH_PAGE_COUNT_MAX,
};
use types::{
    Error, ErrorKind, NamespaceId, NamespaceName, PartitionId, Path, RequestId, Result, Scope, Seq, VersionId,
};

use crate::batch::{BatchLimits, Batcher};
use crate::cluster::Cluster;
use crate::mirror::Mirror;

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
    /// Asked for once, when somebody stores chunks.
    scope: OnceCell<Scope>,
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Namespace").field("id", &self.id).finish()
    }
}

impl Namespace {
    /// Finds a namespace by name; `NotFound` when there is none.
    pub async fn open(cluster: Arc<Cluster>, name: &NamespaceName) -> Result<Self> {
        let id = cluster.find_namespace(name).await?;
        Ok(Self::of(cluster, id))
    }

    /// The namespace with this id, whether it is there or not.
    pub fn of(cluster: Arc<Cluster>, id: NamespaceId) -> Self {
        let partition = cluster.map().namespace_partition(id);
        let seen = Arc::new(AtomicU64::new(0));
        let limits =
            BatchLimits { count_max: BATCH_OP_COUNT_MAX, size_max: BATCH_SIZE_MAX, in_flight_max: 4 };
        let (writer, writer_seen) = (cluster.clone(), seen.clone());
        let writes = Batcher::start(limits, move |ops| {
            let (cluster, seen) = (writer.clone(), writer_seen.clone());
            async move { write_namespace(&cluster, id, partition, Mode::PerItem, ops, &seen).await }
        });
        Self { cluster, id, partition, seen, writes, stale: None, scope: OnceCell::new() }
    }

    /// From now on reads are answered from a replica that may be behind when no leader answers for a while, and `told` is
    /// set then. For people who want to see what there is: nothing may be done because of such an answer.
    pub fn accept_stale(self, told: Arc<AtomicBool>) -> Self {
        Self { stale: Some(told), ..self }
    }

    /// Given when it was created.
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// Where its chunks are stored; it never changes.
    pub async fn scope(&self) -> Result<Scope> {
        let ask = async || Ok(self.fetch_namespace().await?.scope);
        self.scope.get_or_try_init(ask).await.copied()
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
        Ok(self.describe(path).await?.map(|found| found.entry))
    }

    /// The entry at a path, and what a directory has; `None` when there is none.
    pub async fn describe(&self, path: &Path) -> Result<Option<Found>> {
        match self.read(|view| Stat { view, path: path.clone() }).await {
            Ok(found) => {
                self.see(found.seq);
                Ok(Some(found))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// One page of a directory by name, as long as the server makes them.
    pub async fn list_dir(&self, path: &Path, after: Option<PageToken>) -> Result<Listing> {
        self.list(DirRef::Path(path.clone()), (OrderBy::Name, false), after, LIST_PAGE_COUNT_MAX as u32).await
    }

    /// One page of a directory of at most `limit` entries, in any order, the other way round if so.
    pub async fn list(
        &self,
        dir: DirRef,
        (order, descending): (OrderBy, bool),
        after: Option<PageToken>,
        limit: u32,
    ) -> Result<Listing> {
        let question = |view| {
            let (dir, after) = (dir.clone(), after.clone());
            ListDir { view, dir, order, descending, after, limit }
        };
        let listing = self.read(question).await?;
        self.see(listing.seq);
        Ok(listing)
    }

    /// A whole directory, page by page.
    pub async fn list_whole_dir(&self, path: &Path) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut after = None;
        loop {
            let page = self.list_dir(path, after).await?;
            after = append_page(&mut entries, page).map_err(|e| e.context(path))?;
            if after.is_none() {
                return Ok(entries);
            }
        }
    }

    /// A page of what was removed from below a path, the last removed first.
    pub async fn list_trash(&self, under: &Path, before: Option<Seq>) -> Result<TrashPage> {
        let limit = TRASH_PAGE_COUNT_MAX as u32;
        let page = self.read(|view| ListTrash { view, under: under.clone(), before, limit }).await?;
        self.see(page.seq);
        Ok(page)
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

    /// Begins a mirror of the namespace as it is now.
    pub async fn begin_mirror(&self) -> Result<Mirror> {
        let NamespaceStats { root, seq, .. } = self.fetch_namespace().await?;
        Ok(Mirror::new(root, seq))
    }

    /// Brings a mirror forward: lists a directory that it does not know, or takes the next records, for which it waits
    /// up to `wait`. `StaleEpoch` when records that it needs are gone: begin another one.
    pub async fn advance(&self, mirror: &mut Mirror, wait: Duration) -> Result<()> {
        let Some(dir) = mirror.unlisted() else {
            let page = self.pull_journal(mirror.cursor(), wait).await?;
            if page.floor > mirror.cursor() {
                return Err(Error::stale_epoch("the journal does not reach back so far: list the tree anew"));
            }
            return page.records.iter().try_for_each(|record| mirror.apply(record));
        };
        let mut after = None;
        loop {
            let limit = LIST_PAGE_COUNT_MAX as u32;
            match self.list(DirRef::Inode(dir), (OrderBy::Name, false), after, limit).await {
                Ok(page) => {
                    mirror.page(dir, page.seq, page.entries);
                    after = page.next;
                }
                Err(e) if e.kind() == ErrorKind::NotFound => after = None,
                Err(e) => return Err(e),
            }
            if after.is_none() {
                mirror.end(dir);
                return Ok(());
            }
        }
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

/// Adds a page to the entries before it; returns where to go on. `Corrupt` when it does not go on after them: whoever asks
/// for the next page would not come to an end.
fn append_page(entries: &mut Vec<Entry>, page: Listing) -> Result<Option<PageToken>> {
    let names = entries.last().into_iter().chain(&page.entries).map(|entry| &entry.name);
    if !names.is_sorted_by(|a, b| a < b) {
        return Err(Error::corrupt("the server lists names out of order"));
    }
    if page.next.is_some() && page.entries.is_empty() {
        return Err(Error::corrupt("the server lists nothing and says that there is more"));
    }
    entries.extend(page.entries);
    Ok(page.next)
}

#[cfg(test)]
mod tests {
    use proto::namespace::Kind;
    use types::{InodeId, Name};

    use super::*;

    fn entries(names: &[&str]) -> Vec<Entry> {
        names.iter().map(|name| Entry::new(name, InodeId(1), Kind::Dir)).collect()
    }

    /// What there is after a page, and whether there is more; or that the page is refused.
    #[track_caller]
    fn check(before: &[&str], page: &[&str], more: bool, want: Option<&[&str]>) {
        let mut all = entries(before);
        let next = more.then(|| PageToken { value: 0, name: Name::parse("x").unwrap() });
        let listing = Listing { seq: Seq(1), entries: entries(page), count: 9, next: next.clone() };
        let done = append_page(&mut all, listing);
        match want {
            Some(want) => assert_eq!((done, all), (Ok(next), entries(want))),
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
