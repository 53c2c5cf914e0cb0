//! Requests about files and directories.

use std::time::Duration;

use access::{Action, authorize};
use chunk::manifest::{Content, Manifest};
use env::mutant::Mutant;
use env::time::Instant;
use net::Caller;
use proto::command::NamespaceCommand;
use proto::namespace::{
    Base, FetchNamespace, Found, Freshness, JournalPage, ListDir, ListVersions, Listing, NamespaceStats, Op,
    OpenVersion, Opened, PullJournal, Stat, Versions, View, WriteNamespace, Written,
};
use proto::seal::{Receipt, Ticket};
use tokio::sync::watch;
use tree::namespace;
use types::limits::{JOURNAL_WAIT_MS_MAX, READ_CATCH_UP_MS_MAX};
use types::{ChunkId, Error, NamespaceId, RequestId, Result, Seq};

use super::Metaserver;

impl Metaserver {
    pub(super) async fn write_namespace(&self, caller: &Caller, write: WriteNamespace) -> Result<Written> {
        let partition = self.partition_of(write.namespace);
        let group = self.group(partition)?;
        if !group.is_leader() {
            return Err(Error::stale_epoch(format!(
                "node {} does not lead partition {partition}",
                self.node
            )));
        }
        // The owner never changes, so any applied state will do if it already has the namespace.
        let found = namespace::owner(&group.read(), write.namespace);
        let (owner, _) = match found {
            Ok(found) => found,
            Err(_) => {
                group.linearize().await?;
                namespace::owner(&group.read(), write.namespace)?
            }
        };
        authorize(&caller.identity, Action::UseNamespace { owner: &owner })?;
        for op in &write.ops {
            if let Op::CommitVersion { manifest, receipts, path, .. } = op {
                self.check_manifest(manifest, receipts).map_err(|e| e.context(path))?;
            }
        }
        let write = self.mutate(write);
        let author = caller.identity.to_string();
        self.propose(partition, NamespaceCommand::Write { author, write }).await
    }

    /// What planted bugs do to a write; without any, nothing.
    fn mutate(&self, mut write: WriteNamespace) -> WriteNamespace {
        if Mutant::DuplicateApply.is_planted() {
            write.request = RequestId(self.env.random.bytes());
        }
        if Mutant::WrongBase.is_planted() {
            for op in &mut write.ops {
                if let Op::CommitVersion { base, .. } = op {
                    *base = Base::Any;
                }
            }
        }
        write
    }

    /// Every chunk of a manifest must be stored, as proved by one of our receipts.
    fn check_manifest(&self, manifest: &Manifest, receipts: &[Receipt]) -> Result<()> {
        manifest.check()?;
        let chunks = listed_chunks(manifest);
        if chunks.len() != receipts.len() {
            return Err(Error::invalid(format!("{} receipts for {} chunks", receipts.len(), chunks.len())));
        }
        chunks.iter().zip(receipts).try_for_each(|(chunk, receipt)| self.secret.check_receipt(chunk, receipt))
    }

    pub(super) async fn stat(&self, caller: &Caller, request: Stat) -> Result<Found> {
        let (state, seq) = self.view(caller, request.view).await?;
        Ok(Found { seq, entry: namespace::stat(&state, request.view.namespace, &request.path)? })
    }

    pub(super) async fn list_dir(&self, caller: &Caller, request: ListDir) -> Result<Listing> {
        let (state, _) = self.view(caller, request.view).await?;
        namespace::list_dir(
            &state,
            request.view.namespace,
            &request.path,
            request.after.as_ref(),
            request.limit,
        )
    }

    pub(super) async fn open_version(&self, caller: &Caller, request: OpenVersion) -> Result<Opened> {
        let (state, seq) = self.view(caller, request.view).await?;
        let (version, manifest) =
            namespace::open_version(&state, request.view.namespace, &request.path, request.version)?;
        let reader = caller.identity.to_string();
        let now = self.env.clock.wall();
        let tickets: Vec<Ticket> =
            listed_chunks(&manifest).iter().map(|chunk| self.secret.ticket(&reader, chunk, now)).collect();
        Ok(Opened { seq, version, manifest, tickets })
    }

