//! Applies commands to a namespace partition.

use bytes::Bytes;
use kv::{Overlay, Read};
use proto::command::{NamespaceCommand, Stamped};
use proto::namespace::{Done, Kind, Mode, WriteNamespace, Written};
use types::limits::{BATCH_OP_COUNT_MAX, IDEMPOTENCY_MS};
use types::{Error, Millis, NamespaceId, PartitionId, RequestId, Result, Seq};

use super::row::{self, InodeRow, NamespaceRow, RequestRow};
use super::tree::{Tree, next_inode};
use crate::{Machine, answer};

/// Answers forgotten per command: more than one, so that the table shrinks after a burst.
const FORGET_COUNT: usize = 4;

/// The state machine of one namespace partition.
#[derive(Debug)]
pub struct NamespaceMachine {
    partition: PartitionId,
}

impl NamespaceMachine {
    /// The machine of `partition`; inode ids carry its number.
    pub fn new(partition: PartitionId) -> Self {
        Self { partition }
    }

    fn create(&self, state: &mut Overlay<'_>, namespace: NamespaceId, owner: String) -> Result<()> {
        let key = row::namespace_key(namespace);
        if state.get(&key)?.is_some() {
            return Ok(());
        }
        let root = next_inode(state, self.partition)?;
        let inode = InodeRow { parent: root, name: String::new(), kind: Kind::Dir };
        state.put(row::inode_key(root), proto::encode(&inode));
        state.put(key, proto::encode(&NamespaceRow { root, owner, seq: Seq(0), digest: 0 }));
        Ok(())
    }

    fn write(
        &self,
        state: &mut Overlay<'_>,
        time: Millis,
        author: &str,
        write: WriteNamespace,
    ) -> Result<Bytes> {
        let key = row::request_key(write.request);
        if let Some(known) = row::load::<RequestRow>(state, &key)? {
            return Ok(known.reply);
        }
        let (request, count) = (write.request, write.ops.len());
        let written = self.write_new(state, time, author, write);
        assert!(
            written.as_ref().map_or(true, |written| written.results.len() == count),
            "a batch has one answer per change"
        );
        let reply = answer::encode(&written);
        remember(state, time, request, key, &reply)?;
        Ok(reply)
    }

    fn write_new(
        &self,
        state: &mut Overlay<'_>,
        time: Millis,
        author: &str,
        write: WriteNamespace,
    ) -> Result<Written> {
        if write.ops.len() > BATCH_OP_COUNT_MAX {
            return Err(Error::invalid(format!(
                "a batch of {} changes is over the limit of {BATCH_OP_COUNT_MAX}: send it in parts",
                write.ops.len()
            )));
        }
        let count = write.ops.len();
        match write.mode {
            Mode::PerItem => {
                let mut tree = Tree::open(state, self.partition, write.namespace, author, time)?;
                let results = write.ops.into_iter().map(|op| tree.apply(op)).collect();
                Ok(Written { seq: tree.close(), results })
            }
            Mode::Atomic => {
                let mut attempt = Overlay::new(&*state);
                let mut tree = Tree::open(&mut attempt, self.partition, write.namespace, author, time)?;
                let done: Result<Vec<Done>, (usize, Error)> = write
                    .ops
                    .into_iter()
                    .enumerate()
                    .map(|(i, op)| tree.apply(op).map_err(|e| (i, e)))
                    .collect();
                match done {
                    Ok(done) => {
                        let seq = tree.close();
                        let changes = attempt.into_changes();
                        state.absorb(changes);
                        Ok(Written { seq, results: done.into_iter().map(Ok).collect() })
                    }
                    Err((failed, error)) => {
                        let seq = Tree::open(state, self.partition, write.namespace, author, time)?.close();
                        Ok(Written { seq, results: refused(count, failed, error) })
                    }
                }
            }
        }
    }
}

impl Machine for NamespaceMachine {
    fn apply(&self, state: &mut Overlay<'_>, _index: u64, command: &[u8]) -> Bytes {
        let stamped: Stamped<NamespaceCommand> = match proto::decode(command) {
            Ok(stamped) => stamped,
            Err(e) => return answer::encode::<()>(&Err(e)),
        };
        match stamped.command {
            NamespaceCommand::Create { namespace, owner } => {
                answer::encode(&self.create(state, namespace, owner))
            }
            NamespaceCommand::Write { author, write } => self
                .write(state, stamped.time, &author, write)
                .unwrap_or_else(|e| answer::encode::<()>(&Err(e))),
        }
    }
}

/// The answers to a batch of which nothing was done because the change at index `failed` was refused.
fn refused(count: usize, failed: usize, error: Error) -> Vec<Result<Done>> {
    assert!(failed < count, "change {failed} of a batch of {count}");
    let other = Error::conflict(format!("not done, because change {} of the batch was refused", failed + 1));
    (0..count).map(|i| Err(if i == failed { error.clone() } else { other.clone() })).collect()
}

/// Keeps an answer, and forgets a few that are too old to be asked for again.
fn remember(
    state: &mut Overlay<'_>,
    time: Millis,
    request: RequestId,
    key: Vec<u8>,
    reply: &Bytes,
) -> Result<()> {
    state.put(key, proto::encode(&RequestRow { reply: reply.clone() }));
    state.put(row::request_time_key(time, request), Bytes::new());
    let (start, end) = row::request_time_range(Millis(time.0.saturating_sub(IDEMPOTENCY_MS)));
    let mut old = Vec::new();
    state.scan(&start, &end, kv::Order::Forward, &mut |key, _| {
        old.push(key.to_vec());
        if old.len() < FORGET_COUNT {
            std::ops::ControlFlow::Continue(())
        } else {
            std::ops::ControlFlow::Break(())
        }
    })?;
    assert!(old.len() <= FORGET_COUNT, "a command forgets a bounded number of answers (I-BOUND)");
    for time_key in old {
        state.delete(row::request_key(row::request_of_time_key(&time_key)?));
        state.delete(time_key);
    }
    Ok(())
}
