//! Decides what becomes of the disks of a node: what was found and what is known in, what to do and to say out.
//!
//! Owns: which directory is which disk, what may be formatted, what counts as missing, and the words for it (I-DISK).
//! Knows nothing of: how a directory is looked at, how a disk is opened.
//! Pure: equal facts give equal judgements.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proto::map::{ClusterMap, DiskState};
use segments::DiskIdentity;
use types::{ClusterId, DiskId, DiskUuid, NodeId};

use super::record::Record;

/// What is in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// There is no such directory.
    Absent,
    /// Nothing is in it.
    Empty,
    /// A disk, by its superblocks.
    Disk(DiskIdentity),
    /// Something that cannot be used: why.
    Unusable(String),
    /// Nobody knows: it does not answer.
    Silent,
}

/// What a node does in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// Opens a disk there.
    Opening,
    /// Has this disk open.
    Open(DiskUuid),
    /// Has failed to open it, and why.
    Failed(String),
}

/// All that a judgement depends on.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Whose disks these are.
    pub cluster: ClusterId,
    /// Whose disks these are.
    pub node: NodeId,
    /// What is remembered.
    pub record: &'a Record,
    /// What was found, by directory; nothing of those that nobody has looked at yet.
    pub findings: &'a BTreeMap<PathBuf, Finding>,
    /// What is done there already.
    pub uses: &'a BTreeMap<PathBuf, Use>,
    /// The newest map that the node has.
    pub map: &'a ClusterMap,
}

/// A disk that is not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// Missing or failed.
    pub state: DiskState,
    /// Why, and what to do about it.
    pub why: String,
    /// Where it is or was.
    pub path: PathBuf,
}

/// What to do and to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Directories with a disk to open.
    pub open: BTreeMap<PathBuf, DiskUuid>,
    /// Directories to format.
    pub format: BTreeSet<PathBuf>,
    /// Directories with a disk of another node that is to become one of this node.
    pub take: BTreeMap<PathBuf, DiskIdentity>,
    /// Directories whose disk is open and must be closed.
    pub close: BTreeSet<PathBuf>,
    /// Disks that are not open.
    pub away: BTreeMap<DiskId, Away>,
    /// Disks that the cluster has removed, or given to another node.
    pub forget: BTreeSet<DiskUuid>,
    /// What is wrong beside that.
    pub problems: Vec<String>,
}

/// Judges all directories and all disks that are known.
pub fn judge(facts: &Facts<'_>) -> Judgement {
    let mut judgement = Judgement::default();
    let found = facts.found(&mut judgement);
    facts.judge_uses(&mut judgement);
    facts.judge_places(&found, &mut judgement);
    facts.judge_disks(&found, &mut judgement);
    if found.is_empty()
        && judgement.format.is_empty()
        && judgement.take.is_empty()
        && facts.is_looked_through()
    {
        let why = "no disk is there: mount one, or give the node another with `cloudsync admin disk adopt`";
        judgement.problems.push(why.to_owned());
    }
    judgement
}

