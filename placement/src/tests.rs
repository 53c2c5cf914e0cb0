//! I-PLACE: builds clusters of many shapes, breaks them, and looks at balance, movement and rules.

use proptest::prelude::*;
use types::{DiskId, ErrorKind, NodeId, Profile};

use super::*;

/// Of the maps that have the changes here.
const EPOCH: Epoch = Epoch(7);

fn substitute(table: &Table, profile: Profile, disks: &[Candidate]) -> Change {
    crate::substitute(table, profile, disks, EPOCH)
}

fn rebalance(table: &Table, profile: Profile, disks: &[Candidate]) -> Change {
    crate::rebalance(table, profile, disks, EPOCH)
}

/// A cluster of equal disks: `zones[z][i]` disks on the i-th node of zone z.
fn cluster(zones: &[&[u32]]) -> Vec<Candidate> {
    let mut disks = Vec::new();
    for (zone, nodes) in zones.iter().enumerate() {
        for (node, count) in nodes.iter().enumerate() {
            let node = NodeId((zone * 1000 + node) as u64 + 1);
            disks.extend((0..*count).map(|_| (node, format!("z{zone}"))));
        }
    }
    let disk = |(i, (node, zone)): (usize, (NodeId, String))| Candidate {
        id: DiskId(u32::try_from(i).unwrap() + 1),
        node,
        zone,
        weight: 1 << 40,
        usable: true,
        down: false,
    };
    disks.into_iter().enumerate().map(disk).collect()
}

fn profile(text: &str) -> Profile {
    Profile::parse(text).unwrap()
}

fn held(table: &Table, disk: DiskId, index: Option<usize>) -> usize {
    let all = table.pgs.iter().flat_map(|slots| slots.iter().enumerate());
    all.filter(|(i, slot)| slot.disk == disk && index.is_none_or(|index| index == *i)).count()
}

/// Largest distance of a live disk from its fair share beyond rounding (one slot), in thousandths of the share; for
/// equal weights.
fn spread(table: &Table, disks: &[Candidate], index: Option<usize>) -> usize {
    let live: Vec<&Candidate> = disks.iter().filter(|disk| disk.usable && !disk.down).collect();
    let total: usize = live.iter().map(|disk| held(table, disk.id, index)).sum();
    let out = |disk: &&Candidate| {
        let distance = (held(table, disk.id, index) * live.len()).abs_diff(total);
        distance.saturating_sub(live.len()) * 1000 / total
    };
    live.iter().map(out).max().unwrap()
}

fn all_synced(mut table: Table) -> Table {
    for slot in table.pgs.iter_mut().flatten().filter(|slot| slot.state == SlotState::Syncing) {
        *slot = PgSlot::serving(slot.disk);
    }
    table
}

fn with(disks: &[Candidate], change: impl Fn(&mut Candidate)) -> Vec<Candidate> {
    let mut disks = disks.to_vec();
    disks.iter_mut().for_each(change);
    disks
}

#[track_caller]
fn check_build(text: &str, zones: &[&[u32]], spread_max: usize) -> Table {
    let disks = cluster(zones);
    let table = build(profile(text), 4096, &disks).unwrap();
    assert_eq!(check(&table, profile(text), &disks), []);
    let (all, first) = (spread(&table, &disks, None), spread(&table, &disks, Some(0)));
    assert!(all <= spread_max && first <= spread_max, "{all} and {first} thousandths out of balance");
    assert_eq!(build(profile(text), 4096, &disks).unwrap(), table, "the same on every node");
    table
}

#[test]
fn new_clusters_are_balanced() {
    check_build("4+2", &[&[6]], 10);
    check_build("4+2", &[&[1; 8]], 10);
    check_build("4+2", &[&[2; 4], &[2; 4], &[2; 4]], 10);
    check_build("6+3", &[&[4; 12]], 10);
    check_build("8+3", &[&[1; 11]], 10);
    check_build("10+4", &[&[12; 10], &[12; 10], &[12; 10], &[12; 10]], 20);
}

#[test]
fn too_few_disks_are_refused() {
    let error = build(profile("4+2"), 4096, &cluster(&[&[5]])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("needs 6 disks and 5"), "{error}");
    assert!(build(profile("4+2"), 100, &cluster(&[&[6]])).is_err(), "not a power of two");
}

