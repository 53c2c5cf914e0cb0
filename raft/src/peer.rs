//! Sends openraft's requests to other nodes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use types::limits::{
    APPEND_TIMEOUT, PEER_BACKOFF_MS, SNAPSHOT_PIECE_TIMEOUT, SNAPSHOT_STREAM_COUNT_MAX, SNAPSHOT_WINDOW,
};
use types::{Error, PartitionId, ReplicaId, Result};

use crate::engine::{TypeConfig, Vote};
use crate::link::Link;
use crate::message::{Append, Body, Message, Piece, PieceAnswer, PieceEnd, Received};
use crate::outgoing::{Outgoing, View};
use crate::snapshot::{Cutter, SnapshotData};
use crate::{Network, blocking};

/// Creates a [`Peer`] for each other node.
pub struct Peers {
    pub network: Arc<dyn Network>,
    pub link: Arc<Link>,
    pub group: PartitionId,
    pub outgoing: Arc<Outgoing>,
    /// Room for snapshots that this node sends at once, over all groups.
    pub streams: Arc<Semaphore>,
}

/// One group's line to the same group on another node.
pub struct Peer {
    network: Arc<dyn Network>,
    link: Arc<Link>,
    target: ReplicaId,
    group: PartitionId,
    outgoing: Arc<Outgoing>,
    streams: Arc<Semaphore>,
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Peer {
        Peer {
            network: self.network.clone(),
            link: self.link.clone(),
            target: ReplicaId(target),
            group: self.group,
            outgoing: self.outgoing.clone(),
            streams: self.streams.clone(),
        }
    }
}

impl Peer {
    async fn call<T: DeserializeOwned>(&self, message: Message, timeout: Duration) -> Result<T> {
        self.link.ask(&*self.network, self.target, Body::Group(self.group, message), timeout).await
    }

    /// Sends what the target lacks of a view, a few pieces at once.
    async fn send_state(&self, vote: Vote, view: View) -> Result<Vote> {
        let _room = self.streams.try_acquire().map_err(|_| {
            Error::busy(format!("this node sends {SNAPSHOT_STREAM_COUNT_MAX} snapshots already"), 400)
        })?;
        let View { state, meta, commands } = view.clone();
        let Some(snapshot) = meta.last_log_id else {
            return Err(Error::internal("a state that has seen no entry is not sent"));
        };
        self.outgoing.keep(&view)?;
        let (mut cutter, mut count) =
            match self.call(Message::Receive(snapshot), SNAPSHOT_PIECE_TIMEOUT).await? {
                Received::Done(vote) => return Ok(vote),
                Received::Pieces { count, row_count, last } => {
                    (Cutter::new(state, row_count, last.as_deref()), count)
                }
            };
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < SNAPSHOT_WINDOW && !cutter.is_done() {
                self.outgoing.go_on(&snapshot)?;
                let rows = blocking::run(|| cutter.rows())?;
                let crc = crc32fast::hash(&rows);
                let row_count = cutter.row_count;
                let end = || PieceEnd { vote, meta: view.meta.clone(), commands, row_count };
                let last = cutter.is_done().then(end);
                let piece = Piece { snapshot, count, rows, crc, last };
                under_way.push(self.call(Message::Piece(piece), SNAPSHOT_PIECE_TIMEOUT));
                count += 1;
            }
            match under_way.next().await {
                Some(Ok(PieceAnswer::More)) => {}
                Some(Ok(PieceAnswer::Done(vote))) => return Ok(vote),
                Some(Err(e)) => return Err(e),
                None => return Err(Error::internal("a whole snapshot was sent but not taken")),
            }
        }
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
        if request.entries.is_empty() {
            let append = Append::new(request);
            let sent = self.link.beat(&*self.network, self.group, self.target, append);
            return sent.await.map_err(unreachable);
        }
        self.outgoing.check(request.prev_log_id.as_ref()).map_err(unreachable)?;
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
        let SnapshotData::Built(view) = snapshot.snapshot else {
            let e = Error::internal("a received snapshot is installed, not sent");
            return Err(StreamingError::Network(NetworkError::new(&e)));
        };
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_state(vote, view) => match sent {
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
