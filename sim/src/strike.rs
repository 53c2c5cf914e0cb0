//! Does to a world what a plan says, and undoes it.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use client::Cluster;
use client::health::leader;
use env::disk::{DiskFault, DiskFaults, FaultRule, When};
use env::time::{self, Duration};
use kv::KvFaults;
use net::testing::{Jitter, LinkFaults};
use types::limits::{SIM_BEHIND, SIM_LATE_BY, SIM_WAKE_TIME};
use types::{NodeId, PartitionId, Result};

use crate::plan::{Fault, Harm, Led};
use crate::world::{World, healthy_links};

/// Where shards are, on every node.
const DISK: &str = "/disk1";
/// Where their bytes are.
const SEGMENTS: &str = "/disk1/seg";

/// Begins a fault, seen by `client`; clients work in the partition `home`. Returns the nodes whose processes it ended.
pub async fn begin(
    world: &mut World,
    fault: &Fault,
    client: &Cluster,
    home: PartitionId,
) -> Result<Vec<NodeId>> {
    let all: Vec<NodeId> = world.ids();
    match fault {
        Fault::Crash(nodes) => return Ok(crash(world, nodes)),
        Fault::CrashAll => return Ok(crash(world, &all)),
        Fault::CrashLeader(led) => return Ok(crash(world, &leader_of(client, *led, home).await)),
        Fault::Pause(node) => world.pause(*node),
        Fault::Suspend(node) => world.suspend(*node),
        Fault::SuspendLeader(led) => {
            let leader = leader_of(client, *led, home).await;
            split(world, &leader);
            leader.iter().for_each(|node| world.suspend(*node));
        }
        Fault::Isolate(node) => world.network.isolate(world.address(*node)),
        Fault::CutOneWay(from, to) => {
            world.network.cut_one_way(world.address(*from), world.address(*to));
        }
        Fault::Split(nodes) => split(world, nodes),
        Fault::SplitLeader(led) => split(world, &leader_of(client, *led, home).await),
        Fault::Loss(chance) => {
            world.network.set_default(LinkFaults { loss_per_million: *chance, ..healthy_links() })
        }
        Fault::Reorder(chance) => world.network.set_default(LinkFaults {
            late_per_million: *chance,
            late_by: SIM_LATE_BY,
            duplicate_per_million: *chance / 4,
            ..healthy_links()
        }),
        Fault::Delay(ms) => world.network.set_default(LinkFaults {
            jitter: Jitter::HeavyTail {
                usual: Duration::from_millis(*ms),
                most: Duration::from_millis(ms * 20),
            },
            bytes_per_second: NonZeroU64::new(4 << 20),
            ..healthy_links()
        }),
        Fault::ClockJump(node, ms) => world.jump_clock(*node, *ms),
        Fault::ReadErrors(node, chance) => {
            rule(world, *node, DiskFault::ReadError, When::PerMillion(*chance));
        }
        Fault::WriteError(node) => rule(world, *node, DiskFault::WriteError, When::Next(1)),
        Fault::ShortWrite(node) => rule(world, *node, DiskFault::ShortWrite, When::Next(1)),
        Fault::BitRot(node, count) => {
            world.disk(*node).rot(SEGMENTS.as_ref(), *count);
        }
        Fault::Misdirect(node, chance) => {
            rule(world, *node, DiskFault::MisdirectedWrite, When::PerMillion(*chance));
        }
        Fault::Full(node) => world.disk(*node).set_capacity(0),
        Fault::Hang(node) => plan(world, *node, |faults| faults.hung = true),
        Fault::Slow(node, ms) => {
            let most = Duration::from_millis(*ms);
            plan(world, *node, |faults| faults.delay = most / 4..most);
        }
        Fault::StoreErrors(node, chance) => {
            let reads = When::PerMillion(*chance);
            world.platform(*node).set_faults(KvFaults { reads, scans: reads, ..KvFaults::default() });
        }
        Fault::LostSegments(node, and_index) => {
            let down = crash(world, &[*node]);
            world.lose_files(*node, SEGMENTS.as_ref());
            if *and_index {
                world.platform(*node).lose(DISK.as_ref());
            }
            return Ok(down);
        }
        Fault::UnreadableStart(node, chance) => {
            world.crash(*node);
            rule(world, *node, DiskFault::ReadError, When::PerMillion(*chance));
            world.start(*node).await?;
        }
        Fault::LostIndex(node) => {
            let down = crash(world, &[*node]);
            world.platform(*node).lose(DISK.as_ref());
            return Ok(down);
        }
        Fault::Metadata(nodes, harm) if harm.is_late() => nodes.iter().for_each(|node| world.copy(*node)),
        Fault::Metadata(nodes, harm) => {
            let down = crash(world, nodes);
            nodes.iter().for_each(|node| world.harm(*node, *harm));
            return Ok(down);
        }
        Fault::MetadataBehind(node, behind, harm) => {
            leave_behind(world, client, *node, *behind, *harm).await?;
        }
        Fault::Gone(nodes) => drop(crash(world, nodes)),
        Fault::GoneBehindSlow(slow, _) => plan(world, *slow, |faults| faults.hung = true),
    }
    Ok(Vec::new())
}