#[test]
fn weights_are_followed_as_far_as_the_rules_allow() {
    let disks = with(&cluster(&[&[1; 12]]), |disk| disk.weight = if disk.id.0 <= 4 { 100 } else { 200 });
    let table = build(profile("4+2"), 4096, &disks).unwrap();
    let total: usize = 4096 * 6;
    for disk in &disks {
        let want = total * usize::try_from(disk.weight).unwrap() / 2000;
        assert!(held(&table, disk.id, None).abs_diff(want) <= 2, "disk {}", disk.id);
    }
    // One giant cannot hold more than one slot of each group.
    let disks = with(&disks, |disk| disk.weight = if disk.id.0 == 1 { 1 << 50 } else { 1 });
    let table = build(profile("4+2"), 4096, &disks).unwrap();
    assert_eq!(held(&table, DiskId(1), None), 4096);
    assert_eq!(check(&table, profile("4+2"), &disks), []);
}

#[test]
fn zones_give_way_before_nodes() {
    let relaxed = |zones: &[&[u32]]| {
        let disks = cluster(zones);
        let table = check_build("4+2", zones, 1000);
        rebalance(&table, profile("4+2"), &disks).relaxed
    };
    assert_eq!(relaxed(&[&[1; 2], &[1; 2], &[1; 2]]), 0);
    assert_eq!(relaxed(&[&[1; 6]]), 0, "one zone: nothing to spread over");
    assert_eq!(relaxed(&[&[1; 3], &[1; 3]]), 4096, "three a zone");
    assert_eq!(relaxed(&[&[6]]), 4096, "one node");
    assert_eq!(relaxed(&[&[2; 3]]), 4096, "two a node");
}

#[test]
fn a_down_disk_is_substituted_and_gets_its_slots_back() {
    let disks = cluster(&[&[1; 8]]);
    let table = build(profile("4+2"), 4096, &disks).unwrap();
    let down = with(&disks, |disk| disk.down = disk.id.0 == 3);
    let change = substitute(&table, profile("4+2"), &down);
    assert_eq!((change.moved, change.relaxed), (held(&table, DiskId(3), None), 0));
    assert_eq!(check(&change.table, profile("4+2"), &down), []);
    assert!(spread(&change.table, &down, None) <= 20 && spread(&change.table, &down, Some(0)) <= 30);
    for (before, after) in table.pgs.iter().flatten().zip(change.table.pgs.iter().flatten()) {
        match before.disk {
            DiskId(3) => assert_eq!((after.previous, after.state), (Some(DiskId(3)), SlotState::Syncing)),
            _ => assert_eq!(before, after),
        }
    }
    assert_eq!(substitute(&change.table, profile("4+2"), &down).moved, 0, "done is done");

    let back = substitute(&change.table, profile("4+2"), &disks);
    assert_eq!(back.moved, change.moved);
    assert_eq!(all_synced(back.table.clone()), table, "all slots are home again");
    assert_eq!(substitute(&back.table, profile("4+2"), &disks).moved, 0, "and stay there");

    let kept = substitute(&all_synced(change.table), profile("4+2"), &disks);
    assert_eq!(kept.moved, 0, "a filled substitute keeps its slots");
}

#[test]
fn five_of_eight_nodes_double_up_and_no_group_shares_a_disk() {
    let disks = cluster(&[&[2; 8]]);
    let table = build(profile("4+2"), 4096, &disks).unwrap();
    let down = with(&disks, |disk| disk.down = disk.node.0 > 5);
    let change = substitute(&table, profile("4+2"), &down);
    assert_eq!(change.relaxed, 4096);
    assert_eq!(check(&change.table, profile("4+2"), &down), []);
    let mended = rebalance(&all_synced(change.table), profile("4+2"), &disks);
    assert_eq!(mended.relaxed, 0);
    assert_eq!(check(&mended.table, profile("4+2"), &disks), []);
}

#[test]
fn without_a_disk_to_go_to_a_slot_is_offline_until_its_disk_returns() {
    let disks = cluster(&[&[1; 8]]);
    let table = build(profile("4+2"), 256, &disks).unwrap();
    let down = with(&disks, |disk| disk.down = disk.node.0 > 5);
    let change = substitute(&table, profile("4+2"), &down);
    for slots in &change.table.pgs {
        let offline: Vec<&PgSlot> = slots.iter().filter(|slot| slot.state == SlotState::Offline).collect();
        assert!(offline.len() == 1 && offline[0].disk.0 > 5, "{slots:?}");
    }
    let back = substitute(&change.table, profile("4+2"), &disks);
    assert_eq!(check(&back.table, profile("4+2"), &disks), []);
    assert_eq!(all_synced(back.table), table);
}

