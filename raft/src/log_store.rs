//! One group's part of the shared log, as openraft wants to see it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use env::mutant::Mutant;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::oneshot;
use types::limits::MIB;
use types::{PartitionId, Result};

use crate::engine::{Entry, LogId, TypeConfig, Vote};
use crate::log::{self, EntryId, Log};
use crate::{blocking, codec, error};

/// Bytes of entries read at once, for one message of replication or one step of apply.
const READ_SIZE_MAX: u64 = 2 * MIB as u64;

/// The log of one group.
#[derive(Clone, Debug)]
pub struct LogStore {
    log: Arc<Log>,
    group: PartitionId,
}

impl LogStore {
    /// The log of `group`.
    pub fn new(log: Arc<Log>, group: PartitionId) -> Self {
        Self { log, group }
    }

    fn read(&self, start: u64, end: u64, size_max: u64) -> io::Result<Vec<Entry>> {
        let entries =
            blocking::run(|| self.log.read(self.group, start, end, size_max)).map_err(error::to_io)?;
        let entries: Result<Vec<Entry>> = entries.into_iter().map(codec::decode_entry).collect();
        entries.map_err(error::to_io)
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (start, end) = bounds(&range);
        self.read(start, end, u64::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_SIZE_MAX)
    }

    /// Reads as it is consumed: what is to be applied after a restart may be larger than the memory.
    async fn entries_stream<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend {
        let (start, end) = bounds(&range);
        let store = self.clone();
        let parts = stream::try_unfold(start, move |next| {
            let part = store.read(next, end, READ_SIZE_MAX);
            futures::future::ready(part.map(|part| {
                let next = part.last()?.log_id.index() + 1;
                Some((part, next))
            }))
        });
        parts.map_ok(|part| stream::iter(part).map(Ok)).try_flatten()
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        if Mutant::ForgottenVote.is_planted() {
            return Ok(None);
        }
        Ok(self.log.state(self.group).vote.map(|vote| {
            let new = if vote.committed { Vote::new_committed } else { Vote::new };
            new(vote.term, vote.node)
        }))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.log.state(self.group);
        Ok(LogState {
            last_purged_log_id: state.purged.map(LogId::from),
            last_log_id: state.last.map(LogId::from),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        let vote = log::SavedVote {
            term: vote.leader_id.term,
            node: vote.leader_id.voted_for,
            committed: vote.committed,
        };
        self.log.save_vote(self.group, vote, Box::new(move |result| drop(sender.send(result))));
        receiver.await.unwrap_or_else(|_| Err(io::Error::other("the raft log is closed")))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = &committed {
            self.log.save_committed(self.group, committed.into());
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        // A commit may be known before its entries are durable; what a crash took must come from the leader again.
        let state = self.log.state(self.group);
        Ok(state.committed.min(state.last).map(LogId::from))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(|entry| codec::encode_entry(&entry)).collect();
        let done = Box::new(move |result| callback.io_completed(result));
        self.log.append(self.group, entries, done).map_err(error::to_io)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.log.truncate(self.group, last.map_or(0, |last| last.index() + 1));
        Ok(())
    }

    async fn purge(&mut self, id: LogId) -> io::Result<()> {
        self.log.purge(self.group, EntryId::from(&id));
        Ok(())
    }
}