/// Ends a fault. What it damaged stays damaged.
pub async fn end(world: &mut World, fault: &Fault, down: &[NodeId]) -> Result<()> {
    match fault {
        Fault::Pause(node) | Fault::Suspend(node) => world.resume(*node),
        Fault::SuspendLeader(_) => {
            world.ids().into_iter().for_each(|node| world.resume(node));
            time::sleep(SIM_WAKE_TIME).await;
            world.network.heal_all();
        }
        Fault::Isolate(_) | Fault::CutOneWay(..) | Fault::Split(_) | Fault::SplitLeader(_) => {
            world.network.heal_all()
        }
        Fault::MetadataBehind(..) => world.network.heal_all(),
        Fault::Metadata(nodes, harm) if harm.is_late() => {
            for node in nodes {
                world.crash(*node);
                world.harm(*node, *harm);
                world.start(*node).await?;
            }
        }
        Fault::Loss(_) | Fault::Reorder(_) | Fault::Delay(_) => world.network.set_default(healthy_links()),
        Fault::ReadErrors(node, _)
        | Fault::UnreadableStart(node, _)
        | Fault::WriteError(node)
        | Fault::ShortWrite(node)
        | Fault::Misdirect(node, _)
        | Fault::Hang(node)
        | Fault::Slow(node, _) => world.disk(*node).set_faults(DiskFaults::default()),
        Fault::Full(node) => world.disk(*node).set_faults(DiskFaults::default()),
        Fault::StoreErrors(node, _) => world.platform(*node).set_faults(KvFaults::default()),
        Fault::GoneBehindSlow(slow, nodes) => {
            crash(world, nodes);
            world.crash(*slow);
            world.disk(*slow).set_faults(DiskFaults::default());
            world.start(*slow).await?;
        }
        // Whoever is down starts below, or never.
        Fault::Crash(_) | Fault::CrashAll | Fault::CrashLeader(_) | Fault::Gone(_) => {}
        Fault::LostIndex(_) | Fault::LostSegments(..) | Fault::Metadata(..) => {}
        // A clock that was set wrong stays so; nobody takes bits back.
        Fault::ClockJump(..) | Fault::BitRot(..) => {}
    }
    for node in down {
        world.start(*node).await?;
    }
    Ok(())
}

fn crash(world: &mut World, nodes: &[NodeId]) -> Vec<NodeId> {
    nodes.iter().for_each(|node| world.crash(*node));
    nodes.to_vec()
}

/// Cuts `behind` off for a while; then `node` comes to harm, and goes on with `behind` alone.
async fn leave_behind(
    world: &mut World,
    client: &Cluster,
    node: NodeId,
    behind: NodeId,
    harm: Harm,
) -> Result<()> {
    world.copy(node);
    world.network.isolate(world.address(behind));
    time::sleep(SIM_BEHIND).await;
    world.crash(node);
    world.harm(node, harm);
    let map = client.map();
    let voters = BTreeSet::from_iter(map.partitions.iter().flat_map(|partition| partition.voters.clone()));
    let others = voters.into_iter().filter(|voter| ![node, behind].contains(voter));
    others.for_each(|other| world.network.isolate(world.address(other)));
    world.network.rejoin(world.address(behind));
    world.start(node).await
}

/// Who leads a partition; nobody when nobody answers.
async fn leader_of(client: &Cluster, led: Led, home: PartitionId) -> Vec<NodeId> {
    let Ok(status) = client.fetch_status().await else { return Vec::new() };
    let partition = match led {
        Led::Home => home,
        Led::Place(place) => status.map.partitions[place % status.map.partitions.len()].id,
    };
    leader(&status, partition).into_iter().collect()
}

fn split(world: &World, nodes: &[NodeId]) {
    let (few, others): (Vec<NodeId>, Vec<NodeId>) =
        world.ids().into_iter().partition(|id| nodes.contains(id));
    let addresses = |ids: Vec<NodeId>| Vec::from_iter(ids.into_iter().map(|id| world.address(id)));
    world.network.partition(&[&addresses(few), &addresses(others)]);
}

fn rule(world: &World, node: NodeId, fault: DiskFault, when: When) {
    plan(world, node, |faults| faults.rules.push(FaultRule { prefix: DISK.into(), fault, when }));
}

fn plan(world: &World, node: NodeId, change: impl FnOnce(&mut DiskFaults)) {
    let disk = world.disk(node);
    let mut faults = disk.faults();
    change(&mut faults);
    disk.set_faults(faults);
}
