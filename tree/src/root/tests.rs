//! Goal: what the root partition decides. Method: the machine over `MemKv`, with clusters of a few nodes.

use std::cell::RefCell;

use kv::{Durability, Kv, MemKv, Overlay};
use proptest::prelude::*;
use proto::certificates::Which;
use proto::cluster::FilledSlot;
use proto::command::{FirstCertificate, Logged, NewNode, NodeChange, Placed, Stamped};
use proto::keys::{KeyRing, UnlockKey};
use proto::map::{DiskState, Role};
use serde::de::DeserializeOwned;
use types::{DiskId, DiskUuid, ErrorKind, PgId, Profile, Serial, StoreUuid};

use super::*;
use crate::Replica;

mod entry;

/// The machine's rows, which are looked through after every command, and its log.
struct Bench(MemKv, RefCell<Vec<Bytes>>);

const TOKEN: [u8; 32] = [9; 32];
/// When the certificates here end.
const END: u64 = 10_000_000_000;
const UNLOCK: UnlockKey = UnlockKey([1; 32]);

impl Bench {
    fn empty() -> Self {
        Self(MemKv::new(0), RefCell::default())
    }

    /// A cluster of `nodes` nodes with one disk each, spread over three zones.
    fn new(nodes: u64) -> Self {
        let bench = Self::empty();
        bench.ok::<ClusterId>(RootCommand::Bootstrap(Box::new(bootstrap())));
        bench.ok::<()>(add_token(TOKEN, Grant::Join(Role::Meta), 100));
        for id in 2..=nodes {
            let change = add_node(id, TOKEN);
            assert_eq!(bench.change(change).node, Some(NodeId(id)));
        }
        // Their first heartbeats.
        bench.set_up(&(2..=nodes).collect::<Vec<u64>>(), true);
        for id in 1..=nodes {
            let disks = vec![(DiskUuid([id as u8; 16]), 1000)];
            bench.change(MapChange::RegisterDisks { node: NodeId(id), disks });
        }
        bench
    }

    fn apply<T: DeserializeOwned>(&self, command: RootCommand, time: u64) -> Result<T> {
        answer::decode(&self.apply_bytes(&Stamped { time: Millis(time), command }.encode()).unwrap())
    }

    /// As the leader does it: what follows is computed from the state, and then proposed.
    fn try_change(&self, change: MapChange, time: u64) -> Result<MapChanged> {
        self.apply(plan_change(&self.0, change)?, time)
    }

    #[track_caller]
    fn change(&self, change: MapChange) -> MapChanged {
        self.try_change(change, 1).unwrap()
    }

    fn apply_bytes(&self, bytes: &[u8]) -> Result<Bytes, Halt> {
        self.1.borrow_mut().push(Bytes::copy_from_slice(bytes));
        let before = map(&self.0).unwrap();
        let mut overlay = Overlay::new(&self.0);
        let reply = Replica::new(ROOT, RootMachine).apply(&mut overlay, 1, bytes);
        let batch = overlay.into_batch();
        self.0.write(batch, Durability::Buffered).unwrap();
        if let Some(map) = map(&self.0).unwrap() {
            check_map(before.as_ref(), &map, removed_by(bytes));
        }
        reply
    }

    #[track_caller]
    fn ok<T: DeserializeOwned>(&self, command: RootCommand) -> T {
        self.apply(command, 1).unwrap()
    }

    fn map(&self) -> ClusterMap {
        map(&self.0).unwrap().unwrap()
    }

    fn set_up(&self, nodes: &[u64], up: bool) {
        let change = |id: &u64| {
            let new = new_node(*id);
            NodeChange {
                node: NodeId(*id),
                up,
                native: new.native,
                control: new.control,
                disks: BTreeMap::new(),
            }
        };
        self.change(MapChange::SetNodes { changes: nodes.iter().map(change).collect() });
    }

    /// The disks of these nodes, which have the same numbers, are waited for no longer, or are back.
    fn set_out(&self, nodes: &[u64], is_out: bool) {
        let disks = nodes.iter().map(|id| (DiskId(*id as u32), is_out)).collect();
        self.change(MapChange::SetOut { disks });
    }
}

