//! Sends openraft's requests to other nodes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use env::Random;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use serde::de::DeserializeOwned;
use types::limits::{APPEND_TIMEOUT, PEER_BACKOFF_MS, SNAPSHOT_PIECE_TIMEOUT};
use types::{Error, PartitionId, ReplicaId, Result, Stamp};

use crate::engine::{TypeConfig, Vote};
use crate::link::Link;
use crate::message::{Answer, Append, Envelope, Message, Piece, PieceAnswer, PieceEnd};
use crate::snapshot::{Cutter, SnapshotData};
use crate::{Network, blocking, codec};

/// Creates a [`Peer`] for each other node.
pub struct Peers {
    pub network: Arc<dyn Network>,
    pub random: Random,
    pub link: Arc<Link>,
    pub group: PartitionId,
}

/// One group's line to the same group on another node.
pub struct Peer {
    network: Arc<dyn Network>,
    random: Random,
    link: Arc<Link>,
    target: ReplicaId,
    group: PartitionId,
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Peer {
        Peer {
            network: self.network.clone(),
            random: self.random.clone(),
            link: self.link.clone(),
            target: ReplicaId(target),
            group: self.group,
        }
    }
}

impl Peer {
    async fn call<T: DeserializeOwned>(&self, message: Message, timeout: Duration) -> Result<T> {
        self.link.check()?;
        let (source, known) = (self.link.stamp(), self.link.roster.newest(self.target.node()));
        let envelope = Envelope { group: self.group, source, target: self.target, known, message };
        let answer = self.network.send(self.target.node(), envelope.encode(), timeout).await?;
        match Answer::decode(&answer)? {
            Answer::Given { source, body } => {
                self.check_source(&source)?;
                codec::decode(&body)
            }
            Answer::Refused(why) => {
                self.link.refuse(why.clone());
                Err(Error::denied(why))
            }
        }
    }

    /// An answer counts only when it comes from the store that was asked.
    fn check_source(&self, source: &Stamp) -> Result<()> {
        let refused = match source.replica == self.target {
            true => blocking::run(|| self.link.roster.meet(source))?,
            false => {
                Some(format!("replica {} was asked, replica {} has answered", self.target, source.replica))
            }
        };
        refused.map_or(Ok(()), |why| Err(Error::denied(why)))
    }

    async fn send_state(&self, mut cutter: Cutter, mut end: PieceEnd) -> Result<Vote> {
        let transfer = self.random.u64();
        for count in 0.. {
            let rows = blocking::run(|| cutter.rows())?;
            end.row_count = cutter.row_count;
            let crc = crc32fast::hash(&rows);
            let last = if cutter.is_done() { Some(end.clone()) } else { None };
            let piece = Piece { transfer, count, rows, crc, last };
            match self.call(Message::Piece(piece), SNAPSHOT_PIECE_TIMEOUT).await? {
                PieceAnswer::More => {}
                PieceAnswer::Done(vote) => return Ok(vote),
            }
            if cutter.is_done() {
                break;
            }
        }
        Err(Error::internal("a whole snapshot was sent but not taken"))
    }
}

fn unreachable(e: Error) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(&e))
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Message::Append(Append::new(request)), APPEND_TIMEOUT).await.map_err(unreachable)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Message::Vote(request), option.soft_ttl()).await.map_err(unreachable)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Message::PreVote(request), option.soft_ttl()).await.map_err(unreachable)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let SnapshotData::Built { state, commands } = snapshot.snapshot else {
            let e = Error::internal("a received snapshot is installed, not sent");
            return Err(StreamingError::Network(NetworkError::new(&e)));
        };
        let end = PieceEnd { vote, meta: snapshot.meta, commands, row_count: 0 };
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_state(Cutter::new(state), end) => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(e) => Err(StreamingError::Unreachable(Unreachable::new(&e))),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Message::TransferLeader(request), option.soft_ttl()).await.map_err(unreachable)
    }

    fn backoff(&self) -> Option<Backoff> {
        let last = PEER_BACKOFF_MS[PEER_BACKOFF_MS.len() - 1];
        Some(Backoff::new(
            PEER_BACKOFF_MS.into_iter().chain(std::iter::repeat(last)).map(Duration::from_millis),
        ))
    }
}
