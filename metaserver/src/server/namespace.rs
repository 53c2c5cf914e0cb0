//! Requests about files and directories.

use std::sync::atomic::Ordering;
use std::time::Duration;

use access::{Action, authorize};
use chunk::manifest::{Content, Manifest};
use env::mutant::Mutant;
use net::Caller;
use proto::command::NamespaceCommand;
use proto::namespace::{
    Expect, FetchNamespace, Found, Freshness, JournalPage, ListDir, ListTrash, ListVersions, Listing,
    NamespaceStats, NewContent, Op, OpenVersion, Opened, PullJournal, RenewTickets, Stat, TicketsRenewed,
    TrashPage, Versions, View, WriteNamespace, Written,
};
use proto::seal::{Receipt, Ticket};
use raft::State;
use tree::namespace;
use types::limits::{JOURNAL_WAIT_MS_MAX, TICKET_RENEW_COUNT_MAX};
use types::{ChunkId, ChunkKey, Error, RequestId, Result, Scope};

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
        // Any applied state will do if it already has the namespace.
        let found = group.read(|state| namespace::head(state, write.namespace));
        let head = match found {
            Ok(found) => found,
            Err(_) => {
                group.linearize().await?;
                group.read(|state| namespace::head(state, write.namespace))?
            }
        };
        authorize(&caller.identity, Action::UseNamespace { owner: &head.owner })?;
        let scope = Scope::of(head.tenant);
        for op in &write.ops {
            if let Op::CommitVersion { content: NewContent::File { manifest, receipts }, path, .. } = op {
                self.check_manifest(scope, manifest, receipts).map_err(|e| e.context(path))?;
            }
        }
        let mut write = self.mutate(write);
        self.seal_content(&mut write, head.tenant)?;
        let author = caller.identity.to_string();
        #[cfg(feature = "next-level")]
        let namespace = write.namespace;
        let written = self.propose(partition, NamespaceCommand::Write { author, write }).await?;
        #[cfg(feature = "next-level")]
        self.mark(partition, namespace).await;
        Ok(written)
    }

    /// Puts a command of the next level behind a write. Refused while the partition is below that level, which is no
    /// concern of whoever wrote.
    #[cfg(feature = "next-level")]
    async fn mark(&self, partition: types::PartitionId, namespace: types::NamespaceId) {
        let marked: Result<()> = self.propose(partition, NamespaceCommand::Mark { namespace }).await;
        if let Err(e) = marked {
            tracing::debug!(%partition, "a write is not marked: {e}");
        }
    }

    /// What planted bugs do to a write; without any, nothing.
    fn mutate(&self, mut write: WriteNamespace) -> WriteNamespace {
        if Mutant::DuplicateApply.is_planted() {
            write.request = RequestId(self.env.random.bytes());
        }
        if Mutant::WrongBase.is_planted() {
            for op in &mut write.ops {
                if let Op::CommitVersion { expect, .. } = op {
                    *expect = Expect::Any;
                }
            }
        }
        write
    }

    /// Every chunk of a manifest must be stored, as proved by one of our receipts, and as large as the manifest says.
    fn check_manifest(&self, scope: Scope, manifest: &Manifest, receipts: &[Receipt]) -> Result<()> {
        manifest.check()?;
        let chunks = listed_chunks(manifest);
        if chunks.len() != receipts.len() {
            return Err(Error::invalid(format!("{} receipts for {} chunks", receipts.len(), chunks.len())));
        }
        for ((id, size), receipt) in chunks.into_iter().zip(receipts) {
            self.secret.check_receipt(&ChunkKey { id, scope }, receipt)?;
            if receipt.size != size {
                return Err(Error::invalid(format!(
                    "chunk {id} stands for {} bytes, the manifest says {size}",
                    receipt.size
                )));
            }
        }
        Ok(())
    }

    pub(super) async fn stat(&self, caller: &Caller, request: Stat) -> Result<Found> {
        let Stat { view, path } = request;
        self.ask_namespace(caller, view, move |state, seq| {
            let (entry, contents) = namespace::stat(state, view.namespace, &path)?;
            Ok(Found { seq, entry, contents })
        })
        .await
    }

    pub(super) async fn list_dir(&self, caller: &Caller, request: ListDir) -> Result<Listing> {
        self.ask_namespace(caller, request.view, move |state, _| namespace::list_dir(state, &request)).await
    }

    pub(super) async fn list_trash(&self, caller: &Caller, request: ListTrash) -> Result<TrashPage> {
        let ListTrash { view, under, before, limit } = request;
        self.ask_namespace(caller, view, move |state, _| {
            namespace::list_trash(state, view.namespace, &under, before, limit)
        })
        .await
    }

    pub(super) async fn open_version(&self, caller: &Caller, request: OpenVersion) -> Result<Opened> {
        let OpenVersion { view, path, version } = request;
        let open = move |state: &State, seq| {
            let scope = Scope::of(namespace::head(state, view.namespace)?.tenant);
            let (version, manifest) = namespace::open_version(state, view.namespace, &path, version)?;
            Ok((seq, scope, version, manifest))
        };
        let (seq, scope, version, manifest) = self.ask_namespace(caller, view, open).await?;
        let manifest = self.open_content(manifest)?;
        let reader = caller.identity.to_string();
        let now = self.env.clock.agreed();
        let ticket = |(id, _)| self.secret.ticket(&reader, view.namespace, &ChunkKey { id, scope }, now);
        let tickets: Vec<Ticket> = listed_chunks(&manifest).into_iter().map(ticket).collect();
        Ok(Opened { seq, version, manifest, tickets })
    }

    /// Who may still read the namespace goes on reading what it has opened.
    pub(super) async fn renew_tickets(
        &self,
        caller: &Caller,
        request: RenewTickets,
    ) -> Result<TicketsRenewed> {
        let RenewTickets { view, tickets } = request;
        if tickets.len() > TICKET_RENEW_COUNT_MAX {
            return Err(Error::invalid(format!(
                "{} tickets in one request, at most {TICKET_RENEW_COUNT_MAX} are allowed",
                tickets.len()
            )));
        }
        self.ask_namespace(caller, view, move |state, _| namespace::head(state, view.namespace).map(drop))
            .await?;
        let (reader, now) = (caller.identity.to_string(), self.env.clock.agreed());
        let renew = |(id, ticket): &(ChunkId, Ticket)| {
            if ticket.namespace != view.namespace {
                return Err(Error::denied("the ticket is for another namespace"));
            }
            self.secret.renew(&reader, &ChunkKey { id: *id, scope: ticket.scope }, ticket, now)
        };
        Ok(TicketsRenewed { tickets: tickets.iter().map(renew).collect::<Result<_>>()? })
    }

    pub(super) async fn list_versions(&self, caller: &Caller, request: ListVersions) -> Result<Versions> {
        let ListVersions { view, path, before, limit } = request;
        self.ask_namespace(caller, view, move |state, _| {
            namespace::list_versions(state, view.namespace, &path, before, limit)
        })
        .await
    }

    pub(super) async fn fetch_namespace(
        &self,
        caller: &Caller,
        request: FetchNamespace,
    ) -> Result<NamespaceStats> {
        let view = request.view;
        self.ask_namespace(caller, view, move |state, _| namespace::fetch_namespace(state, view.namespace))
            .await
    }

    /// A page of the journal; an empty one only after waiting as long as the caller asked (or may ask).
    pub(super) async fn pull_journal(&self, caller: &Caller, request: PullJournal) -> Result<JournalPage> {
        let PullJournal { namespace, after, limit, wait_ms } = request;
        let wait = Duration::from_millis(u64::from(wait_ms.min(JOURNAL_WAIT_MS_MAX)));
        let deadline = env::time::now() + wait;
        let view = View { namespace, freshness: Freshness::AtLeast(after) };
        let applied = self.group(self.partition_of(namespace))?.watch_applied();
        let mut poll = None;
        loop {
            let pull = move |state: &State, _| namespace::pull_journal(state, namespace, after, limit);
            let mut journal = self.ask_namespace(caller, view, pull).await?;
            if Mutant::JournalGap.is_planted() && journal.records.len() > 2 {
                journal.records.remove(1);
            }
            let waited = env::time::now() >= deadline;
            if !journal.records.is_empty() || journal.floor > after || waited {
                return Ok(journal);
            }
            if self.retired.load(Ordering::Relaxed) || applied.has_changed().is_err() {
                return Err(self.stopped());
            }
            match &mut poll {
                // What was committed since the page was read is found by the next look.
                None => poll = Some(self.polls.begin(&caller.identity, namespace)?),
                Some(poll) => {
                    let _ = net::step_aside(env::time::timeout_at(deadline, poll.changed())).await?;
                }
            }
        }
    }
}

/// The chunks that a version row itself names, and the bytes of the file that each stands for.
fn listed_chunks(manifest: &Manifest) -> Vec<(ChunkId, u64)> {
    match &manifest.content {
        Content::Inline(_) | Content::Sealed { .. } => Vec::new(),
        Content::Chunks(chunks) => chunks.iter().map(|chunk| (chunk.id, chunk.size.into())).collect(),
        Content::Tree { root, .. } => vec![(*root, manifest.size)],
    }
}
