//! I-DET: voters that have applied the same commands have the same rows, in every partition.

use std::collections::BTreeMap;

use client::Cluster;
use env::time;
use oracle::{Invariant, Verdict};
use proto::cluster::PartitionDigest;
use proto::map::Partition;
use types::limits::{SIM_HEAL_PERIOD, SIM_PARTS_TIMEOUT};
use types::{NodeId, PartitionId};

/// Compares the digests of all voters, until each partition was seen with the same commands applied everywhere or time is
/// up. Who never gets there is for others to judge.
pub async fn judge(harness: &Cluster) -> Verdict {
    let mut verdict = Verdict::new(Invariant::Det, "voters have the same rows in every partition");
    let deadline = time::now() + SIM_PARTS_TIMEOUT;
    harness.refresh_map(harness.map().epoch).await; // Who votes may have changed.
    let map = harness.map();
    for Partition { id, voters, .. } in &map.partitions {
        loop {
            let found = look(harness, voters, *id).await;
            compare(&mut verdict, *id, &found);
            let first = found.first().map(|(_, digest)| digest.applied);
            let is_level = found.iter().all(|(_, digest)| Some(digest.applied) == first);
            if (found.len() == voters.len() && is_level) || time::now() >= deadline {
                break;
            }
            time::sleep(SIM_HEAL_PERIOD).await;
        }
    }
    verdict
}

async fn look(
    harness: &Cluster,
    voters: &[NodeId],
    partition: PartitionId,
) -> Vec<(NodeId, PartitionDigest)> {
    let mut found = Vec::new();
    for node in voters {
        if let Ok(digest) = harness.fetch_digest(*node, partition).await {
            found.push((*node, digest));
        }
    }
    found
}

/// Equal positions, equal digests.
fn compare(verdict: &mut Verdict, partition: PartitionId, found: &[(NodeId, PartitionDigest)]) {
    let mut first: BTreeMap<u64, (NodeId, [u8; 32])> = BTreeMap::new();
    for (node, PartitionDigest { applied, digest }) in found {
        let Some((other, seen)) = first.get(applied) else {
            first.insert(*applied, (*node, *digest));
            continue;
        };
        verdict.judge(match seen == digest {
            true => Ok(()),
            false => Err(format!(
                "partition {partition} after command {applied}: nodes {other} and {node} have different rows"
            )),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Positions and digests of the nodes 1, 2 …; how many comparisons there are, and how many fail.
    #[track_caller]
    fn check(found: &[(u64, u8)], want: (u64, usize)) {
        let digest = |(applied, digest): (u64, u8)| PartitionDigest { applied, digest: [digest; 32] };
        let found: Vec<_> = (1..).map(NodeId).zip(found.iter().copied().map(digest)).collect();
        let mut verdict = Verdict::new(Invariant::Det, "");
        compare(&mut verdict, PartitionId(1), &found);
        assert_eq!((verdict.exercised, verdict.violations.len()), want, "{found:?}");
    }

    #[test]
    fn only_what_has_applied_the_same_must_be_the_same() {
        check(&[], (0, 0));
        check(&[(5, 1)], (0, 0));
        check(&[(5, 1), (5, 1), (5, 1)], (2, 0));
        check(&[(5, 1), (6, 2), (7, 3)], (0, 0));
        check(&[(5, 1), (6, 2), (5, 3)], (1, 1));
        check(&[(5, 1), (5, 2), (5, 1)], (2, 1));
    }
}