    pub(super) async fn list_versions(&self, caller: &Caller, request: ListVersions) -> Result<Versions> {
        let (state, _) = self.view(caller, request.view).await?;
        namespace::list_versions(&state, request.view.namespace, &request.path, request.before, request.limit)
    }

    pub(super) async fn fetch_namespace(
        &self,
        caller: &Caller,
        request: FetchNamespace,
    ) -> Result<NamespaceStats> {
        let (state, _) = self.view(caller, request.view).await?;
        namespace::fetch_namespace(&state, request.view.namespace)
    }

    /// A page of the journal; an empty one only after waiting as long as the caller asked (or may ask).
    pub(super) async fn pull_journal(&self, caller: &Caller, request: PullJournal) -> Result<JournalPage> {
        let wait = Duration::from_millis(u64::from(request.wait_ms.min(JOURNAL_WAIT_MS_MAX)));
        let deadline = env::time::now() + wait;
        let view = View { namespace: request.namespace, freshness: Freshness::AtLeast(request.after) };
        let mut applied = self.group(self.partition_of(request.namespace))?.watch_applied();
        loop {
            applied.borrow_and_update();
            let (state, _) = self.view(caller, view).await?;
            let mut journal =
                namespace::pull_journal(&state, request.namespace, request.after, request.limit)?;
            if Mutant::JournalGap.is_planted() && journal.records.len() > 2 {
                journal.records.remove(1);
            }
            let waited = env::time::now() >= deadline;
            if !journal.records.is_empty() || waited {
                return Ok(journal);
            }
            drop(state);
            self.wait_for_change(&mut applied, deadline).await?;
        }
    }

    /// A state that is as fresh as asked for, if this replica has it and the caller may see it.
    async fn view(&self, caller: &Caller, view: View) -> Result<(raft::State, Seq)> {
        let group = self.group(self.partition_of(view.namespace))?;
        let mut confirmed = view.freshness == Freshness::Linearizable;
        let wanted = match view.freshness {
            Freshness::Linearizable | Freshness::Stale => Seq(0),
            Freshness::AtLeast(seq) => seq,
        };
        if confirmed {
            group.linearize().await?;
        }
        let deadline = env::time::now() + Duration::from_millis(READ_CATCH_UP_MS_MAX);
        let mut applied = group.watch_applied();
        loop {
            applied.borrow_and_update();
            let state = group.read();
            let missing = match namespace::owner(&state, view.namespace) {
                Ok((owner, seq)) => {
                    // Before anything is said about the namespace, its position included (I-AUTH).
                    authorize(&caller.identity, Action::UseNamespace { owner: &owner })?;
                    if seq >= wanted {
                        return Ok((state, seq));
                    }
                    let namespace = view.namespace;
                    Error::invalid(format!(
                        "position {wanted} is ahead of namespace {namespace}, which is at {seq}"
                    ))
                }
                Err(e) => e,
            };
            drop(state);
            if confirmed {
                return Err(missing);
            }
            // Only a leader that was just confirmed can say that something does not exist.
            if group.is_leader() {
                group.linearize().await?;
                confirmed = true;
            } else if !self.wait_for_change(&mut applied, deadline).await? {
                return Err(Error::stale_epoch(format!("node {} is behind: ask another voter", self.node)));
            }
        }
    }

    /// Waits until something more is applied here; false when the time is up before. `StaleEpoch` when this replica has
    /// stopped for good.
    async fn wait_for_change(&self, applied: &mut watch::Receiver<u64>, deadline: Instant) -> Result<bool> {
        match env::time::timeout_at(deadline, applied.changed()).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(_)) => Err(Error::stale_epoch(format!(
                "the replica on node {} has stopped: ask another voter",
                self.node
            ))),
            Err(_) => Ok(false),
        }
    }

    fn partition_of(&self, namespace: NamespaceId) -> types::PartitionId {
        self.map.borrow().namespace_partition(namespace)
    }
}

/// The chunks that a version row itself names.
fn listed_chunks(manifest: &Manifest) -> Vec<ChunkId> {
    match &manifest.content {
        Content::Inline(_) => Vec::new(),
        Content::Chunks(chunks) => chunks.iter().map(|chunk| chunk.id).collect(),
        Content::Tree { root, .. } => vec![*root],
    }
}
