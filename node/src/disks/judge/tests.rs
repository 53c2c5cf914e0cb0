//! Goal: no disk is lost sight of, none is formatted or written that may not be. Method: tables of directories.

use types::Epoch;

use super::*;
use crate::disks::record::KnownDisk;

const CLUSTER: ClusterId = ClusterId([1; 16]);
const ME: NodeId = NodeId(2);

fn uuid(number: u8) -> DiskUuid {
    DiskUuid([number; 16])
}

fn disk(number: u8) -> Finding {
    let id = Some(DiskId(number.into()));
    Finding::Disk(DiskIdentity { cluster: CLUSTER, uuid: uuid(number), node: ME, disk: id })
}

fn foreign(number: u8, cluster: u8, node: u64) -> Finding {
    let (cluster, node) = (ClusterId([cluster; 16]), NodeId(node));
    Finding::Disk(DiskIdentity { cluster, uuid: uuid(number), node, disk: Some(DiskId(number.into())) })
}

/// Disks 1 to 3 of node 2, in /1 to /3; the map has them since epoch 5.
struct World {
    record: Record,
    findings: BTreeMap<PathBuf, Finding>,
    uses: BTreeMap<PathBuf, Use>,
    map: ClusterMap,
}

impl World {
    fn new() -> Self {
        let mut map = client::testing::status(2).map;
        map.disks.clear();
        let (mut record, mut findings) = (Record::default(), BTreeMap::new());
        for number in 1..=3_u8 {
            let (path, id) = (PathBuf::from(format!("/{number}")), DiskId(number.into()));
            record.disks.insert(uuid(number), KnownDisk { path: path.clone(), id: Some((id, Epoch(5))) });
            record.seen.insert(path.clone(), uuid(number));
            findings.insert(path, disk(number));
            let info = proto::map::DiskInfo { node: ME, uuid: uuid(number), ..Default::default() };
            map.disks.insert(id, info);
        }
        Self { record, findings, uses: BTreeMap::new(), map }
    }

    fn find(mut self, path: &str, finding: Finding) -> Self {
        self.findings.insert(path.into(), finding);
        self
    }

    fn used(mut self, path: &str, used: Use) -> Self {
        self.uses.insert(path.into(), used);
        self
    }

    fn judge(&self) -> Judgement {
        let Self { record, findings, uses, map } = self;
        judge(&Facts { cluster: CLUSTER, node: ME, record, findings, uses, map })
    }

    /// What is opened, formatted, and closed; what is away and why; what else is wrong.
    #[track_caller]
    fn check(self, doing: &[&str], away: &[&str], problems: &[&str]) {
        let judgement = self.judge();
        let mut done: Vec<String> = judgement
            .open
            .iter()
            .map(|(path, uuid)| format!("open {} {}", path.display(), uuid.0[0]))
            .collect();
        done.extend(judgement.format.iter().map(|path| format!("format {}", path.display())));
        done.extend(judgement.take.keys().map(|path| format!("take {}", path.display())));
        done.extend(judgement.close.iter().map(|path| format!("close {}", path.display())));
        done.extend(judgement.forget.iter().map(|uuid| format!("forget {}", uuid.0[0])));
        assert_eq!(done, doing);
        let said = |(id, away): (&DiskId, &Away)| {
            format!("{id} {} {}: {}", away.state.name(), away.path.display(), away.why)
        };
        let said: Vec<String> = judgement.away.iter().map(said).collect();
        fit(&said, away);
        fit(&judgement.problems, problems);
    }
}

#[track_caller]
fn fit(said: &[String], want: &[&str]) {
    let fits = said.len() == want.len() && said.iter().zip(want).all(|(said, want)| said.contains(want));
    assert!(fits, "{said:#?} is not {want:#?}");
}

const ALL: [&str; 3] = ["open /1 1", "open /2 2", "open /3 3"];
const OPENING: [&str; 3] = ["1 missing /1: is being", "2 missing /2: is being", "3 missing /3: is being"];