/// The node that a command removes, if it is carried out.
fn removed_by(bytes: &[u8]) -> Option<NodeId> {
    let Ok(Logged::Command { body, .. }) = Logged::read(bytes) else { return None };
    match proto::decode::<Stamped<RootCommand>>(body).ok()?.command {
        RootCommand::ChangeMap(command) => match command.change {
            MapChange::RemoveNode { node, .. } => Some(node),
            _ => None,
        },
        _ => None,
    }
}

/// What holds for every map that follows from commands, and between it and the one before.
#[track_caller]
fn check_map(before: Option<&ClusterMap>, map: &ClusterMap, removed: Option<NodeId>) {
    map.check().unwrap();
    if let Some(before) = before.filter(|before| *before != map) {
        assert_eq!(map.epoch, before.epoch.next(), "another map is another epoch, and the next one");
        for (id, disk) in before.disks.iter().filter(|(_, disk)| Some(disk.node) != removed) {
            assert_eq!(map.disks[id].uuid, disk.uuid, "ids are not reused");
        }
        let mut others = before.nodes.keys().filter(|id| Some(**id) != removed);
        assert!(others.all(|id| map.nodes.contains_key(id)), "nobody is forgotten who was not removed");
    }
    let uuids: std::collections::BTreeSet<DiskUuid> = map.disks.values().map(|disk| disk.uuid).collect();
    assert_eq!(uuids.len(), map.disks.len(), "a physical disk has one id");
    for slots in map.table.iter().flat_map(|table| &table.pgs) {
        let disks: std::collections::BTreeSet<DiskId> = slots.iter().map(|slot| slot.disk).collect();
        assert_eq!(disks.len(), slots.len(), "no two slots of a group share a disk (I-PLACE)");
        assert!(disks.iter().all(|disk| map.disks.contains_key(disk)));
        for slot in slots.iter().filter(|slot| slot.state == placement::SlotState::Serving) {
            assert_eq!(*slot, placement::PgSlot::serving(slot.disk), "a filled slot needs no other disk");
        }
    }
}

fn bootstrap() -> Bootstrap {
    Bootstrap {
        cluster: ClusterId([1; 16]),
        profile: Profile { k: 4, m: 2 },
        pg_count: 256,
        tree_partitions: 2,
        index_partitions: 2,
        secrets: Bytes::from_static(b"sealed"),
        keys: found_ring(&UNLOCK, &mut || [2; 32], Millis(1)),
        node: new_node(1),
        certificates: [Identity::Node(NodeId(1)), Identity::Admin("admin".into())].map(first).into(),
    }
}

fn first(identity: Identity) -> FirstCertificate {
    FirstCertificate { identity, issued: Millis(0), expires: Millis(END) }
}

fn add_token(hash: [u8; 32], grant: Grant, uses: u32) -> RootCommand {
    RootCommand::AddToken { hash, grant, uses, expires: Millis(100) }
}

/// What a node asks for, of which each has a request of its own.
fn asked(request: u64) -> ToCertify {
    ToCertify { request: [request as u8; 32], expires: Millis(END) }
}

/// The one that becomes node `id` when it is next.
fn add_node(id: u64, token_hash: [u8; 32]) -> MapChange {
    MapChange::AddNode { node: new_node(id), token_hash, asked: asked(id), level: FeatureLevel(1) }
}

fn new_node(id: u64) -> NewNode {
    NewNode {
        zone: format!("z{}", (id - 1) % 3),
        roles: if id != 4 { vec![Role::Meta, Role::Block] } else { vec![Role::Block] },
        native: format!("127.0.0.1:{}", 7000 + id * 2).parse().unwrap(),
        control: format!("127.0.0.1:{}", 7001 + id * 2).parse().unwrap(),
        store: Some(StoreUuid([id as u8; 16])),
    }
}

