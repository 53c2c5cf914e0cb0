//! What the hosts of a group say to each other. Opaque to whoever carries it.

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use serde::{Deserialize, Serialize};
use types::{Error, PartitionId, ReplicaId, Result, Stamp};

use crate::codec;
use crate::engine::{LogId, SnapshotMeta, TypeConfig, Vote};
use crate::log::{self, EntryId};

/// A message with its address.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// Who speaks.
    pub source: Stamp,
    /// Who is meant: an address may have changed hands.
    pub target: ReplicaId,
    /// The newest that the sender has heard of the target's node: a store that was set back finds out by it.
    pub known: Option<Stamp>,
    pub body: Body,
}

/// What a message is about.
#[derive(Debug, Serialize, Deserialize)]
pub enum Body {
    /// Something for one group.
    Group(PartitionId, Message),
    /// Heartbeats of several groups. Answer: of each, in their order, an encoded `AppendEntriesResponse`, or `None` when
    /// the group does not take it now.
    Heartbeats(Vec<(PartitionId, Append)>),
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// An answer of the message's kind.
    Given { source: Stamp, body: Bytes },
    /// The sender's store is not the one that is known here.
    Refused(String),
}

/// A request of one replica to another. The answer's type depends on the kind and is encoded on its own.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// Entries. Answer: `AppendEntriesResponse`.
    Append(Append),
    /// Answer: `VoteResponse`.
    Vote(VoteRequest<TypeConfig>),
    /// Asks whether a vote would be given, without changing anything. Answer: `VoteResponse`.
    PreVote(VoteRequest<TypeConfig>),
    /// Asks the target to take over. Answer: `TransferLeaderResponse`.
    TransferLeader(TransferLeaderRequest<TypeConfig>),
    /// Asks whether the disk of the target's log has room for everything. Answer: `bool`.
    HasRoom,
    /// Asks the leader whether a replica is a member. Answer: `bool`.
    HasMember(ReplicaId),
    /// Asks how much the target has of the snapshot at a position, before pieces of it are sent. Answer: [`Received`].
    Receive(LogId),
    /// A part of a snapshot. Answer: [`PieceAnswer`].
    Piece(Piece),
    /// Asks for the next part of the target's own state. Answer: [`Piece`].
    Fetch(Fetch),
}

/// What a replica that has lost its state asks another one for.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fetch {
    /// A state at this position, or any later one.
    pub least: LogId,
    /// What there is already of the state at a position; the answer goes on from there, or begins another one.
    pub begun: Option<Begun>,
}

/// How much there is of a state.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Position of the state.
    pub snapshot: LogId,
    /// All pieces before this one.
    pub count: u64,
    /// Rows in them.
    pub row_count: u64,
    /// Key of the last row.
    pub last: Option<Bytes>,
}

/// Entries with their content as the log keeps it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Append {
    vote: Vote,
    prev: Option<LogId>,
    committed: Option<LogId>,
    /// Term, index, content.
    entries: Vec<(u64, u64, Bytes)>,
}

/// A run of keys and values of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub struct Piece {
    /// Position of the snapshot: states at the same position are equal, and so are their pieces.
    pub snapshot: LogId,
    /// Counts the pieces of a snapshot from 0.
    pub count: u64,
    /// Keys and values, see `snapshot.rs`.
    pub rows: Bytes,
    /// CRC32 of `rows`.
    pub crc: u32,
    /// With the last piece: what the snapshot is.
    pub last: Option<PieceEnd>,
}

/// What ends a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PieceEnd {
    pub vote: Vote,
    pub meta: SnapshotMeta,
    /// Commands that the state has seen.
    pub commands: u64,
    /// Rows in all pieces.
    pub row_count: u64,
}

/// How much a node has of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub enum Received {
    /// All pieces before `count`, which have `row_count` rows, the last one with the key `last`.
    Pieces { count: u64, row_count: u64, last: Option<Bytes> },
    /// All of it, and it is the state of the node. Its newest vote.
    Done(Vote),
}

/// Answer to a [`Piece`].
#[derive(Debug, Serialize, Deserialize)]
pub enum PieceAnswer {
    /// Go on.
    More,
    /// The last piece was taken; this is the newest vote of the receiver.
    Done(Vote),
}

impl Message {
    /// True when a replica can answer that has a log and no state.
    pub fn needs_log_only(&self) -> bool {
        matches!(self, Message::Append(_) | Message::Vote(_) | Message::PreVote(_))
    }
}

impl Envelope {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        codec::encode(self)
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        codec::decode(bytes)
    }
}

impl Answer {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        codec::encode(self)
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        codec::decode(bytes)
    }
}

impl Append {
    /// For the wire.
    pub fn new(request: AppendEntriesRequest<TypeConfig>) -> Self {
        let entries = request.entries.iter().map(codec::encode_entry);
        Self {
            vote: request.vote,
            prev: request.prev_log_id,
            committed: request.leader_commit,
            entries: entries.map(|entry| (entry.id.term, entry.id.index, entry.body)).collect(),
        }
    }

