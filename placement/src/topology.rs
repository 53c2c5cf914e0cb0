//! The disks as the solver wants them: dense indexes, the limits they allow, and how many slots each should hold.

use std::collections::BTreeMap;

use types::{DiskId, Profile};

use crate::Candidate;

/// Index of a disk in [`Topology::disks`].
pub(crate) type CandidateIndex = usize;

/// Slots of one group that may share a node or a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) node: usize,
    pub(crate) zone: usize,
}

#[derive(Debug)]
pub(crate) struct Topology<'a> {
    pub(crate) profile: Profile,
    /// By id.
    pub(crate) disks: Vec<&'a Candidate>,
    pub(crate) node_of: Vec<usize>,
    pub(crate) zone_of: Vec<usize>,
    /// What the disks that may be given slots now allow for every group.
    pub(crate) limits: Limits,
    index: BTreeMap<DiskId, CandidateIndex>,
}

impl<'a> Topology<'a> {
    pub(crate) fn new(profile: Profile, disks: &'a [Candidate]) -> Self {
        assert!(profile.k > 0 && profile.m > 0, "profile {profile}: reading a map refuses such a one");
        let disks: BTreeMap<DiskId, &Candidate> = disks.iter().map(|disk| (disk.id, disk)).collect();
        let disks: Vec<&Candidate> = disks.into_values().collect();
        // A node that claims two zones counts as two nodes.
        let node_of = number(disks.iter().map(|disk| (&disk.zone, disk.node)));
        let zone_of = number(disks.iter().map(|disk| &disk.zone));
        let index = disks.iter().enumerate().map(|(index, disk)| (disk.id, index)).collect();
        let limits = Limits { node: profile.n(), zone: profile.n() };
        let mut map = Self { profile, disks, node_of, zone_of, limits, index };
        map.limits = map.tightest_limits();
        map
    }

    pub(crate) fn index(&self, disk: DiskId) -> Option<CandidateIndex> {
        self.index.get(&disk).copied()
    }

    /// May be given slots now.
    pub(crate) fn is_live(&self, index: CandidateIndex) -> bool {
        self.disks[index].usable && !self.disks[index].down
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = CandidateIndex> + '_ {
        (0..self.disks.len()).filter(|&index| self.is_live(index))
    }

    /// The promise: one slot a node, `m` a zone. With a single zone there is nothing to spread over.
    pub(crate) fn promised_limits(&self) -> Limits {
        let first = self.disks.iter().find(|disk| disk.usable).map(|disk| &disk.zone);
        let one_zone = self.disks.iter().filter(|disk| disk.usable).all(|disk| Some(&disk.zone) == first);
        Limits { node: 1, zone: if one_zone { self.profile.n() } else { self.profile.m.into() } }
    }

    /// The tightest limits every group can keep: zones give way before nodes.
    fn tightest_limits(&self) -> Limits {
        let n = self.profile.n();
        let zone_min = usize::from(self.profile.m).min(n);
        let all = (1..=n).flat_map(|node| (zone_min..=n).map(move |zone| Limits { node, zone }));
        let domains = self.domains();
        all.into_iter()
            .find(|&limits| domains.iter().map(|nodes| zone_room(nodes, limits)).sum::<usize>() >= n)
            .unwrap_or(Limits { node: n, zone: n })
    }

    /// Live disks by zone and node.
    fn domains(&self) -> Vec<Vec<Vec<CandidateIndex>>> {
        let mut zones: BTreeMap<usize, BTreeMap<usize, Vec<CandidateIndex>>> = BTreeMap::new();
        for index in self.live() {
            zones.entry(self.zone_of[index]).or_default().entry(self.node_of[index]).or_default().push(index);
        }
        zones.into_values().map(|nodes| nodes.into_values().collect()).collect()
    }

    /// Live disks so that those of one node, and those of one zone, are neighbours.
    pub(crate) fn live_by_domain(&self) -> Vec<CandidateIndex> {
        self.domains().into_iter().flatten().flatten().collect()
    }

    /// How many slots each disk should hold, by weight within what the limits allow. Where rounding leaves a choice, a
    /// disk that holds more now keeps it: nothing moves for a rounding error.
    pub(crate) fn targets(&self, pg_count: usize, held: &[usize]) -> Vec<usize> {
        let zones = self.domains();
        let claim = |disks: &[CandidateIndex], cap: usize| Claim {
            weight: disks.iter().map(|&d| u128::from(self.disks[d].weight.max(1))).sum(),
            cap: cap * pg_count,
            held: disks.iter().map(|&d| held[d]).sum(),
        };
        let mut targets = vec![0; self.disks.len()];
        let claims: Vec<Claim> =
            zones.iter().map(|nodes| claim(&nodes.concat(), zone_room(nodes, self.limits))).collect();
        for (nodes, share) in zones.iter().zip(share_out(self.profile.n() * pg_count, &claims)) {
            let claims: Vec<Claim> =
                nodes.iter().map(|disks| claim(disks, disks.len().min(self.limits.node))).collect();
            for (disks, share_of_node) in nodes.iter().zip(share_out(share, &claims)) {
                let claims: Vec<Claim> = disks.iter().map(|&disk| claim(&[disk], 1)).collect();
                for (&disk, share_of_disk) in disks.iter().zip(share_out(share_of_node, &claims)) {
                    targets[disk] = share_of_disk;
                }
            }
        }
        targets
    }
}