/// A log may say what no program of ours would: the partition goes on, without a cluster.
#[test]
fn a_beginning_that_is_no_cluster_is_refused() {
    let refused = |change: &dyn Fn(&mut Bootstrap), want: &str| {
        let bench = Bench::empty();
        let mut bootstrap = bootstrap();
        change(&mut bootstrap);
        let found = bench.apply::<ClusterId>(RootCommand::Bootstrap(Box::new(bootstrap)), 1);
        assert!(found.clone().is_err_and(|e| e.message().contains(want)), "{want}: {found:?}");
        assert_eq!(map(&bench.0), Ok(None));
        let disks = (1..=8).map(|n| (DiskUuid([n; 16]), 1)).collect();
        let change = MapChange::RegisterDisks { node: NodeId(1), disks };
        let command = ChangeMap { base: Epoch(1), change, placed: None };
        let registered = bench.apply::<MapChanged>(RootCommand::ChangeMap(Box::new(command)), 1);
        assert!(registered.is_err_and(|e| e.message().contains("not initialised")));
    };
    refused(&|b| b.pg_count = 0, "0 placement groups");
    refused(&|b| b.pg_count = 100, "100 placement groups");
    refused(&|b| b.tree_partitions = 0, "0 partitions of one kind");
    refused(&|b| b.index_partitions = 0, "0 partitions of one kind");
    refused(&|b| b.index_partitions = u32::MAX, "4294967295 partitions of one kind");
}

#[test]
fn there_is_a_table_as_soon_as_there_are_enough_disks() {
    let map = Bench::new(5).map();
    assert!(map.table.is_none());
    assert!(map.slots(PgId(0)).unwrap_err().message().contains("5 disks, its profile 4+2 needs 6"));
    let map = Bench::new(8).map();
    assert_eq!(map.table.as_ref().unwrap().pgs.len(), 256);
    assert_eq!(map.relaxed_count, 0);
}

#[test]
fn every_change_of_the_map_is_a_new_epoch_and_equal_everywhere() {
    let (one, two) = (Bench::new(8), Bench::new(8));
    assert_eq!(one.map(), two.map());
    let before = one.map().epoch;
    one.set_up(&[4, 5], false);
    assert_eq!(one.map().epoch, before.next());
}

#[test]
fn slots_of_disks_that_are_out_get_substitutes_and_returning_disks_their_slots() {
    let bench = Bench::new(8);
    let finish_all = || {
        let table = bench.map().table.unwrap();
        let slots = table
            .pgs
            .iter()
            .enumerate()
            .flat_map(|(pg, slots)| slots.iter().enumerate().map(move |(i, slot)| filled(pg, i, slot)));
        bench.change(MapChange::FinishSync { slots: slots.collect() });
    };
    finish_all();
    let before = bench.map();
    bench.set_up(&[4, 5], false);
    assert_eq!(bench.map().table, before.table, "down is not out");
    bench.set_out(&[4, 5], true);
    let map = bench.map();
    for slots in &map.table.as_ref().unwrap().pgs {
        assert!(slots.iter().all(|slot| map.is_live(slot.disk)), "six of eight are up: all slots are");
    }
    bench.set_up(&[4, 5], true);
    bench.set_out(&[4, 5], false);
    let map = bench.map();
    let pairs = before
        .table
        .as_ref()
        .unwrap()
        .pgs
        .iter()
        .flatten()
        .zip(map.table.as_ref().unwrap().pgs.iter().flatten());
    let (home, away): (Vec<_>, Vec<_>) = pairs.partition(|(old, new)| old.disk == new.disk);
    // Two slots of a group whose substitutes stand in each other's zone stay away until those are filled.
    assert!(away.len() * 8 < home.len(), "{} slots did not go back, {} did", away.len(), home.len());
    assert_eq!(map.relaxed_count, 0);
}

#[test]
fn nodes_that_return_after_their_slots_were_filled_get_their_share_again() {
    let bench = Bench::new(8);
    let finish_all = || {
        while bench
            .map()
            .table
            .unwrap()
            .pgs
            .iter()
            .flatten()
            .any(|s| s.state == placement::SlotState::Syncing)
        {
            let table = bench.map().table.unwrap();
            let slots =
                table.pgs.iter().enumerate().flat_map(|(pg, slots)| {
                    slots.iter().enumerate().map(move |(i, slot)| filled(pg, i, slot))
                });
            bench.change(MapChange::FinishSync { slots: slots.collect() });
        }
    };
    let slots_of = |disk: u32| {
        bench.map().table.unwrap().pgs.iter().flatten().filter(|slot| slot.disk == DiskId(disk)).count()
    };
    finish_all();
    bench.set_up(&[4, 5], false);
    bench.set_out(&[4, 5], true);
    finish_all();
    assert_eq!((slots_of(4), slots_of(5)), (0, 0));
    bench.set_up(&[4, 5], true);
    bench.set_out(&[4, 5], false);
    finish_all();
    for disk in 1..=8 {
        // Two slots of every group are in each zone, and the third zone has two nodes only.
        let share = if disk == 3 || disk == 6 { 256 } else { 256 * 2 / 3 };
        assert!(slots_of(disk).abs_diff(share) <= share / 10, "disk {disk} has {} slots", slots_of(disk));
    }
}

