//! Chooses who votes in each partition of the metadata, and who should lead it.
//!
//! Owns: the rules. Voters are over as many zones as possible, every node has a fair share of the votes and of the leads,
//! and little moves: who votes and is there stays, unless another node has two votes less.
//! Knows nothing of: how a replica is filled, when a change is done.

use std::collections::{BTreeMap, BTreeSet};

use types::NodeId;

/// Voters of a partition: enough to lose one.
const VOTER_COUNT: usize = 3;

/// A node that can hold metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elector {
    /// Which node.
    pub id: NodeId,
    /// Failure domain that the voters of a partition should not share.
    pub zone: String,
    /// Whether it can be given votes, and keeps those it has.
    pub presence: Presence,
}

/// How present a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It takes part.
    Up,
    /// It keeps its votes, because it may come back with what a majority needs, and gets no more.
    Down,
    /// It has been down for so long that others take its place.
    Away,
}

/// A partition, as far as its voters go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Electorate {
    /// Who votes. The first one should lead.
    pub voters: Vec<NodeId>,
    /// A change of it is under way, or cannot be made: it stays as it is.
    pub is_frozen: bool,
    /// Its voters are not moved, and its leader is not changed, only to share out the load.
    pub is_heavy: bool,
}

/// What is to change now: partitions by their place in `partitions`, with all their voters. At most `change_count_max`
/// get another voter, a partition one at a time once it has all of them, so that most voters of the next majority have
/// what the one before has agreed on. Asked again when that is done, it ends with a balanced division.
pub fn change_voters(
    partitions: &[Electorate],
    nodes: &[Elector],
    change_count_max: usize,
) -> Vec<(usize, Vec<NodeId>)> {
    let mut division = Division::new(partitions, nodes, change_count_max);
    division.repair();
    division.spread();
    division.share_votes();
    division.share_leads();
    division.changes(partitions)
}

struct Division<'a> {
    partitions: Vec<Electorate>,
    nodes: BTreeMap<NodeId, &'a Elector>,
    /// Votes of each node.
    votes: BTreeMap<NodeId, usize>,
    /// Changes that may still be made.
    change_count: usize,
}

impl<'a> Division<'a> {
    fn new(partitions: &[Electorate], nodes: &'a [Elector], change_count: usize) -> Self {
        let nodes: BTreeMap<NodeId, &Elector> = nodes.iter().map(|node| (node.id, node)).collect();
        let mut votes: BTreeMap<NodeId, usize> = nodes.keys().map(|id| (*id, 0)).collect();
        for voter in partitions.iter().flat_map(|partition| &partition.voters) {
            *votes.entry(*voter).or_default() += 1;
        }
        Self { partitions: partitions.to_vec(), nodes, votes, change_count }
    }

    /// Fills what lacks voters, and replaces one that is away as soon as there is somebody to take its place.
    fn repair(&mut self) {
        for at in 0..self.partitions.len() {
            if self.change_count == 0 {
                return;
            }
            let before = &self.partitions[at];
            if before.is_frozen {
                continue;
            }
            let mut voters = before.voters.clone();
            voters.retain(|id| self.nodes.contains_key(id));
            self.fill(&mut voters);
            let away = voters.iter().copied().find(|id| self.presence(*id) == Presence::Away);
            if let Some(away) = away {
                let others = Vec::from_iter(voters.iter().copied().filter(|id| *id != away));
                if let Some(new) = self.candidate(&others) {
                    voters = replaced(&voters, away, new);
                }
            }
            // Two voters tolerate no more failures than one, and stop when either is away. None is nobody's wish.
            let is_worse = voters.is_empty() || voters.len() == 2 && before.voters.len() == 1;
            if !is_worse {
                self.set(at, voters);
            }
        }
    }

    fn fill(&self, voters: &mut Vec<NodeId>) {
        while voters.len() < VOTER_COUNT {
            let Some(new) = self.candidate(voters) else { return };
            voters.push(new);
        }
    }

    /// Who should vote next beside `voters`: from a zone without one, with few votes.
    fn candidate(&self, voters: &[NodeId]) -> Option<NodeId> {
        let zones = self.zones(voters);
        let can_vote = |node: &&&Elector| node.presence == Presence::Up && !voters.contains(&node.id);
        let key = |node: &&&Elector| (zones.contains(node.zone.as_str()), self.votes[&node.id], node.id);
        self.nodes.values().filter(can_vote).min_by_key(key).map(|node| node.id)
    }

    /// Moves votes to zones that a partition has none in yet.
    fn spread(&mut self) {
        let zone_count = self.zones(self.nodes.keys()).len();
        for at in 0..self.partitions.len() {
            let voters = &self.partitions[at].voters;
            let found = self.zones(voters).len();
            if self.change_count == 0 || found == voters.len().min(zone_count) || !self.is_movable(at) {
                continue;
            }
            let moves = self
                .moves(voters)
                .filter(|(_, old, new)| self.zones(&replaced(voters, *old, *new)).len() > found);
            if let Some((_, old, new)) = moves.min_by_key(|(gain, ..)| -*gain) {
                self.set(at, replaced(voters, old, new));
            }
        }
    }