    /// True when it has no entries.
    pub fn is_heartbeat(&self) -> bool {
        self.entries.is_empty()
    }

    /// For openraft. `Invalid` when no leader would say this: openraft takes it for granted that entries follow each
    /// other.
    pub fn into_request(self) -> Result<AppendEntriesRequest<TypeConfig>> {
        self.check()?;
        let decode =
            |(term, index, body)| codec::decode_entry(log::LogEntry { id: EntryId { term, index }, body });
        Ok(AppendEntriesRequest {
            vote: self.vote,
            prev_log_id: self.prev,
            leader_commit: self.committed,
            entries: self.entries.into_iter().map(decode).collect::<Result<_>>()?,
        })
    }

    /// One entry after the other, terms that never fall, and none after the leader's.
    fn check(&self) -> Result<()> {
        let mut last = self.prev.as_ref().map(EntryId::from);
        let ids = self.entries.iter().map(|(term, index, _)| EntryId { term: *term, index: *index });
        for id in ids {
            let next = last.map_or(Some(0), |last| last.index.checked_add(1));
            if next != Some(id.index) || last.is_some_and(|last| last.term > id.term) {
                return Err(Error::invalid(format!("a raft message has entry {id:?} after {last:?}")));
            }
            last = Some(id);
        }
        if last.is_some_and(|last| last.term > self.vote.leader_id.term) {
            return Err(Error::invalid(format!("a raft message has entry {last:?} of a term to come")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use env::Env;
    use kv::{MemKv, Overlay};
    use types::{ErrorKind, NodeId, Start};

    use super::*;
    use crate::{Host, HostConfig, Last, Network, Role, StateMachine};

    const GROUP: PartitionId = PartitionId(1);

    fn replica(node: u64) -> ReplicaId {
        ReplicaId::new(NodeId(node), 1)
    }

    struct Nothing;

    impl StateMachine for Nothing {
        fn apply(&self, _state: &mut Overlay<'_>, _index: u64, _command: &[u8]) -> Result<Bytes> {
            Ok(Bytes::new())
        }
    }

    #[async_trait]
    impl Network for Nothing {
        async fn send(&self, _target: NodeId, _message: Bytes, _timeout: Duration) -> Result<Bytes> {
            Err(Error::unavailable("nobody is there"))
        }
    }

    /// Terms and indexes of the entries that the leader of term 5 sends after an entry of term 3 with index 7, to a node
    /// that has nothing.
    async fn answer(prev: Option<(u64, u64)>, entries: &[(u64, u64)]) -> Result<Bytes> {
        let host = HostConfig::new(replica(1), Start::default(), Last::default(), "/log".into());
        let kv = Arc::new(MemKv::new(1));
        let host = Host::open(Env::simulated(1), host, kv, Arc::new(Nothing)).await.unwrap();
        let group = host.open_group(GROUP, Arc::new(Nothing)).await.unwrap();
        let append = Append {
            vote: Vote::new_committed(5, replica(2).0),
            prev: prev.map(|(term, index)| EntryId { term, index }.into()),
            committed: None,
            entries: entries.iter().map(|(term, index)| (*term, *index, Bytes::from_static(&[0]))).collect(),
        };
        let source = Stamp { replica: replica(2), start: Start::default(), mark: 0 };
        let body = Body::Group(GROUP, Message::Append(append));
        let message = Envelope { source, target: replica(1), known: None, body };
        let answer = host.handle(NodeId(2), message.encode()).await;
        assert_ne!(group.status().role, Role::Stopped, "{entries:?} after {prev:?} ended the group");
        answer
    }

    /// A node's message is input: what no leader says is refused, and the group goes on.
    #[tokio::test(start_paused = true)]
    async fn entries_that_do_not_follow_each_other_are_refused() {
        for (prev, entries) in [(None, &[(5, 0), (5, 1)][..]), (None, &[]), (Some((3, 7)), &[(4, 8), (5, 9)])]
        {
            answer(prev, entries).await.unwrap();
        }
        for (prev, entries) in [
            (None, &[(5, 1)][..]),
            (None, &[(5, 0), (5, 2)]),
            (None, &[(5, 0), (5, 0)]),
            (None, &[(5, 0), (4, 1)]),
            (None, &[(6, 0)]),
            (None, &[(5, u64::MAX), (5, 0)]),
            (Some((3, 7)), &[(3, 7)]),
            (Some((3, 7)), &[(2, 8)]),
            (Some((3, u64::MAX)), &[(3, 8)]),
            (Some((9, 7)), &[]),
        ] {
            let error = answer(prev, entries).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{entries:?} after {prev:?}: {error}");
        }
    }
}