/// A node that joins could not apply the log: it is refused, whatever its leader has looked at before.
#[test]
fn builds_that_are_too_old_do_not_join() {
    let bench = Bench::new(1);
    let add = |level| MapChange::AddNode {
        node: new_node(2),
        token_hash: TOKEN,
        asked: asked(2),
        level: FeatureLevel(level),
    };
    let replica = Replica::new(ROOT, RootMachine).of_build(FeatureLevel(3));
    let mut overlay = Overlay::new(&bench.0);
    replica.apply(&mut overlay, 9, &Logged::set_level(FeatureLevel(3))).unwrap();
    for (level, is_let_in) in [(1, false), (2, false), (3, true), (4, true)] {
        let mut attempt = Overlay::new(&overlay);
        let command = plan_change(&attempt, add(level)).unwrap();
        let reply = replica.apply(&mut attempt, 10, &Stamped { time: Millis(1), command }.encode()).unwrap();
        let added = answer::decode::<MapChanged>(&reply);
        assert_eq!(added.is_ok(), is_let_in, "{level}: {added:?}");
        assert!(added.map_or_else(|e| e.message().contains("update the node"), |added| added.node.is_some()));
        assert_eq!(check_build(&overlay, FeatureLevel(level)).is_ok(), is_let_in);
    }
}

#[test]
fn disks_keep_their_ids_and_their_node() {
    let bench = Bench::new(6);
    let register = |node, uuid| MapChange::RegisterDisks {
        node: NodeId(node),
        disks: vec![(DiskUuid([uuid; 16]), 1000)],
    };
    let epoch = bench.map().epoch;
    assert_eq!(bench.change(register(3, 3)).disks, [DiskId(3)]);
    assert_eq!(bench.map().epoch, epoch, "nothing new, no new map");
    assert_eq!(bench.change(register(3, 77)).disks, [DiskId(7)]);
    let error = bench.try_change(register(4, 3), 1).unwrap_err();
    assert!(error.message().contains("belongs to node 3"), "{error}");
}

fn set_voters(partition: u32, voters: &[u64]) -> MapChange {
    let voters = voters.iter().copied().map(NodeId).collect();
    MapChange::SetVoters { partitions: vec![(PartitionId(partition), voters)] }
}

/// What is decided is `placement`'s; here it is about who counts as what.
#[test]
fn partitions_get_voters_that_are_there() {
    let bench = Bench::new(8);
    let check = |away: &[u64], frozen: &[u32], want: &[(u32, [u64; 3])]| {
        let away = away.iter().copied().map(NodeId).collect();
        let frozen = frozen.iter().copied().map(PartitionId).collect();
        let want = want.iter().map(|(id, voters)| (PartitionId(*id), voters.map(NodeId).to_vec()));
        assert_eq!(desired_voters(&bench.map(), &away, &frozen, 2), want.collect::<Vec<_>>());
    };
    // Of three zones, and never node 4, which holds no metadata.
    check(&[], &[], &[(0, [1, 2, 3]), (1, [1, 5, 6])]);
    check(&[], &[0, 1], &[(2, [1, 2, 3]), (3, [1, 5, 6])]);
    bench.change(set_voters(0, &[1, 2, 3]));
    bench.change(set_voters(1, &[1, 5, 6]));
    bench.set_up(&[2], false);
    check(&[], &[1, 2, 3, 4], &[]);
    check(&[2], &[1, 2, 3, 4], &[(0, [1, 3, 8])]);
}