#[test]
fn a_slot_whose_substitute_fails_too_still_knows_where_the_shards_are() {
    let disks = cluster(&[&[1; 9]]);
    let table = build(profile("4+2"), 64, &disks).unwrap();
    let first = with(&disks, |disk| disk.down = disk.id.0 == 1);
    let second = with(&disks, |disk| disk.down = disk.id.0 <= 2);
    let change = substitute(&substitute(&table, profile("4+2"), &first).table, profile("4+2"), &second);
    for (before, after) in table.pgs.iter().flatten().zip(change.table.pgs.iter().flatten()) {
        assert!(after.disk.0 > 2);
        if before.disk != after.disk {
            assert_eq!(after.previous, Some(before.disk));
        }
    }
    let back = substitute(&change.table, profile("4+2"), &disks);
    assert_eq!(all_synced(back.table), table);
}

/// Moves of a rebalance between two sets of disks, in thousandths of the fewest possible.
#[track_caller]
fn check_moves(text: &str, before: &[Candidate], after: &[Candidate], moves_max: usize, spread_max: usize) {
    let table = build(profile(text), 4096, before).unwrap();
    let change = rebalance(&table, profile(text), after);
    assert_eq!(check(&change.table, profile(text), after), []);
    let lost: usize = table.pgs.iter().flatten().filter(|slot| !is_live(after, slot.disk)).count();
    let live = after.iter().filter(|disk| disk.usable).count();
    let share = table.pgs.len() * profile(text).n() / live;
    let gained: usize = after
        .iter()
        .filter(|disk| disk.usable)
        .map(|disk| share.saturating_sub(held(&table, disk.id, None)))
        .sum();
    let least = lost.max(gained);
    let moves = change.moved * 1000 / least;
    assert!(moves <= moves_max, "{} moves, {least} needed", change.moved);
    let (all, first) = (spread(&change.table, after, None), spread(&change.table, after, Some(0)));
    assert!(all <= spread_max && first <= 50, "{all} and {first} thousandths out of balance");
    assert_eq!(rebalance(&all_synced(change.table), profile(text), after).moved, 0, "done is done");
}

fn is_live(disks: &[Candidate], id: DiskId) -> bool {
    disks.iter().any(|disk| disk.id == id && disk.usable && !disk.down)
}

#[test]
fn growing_and_shrinking_move_little_more_than_the_minimum() {
    let of = |nodes: usize, each: u32| cluster(&[&vec![each; nodes]]);
    check_moves("8+3", &of(12, 1), &of(13, 1), 1020, 20);
    check_moves("8+3", &of(24, 4), &of(25, 4), 1020, 20);
    check_moves("4+2", &of(6, 1), &of(7, 1), 1020, 20);
    check_moves("4+2", &of(12, 2), &of(16, 2), 1020, 20);
    check_moves("4+2", &of(1, 6), &of(1, 7), 1020, 20);
    let drained = |disks: &[Candidate], node| with(disks, |disk| disk.usable = disk.node.0 != node);
    check_moves("4+2", &of(8, 2), &drained(&of(8, 2), 3), 1020, 20);
    check_moves("8+3", &of(13, 1), &drained(&of(13, 1), 13), 1020, 20);
    check_moves("10+4", &of(40, 12), &drained(&of(40, 12), 7), 1020, 30);
    let removed: Vec<Candidate> = of(10, 2).into_iter().filter(|disk| disk.id.0 != 5).collect();
    check_moves("6+3", &of(10, 2), &removed, 1020, 20);
}

#[test]
fn a_drained_disk_stays_the_source_of_its_slots() {
    let disks = cluster(&[&[1; 8]]);
    let table = build(profile("4+2"), 64, &disks).unwrap();
    let drained = with(&disks, |disk| disk.usable = disk.id.0 != 2);
    assert_eq!(substitute(&table, profile("4+2"), &drained).moved, 0, "draining is not a fault");
    let change = rebalance(&table, profile("4+2"), &drained);
    assert_eq!(held(&change.table, DiskId(2), None), 0);
    for (before, after) in table.pgs.iter().flatten().zip(change.table.pgs.iter().flatten()) {
        if before.disk == DiskId(2) {
            assert_eq!((after.previous, after.returns), (Some(DiskId(2)), false));
        }
    }
    assert_eq!(substitute(&change.table, profile("4+2"), &disks).moved, 0, "a planned move is not undone");
}

