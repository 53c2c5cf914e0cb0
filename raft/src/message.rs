//! What the hosts of a group say to each other. Opaque to whoever carries it.

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use serde::{Deserialize, Serialize};
use types::{NodeId, PartitionId, Result};

use crate::codec;
use crate::engine::{LogId, SnapshotMeta, TypeConfig, Vote};
use crate::log::{self, EntryId};

/// A message with its address.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope {
    pub group: PartitionId,
    pub source: NodeId,
    pub message: Message,
}

/// A request of one node to another. The answer's type depends on the kind and is encoded on its own.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// Entries, or a heartbeat. Answer: `AppendEntriesResponse`.
    Append(Append),
    /// Answer: `VoteResponse`.
    Vote(VoteRequest<TypeConfig>),
    /// Asks whether a vote would be given, without changing anything. Answer: `VoteResponse`.
    PreVote(VoteRequest<TypeConfig>),
    /// Asks the target to take over. Answer: `TransferLeaderResponse`.
    TransferLeader(TransferLeaderRequest<TypeConfig>),
    /// A part of a snapshot. Answer: [`PieceAnswer`].
    Piece(Piece),
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
    /// Chosen at random by the sender for one transfer.
    pub transfer: u64,
    /// Counts the pieces of a transfer from 0.
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

/// Answer to a [`Piece`].
#[derive(Debug, Serialize, Deserialize)]
pub enum PieceAnswer {
    /// Go on.
    More,
    /// The last piece was taken; this is the newest vote of the receiver.
    Done(Vote),
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

    /// For openraft.
    pub fn into_request(self) -> Result<AppendEntriesRequest<TypeConfig>> {
        let decode =
            |(term, index, body)| codec::decode_entry(log::LogEntry { id: EntryId { term, index }, body });
        Ok(AppendEntriesRequest {
            vote: self.vote,
            prev_log_id: self.prev,
            leader_commit: self.committed,
            entries: self.entries.into_iter().map(decode).collect::<Result<_>>()?,
        })
    }
}