/// Slots of one group that a zone can take.
fn zone_room(nodes: &[Vec<CandidateIndex>], limits: Limits) -> usize {
    nodes.iter().map(|disks| disks.len().min(limits.node)).sum::<usize>().min(limits.zone)
}

/// Numbers distinct keys in their order.
fn number<K: Ord>(keys: impl Iterator<Item = K> + Clone) -> Vec<usize> {
    let mut numbers: BTreeMap<K, usize> = keys.clone().map(|key| (key, 0)).collect();
    numbers.values_mut().enumerate().for_each(|(number, value)| *value = number);
    keys.map(|key| numbers[&key]).collect()
}

struct Claim {
    weight: u128,
    cap: usize,
    held: usize,
}

/// Shares `total` by weight; nobody gets more than its cap, and what that leaves goes to the others.
fn share_out(total: usize, claims: &[Claim]) -> Vec<usize> {
    let mut shares = vec![0; claims.len()];
    let mut rest = total as u128;
    let mut open: Vec<usize> = (0..claims.len()).collect();
    let weight = loop {
        let weight: u128 = open.iter().map(|&i| claims[i].weight).sum();
        let (capped, others): (Vec<usize>, Vec<usize>) =
            open.iter().partition(|&&i| rest * claims[i].weight >= claims[i].cap as u128 * weight);
        if capped.is_empty() {
            break weight;
        }
        for i in capped {
            shares[i] = claims[i].cap.min(total);
            rest -= shares[i] as u128;
        }
        open = others;
    };
    for &i in &open {
        shares[i] = usize::try_from(rest * claims[i].weight / weight).expect("a share is at most `total`");
    }
    let given: usize = open.iter().map(|&i| shares[i]).sum();
    assert!(given as u128 <= rest, "rounding down gives nobody more than there is");
    open.sort_by_key(|&i| (claims[i].held <= shares[i], u128::MAX - rest * claims[i].weight % weight, i));
    for &i in open.iter().take(usize::try_from(rest).expect("`rest` is at most `total`") - given) {
        shares[i] += 1;
    }
    debug_assert_eq!(
        shares.iter().sum::<usize>(),
        total.min(claims.iter().map(|claim| claim.cap).sum()),
        "all is shared out, or everybody has all they can take"
    );
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares `total` among claims of weight, cap and what is held now.
    #[track_caller]
    fn check(total: usize, claims: &[(u128, usize, usize)], want: &[usize]) {
        let claims: Vec<Claim> =
            claims.iter().map(|&(weight, cap, held)| Claim { weight, cap, held }).collect();
        assert_eq!(share_out(total, &claims), want);
    }

    #[test]
    fn shares_follow_weight_as_far_as_caps_allow() {
        check(0, &[], &[]);
        check(5, &[], &[]);
        check(0, &[(1, 9, 0)], &[0]);
        check(10, &[(1, 100, 0), (1, 100, 0)], &[5, 5]);
        check(10, &[(1, 100, 0), (4, 100, 0)], &[2, 8]);
        check(10, &[(u128::from(u64::MAX), 100, 0), (1, 100, 0)], &[10, 0]);
        // What a cap leaves goes to the others, and may bring them to theirs.
        check(12, &[(100, 4, 0), (1, 100, 0), (1, 100, 0)], &[4, 4, 4]);
        check(12, &[(100, 4, 0), (10, 5, 0), (1, 100, 0)], &[4, 5, 3]);
        // Nobody has room for the rest.
        check(12, &[(1, 4, 0), (1, 5, 0)], &[4, 5]);
        // The rest of a rounding goes to the larger fraction, then to whoever comes first.
        check(10, &[(1, 100, 0), (1, 100, 0), (1, 100, 0)], &[4, 3, 3]);
        check(10, &[(3, 100, 0), (4, 100, 0)], &[4, 6]);
        // But nothing moves for a rounding: who holds more keeps it.
        check(10, &[(1, 100, 3), (1, 100, 3), (1, 100, 4)], &[3, 3, 4]);
    }

    #[test]
    fn keys_are_numbered_in_their_order() {
        assert_eq!(number(["b", "a", "b", "c"].iter()), [1, 0, 1, 2]);
        assert_eq!(number([0; 0].iter()), [0; 0]);
    }

    #[test]
    fn a_zone_takes_what_its_nodes_and_its_limit_allow() {
        let room = |nodes: &[usize], node, zone| {
            let nodes: Vec<Vec<CandidateIndex>> = nodes.iter().map(|&disks| vec![0; disks]).collect();
            zone_room(&nodes, Limits { node, zone })
        };
        assert_eq!(room(&[], 1, 9), 0);
        assert_eq!(room(&[4, 4, 1], 1, 9), 3);
        assert_eq!(room(&[4, 4, 1], 2, 9), 5);
        assert_eq!(room(&[4, 4, 1], 2, 2), 2);
    }
}