#[test]
fn only_the_present_holder_finishes_a_sync() {
    let disks = cluster(&[&[1; 7]]);
    let mut table = build(profile("4+2"), 2, &disks).unwrap();
    let holder = table.pgs[1][0].disk;
    assert!(!table.finish_sync(PgId(1), 0, holder, Epoch(0)), "it is not syncing");
    let down = with(&disks, |disk| disk.down = disk.id == holder);
    table = substitute(&table, profile("4+2"), &down).table;
    assert!(!table.finish_sync(PgId(1), 0, holder, EPOCH));
    let substitute = table.slots(PgId(1))[0].disk;
    assert!(!table.finish_sync(PgId(1), 0, substitute, Epoch(6)), "it was given the slot once more since");
    assert!(table.finish_sync(PgId(1), 0, substitute, EPOCH));
    assert_eq!(table.slots(PgId(1))[0], PgSlot::serving(substitute));
    assert!(!table.finish_sync(PgId(9), 0, substitute, EPOCH) && table.slots(PgId(9)).is_empty());
}

#[test]
fn the_checker_sees_what_is_wrong() {
    let disks = cluster(&[&[2; 6], &[2; 6], &[2; 6]]);
    let good = build(profile("4+2"), 4, &disks).unwrap();
    let found = |change: &dyn Fn(&mut Vec<PgSlot>)| {
        let mut table = good.clone();
        change(&mut table.pgs[2]);
        check(&table, profile("4+2"), &disks)
    };
    let pg = PgId(2);
    assert_eq!(found(&|slots| slots.truncate(5)), [Violation::SlotCount { pg, count: 5 }]);
    assert!(
        found(&|slots| slots[1] = slots[0])
            .contains(&Violation::DiskShared { pg, disk: good.pgs[2][0].disk })
    );
    let lost = Violation::HolderLost { pg, index: 3, disk: DiskId(99) };
    assert_eq!(found(&|slots| slots[3].disk = DiskId(99)), [lost]);
    assert_eq!(
        found(&|slots| slots[3].state = SlotState::Offline),
        [Violation::OfflineInVain { pg, index: 3 }]
    );
    let crowd = found(&|slots| (0..6).for_each(|i| slots[i].disk = DiskId(u32::try_from(i).unwrap() + 1)));
    assert!(crowd.iter().any(|v| matches!(v, Violation::NodeOver { count: 2, .. })), "{crowd:?}");
    assert!(crowd.iter().any(|v| matches!(v, Violation::ZoneOver { count: 6, .. })), "{crowd:?}");
}

fn any_disks() -> impl Strategy<Value = Vec<Candidate>> {
    let disk = (0..12u64, 0..4u64, 1..1000u64, prop::bool::weighted(0.95), prop::bool::weighted(0.05));
    prop::collection::vec(disk, 1..60).prop_map(|disks| {
        let disk =
            |(i, (node, zone, weight, usable, down)): (usize, (u64, u64, u64, bool, bool))| Candidate {
                id: DiskId(u32::try_from(i).unwrap()),
                node: NodeId(node),
                zone: format!("z{}", node % (zone + 1)),
                weight,
                usable,
                down,
            };
        disks.into_iter().enumerate().map(disk).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    /// Whatever the disks are and whatever happens to them, the rules that can be kept are kept.
    #[test]
    fn rules_hold(mut disks in any_disks(), events in prop::collection::vec((0..60usize, 0..4u8), 0..12)) {
        let profile = profile("4+2");
        let Ok(mut table) = build(profile, 64, &disks) else {
            prop_assert!(disks.iter().filter(|d| d.usable && !d.down).count() < 6);
            return Ok(());
        };
        prop_assert_eq!(check(&table, profile, &disks), []);
        for (which, event) in events {
            let count = disks.len();
            let disk = &mut disks[which % count];
            match event {
                0 => disk.down = !disk.down,
                1 => disk.usable = !disk.usable,
                2 => table = all_synced(table),
                _ => disk.weight = disk.weight * 7 % 1000 + 1,
            }
            let change = substitute(&table, profile, &disks);
            for slot in change.table.pgs.iter().flatten() {
                let down = disks.iter().any(|d| d.id == slot.disk && d.down);
                prop_assert_eq!(down, slot.state == SlotState::Offline);
            }
            let again = substitute(&change.table, profile, &disks);
            prop_assert_eq!((&again.table, again.moved), (&change.table, 0));
            let rebalanced = rebalance(&change.table, profile, &disks);
            let live = disks.iter().filter(|d| d.usable && !d.down).count();
            if live >= 6 {
                prop_assert_eq!(check(&rebalanced.table, profile, &disks), []);
            }
            table = if event == 3 { rebalanced.table } else { change.table };
            for slots in &table.pgs {
                let ids: std::collections::BTreeSet<DiskId> = slots.iter().map(|slot| slot.disk).collect();
                prop_assert_eq!(ids.len(), 6);
            }
        }
    }
}
