//! Does to a world what a plan says, and undoes it.

use std::num::NonZeroU64;

use client::Cluster;
use client::health::leader;
use env::disk::{DiskFault, FaultRule, When};
use env::time::Duration;
use net::testing::{Jitter, LinkFaults};
use types::{NodeId, Result};

use crate::plan::Fault;
use crate::world::World;

/// Where shards are, on every node.
const DISK: &str = "/disk1";
/// No link is faster: one way between two machines of a data centre.
const LINK_DELAY: Duration = Duration::from_millis(1);

/// The links of a healthy world.
pub fn healthy_links() -> LinkFaults {
    LinkFaults { delay: LINK_DELAY, jitter: Jitter::Uniform(LINK_DELAY), ..LinkFaults::default() }
}

/// Begins a fault. Returns the nodes whose processes it ended.
pub async fn begin(world: &mut World, fault: &Fault, client: &Cluster) -> Vec<NodeId> {
    let all: Vec<NodeId> = world.ids();
    match fault {
        Fault::Crash(nodes) => return crash(world, nodes),
        Fault::CrashAll => return crash(world, &all),
        Fault::CrashLeader(place) => {
            let victim = client.fetch_status().await.ok().and_then(|status| {
                let partition = status.map.partitions[place % status.map.partitions.len()].id;
                leader(&status, partition)
            });
            return crash(world, &victim.into_iter().collect::<Vec<_>>());
        }
        Fault::Pause(node) => world.pause(*node),
        Fault::Isolate(node) => world.addresses(*node).into_iter().for_each(|a| world.network.isolate(a)),
        Fault::CutOneWay(from, to) => {
            let (from, to) = (world.addresses(*from), world.addresses(*to));
            to.iter().for_each(|to| world.network.cut_one_way(from[0], *to));
        }
        Fault::Split(nodes) => {
            let (few, others): (Vec<NodeId>, Vec<NodeId>) = all.iter().partition(|id| nodes.contains(id));
            let few: Vec<_> = few.into_iter().flat_map(|id| world.addresses(id)).collect();
            let others: Vec<_> = others.into_iter().flat_map(|id| world.addresses(id)).collect();
            world.network.partition(&[&few, &others]);
        }
        Fault::Loss(chance) => {
            world.network.set_default(LinkFaults { loss_per_million: *chance, ..healthy_links() })
        }
        Fault::Reorder(chance) => world.network.set_default(LinkFaults {
            late_per_million: *chance,
            late_by: Duration::from_millis(80),
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
            let segments = format!("{DISK}/segments");
            world.disk(*node).rot(segments.as_ref(), *count);
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
        Fault::StoreErrors(node, chance) => world.fail_stores(*node, *chance),
        Fault::LostIndex(node) => {
            let down = crash(world, &[*node]);
            world.lose_index(*node);
            return down;
        }
    }
    Vec::new()
}

/// Ends a fault. What it damaged stays damaged.
pub async fn end(world: &mut World, fault: &Fault, down: &[NodeId]) -> Result<()> {
    match fault {
        Fault::Pause(node) => world.resume(*node),
        Fault::Isolate(_) | Fault::CutOneWay(..) | Fault::Split(_) => world.network.heal_all(),
        Fault::Loss(_) | Fault::Reorder(_) | Fault::Delay(_) => world.network.set_default(healthy_links()),
        Fault::ReadErrors(node, _)
        | Fault::WriteError(node)
        | Fault::ShortWrite(node)
        | Fault::Misdirect(node, _)
        | Fault::Full(node)
        | Fault::Hang(node)
        | Fault::Slow(node, _) => world.disk(*node).set_faults(Default::default()),
        Fault::StoreErrors(node, _) => world.fail_stores(*node, 0),
        _ => {}
    }
    world.start_all(down).await
}

fn crash(world: &mut World, nodes: &[NodeId]) -> Vec<NodeId> {
    nodes.iter().for_each(|node| world.crash(*node));
    nodes.to_vec()
}

fn rule(world: &World, node: NodeId, fault: DiskFault, when: When) {
    plan(world, node, |faults| faults.rules.push(FaultRule { prefix: DISK.into(), fault, when }));
}

fn plan(world: &World, node: NodeId, change: impl FnOnce(&mut env::disk::DiskFaults)) {
    let disk = world.disk(node);
    let mut faults = disk.faults();
    change(&mut faults);
    disk.set_faults(faults);
}