    /// Moves votes from nodes with many to nodes with at least two less, but never for the price of a zone.
    fn share_votes(&mut self) {
        while self.change_count > 0 {
            let mut best: Option<(i64, usize, Vec<NodeId>)> = None;
            for at in
                (0..self.partitions.len()).filter(|at| self.is_movable(*at) && !self.partitions[*at].is_heavy)
            {
                let voters = &self.partitions[at].voters;
                for (gain, old, new) in self.moves(voters) {
                    if gain <= best.as_ref().map_or(1, |(gain, ..)| *gain) {
                        continue;
                    }
                    let after = replaced(voters, old, new);
                    if self.zones(&after).len() >= self.zones(voters).len() {
                        best = Some((gain, at, after));
                    }
                }
            }
            let Some((_, at, after)) = best else { return };
            self.set(at, after);
        }
    }

    /// Only when all voters are there may one be missed meanwhile; a partition with one voter is nowhere better off.
    fn is_movable(&self, at: usize) -> bool {
        let partition = &self.partitions[at];
        let is_whole = partition.voters.len() >= VOTER_COUNT;
        !partition.is_frozen
            && is_whole
            && partition.voters.iter().all(|id| self.presence(*id) == Presence::Up)
    }

    /// All ways to replace one voter by another, with how many votes less that one has. Who should lead comes last: it is
    /// missed for a moment.
    fn moves<'b>(&'b self, voters: &'b [NodeId]) -> impl Iterator<Item = (i64, NodeId, NodeId)> + 'b {
        let can_vote = |node: &&&Elector| node.presence == Presence::Up && !voters.contains(&node.id);
        let news = self.nodes.values().filter(can_vote).map(|node| node.id);
        news.flat_map(move |new| {
            let gain = move |old: &NodeId| self.votes[old] as i64 - self.votes[&new] as i64;
            voters.iter().rev().map(move |old| (gain(old), *old, new))
        })
    }

    /// Has nodes with few leads lead what nodes with at least two more do. Nobody is asked to lead that is not there.
    fn share_leads(&mut self) {
        let mut leads: BTreeMap<NodeId, i64> = BTreeMap::new();
        for leader in self.partitions.iter().filter_map(|partition| partition.voters.first()) {
            *leads.entry(*leader).or_default() += 1;
        }
        let count = |leads: &BTreeMap<NodeId, i64>, id: NodeId| leads.get(&id).copied().unwrap_or_default();
        loop {
            let mut best = None;
            for (at, partition) in
                self.partitions.iter().enumerate().filter(|(_, partition)| !partition.is_frozen)
            {
                let Some((leader, others)) = partition.voters.split_first() else { continue };
                let must_go = self.presence(*leader) == Presence::Away;
                for other in others.iter().filter(|id| self.presence(**id) == Presence::Up) {
                    let gain = count(&leads, *leader) - count(&leads, *other);
                    let is_better = gain > 1 && !partition.is_heavy || must_go;
                    let key = (must_go, gain);
                    if is_better && best.is_none_or(|(_, _, found)| key > found) {
                        best = Some((at, *other, key));
                    }
                }
            }
            let Some((at, leader, _)) = best else { return };
            let voters = &mut self.partitions[at].voters;
            *leads.entry(voters[0]).or_default() -= 1;
            *leads.entry(leader).or_default() += 1;
            let from = voters.iter().position(|id| *id == leader).expect("it is one of them");
            voters.swap(0, from);
        }
    }

    /// Makes a change, unless it is none. What is changed is left alone from then on.
    fn set(&mut self, at: usize, voters: Vec<NodeId>) {
        let before = std::mem::replace(&mut self.partitions[at].voters, voters);
        let after = &self.partitions[at].voters;
        if before == *after {
            return;
        }
        for id in &before {
            *self.votes.entry(*id).or_default() -= 1;
        }
        for id in after {
            *self.votes.entry(*id).or_default() += 1;
        }
        self.partitions[at].is_frozen = true;
        self.change_count -= 1;
    }

    /// A node that is not one of these any more will never be there again.
    fn presence(&self, id: NodeId) -> Presence {
        self.nodes.get(&id).map_or(Presence::Away, |node| node.presence)
    }

    fn zones<'b>(&self, voters: impl IntoIterator<Item = &'b NodeId>) -> BTreeSet<&'a str> {
        voters.into_iter().filter_map(|id| self.nodes.get(id)).map(|node| node.zone.as_str()).collect()
    }

    fn changes(self, before: &[Electorate]) -> Vec<(usize, Vec<NodeId>)> {
        let after = self.partitions.into_iter().map(|partition| partition.voters).enumerate();
        after.filter(|(at, voters)| before[*at].voters != *voters).collect()
    }
}

/// The new one comes last: it has to be filled before it can lead.
fn replaced(voters: &[NodeId], old: NodeId, new: NodeId) -> Vec<NodeId> {
    voters.iter().copied().filter(|id| *id != old).chain([new]).collect()
}

#[cfg(test)]
mod tests;
