//! The root partition: the cluster map, who gets in, the key ring and the secrets that meta nodes hold, both sealed.

mod certificates;
mod change;
mod golden;
mod keys;
mod plan;
mod row;
mod tokens;

#[cfg(test)]
pub mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kv::Read;
use proto::certificates::{Grant, Issued};
use proto::command::{Bootstrap, ChangeMap, MapChange, MapChanged, NewNode, RootCommand, ToCertify};
use proto::keys::KeyRing;
use proto::map::{ClusterMap, NodeInfo, Partition, PartitionKind, ROOT, Role};
use proto::slots::SlotMap;
use types::limits::PARTITION_COUNT_MAX;
use types::{ClusterId, Epoch, Error, FeatureLevel, GcEpoch, Identity, Millis, NodeId, PartitionId, Result};

use crate::answer;
use crate::draft::Draft;
use crate::failure::{Failure, Halt, refuse};
use crate::replica::Machine;
use crate::row::load;
pub use certificates::{list_certificates, revoked};
use change::Registry;
pub use change::{check_disk_removal, check_removal};
pub use keys::{Draw, Secrets, destroy_keys, doomed_keys, found_ring, list_keys, open_ring, rotate_ring};
pub use plan::desired_voters;
use row::{SealedSecrets, TokenRow};
use tokens::Shown;
pub use tokens::list_tokens;

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

/// `Denied` unless the token with this hash is valid at `now` for who comes with this request. Decided once more when it
/// is used.
pub fn check_token(state: &dyn Read, hash: &[u8; 32], request: &[u8; 32], now: Millis) -> Result<()> {
    tokens::show(state, hash, request, now).map(drop).map_err(Failure::into_error)
}

/// True when there are tokens or certificates to forget.
pub fn has_expired(state: &dyn Read, now: Millis) -> Result<bool> {
    let expired = || Ok(tokens::has_expired(state, now)? || certificates::has_expired(state, now)?);
    expired().map_err(Halt::into_error)
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
            RootCommand::ChangeMap(change) => answer::of(whole(draft, |draft| change_map(draft, *change))),
            RootCommand::AddToken { hash, grant, uses, expires } => {
                let token = TokenRow { grant, uses, expires, used: Vec::new() };
                answer::of(tokens::add(draft, &hash, token))
            }
            RootCommand::ChangeKeys(ring) => answer::of(change_keys(draft, &ring)),
            RootCommand::RevokeToken { id } => answer::of(tokens::revoke(draft, id)),
            RootCommand::IssueCertificate { identity, asked, token_hash } => {
                answer::of(whole(draft, |draft| issue(draft, &identity, &asked, token_hash)))
            }
            RootCommand::RevokeCertificates { which, own, force } => {
                answer::of(registry(draft).and_then(|registry| {
                    let alone = alone(&registry.map);
                    certificates::revoke(draft, &which, &certificates::Care { own, alone, force })
                }))
            }
            RootCommand::ForgetExpired => {
                answer::of(tokens::forget(draft).and_then(|()| certificates::forget(draft)))
            }
        }
    }

    fn canonical(key: &[u8], value: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt> {
        row::canonical_of(key, value, level)
    }
}