#[test]
fn voters_are_nodes_of_the_cluster() {
    let bench = Bench::new(3);
    for (change, want) in [
        (set_voters(0, &[99]), "not all nodes"),
        (set_voters(0, &[]), "not all nodes"),
        (set_voters(0, &[1, 1]), "voters of partition 0"),
        (set_voters(5, &[1]), "no partition 5"),
    ] {
        let error = bench.try_change(change, 1).unwrap_err();
        assert!(error.message().contains(want), "{error}");
    }
    bench.change(set_voters(3, &[2, 3]));
    assert_eq!(bench.map().voters(PartitionId(3)), [2, 3].map(NodeId));
    assert_eq!(bench.map().voters(ROOT), [NodeId(1)]);
}

#[test]
fn the_only_voter_of_a_partition_is_not_removed() {
    let bench = Bench::new(3);
    bench.change(set_voters(2, &[3]));
    bench.change(set_voters(3, &[2, 3]));
    bench.set_up(&[2, 3], false);
    let remove = |node| MapChange::RemoveNode { node: NodeId(node), force: true };
    let error = bench.try_change(remove(3), 1).unwrap_err();
    assert!(error.message().contains("the only voter of partition 2"), "{error}");
    let mut map = bench.map();
    map.nodes.get_mut(&NodeId(2)).unwrap().up = false;
    assert!(check_removal(&map, NodeId(2), true).unwrap().is_voter);
}

