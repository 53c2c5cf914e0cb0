//! Who leads: a node that is about to stop hands over what it leads, so that nobody has to miss it first, and one that leads
//! what the map would have another lead hands that over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use env::time::Instant;
use futures::future::join_all;
use proto::map::ClusterMap;
use raft::Group;
use tracing::{info, warn};
use types::limits::{HAND_OVER_LOOK_COUNT, HAND_OVER_LOOK_PERIOD, HAND_OVER_TIMEOUT};
use types::{NodeId, PartitionId};

use super::Metaserver;
use super::groups::replicas_of;

impl Metaserver {
    /// Hands over what this node leads and another should lead, if that one is there and has what is needed. `since` has
    /// when this node began to lead each group, or last tried to hand it over.
    pub(super) async fn prefer_leaders(
        &self,
        map: &ClusterMap,
        groups: &[Arc<Group>],
        since: &mut BTreeMap<PartitionId, Instant>,
    ) {
        since.retain(|id, _| groups.iter().any(|group| group.id() == *id && group.is_leader()));
        for group in groups.iter().filter(|group| group.is_leader()) {
            let since = since.entry(group.id()).or_insert_with(env::time::now);
            let Some(preferred) = map.voters(group.id()).first().filter(|id| **id != self.node) else {
                continue;
            };
            let replica = map.replica(*preferred).filter(|_| map.nodes[preferred].up);
            // Changes of the voters come first.
            let is_settled = group.voters() == replicas_of(map, group.id());
            let Some(replica) = replica.filter(|replica| is_settled && group.is_caught_up(*replica)) else {
                continue;
            };
            if since.elapsed() < self.leader_stay {
                continue;
            }
            *since = env::time::now();
            match group.transfer_leader(replica).await {
                Ok(()) => {
                    info!(partition = %group.id(), node = %preferred, "the lead goes to who should have it")
                }
                Err(e) => warn!(partition = %group.id(), "the lead is not handed over: {e}"),
            }
        }
    }

    /// Has another voter lead every partition that this node leads. Gives up after `HAND_OVER_TIMEOUT`: the others then
    /// elect one when they miss it.
    pub async fn hand_over(&self) {
        let down: BTreeSet<NodeId> = {
            let map = self.map.borrow();
            map.nodes.iter().filter(|(_, node)| !node.up).map(|(id, _)| *id).collect()
        };
        let groups = self.host.groups();
        let led: Vec<_> = groups.iter().filter(|group| group.is_leader()).collect();
        let count = led.len();
        let handed = join_all(led.into_iter().map(|group| hand_over(group, self.node, &down)));
        match env::time::timeout(HAND_OVER_TIMEOUT, handed).await {
            Ok(_) => {
                let kept = groups.iter().filter(|group| group.is_leader()).count();
                info!(
                    led = count,
                    kept, "the lead of partitions is handed over, where another voter takes it"
                );
            }
            Err(_) => warn!("the lead of some partitions could not be handed over in time"),
        }
    }
}

/// Asks one voter after the other until this node does not lead any more. Who has not all of the log yet ignores it, and
/// has it a moment later, because nothing is added meanwhile.
async fn hand_over(group: &Group, node: NodeId, down: &BTreeSet<NodeId>) {
    let others: Vec<_> = group.voters().into_iter().filter(|voter| voter.node() != node).collect();
    let (up, silent): (Vec<_>, Vec<_>) = others.into_iter().partition(|voter| !down.contains(&voter.node()));
    let candidates = if up.is_empty() { silent } else { up };
    for candidate in candidates.iter().cycle() {
        if let Err(e) = group.transfer_leader(*candidate).await {
            warn!(partition = %group.id(), "the lead is not handed over: {e}");
            return;
        }
        for _ in 0..HAND_OVER_LOOK_COUNT {
            env::time::sleep(HAND_OVER_LOOK_PERIOD).await;
            if !group.is_leader() {
                return;
            }
        }
    }
}
