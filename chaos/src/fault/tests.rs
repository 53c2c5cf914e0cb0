//! Goal: a seed repeats its schedule, and no fault takes more than may be lost. Method: statuses by hand.

use std::collections::BTreeSet;

use client::testing::report;
use proto::cluster::PartitionReport;

use super::*;

/// Eight nodes with a disk each, three of them voters, all healthy; every partition has a leader.
fn status() -> ClusterStatus {
    let mut status = client::testing::status(8);
    let voters = || vec![NodeId(1), NodeId(2), NodeId(3)];
    status.map.partitions.iter_mut().for_each(|partition| partition.voters = voters());
    for (partition, node) in status.map.partitions.clone().iter().zip([1, 2, 2]) {
        let last = status.nodes.get_mut(&NodeId(node)).unwrap().last.as_mut().unwrap();
        last.partitions.push(PartitionReport { term: 5, ..report(partition.id, true) });
    }
    status
}

#[test]
fn never_two_voters_and_never_more_than_two_nodes() {
    let (status, random) = (status(), Random::seeded(1));
    for _ in 0..500 {
        for (fault, count) in
            [(Fault::KillOne, 1), (Fault::KillTwo, 2), (Fault::Pause, 1), (Fault::KillLeader, 1)]
        {
            let victims = victims(fault, &status, &random);
            let different: BTreeSet<_> = victims.iter().collect();
            assert_eq!((victims.len(), different.len()), (count, count), "{fault}");
            assert!(
                victims.iter().filter(|node| status.map.voters(proto::map::ROOT).contains(node)).count() <= 1
            );
        }
    }
    assert_eq!(victims(Fault::KillAll, &status, &random).len(), 8);
}

#[test]
fn a_seed_gives_the_same_schedule_with_every_fault_in_it() {
    let schedule = |seed| {
        let random = Random::seeded(seed);
        (0..200).map(|_| draw(&random)).collect::<Vec<_>>()
    };
    assert_eq!(schedule(1), schedule(1));
    assert_ne!(schedule(1), schedule(2));
    let faults: BTreeSet<Fault> = schedule(1).iter().map(|planned| planned.fault).collect();
    assert_eq!(faults.into_iter().collect::<Vec<_>>(), Fault::ALL);
}
