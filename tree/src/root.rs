//! The root partition: the cluster map, join tokens, the key ring and the secrets that meta nodes hold, both sealed.

mod change;
mod keys;
mod plan;
mod row;

#[cfg(test)]
pub mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kv::Read;
use proto::command::{Bootstrap, ChangeMap, MapChange, MapChanged, RootCommand};
use proto::keys::KeyRing;
use proto::map::{ClusterMap, NodeInfo, Partition, PartitionKind, ROOT};
use proto::slots::SlotMap;
use types::limits::PARTITION_COUNT_MAX;
use types::{ClusterId, Epoch, Error, FeatureLevel, GcEpoch, Millis, NodeId, PartitionId, Result};

use crate::answer;
use crate::draft::Draft;
use crate::failure::{Failure, Halt, refuse};
use crate::replica::Machine;
use crate::row::load;
use change::Registry;
pub use change::check_removal;
pub use keys::{Draw, Secrets, destroy_keys, doomed_keys, found_ring, list_keys, open_ring, rotate_ring};
pub use plan::desired_voters;
use row::SealedSecrets;

/// The state machine of the root partition.
#[derive(Debug, Default)]
pub struct RootMachine;

/// The map, once the cluster is bootstrapped.
pub fn map(state: &dyn Read) -> Result<Option<ClusterMap>> {
    load(state, row::MAP).map_err(Halt::into_error)
}

/// Authority and secret of the cluster, sealed ([`Secrets`]); `Unavailable` before it is bootstrapped.
pub fn secrets(state: &dyn Read) -> Result<Bytes> {
    load(state, row::SECRETS)
        .map_err(Halt::into_error)?
        .map(|SealedSecrets(sealed)| sealed)
        .ok_or_else(not_bootstrapped)
}

/// The keys of the cluster, sealed; `Unavailable` before it is bootstrapped.
pub fn key_ring(state: &dyn Read) -> Result<KeyRing> {
    load(state, row::KEY_RING).map_err(Halt::into_error)?.ok_or_else(not_bootstrapped)
}

/// `Denied` unless the token with this hash is valid at `now`.
pub fn check_token(state: &dyn Read, hash: &[u8; 32], now: Millis) -> Result<()> {
    token_valid(state, hash, now).map_err(Failure::into_error)
}

fn token_valid(state: &dyn Read, hash: &[u8; 32], now: Millis) -> Result<(), Failure> {
    match load::<Millis>(state, &row::token_key(hash))? {
        Some(expires) if now <= expires => Ok(()),
        Some(_) => {
            refuse(Error::denied("the join token has expired: create a new one on a node of the cluster"))
        }
        None => refuse(Error::denied("the join token is not one of this cluster's")),
    }
}

/// `Invalid` when a build that knows feature levels up to `newest` is too old for this cluster. The cluster's level is
/// that of its root partition, which goes first.
pub fn check_build(state: &dyn Read, newest: FeatureLevel) -> Result<()> {
    is_new_enough(newest, crate::level(state)?)
}

fn is_new_enough(newest: FeatureLevel, level: FeatureLevel) -> Result<()> {
    if newest >= level {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the cluster is at feature level {level}, the node's build knows levels up to {newest}: update the node"
    )))
}

/// The command that makes a change of the map, with what follows from it: computed here, by its proposer, from the state
/// that this node has. `Conflict` is its answer when the map has changed meanwhile.
pub fn plan_change(state: &dyn Read, change: MapChange) -> Result<RootCommand> {
    let mut registry = registry(state).map_err(Failure::into_error)?;
    let base = registry.map.epoch;
    // What is refused here may be allowed in a newer state, or refused in the same words.
    let made = registry.change(&change);
    let placed = made.ok().and_then(|_| plan::follow_up(registry.map, &change));
    Ok(RootCommand::ChangeMap(Box::new(ChangeMap { base, change, placed })))
}

fn registry(state: &dyn Read) -> Result<Registry, Failure> {
    let Some(map) = load(state, row::MAP)? else { return refuse(not_bootstrapped()) };
    let count = |key| Ok::<u64, Halt>(load(state, key)?.unwrap_or(0));
    Ok(Registry { map, node_count: count(row::NODE_COUNT)?, disk_count: count(row::DISK_COUNT)? })
}

/// The map of a cluster that consists of its first node.
pub fn bootstrap_map(bootstrap: &Bootstrap) -> ClusterMap {
    let kinds = std::iter::once(PartitionKind::Root)
        .chain((0..bootstrap.tree_partitions).map(|_| PartitionKind::Tree))
        .chain((0..bootstrap.index_partitions).map(|_| PartitionKind::Index));
    let partition = |(kind, id)| Partition { id: PartitionId(id), kind, voters: vec![NodeId(1)] };
    let partitions: Vec<Partition> = kinds.zip(ROOT.0..).map(partition).collect();
    let shared_out = |kind| {
        let of_kind = partitions.iter().filter(|partition| partition.kind == kind);
        SlotMap::shared_out(&of_kind.map(|partition| partition.id).collect::<Vec<_>>())
    };
    ClusterMap {
        cluster: bootstrap.cluster,
        epoch: Epoch(1),
        gc_epoch: GcEpoch(0),
        profile: bootstrap.profile,
        pg_count: bootstrap.pg_count,
        nodes: BTreeMap::from([(
            NodeId(1),
            NodeInfo { up: true, confirmed: true, ..change::node(&bootstrap.node) },
        )]),
        disks: BTreeMap::new(),
        table: None,
        relaxed_count: 0,
        tree: shared_out(PartitionKind::Tree),
        index: shared_out(PartitionKind::Index),
        partitions,
    }
}