/// A rule that changes several rows, and none when it refuses.
fn whole<T>(
    draft: &mut Draft<'_>,
    rule: impl FnOnce(&mut Draft<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut attempt = draft.attempt();
    let done = rule(&mut attempt)?;
    let changes = attempt.into_changes();
    draft.absorb(changes);
    Ok(done)
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
    certificates::found(draft, &bootstrap.certificates);
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
    if let MapChange::AddNode { node, token_hash, asked, level } = &change {
        is_new_enough(*level, draft.at.level).map_err(Failure::Refused)?;
        if let Some(joined) = admit(draft, &registry.map, node, token_hash, asked)? {
            return Ok(joined);
        }
    }
    let before = registry.clone();
    let mut changed = registry.change(&change).map_err(Failure::Refused)?;
    match (&change, changed.node) {
        (MapChange::AddNode { token_hash, asked, .. }, Some(id)) => {
            let issued = certificates::issue(draft, &Identity::Node(id), asked)?;
            tokens::use_up(draft, token_hash, asked.request, id, issued.serial)?;
            changed.certificate = Some(issued);
        }
        (MapChange::RemoveNode { node, .. }, _) => {
            certificates::revoke_all_of(draft, &Identity::Node(*node))?;
        }
        _ => {}
    }
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

/// What a node was told before that has joined with the same request; `None` when it may join now. `Denied` without a
/// token for what it wants to be.
fn admit(
    draft: &Draft<'_>,
    map: &ClusterMap,
    new: &NewNode,
    token_hash: &[u8; 32],
    asked: &ToCertify,
) -> Result<Option<MapChanged>, Failure> {
    let used = match tokens::show(draft, token_hash, &asked.request, draft.at.time)? {
        Shown::Valid(grant) if grant.admits(&new.roles) => return Ok(None),
        Shown::Valid(grant) => {
            return refuse(Error::denied(format!(
                "the token is good for {grant}, not for roles {:?}: create one with `cloudsync admin token create --role meta`",
                new.roles
            )));
        }
        Shown::UsedBySame(used) => used,
    };
    let id = used.node;
    let store = new.store.filter(|_| new.roles.contains(&Role::Meta));
    match map.nodes.get(&id) {
        None => refuse(Error::denied(format!(
            "what joins here has joined before, as node {id}, which was removed or forgotten since: choose an empty \
             directory and another token"
        ))),
        Some(known) if known.roles != new.roles || known.store.map(|store| store.uuid) != store => {
            refuse(Error::conflict(format!(
                "node {id} has joined with this request and other roles: choose an empty directory"
            )))
        }
        Some(_) => {
            let again = certificates::find(draft, &Identity::Node(id), used.certificate)?;
            Ok(Some(MapChanged {
                epoch: map.epoch,
                node: Some(id),
                certificate: Some(again),
                ..MapChanged::default()
            }))
        }
    }
}

/// Counts a certificate for who may have one: a node of the cluster that proves who it is, or shows a token for it; or
/// whoever the proposer has found to be allowed.
fn issue(
    draft: &mut Draft<'_>,
    identity: &Identity,
    asked: &ToCertify,
    token_hash: Option<[u8; 32]>,
) -> Result<Issued, Failure> {
    let map = registry(draft)?.map;
    let node = map.nodes.keys().copied().find(|node| identity.is_of(*node));
    if identity.is_node() && node.is_none() {
        return refuse(Error::denied(format!(
            "{identity} was removed from the cluster: join again with an empty data directory"
        )));
    }
    let Some(hash) = token_hash else {
        if node.is_some() {
            certificates::check_renewal(draft, identity, draft.at.time)?;
        }
        return certificates::issue(draft, identity, asked);
    };
    match tokens::show(draft, &hash, &asked.request, draft.at.time)? {
        Shown::UsedBySame(used) => certificates::find(draft, identity, used.certificate),
        Shown::Valid(Grant::Renew(renewed)) if node == Some(renewed) => {
            let issued = certificates::issue(draft, identity, asked)?;
            tokens::use_up(draft, &hash, asked.request, renewed, issued.serial)?;
            Ok(issued)
        }
        Shown::Valid(grant) => refuse(Error::denied(format!(
            "the token is good for {grant}, not for renewing the certificate of {identity}"
        ))),
    }
}

/// The nodes without which a partition has nobody who votes.
fn alone(map: &ClusterMap) -> Vec<NodeId> {
    let voters = map.partitions.iter().map(|partition| &partition.voters[..]);
    voters.filter_map(|voters| if let [alone] = voters { Some(*alone) } else { None }).collect()
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
