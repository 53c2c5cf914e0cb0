//! Closes a copy of a group that this replica is no member of any more, and deletes it.
//!
//! Nothing that this node has of a group says so for certain: who is taken out of a group is sent nothing more. So it
//! asks, and the group's leader answers once it has made sure that it leads. It is asked twice. After the first answer the
//! copy stops; what it acknowledges as a member, it has acknowledged by then, and the second answer says that nobody
//! counts on that any more. If the group takes this replica in again later, it begins with nothing.

use std::collections::BTreeSet;

use kv::{Batch, Durability};
use tokio::sync::oneshot;
use types::limits::MEMBER_ASK_TIMEOUT;
use types::{Error, ErrorKind, PartitionId, ReplicaId, Result};

use crate::blocking;
use crate::message::{Body, Message};
use crate::shared::Shared;
use crate::{skip, state};

/// Closes and deletes it. `Conflict` while this replica is a member, `Unavailable` while none of `voters` can tell.
pub async fn close_group(host: &Shared, id: PartitionId, voters: &BTreeSet<ReplicaId>) -> Result<()> {
    must_be_out(host, id, voters).await?;
    host.close_group(id, must_be_out(host, id, voters), delete(host, id)).await?;
    tracing::info!(partition = %id, "the copy is closed and deleted: this node is no member any more");
    Ok(())
}

/// An error unless the leader says that this replica is no member.
async fn must_be_out(host: &Shared, id: PartitionId, voters: &BTreeSet<ReplicaId>) -> Result<()> {
    let mut error = Error::unavailable("nobody votes in it whom this node could ask");
    for voter in voters.iter().filter(|voter| **voter != host.config.replica) {
        let body = Body::Group(id, Message::HasMember(host.config.replica));
        match host.link.ask(&*host.network, *voter, body, MEMBER_ASK_TIMEOUT).await {
            Ok(false) => return Ok(()),
            Ok(true) => return Err(Error::conflict("this node is a member of it")),
            Err(e) => error = e,
        }
    }
    match error.kind() {
        ErrorKind::Unavailable => Err(error),
        _ => Err(Error::unavailable(format!("its leader was not found: {}", error.message()))),
    }
}

/// The log goes first: a state without a log is one whose log was trimmed, and the other way round it would be lost.
async fn delete(host: &Shared, id: PartitionId) -> Result<()> {
    let (sender, durable) = oneshot::channel();
    host.log.forget(id, Box::new(move |result| drop(sender.send(result))));
    durable.await.map_err(|_| Error::unavailable("the log has ended"))??;
    let mut batch = Batch::new();
    state::forget(&mut batch, id);
    skip::forget(&mut batch, id);
    blocking::run(|| host.kv.write(batch, Durability::Synced))
}