impl Facts<'_> {
    fn is_looked_through(&self) -> bool {
        !self.findings.values().any(|finding| *finding == Finding::Silent)
            && self.record.disks.values().all(|disk| self.findings.contains_key(&disk.path))
    }

    /// The directory of each disk of this node that is there. Of two that are the same disk the one that was known counts,
    /// or neither.
    fn found(&self, judgement: &mut Judgement) -> BTreeMap<DiskUuid, &Path> {
        let mut claims: BTreeMap<DiskUuid, Vec<&Path>> = BTreeMap::new();
        for (path, finding) in self.findings {
            if let Finding::Disk(identity) = finding
                && identity.cluster == self.cluster
                && identity.node == self.node
            {
                claims.entry(identity.uuid).or_default().push(path);
            }
        }
        let mut found = BTreeMap::new();
        for (uuid, paths) in claims {
            let is_open = |path: &&&Path| self.uses.get(**path) == Some(&Use::Open(uuid));
            let is_known =
                |path: &&&Path| self.record.disks.get(&uuid).is_some_and(|disk| disk.path == ***path);
            let first = paths.iter().find(is_open).or_else(|| paths.iter().find(is_known));
            let first = first.or(paths.first().filter(|_| paths.len() == 1)).copied();
            found.extend(first.map(|first| (uuid, first)));
            for copy in paths.iter().filter(|path| Some(**path) != first) {
                let other = first.or(paths.iter().copied().find(|path| path != copy));
                let other = other.expect("there are two").display();
                let copy = copy.display();
                judgement
                    .problems
                    .push(format!("{copy} is a copy of the disk in {other}: wipe it to use it"));
            }
        }
        found
    }

    /// What is open must stay what it is.
    fn judge_uses(&self, judgement: &mut Judgement) {
        for (path, used) in self.uses {
            let Use::Open(uuid) = used else { continue };
            let is_there = match self.findings.get(path) {
                Some(Finding::Disk(identity)) => identity.uuid == *uuid && identity.node == self.node,
                Some(Finding::Absent | Finding::Empty) => false,
                Some(Finding::Unusable(why)) => {
                    let problem = format!("the disk in {} will not open again: {why}", path.display());
                    judgement.problems.push(problem);
                    true
                }
                Some(Finding::Silent) | None => true,
            };
            if !is_there || self.is_gone(*uuid) {
                judgement.close.insert(path.clone());
            }
        }
    }

    fn judge_places(&self, found: &BTreeMap<DiskUuid, &Path>, judgement: &mut Judgement) {
        for (path, finding) in self.findings {
            let used = self.uses.get(path);
            if matches!(used, Some(Use::Opening)) {
                continue;
            }
            let problem = match finding {
                Finding::Disk(identity) => self.judge_identity(path, identity, found, judgement),
                Finding::Absent | Finding::Empty => self.judge_room(path, finding, found, judgement),
                Finding::Unusable(why) if self.last_in(path, found).is_none() && used.is_none() => {
                    Some(why.clone())
                }
                Finding::Unusable(_) | Finding::Silent => None,
            };
            judgement.problems.extend(problem.map(|problem| format!("{}: {problem}", path.display())));
        }
    }

    fn judge_identity(
        &self,
        path: &Path,
        identity: &DiskIdentity,
        found: &BTreeMap<DiskUuid, &Path>,
        judgement: &mut Judgement,
    ) -> Option<String> {
        let DiskIdentity { cluster, uuid, node, .. } = identity;
        if *cluster != self.cluster {
            return Some(format!("belongs to cluster {cluster}, not {}: use another disk", self.cluster));
        }
        let failure = match self.uses.get(path) {
            Some(Use::Failed(why)) => Some(why.clone()),
            _ => None,
        };
        if *node != self.node {
            if self.record.given.get(path) == Some(uuid) {
                judgement.take.insert(path.to_owned(), *identity);
                return failure;
            }
            return Some(format!(
                "belongs to node {node}, not {}: put it back, or when that node is gone `cloudsync admin disk adopt` it",
                self.node
            ));
        }
        if found.get(uuid) != Some(&path) || matches!(self.uses.get(path), Some(Use::Open(_))) {
            return None;
        }
        if self.is_gone(*uuid) || self.was_removed(identity) {
            return Some(self.removed(identity));
        }
        match failure {
            None => drop(judgement.open.insert(path.to_owned(), *uuid)),
            // Told of the disk itself when it has an id.
            Some(why) if self.id(*uuid).is_none() => return Some(why),
            Some(_) => {}
        }
        None
    }

    /// A directory without a disk: it is formatted unless one was there.
    fn judge_room(
        &self,
        path: &Path,
        finding: &Finding,
        found: &BTreeMap<DiskUuid, &Path>,
        judgement: &mut Judgement,
    ) -> Option<String> {
        let last = self.record.seen.get(path).filter(|_| !self.record.cleared.contains(path));
        let Some(last) = last else {
            match self.uses.get(path) {
                None => drop(judgement.format.insert(path.to_owned())),
                Some(Use::Failed(why)) => return Some(why.clone()),
                Some(_) => {}
            }
            return None;
        };
        let is_told = found.contains_key(last) || self.is_ours(*last);
        if is_told || *finding == Finding::Absent {
            return None;
        }
        Some("is empty, and a disk was here: `cloudsync admin disk adopt` makes it a new one".to_owned())
    }

    /// Whatever the node has known and does not find is missing.
    fn judge_disks(&self, found: &BTreeMap<DiskUuid, &Path>, judgement: &mut Judgement) {
        for (uuid, known) in &self.record.disks {
            let is_open = self
                .uses
                .iter()
                .any(|(path, used)| *used == Use::Open(*uuid) && !judgement.close.contains(path));
            if is_open {
                continue;
            }
            if self.is_gone(*uuid) {
                judgement.forget.insert(*uuid);
                continue;
            }
            let Some(id) = self.id(*uuid) else { continue };
            let path = found.get(uuid).copied().unwrap_or(&known.path);
            let (state, why) = match (found.contains_key(uuid), self.uses.get(path)) {
                (true, Some(Use::Failed(why))) => (DiskState::Failed, why.clone()),
                (true, _) | (_, Some(Use::Opening)) => (DiskState::Missing, "is being opened".to_owned()),
                (false, _) => self.absence(id, path),
            };
            judgement.away.insert(id, Away { state, why, path: path.to_owned() });
        }
    }

    /// Why a disk is not where it was last.
    fn absence(&self, id: DiskId, path: &Path) -> (DiskState, String) {
        let advice = format!("mount it, or when it is gone for good `cloudsync admin disk remove-lost {id}`");
        let copies = self.findings.values().filter(|finding| match finding {
            Finding::Disk(identity) => self.id(identity.uuid) == Some(id) && identity.node == self.node,
            _ => false,
        });
        if copies.count() > 1 {
            return (
                DiskState::Missing,
                "several directories say that they are it: leave one of them".to_owned(),
            );
        }
        match self.findings.get(path) {
            None => (DiskState::Missing, "is looked for".to_owned()),
            Some(Finding::Absent) => (DiskState::Missing, format!("its directory is not there: {advice}")),
            Some(Finding::Empty) => (DiskState::Missing, format!("its directory is empty: {advice}")),
            Some(Finding::Disk(_)) => (DiskState::Missing, format!("another disk is in its place: {advice}")),
            Some(Finding::Unusable(why)) => (DiskState::Failed, why.clone()),
            Some(Finding::Silent) => (DiskState::Failed, "does not answer".to_owned()),
        }
    }

    /// The disk that was last seen in a directory, unless it is elsewhere.
    fn last_in(&self, path: &Path, found: &BTreeMap<DiskUuid, &Path>) -> Option<DiskUuid> {
        let mut last = self.record.disks.iter().filter(|(uuid, known)| {
            known.path == path && !found.contains_key(uuid) && self.id(**uuid).is_some()
        });
        last.next().map(|(uuid, _)| *uuid)
    }

    /// The id that a disk has, or had.
    fn id(&self, uuid: DiskUuid) -> Option<DiskId> {
        let known = self.record.disks.get(&uuid).and_then(|known| known.id);
        let in_map = || self.map.disks.iter().find(|(_, disk)| disk.uuid == uuid && disk.node == self.node);
        known.map(|(id, _)| id).or_else(|| in_map().map(|(id, _)| *id))
    }

    fn is_ours(&self, uuid: DiskUuid) -> bool {
        self.record.disks.contains_key(&uuid) && !self.is_gone(uuid)
    }

    /// The cluster knew the disk, and does not any more, or as another node's.
    fn is_gone(&self, uuid: DiskUuid) -> bool {
        let known = self.record.disks.get(&uuid).and_then(|known| known.id);
        known.is_some_and(|(id, since)| {
            self.map.epoch >= since && self.map.disks.get(&id).is_none_or(|disk| disk.node != self.node)
        })
    }

    /// A disk that only its superblock calls ours.
    fn was_removed(&self, identity: &DiskIdentity) -> bool {
        let is_known = self.record.disks.get(&identity.uuid).is_some_and(|known| known.id.is_some());
        let is_in_map = |id| self.map.disks.get(&id).is_some_and(|disk| disk.uuid == identity.uuid);
        !is_known && identity.disk.is_some_and(|id| !is_in_map(id))
    }

    fn removed(&self, identity: &DiskIdentity) -> String {
        let id = identity.disk.unwrap_or_default();
        match self.map.disks.get(&id).filter(|disk| disk.uuid == identity.uuid) {
            Some(disk) => {
                format!("is a copy of disk {id}, which is node {}'s now: wipe it to use it", disk.node)
            }
            None => format!("disk {id} was removed from the cluster: wipe it to use it as a new one"),
        }
    }
}
