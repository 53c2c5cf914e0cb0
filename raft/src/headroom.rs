//! Looks how full the disk of the log is, and hands over what this node leads when another voter has more room.

use types::limits::HAS_ROOM_TIMEOUT;
use types::{ReplicaId, Result};

use crate::blocking;
use crate::group::Group;
use crate::log::Headroom;
use crate::message::{Body, Message};
use crate::shared::Shared;

/// Looks once.
pub async fn look(host: &Shared) {
    blocking::run(|| host.log.look_at_headroom());
    if host.log.headroom() == Headroom::Everything {
        return;
    }
    for group in host.groups().into_iter().filter(|group| group.is_leader()) {
        hand_over(host, &group).await;
    }
}

/// Asks the first voter that has room to lead.
async fn hand_over(host: &Shared, group: &Group) {
    for voter in group.voters().into_iter().filter(|voter| *voter != group.replica) {
        if !has_room(host, group, voter).await.unwrap_or(false) {
            continue;
        }
        tracing::info!(partition = %group.id, %voter, "hands over the lead: the metadata disk of this node is full");
        if let Err(e) = group.transfer_leader(voter).await {
            tracing::warn!(partition = %group.id, error = %e, "the lead was not handed over; will try again");
        }
        return;
    }
}

async fn has_room(host: &Shared, group: &Group, voter: ReplicaId) -> Result<bool> {
    let body = Body::Group(group.id, Message::HasRoom);
    host.link.ask(&*host.network, voter, body, HAS_ROOM_TIMEOUT).await
}