#[test]
fn disks_are_where_they_say_they_are() {
    World::new().check(&ALL, &OPENING, &[]);
    let exchanged = World::new().find("/1", disk(2)).find("/2", disk(1));
    exchanged.check(
        &["open /1 2", "open /2 1", "open /3 3"],
        &["1 missing /2", "2 missing /1", OPENING[2]],
        &[],
    );
    let moved = World::new().find("/1", Finding::Empty).find("/9", disk(1));
    moved.check(&["open /2 2", "open /3 3", "open /9 1"], &["1 missing /9", OPENING[1], OPENING[2]], &[]);
    // An older record, or none: the superblock and the map know it.
    let mut old = World::new();
    old.record.disks.clear();
    old.check(&ALL, &[], &[]);
    let mut old = World::new().find("/1", Finding::Empty);
    old.record.disks.get_mut(&uuid(1)).unwrap().id = None;
    old.check(&ALL[1..], &["1 missing /1: its directory is empty", OPENING[1], OPENING[2]], &[]);
}

#[test]
fn what_is_not_found_is_missing_and_nothing_is_formatted_in_its_place() {
    for (finding, want) in [
        (Finding::Absent, "1 missing /1: its directory is not there: mount it"),
        (
            Finding::Empty,
            "1 missing /1: its directory is empty: mount it, or when it is gone for good `cloudsync",
        ),
        (Finding::Unusable("rubbish".into()), "1 failed /1: rubbish"),
        (Finding::Silent, "1 failed /1: does not answer"),
    ] {
        World::new().find("/1", finding).check(&ALL[1..], &[want, OPENING[1], OPENING[2]], &[]);
    }
    let mut unseen = World::new();
    unseen.findings.remove(Path::new("/1"));
    unseen.check(&ALL[1..], &["1 missing /1: is looked for", OPENING[1], OPENING[2]], &[]);
}

#[test]
fn new_directories_are_formatted_and_only_those() {
    World::new().find("/9", Finding::Empty).check(&[&ALL[..], &["format /9"]].concat(), &OPENING, &[]);
    World::new().find("/9", Finding::Absent).check(&[&ALL[..], &["format /9"]].concat(), &OPENING, &[]);
    let opening = World::new().find("/9", Finding::Empty).used("/9", Use::Opening);
    opening.check(&ALL, &OPENING, &[]);
    let failed = World::new().find("/9", Finding::Empty).used("/9", Use::Failed("no room".into()));
    failed.check(&ALL, &OPENING, &["/9: no room"]);
    // Its disk was removed, or moved away: whoever wants a new one there says so.
    let mut removed = World::new().find("/1", Finding::Empty);
    removed.map.disks.remove(&DiskId(1));
    removed.check(
        &["open /2 2", "open /3 3", "forget 1"],
        &OPENING[1..],
        &["/1: is empty, and a disk was here"],
    );
    let mut cleared = World::new().find("/1", Finding::Empty);
    cleared.record.cleared.insert("/1".into());
    let missing = "1 missing /1: its directory is empty";
    cleared.check(&["open /2 2", "open /3 3", "format /1"], &[missing, OPENING[1], OPENING[2]], &[]);
}

