//! Applies committed entries to the state, and hands out and takes in snapshots.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::future::ready;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use kv::Overlay;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::watch;
use types::limits::{APPLY_ENTRY_COUNT_MAX, MIB};
use types::{Error, Result};

use crate::engine::{Commands, Entry, LogId, Replies, SnapshotMeta, StoredMembership, TypeConfig};
use crate::outgoing::{Outgoing, View};
use crate::snapshot::SnapshotData;
use crate::state::{Meta, State, StateStore};
use crate::{StateMachine, blocking, error};

/// Bytes of commands that are applied as one batch.
const BATCH_SIZE_MAX: usize = 4 * MIB;

/// A group's state machine as openraft wants to see it.
#[derive(Clone)]
pub struct Machine {
    store: Arc<StateStore>,
    outgoing: Arc<Outgoing>,
    machine: Arc<dyn StateMachine>,
    /// Commands that are left out, and why.
    skipped: Arc<BTreeMap<u64, String>>,
    applied: watch::Sender<u64>,
    halt: Reason,
    /// What the log has no more and the state has not either, when there is such a gap. openraft is told that it is
    /// applied, so that it goes on with the log.
    missing_upto: Option<LogId>,
}

/// Why a state machine has stopped its group, once it has.
pub type Reason = Arc<OnceLock<Error>>;

/// openraft, with our machine.
pub type Raft = openraft::Raft<TypeConfig, Machine>;

/// Builds a snapshot, which is nothing but a view of the state at the moment of its creation.
#[derive(Debug)]
pub struct SnapshotBuilder(io::Result<(State, Meta)>);

impl Machine {
    /// Applies to `store` what `machine` makes of the commands but those that are `skipped`, and tells `applied` how many
    /// were. Applies nothing while entries up to `missing_upto` are in neither the log nor the state.
    pub fn new(
        store: Arc<StateStore>,
        machine: Arc<dyn StateMachine>,
        skipped: BTreeMap<u64, String>,
        applied: watch::Sender<u64>,
        missing_upto: Option<LogId>,
    ) -> Self {
        let (outgoing, halt, skipped) = (Arc::default(), Reason::default(), Arc::new(skipped));
        Self { store, outgoing, machine, skipped, applied, halt, missing_upto }
    }

    /// Where it will say why it has stopped.
    pub fn halt(&self) -> Reason {
        self.halt.clone()
    }

    fn stop(&self, e: Error) -> io::Error {
        tracing::error!("a group stops: {e}");
        let _ = self.halt.set(e.clone()); // The first reason counts.
        error::to_io(e)
    }

    /// What of the state is being sent to other nodes.
    pub fn outgoing(&self) -> Arc<Outgoing> {
        self.outgoing.clone()
    }

    /// Tells the state machine and those who wait what the state is now.
    pub fn announce_restored(&self) -> Result<()> {
        self.machine.restored(&self.store.read())?;
        self.applied.send_replace(self.store.meta().commands);
        Ok(())
    }

    fn apply_one(&self, changes: &mut Overlay<'_>, index: u64, command: &[u8]) -> Result<Bytes> {
        if let Some(reason) = self.skipped.get(&index) {
            return Ok(self.machine.skipped(index, reason));
        }
        // What a panic leaves of the changes is dropped with them.
        let applied = catch_unwind(AssertUnwindSafe(|| self.machine.apply(changes, index, command)));
        applied.unwrap_or_else(|_| Err(Error::internal(format!("applying command {index} panics"))))
    }

    /// All of it, or nothing: after an error the group stops.
    fn apply_batch(&self, entries: &[Entry]) -> Result<Vec<Replies>> {
        let state = self.store.read();
        let mut changes = Overlay::new(&state);
        let mut meta = self.store.meta();
        let mut all = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut replies = Replies { first: meta.commands + 1, replies: Vec::new() };
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(Commands(commands)) => {
                    for command in commands {
                        meta.commands += 1;
                        replies.replies.push(self.apply_one(&mut changes, meta.commands, command)?);
                    }
                }
                EntryPayload::Membership(membership) => {
                    meta.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                }
            }
            meta.log = Some(entry.log_id);
            all.push(replies);
        }
        let commands = meta.commands;
        self.store.commit(&changes, meta)?;
        self.machine.applied(commands, &changes);
        self.applied.send_replace(commands);
        Ok(all)
    }
}

fn size(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(Commands(commands)) => commands.iter().map(Bytes::len).sum(),
        _ => 0,
    }
}

type SnapshotOf = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>;

fn snapshot(view: View) -> SnapshotOf {
    Snapshot { meta: view.meta.clone(), snapshot: SnapshotData::Built(view) }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        if self.missing_upto.is_some() {
            return Ok((self.missing_upto, StoredMembership::default()));
        }
        let meta = self.store.meta();
        Ok((meta.log, meta.membership))
    }

    async fn apply<S>(&mut self, mut stream: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        if self.missing_upto.is_some() {
            // It stays in the log, and is applied from there as soon as there is a state.
            return stream.try_for_each(|_| ready(Ok(()))).await;
        }
        while let Some(first) = stream.next().await {
            let mut bytes = 0;
            let mut entries = Vec::new();
            let mut responders = Vec::new();
            let mut next = Some(first);
            while let Some(item) = next {
                let (entry, responder) = item?;
                bytes += size(&entry);
                entries.push(entry);
                responders.push(responder);
                let full = entries.len() == APPLY_ENTRY_COUNT_MAX || bytes > BATCH_SIZE_MAX;
                next = if full { None } else { stream.next().now_or_never().flatten() };
            }
            let replies = blocking::run(|| self.apply_batch(&entries)).map_err(|e| self.stop(e))?;
            for (responder, replies) in responders.into_iter().zip(replies) {
                if let Some(responder) = responder {
                    responder.send(replies);
                }
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<SnapshotBuilder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder(self.store.snapshot().map_err(error::to_io))
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> io::Result<()> {
        if self.missing_upto.is_some() {
            return Err(self.stop(Error::internal("a group that waits for a state is not sent any")));
        }
        let install = || {
            let (staged, commands) = match data {
                SnapshotData::Received { staged, commands } => (staged, commands),
                SnapshotData::Built(view) => {
                    let staged = self.store.stage();
                    staged.copy(&view.state)?;
                    (staged, view.commands)
                }
            };
            let membership = meta.last_membership.clone();
            self.store.adopt(staged, Meta { generation: 0, log: meta.last_log_id, membership, commands })?;
            self.announce_restored()
        };
        blocking::run(install).map_err(|e| self.stop(e))
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf>> {
        let mut view = self.outgoing.view(&self.store).map_err(error::to_io)?;
        if let Some(begin) = self.missing_upto {
            view.meta = SnapshotMeta { last_log_id: Some(begin), ..SnapshotMeta::default() };
        }
        Ok(view.meta.last_log_id.is_some().then(|| snapshot(view)))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf> {
        let taken = std::mem::replace(&mut self.0, Err(io::Error::other("a snapshot is built once")));
        Ok(snapshot(View::new(taken?)))
    }
}

#[cfg(test)]
mod tests;
