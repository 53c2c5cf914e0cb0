//! Packs commands that arrive at about the same time into one entry.
//!
//! While entries are under way, new commands queue; when one comes back, everything that has queued becomes the next.
//! So a lone command waits for nobody, and under load entries grow on their own.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use types::limits::{
    BATCH_OP_COUNT_MAX, COMMAND_SIZE_MAX, ENTRY_SIZE_TARGET, PROPOSER_QUEUE_COUNT_MAX,
    PROPOSER_QUEUE_SIZE_MAX,
};
use types::{Error, PartitionId, Result};

use crate::engine::Commands;
use crate::machine::Raft;
use crate::{Applied, error};

/// Entries under way at once. Two keep the disk and the network busy while the next one fills; with more, entries
/// become small and each costs its own overhead.
const WINDOW: usize = 2;

/// A command on its way.
#[derive(Debug)]
struct Proposal {
    command: Bytes,
    answer: oneshot::Sender<Result<Applied>>,
    /// Counts the command's bytes as queued until it is dropped.
    _room: Reserved,
}

#[derive(Debug)]
struct Reserved {
    queued: Arc<AtomicUsize>,
    size: usize,
}

/// Where commands enter.
#[derive(Debug)]
pub struct Proposer {
    group: PartitionId,
    queue: mpsc::Sender<Proposal>,
    queued: Arc<AtomicUsize>,
}

impl Proposer {
    /// A queue, and the task that empties it.
    pub fn new(group: PartitionId, raft: Raft) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, commands) = mpsc::channel(PROPOSER_QUEUE_COUNT_MAX);
        (Self { group, queue, queued: Arc::default() }, run(group, raft, commands))
    }

    /// Queues a command; the answer comes when it was applied, or will not be. `Invalid` when it is too large, `Busy`
    /// when the queue is full.
    pub fn propose(&self, command: Bytes) -> Result<oneshot::Receiver<Result<Applied>>> {
        let size = command.len();
        if size > COMMAND_SIZE_MAX {
            return Err(Error::invalid(format!(
                "a command of {size} bytes is over the limit of {COMMAND_SIZE_MAX}"
            )));
        }
        let busy = || Error::busy(format!("partition {} has too many commands waiting", self.group), 20);
        let room = Reserved { queued: self.queued.clone(), size };
        if self.queued.fetch_add(size, Ordering::Relaxed) > PROPOSER_QUEUE_SIZE_MAX {
            return Err(busy());
        }
        let (answer, receiver) = oneshot::channel();
        match self.queue.try_send(Proposal { command, answer, _room: room }) {
            Ok(()) => Ok(receiver),
            Err(mpsc::error::TrySendError::Full(_)) => Err(busy()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Error::unavailable(format!(
                "partition {} does not run on this node any more",
                self.group
            ))),
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let queued = self.queued.fetch_sub(self.size, Ordering::Relaxed);
        assert!(queued >= self.size, "what leaves the queue was counted when it came");
    }
}

async fn run(group: PartitionId, raft: Raft, mut queue: mpsc::Receiver<Proposal>) {
    let mut under_way = FuturesUnordered::new();
    let mut held = None;
    loop {
        tokio::select! {
            biased;
            Some(()) = under_way.next() => {}
            first = take(&mut held, &mut queue), if under_way.len() < WINDOW => {
                let Some(first) = first else { break };
                let proposals = gather(first, &mut held, &mut queue);
                under_way.push(write(group, raft.clone(), proposals));
            }
        }
    }
    under_way.collect::<()>().await;
}

async fn take(held: &mut Option<Proposal>, queue: &mut mpsc::Receiver<Proposal>) -> Option<Proposal> {
    match held.take() {
        Some(proposal) => Some(proposal),
        None => queue.recv().await,
    }
}

/// Everything that waits, up to the limits of an entry; what does not fit any more is `held`.
fn gather(
    first: Proposal,
    held: &mut Option<Proposal>,
    queue: &mut mpsc::Receiver<Proposal>,
) -> Vec<Proposal> {
    assert!(held.is_none(), "what did not fit goes first into the next entry: commands stay in order");
    let mut size = first.command.len();
    let mut proposals = vec![first];
    while proposals.len() < BATCH_OP_COUNT_MAX {
        let Ok(next) = queue.try_recv() else { break };
        size += next.command.len();
        if size > ENTRY_SIZE_TARGET {
            *held = Some(next);
            break;
        }
        proposals.push(next);
    }
    assert!(
        size <= ENTRY_SIZE_TARGET || held.is_some() || proposals.len() == 1,
        "entries have a size (I-BOUND)"
    );
    // Nobody waits for these any more, and nobody was told that they were done.
    proposals.retain(|proposal| !proposal.answer.is_closed());
    proposals
}

async fn write(group: PartitionId, raft: Raft, proposals: Vec<Proposal>) {
    if proposals.is_empty() {
        return;
    }
    let commands = proposals.iter().map(|proposal| proposal.command.clone()).collect();
    // An answer that nobody takes any more is dropped: its caller has given up.
    match raft.client_write(Commands(commands)).await {
        Ok(written) => {
            let replies = written.data;
            assert_eq!(
                replies.replies.len(),
                proposals.len(),
                "every command of an entry is answered (I-LIN)"
            );
            for ((proposal, reply), index) in proposals.into_iter().zip(replies.replies).zip(replies.first..)
            {
                drop(proposal.answer.send(Ok(Applied { index, reply })));
            }
        }
        Err(e) => {
            let e = error::write(group, e);
            proposals.into_iter().for_each(|proposal| drop(proposal.answer.send(Err(e.clone()))));
        }
    }
}