#[test]
fn what_is_not_ours_is_named_and_left_alone() {
    let other = "/9: belongs to cluster 09";
    World::new().find("/9", foreign(9, 9, 2)).check(&ALL, &OPENING, &[other]);
    World::new().find("/9", foreign(9, 1, 3)).check(
        &ALL,
        &OPENING,
        &["/9: belongs to node 3, not 2: put it back"],
    );
    World::new().find("/9", Finding::Unusable("holds \"x\"".into())).check(
        &ALL,
        &OPENING,
        &["/9: holds \"x\""],
    );
    let instead = World::new().find("/1", foreign(9, 9, 2));
    let away = ["1 missing /1: another disk is in its place", OPENING[1], OPENING[2]];
    instead.check(&ALL[1..], &away, &["/1: belongs to cluster 09"]);
    // Removed, and back again.
    World::new().find("/9", disk(9)).check(&ALL, &OPENING, &["/9: disk 9 was removed from the cluster"]);
    let mut given = World::new().find("/9", foreign(9, 1, 3));
    given.record.given.insert("/9".into(), uuid(9));
    given.check(&[&ALL[..], &["take /9"]].concat(), &OPENING, &[]);
    let mut another = World::new().find("/9", foreign(8, 1, 3));
    another.record.given.insert("/9".into(), uuid(9));
    another.check(&ALL, &OPENING, &["/9: belongs to node 3"]);
}

#[test]
fn copies_of_a_disk_are_not_used() {
    World::new().find("/9", disk(1)).check(&ALL, &OPENING, &["/9 is a copy of the disk in /1: wipe it"]);
    let neither = World::new().find("/1", Finding::Empty).find("/8", disk(1)).find("/9", disk(1));
    let away = ["1 missing /1: several directories say that they are it", OPENING[1], OPENING[2]];
    neither.check(&ALL[1..], &away, &["/8 is a copy of the disk in /9", "/9 is a copy of the disk in /8"]);
    let open = World::new().find("/1", disk(1)).find("/9", disk(1)).used("/9", Use::Open(uuid(1)));
    open.check(&ALL[1..], &OPENING[1..], &["/1 is a copy of the disk in /9"]);
}

#[test]
fn what_is_open_stays_open_while_it_is_there() {
    let open = || World::new().used("/1", Use::Open(uuid(1)));
    open().check(&ALL[1..], &OPENING[1..], &[]);
    open().find("/1", Finding::Silent).check(&ALL[1..], &OPENING[1..], &[]);
    let damaged = open().find("/1", Finding::Unusable("both superblocks are damaged".into()));
    damaged.check(&ALL[1..], &OPENING[1..], &["the disk in /1 will not open again: both superblocks"]);
    let closed = ["open /2 2", "open /3 3", "close /1"];
    let away = |why: &'static str| [why, OPENING[1], OPENING[2]];
    open().find("/1", Finding::Absent).check(&closed, &away("1 missing /1: its directory is not there"), &[]);
    open().find("/1", Finding::Empty).check(&closed, &away("1 missing /1: its directory is empty"), &[]);
    let exchanged = open().find("/1", disk(2)).find("/2", disk(1));
    exchanged.check(
        &["open /2 1", "open /3 3", "close /1"],
        &["1 missing /2", "2 missing /1", OPENING[2]],
        &[],
    );
    let mut removed = open();
    removed.map.disks.remove(&DiskId(1));
    removed.check(&["open /2 2", "open /3 3", "close /1", "forget 1"], &OPENING[1..], &[]);
    // Another node has it now.
    let mut given = open();
    given.map.disks.get_mut(&DiskId(1)).unwrap().node = NodeId(7);
    given.check(&["open /2 2", "open /3 3", "close /1", "forget 1"], &OPENING[1..], &[]);
    // The map is older than the disk.
    let mut young = open();
    young.map.disks.remove(&DiskId(1));
    young.map.epoch = Epoch(4);
    young.check(&ALL[1..], &OPENING[1..], &[]);
}

#[test]
fn what_cannot_be_opened_says_why() {
    let failed = World::new().used("/1", Use::Failed("in use by another process".into()));
    failed.check(&ALL[1..], &["1 failed /1: in use by another process", OPENING[1], OPENING[2]], &[]);
}

#[test]
fn a_node_without_a_disk_says_so() {
    let mut world = World::new();
    world.findings.values_mut().for_each(|finding| *finding = Finding::Absent);
    let away = ["1 missing", "2 missing", "3 missing"];
    world.check(&[], &away, &["no disk is there: mount one"]);
}