impl Machine for RootMachine {
    type Command = RootCommand;

    fn carry_out(&self, draft: &mut Draft<'_>, command: RootCommand) -> Result<Bytes, Halt> {
        match command {
            RootCommand::Bootstrap(bootstrap) => answer::of(apply_bootstrap(draft, &bootstrap)),
            RootCommand::ChangeMap(change) => answer::of(change_map(draft, *change)),
            RootCommand::AddToken { hash, expires } => {
                draft.put(row::token_key(&hash), &expires);
                Ok(answer::encode(&Ok(())))
            }
            RootCommand::ChangeKeys(ring) => answer::of(change_keys(draft, &ring)),
        }
    }

    fn canonical(key: &[u8], value: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt> {
        row::canonical_of(key, value, level)
    }
}

fn apply_bootstrap(draft: &mut Draft<'_>, bootstrap: &Bootstrap) -> Result<ClusterId, Failure> {
    if let Some(map) = load::<ClusterMap>(draft, row::MAP)? {
        return Ok(map.cluster);
    }
    check_partition_counts(bootstrap).map_err(Failure::Refused)?;
    let first = bootstrap_map(bootstrap);
    first.check().map_err(Failure::Refused)?;
    draft.put(row::SECRETS, &SealedSecrets(bootstrap.secrets.clone()));
    draft.put(row::KEY_RING, &bootstrap.keys);
    draft.put(row::NODE_COUNT, &1u64);
    draft.put(row::MAP, &first);
    Ok(bootstrap.cluster)
}

/// Before a list of that length is made.
fn check_partition_counts(bootstrap: &Bootstrap) -> Result<()> {
    for count in [bootstrap.tree_partitions, bootstrap.index_partitions] {
        if !(1..=PARTITION_COUNT_MAX).contains(&count) {
            return Err(Error::invalid(format!(
                "{count} partitions of one kind: 1 to {PARTITION_COUNT_MAX} are possible"
            )));
        }
    }
    Ok(())
}

/// Installs what the proposer has computed, if it was computed from this map. What it did not have to compute is done
/// here again, and the result is looked through before it counts.
fn change_map(draft: &mut Draft<'_>, command: ChangeMap) -> Result<MapChanged, Failure> {
    let ChangeMap { base, change, placed } = command;
    let mut registry = registry(draft)?;
    let epoch = registry.map.epoch;
    if epoch != base {
        return refuse(Error::conflict(format!(
            "the change was computed from the map of epoch {base}, the map is at {epoch}: compute it again"
        )));
    }
    if let MapChange::AddNode { token_hash, level, .. } = &change {
        token_valid(draft, token_hash, draft.at.time)?;
        is_new_enough(*level, draft.at.level).map_err(Failure::Refused)?;
    }
    let before = registry.clone();
    let mut changed = registry.change(&change).map_err(Failure::Refused)?;
    if let Some(placed) = placed {
        registry.map.table = Some(placed.table);
        registry.map.relaxed_count = placed.relaxed_count;
    }
    if registry == before {
        return Ok(changed);
    }
    check_table(&registry.map).map_err(Failure::Refused)?;
    let given = |map: &ClusterMap| (map.cluster, map.profile, map.pg_count);
    assert_eq!(given(&registry.map), given(&before.map), "a cluster is born with these");
    assert_eq!(registry.map.epoch, epoch, "the epoch grows here only, by one (I-PLACE)");
    registry.map.epoch = epoch.next();
    changed.epoch = registry.map.epoch;
    draft.put(row::MAP, &registry.map);
    draft.put(row::NODE_COUNT, &registry.node_count);
    draft.put(row::DISK_COUNT, &registry.disk_count);
    Ok(changed)
}

/// What every reader of the map relies on, and that no group has two slots on one disk (I-PLACE).
fn check_table(map: &ClusterMap) -> Result<()> {
    map.check()?;
    for (pg, slots) in map.table.iter().flat_map(|table| table.pgs.iter().enumerate()) {
        let disks: BTreeSet<_> = slots.iter().map(|slot| slot.disk).collect();
        if disks.len() < slots.len() || disks.iter().any(|disk| !map.disks.contains_key(disk)) {
            return Err(Error::invalid(format!("the slots of group {pg} are not on disks of their own")));
        }
    }
    Ok(())
}

fn change_keys(draft: &mut Draft<'_>, next: &KeyRing) -> Result<(), Failure> {
    let Some(ring) = load::<KeyRing>(draft, row::KEY_RING)? else { return refuse(not_bootstrapped()) };
    keys::check_next(&ring, next).map_err(Failure::Refused)?;
    draft.put(row::KEY_RING, next);
    Ok(())
}

fn not_bootstrapped() -> Error {
    Error::unavailable("the cluster is not initialised yet: its first node is still starting")
}