/// I-DET: who computes a table and who installs it may be of different builds, and two leaders may compute at once.
/// Two leaders that rotate at the same time: one of them is told, and no key is lost.
#[test]
fn a_key_ring_that_was_made_from_another_one_is_a_conflict() {
    let bench = Bench::new(1);
    let ring = key_ring(&bench.0).unwrap();
    assert_eq!(ring, bootstrap().keys);
    let next = rotate_ring(&ring, &UNLOCK, &mut || [3; 32], Millis(2)).unwrap();
    bench.ok::<()>(RootCommand::ChangeKeys(Box::new(next.clone())));
    let error = bench.apply::<()>(RootCommand::ChangeKeys(Box::new(next.clone())), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(key_ring(&bench.0), Ok(next));
    assert!(Bench::empty().apply::<()>(RootCommand::ChangeKeys(Box::new(ring)), 1).is_err());
}

#[test]
fn a_change_that_was_computed_from_another_map_is_a_conflict() {
    let bench = Bench::new(8);
    let voters = set_voters(0, &[2]);
    let late = plan_change(&bench.0, voters.clone()).unwrap();
    bench.set_up(&[4], false);
    let before = bench.map();
    let error = bench.apply::<MapChanged>(late, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("compute it again"), "{error}");
    assert_eq!(bench.map(), before);
    let RootCommand::ChangeMap(early) = plan_change(&bench.0, voters.clone()).unwrap() else { panic!() };
    let early = ChangeMap { base: before.epoch.next(), ..*early };
    let error = bench.apply::<MapChanged>(RootCommand::ChangeMap(Box::new(early)), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(bench.change(voters).epoch, before.epoch.next());
}

/// I-DET: what is installed is what the command says, whatever our own solver would make of it.
#[test]
fn a_table_is_installed_as_it_was_computed() {
    let bench = Bench::new(8);
    let change = MapChange::SetNodes { changes: Vec::new() };
    let mut table = bench.map().table.unwrap();
    table.pgs.reverse();
    let placed = Some(Placed { table: table.clone(), relaxed_count: 5 });
    let command = ChangeMap { base: bench.map().epoch, change, placed };
    let changed: MapChanged = bench.ok(RootCommand::ChangeMap(Box::new(command)));
    let map = bench.map();
    assert_eq!((map.table, map.relaxed_count, map.epoch), (Some(table), 5, changed.epoch));
}

#[test]
fn a_table_that_no_map_can_have_is_refused() {
    let bench = Bench::new(8);
    let before = bench.map();
    let refused = |damage: &dyn Fn(&mut placement::Table), want: &str| {
        let mut table = before.table.clone().unwrap();
        damage(&mut table);
        let change = MapChange::SetNodes { changes: Vec::new() };
        let placed = Some(Placed { table, relaxed_count: 0 });
        let command = ChangeMap { base: before.epoch, change, placed };
        let error = bench.apply::<MapChanged>(RootCommand::ChangeMap(Box::new(command)), 1).unwrap_err();
        assert!(error.message().contains(want), "{error}");
        assert_eq!(bench.map(), before);
    };
    refused(&|table| table.pgs.truncate(255), "its table has 255");
    refused(&|table| table.pgs[3].truncate(5), "5 slots in group 3");
    refused(&|table| table.pgs[3][0] = table.pgs[3][1], "group 3 are not on disks of their own");
    refused(&|table| table.pgs[3][0] = placement::PgSlot::serving(DiskId(99)), "group 3 are not on disks");
}

#[test]
fn what_changes_nothing_is_no_new_map() {
    let bench = Bench::new(8);
    let epoch = bench.map().epoch;
    bench.set_up(&[1, 2], true);
    assert_eq!(bench.change(set_voters(0, &[1])).epoch, epoch);
    assert_eq!(bench.map().epoch, epoch);
}

fn filled(pg: usize, slot: usize, holder: &placement::PgSlot) -> FilledSlot {
    FilledSlot { pg: PgId(pg as u16), slot: slot as u8, disk: holder.disk, since: holder.since }
}

/// Commands of every kind, each as a leader would propose it after the ones before.
fn commands() -> Vec<RootCommand> {
    let bench = Bench::new(8);
    let change = |node: u64, up: bool| {
        let NewNode { native, control, .. } = new_node(node);
        NodeChange {
            node: NodeId(node),
            up,
            native,
            control,
            disks: [(DiskId(3), DiskState::ReadOnly)].into(),
        }
    };
    let filled = |slot: u8| {
        let (pg, disk) = (PgId(slot.into()), DiskId(slot.into()));
        FilledSlot { pg, slot, disk, since: Epoch(3) }
    };
    let slots = (0..4).map(filled).collect();
    let changes = [
        add_node(9, TOKEN),
        MapChange::SetNodes { changes: vec![change(2, false), change(3, true)] },
        MapChange::RegisterDisks {
            node: NodeId(2),
            disks: vec![(DiskUuid([2; 16]), 77), (DiskUuid([99; 16]), 5)],
        },
        MapChange::FinishSync { slots },
        set_voters(0, &[1, 2]),
        MapChange::SetNodes { changes: vec![change(2, true)] },
    ];
    let propose = |change| {
        let command = plan_change(&bench.0, change).unwrap();
        bench.ok::<MapChanged>(command.clone());
        command
    };
    let mut commands = vec![
        RootCommand::Bootstrap(Box::new(bootstrap())),
        add_token(TOKEN, Grant::Join(Role::Meta), 5),
        add_token([7; 32], Grant::Renew(NodeId(1)), 1),
        RootCommand::ChangeKeys(Box::new(KeyRing { version: 2, ..bootstrap().keys })),
    ];
    commands.extend(changes.map(propose));
    let (identity, token_hash) = (Identity::Node(NodeId(1)), Some([7; 32]));
    commands.extend([
        RootCommand::IssueCertificate { identity, asked: asked(77), token_hash },
        RootCommand::RevokeCertificates { which: Which::Serial(Serial(1)), own: None, force: true },
        RootCommand::RevokeToken { id: proto::certificates::token_id(&TOKEN) },
        RootCommand::ForgetExpired,
    ]);
    commands
}

/// A log with a command of every kind.
pub fn log() -> Vec<Bytes> {
    let bench = Bench::new(8);
    for command in commands() {
        bench.apply_bytes(&Stamped { time: Millis(1), command }.encode()).unwrap();
    }
    bench.1.take()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// What another program may have written to the log: our commands with one byte changed.
    #[test]
    fn no_command_breaks_the_rows(damage in proptest::collection::vec((any::<u8>(), any::<usize>()), 10)) {
        let bench = Bench::new(8);
        for (command, (byte, at)) in commands().into_iter().zip(damage) {
            let mut bytes = Stamped { time: Millis(1), command }.encode().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            // Carried out, refused, or a halt: in each case there is a map that can be used.
            let _ = bench.apply_bytes(&bytes);
        }
    }
}
