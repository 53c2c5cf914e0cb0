//! Applies committed entries to the state, and hands out and takes in snapshots.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt};
use kv::Overlay;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::watch;
use types::Result;
use types::limits::MIB;

use crate::engine::{Commands, Entry, LogId, Replies, SnapshotMeta, StoredMembership, TypeConfig};
use crate::snapshot::SnapshotData;
use crate::state::{Meta, State, StateStore};
use crate::{StateMachine, blocking, error};

/// Entries that are applied as one batch.
const BATCH_COUNT_MAX: usize = 256;
/// Bytes of commands that are applied as one batch.
const BATCH_SIZE_MAX: usize = 4 * MIB;

/// A group's state machine as openraft wants to see it.
#[derive(Clone)]
pub struct Machine {
    store: Arc<StateStore>,
    machine: Arc<dyn StateMachine>,
    applied: watch::Sender<u64>,
}

/// openraft, with our machine.
pub type Raft = openraft::Raft<TypeConfig, Machine>;

/// Builds a snapshot, which is nothing but a view of the state at the moment of its creation.
#[derive(Debug)]
pub struct SnapshotBuilder(io::Result<(State, Meta)>);

impl Machine {
    /// Applies to `store` what `machine` makes of the commands, and tells `applied` how many were.
    pub fn new(store: Arc<StateStore>, machine: Arc<dyn StateMachine>, applied: watch::Sender<u64>) -> Self {
        Self { store, machine, applied }
    }

    /// Tells the state machine and those who wait what the state is now.
    pub fn announce_restored(&self) -> Result<()> {
        self.machine.restored(&self.store.read())?;
        self.applied.send_replace(self.store.meta().commands);
        Ok(())
    }

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
                        replies.replies.push(self.machine.apply(&mut changes, meta.commands, command));
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

fn snapshot((state, meta): (State, Meta)) -> (SnapshotMeta, SnapshotData) {
    let commands = meta.commands;
    let described = SnapshotMeta { last_log_id: meta.log, last_membership: meta.membership };
    (described, SnapshotData::Built { state, commands })
}

type SnapshotOf = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>;

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let meta = self.store.meta();
        Ok((meta.log, meta.membership))
    }

    async fn apply<S>(&mut self, mut stream: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
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
                let full = entries.len() == BATCH_COUNT_MAX || bytes > BATCH_SIZE_MAX;
                next = if full { None } else { stream.next().now_or_never().flatten() };
            }
            let replies = blocking::run(|| self.apply_batch(&entries)).map_err(error::to_io)?;
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
        let install = || {
            let (staged, commands) = match data {
                SnapshotData::Received { staged, commands } => (staged, commands),
                SnapshotData::Built { state, commands } => {
                    let staged = self.store.stage();
                    staged.copy(&state)?;
                    (staged, commands)
                }
            };
            let membership = meta.last_membership.clone();
            self.store.adopt(staged, Meta { generation: 0, log: meta.last_log_id, membership, commands })?;
            self.announce_restored()
        };
        blocking::run(install).map_err(error::to_io)
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf>> {
        let built = self.store.snapshot().map_err(error::to_io)?;
        let (meta, snapshot) = snapshot(built);
        Ok(meta.last_log_id.is_some().then_some(Snapshot { meta, snapshot }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf> {
        let taken = std::mem::replace(&mut self.0, Err(io::Error::other("a snapshot is built once")));
        let (meta, snapshot) = snapshot(taken?);
        Ok(Snapshot { meta, snapshot })
    }
}

#[cfg(test)]
mod tests {
    use env::Env;
    use kv::{MemKv, Read};
    use types::{Error, PartitionId};

    use super::*;

    /// A state machine whose rows cannot be read.
    struct Damaged;

    impl StateMachine for Damaged {
        fn apply(&self, _state: &mut Overlay<'_>, _index: u64, _command: &[u8]) -> Bytes {
            Bytes::new()
        }

        fn restored(&self, _state: &dyn Read) -> Result<()> {
            Err(Error::corrupt("a block does not match its checksum"))
        }
    }

    #[async_trait::async_trait]
    impl crate::Network for Damaged {
        async fn send(&self, _: types::NodeId, _: Bytes, _: std::time::Duration) -> Result<Bytes> {
            Err(Error::unavailable("nobody is there"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_whose_state_cannot_be_read_is_not_opened() {
        let config = crate::HostConfig::new(types::NodeId(1), "/log".into());
        let (kv, network) = (Arc::new(MemKv::new(1)), Arc::new(Damaged));
        let host = crate::Host::open(Env::simulated(1), config, kv, network).await.unwrap();
        let error = host.open_group(PartitionId(3), Arc::new(Damaged)).await.unwrap_err();
        assert!(error.message().contains("open partition 3: a block does not match"), "{error}");
        assert!(host.groups().is_empty());
    }
}
