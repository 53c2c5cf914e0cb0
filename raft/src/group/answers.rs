//! What a group says to the same group on other nodes.

use bytes::Bytes;
use env::time::now;
use openraft::errors::Fatal;
use openraft::storage::Snapshot;
use types::{Error, Result};

use super::Group;
use crate::engine::TypeConfig;
use crate::log::Headroom;
use crate::message::{Append, Message, Piece, PieceAnswer};
use crate::snapshot::SnapshotData;
use crate::{blocking, codec, error};

impl Group {
    /// Answers a message of the same group on another node.
    pub(crate) async fn handle(&self, message: Message) -> Result<Bytes> {
        if let Some(gap) = self.gap.as_ref().filter(|_| !message.needs_log_only()) {
            return Err(gap.problem());
        }
        match message {
            Message::Append(append) => self.hear(append).await,
            Message::Vote(request) => {
                self.check_votes()?;
                self.answer(self.raft.vote(request).await.map_err(|e| e.unwrap_fatal()))
            }
            Message::PreVote(request) => {
                self.check_votes()?;
                self.answer(self.raft.pre_vote(request).await.map_err(|e| e.unwrap_fatal()))
            }
            Message::TransferLeader(request) => self.answer(self.raft.handle_transfer_leader(request).await),
            Message::HasMember(replica) => Ok(codec::encode(&self.has_member(replica).await?)),
            Message::HasRoom => Ok(codec::encode(&(self.log.headroom() == Headroom::Everything))),
            Message::Receive(snapshot) => {
                self.check_headroom(Headroom::Freeing)?;
                let received = self.receiver.lock().await.begin(&self.store, snapshot);
                Ok(codec::encode(&received))
            }
            Message::Piece(piece) => Ok(codec::encode(&self.take_piece(piece).await?)),
            Message::Fetch(fetch) => Ok(codec::encode(&self.give_piece(&fetch)?)),
        }
    }

    /// Answers a leader that sends entries, or a heartbeat.
    pub(crate) async fn hear(&self, append: Append) -> Result<Bytes> {
        // What is not written must not be acknowledged. A leader that is alive is heard all the same.
        if !append.is_heartbeat() {
            self.check_headroom(Headroom::Freeing)?;
        }
        let answer = self.raft.append_entries(append.into_request()?).await;
        self.answer(answer.map_err(|e| e.unwrap_fatal()))
    }

    fn answer<T: serde::Serialize>(&self, answer: Result<T, Fatal<TypeConfig>>) -> Result<Bytes> {
        answer.map(|answer| codec::encode(&answer)).map_err(|e| error::fatal(self.id, &e))
    }

    /// A vote given now could elect a leader while another still reads under a lease that this node had confirmed
    /// before it was restarted.
    fn check_votes(&self) -> Result<()> {
        if now() >= self.votes_from {
            return Ok(());
        }
        Err(self.unavailable("was just started here and does not vote yet"))
    }

    async fn take_piece(&self, piece: Piece) -> Result<PieceAnswer> {
        let mut receiver = self.receiver.clone().lock_owned().await;
        let position = piece.snapshot;
        let Some((staged, end)) = blocking::run(|| receiver.take(piece))? else {
            return Ok(PieceAnswer::More);
        };
        let data = SnapshotData::Received { staged, commands: end.commands };
        let snapshot = Snapshot { meta: end.meta, snapshot: data };
        let (raft, id) = (self.raft.clone(), self.id);
        // Goes on when the sender gives up; asked again, this node says that it is done.
        let installing = env::task::spawn(async move {
            let installed = raft.install_full_snapshot(end.vote, snapshot).await;
            let vote = installed.map_err(|e| error::fatal(id, &e))?.vote;
            receiver.finish(position, vote);
            Ok(PieceAnswer::Done(vote))
        });
        installing.await.map_err(|e| Error::internal(format!("a snapshot was not installed: {e}")))?
    }
}
