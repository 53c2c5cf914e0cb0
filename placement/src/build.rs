//! The table of a new cluster.

use types::limits::PG_COUNT_MAX;
use types::{Error, Profile, Result};

use crate::solver::shuffle;
use crate::topology::{CandidateIndex, Topology};
use crate::{Candidate, PgSlot, Table};

/// Exchanges tried per slot; more make no visible difference.
const EXCHANGES_PER_SLOT: usize = 4;

/// Builds the table of a new cluster: exactly balanced, keeping every rule the disks allow. `Invalid` if too few.
pub fn build(profile: Profile, pg_count: u16, disks: &[Candidate]) -> Result<Table> {
    if !pg_count.is_power_of_two() || pg_count > PG_COUNT_MAX {
        return Err(Error::invalid(format!(
            "{pg_count} placement groups: use a power of two up to {PG_COUNT_MAX}"
        )));
    }
    let map = Topology::new(profile, disks);
    let live = map.live().count();
    if live < profile.n() {
        return Err(Error::invalid(format!(
            "profile {profile} needs {} disks and {live} are usable: add disks or choose a smaller profile",
            profile.n()
        )));
    }
    let mut pgs = deal(&map, pg_count.into());
    exchange(&map, &mut pgs);
    appoint_coordinators(&map, &mut pgs);
    let slots = |disks: Vec<CandidateIndex>| {
        disks.into_iter().map(|disk| PgSlot::serving(map.disks[disk].id)).collect()
    };
    let table = Table { pgs: pgs.into_iter().map(slots).collect() };
    debug_assert_eq!(crate::check(&table, profile, disks), [], "a new table keeps every rule (I-PLACE)");
    Ok(table)
}

/// Lays out as many cards per disk as it should hold slots, disks of a node and nodes of a zone side by side, and deals
/// them to the groups in turn. A run of `pg_count * limit` cards gives each group at most `limit` of them, so the
/// limits hold by construction.
fn deal(map: &Topology<'_>, pg_count: usize) -> Vec<Vec<CandidateIndex>> {
    let targets = map.targets(pg_count, &vec![0; map.disks.len()]);
    let mut pgs = vec![Vec::with_capacity(map.profile.n()); pg_count];
    let cards = map.live_by_domain().into_iter().flat_map(|disk| std::iter::repeat_n(disk, targets[disk]));
    let mut dealt = 0;
    for (card, disk) in cards.enumerate() {
        pgs[card % pg_count].push(disk);
        dealt = card + 1;
    }
    assert_eq!(dealt, pg_count * map.profile.n(), "enough live disks hold every slot, and each once");
    // Each disk should have every index in turn: data shards are read more than parity.
    for (pg, slots) in pgs.iter_mut().enumerate() {
        let count = slots.len();
        slots.rotate_left(pg % count);
    }
    pgs
}

/// Dealing leaves neighbours together; exchanging slots between groups mixes them, so that when a disk is lost many
/// others share the work of rebuilding it. Counts and limits stay.
fn exchange(map: &Topology<'_>, pgs: &mut [Vec<CandidateIndex>]) {
    let n = map.profile.n();
    let pg_count = pgs.len() as u64;
    for round in 0..(pgs.len() * n * EXCHANGES_PER_SLOT) as u64 {
        let chance = shuffle(round);
        let [a, b] = [chance % pg_count, (chance >> 16) % pg_count].map(index);
        let [i, start] = [(chance >> 32) % n as u64, (chance >> 48) % n as u64].map(index);
        let fits = |&j: &usize| {
            let (disk_a, disk_b) = (pgs[a][i], pgs[b][j]);
            disk_a != disk_b && takes(map, &pgs[a], i, disk_b) && takes(map, &pgs[b], j, disk_a)
        };
        // In a tight cluster most pairs do not fit, so the whole other group is looked through.
        if a != b
            && let Some(j) = (0..n).map(|step| (start + step) % n).find(fits)
        {
            let disk = pgs[a][i];
            pgs[a][i] = std::mem::replace(&mut pgs[b][j], disk);
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a remainder by a count in memory")
}

/// True when `disk` may stand at `index` of a group.
fn takes(map: &Topology<'_>, slots: &[CandidateIndex], index: usize, disk: CandidateIndex) -> bool {
    let (mut on_node, mut in_zone) = (0, 0);
    for (_, &other) in slots.iter().enumerate().filter(|(i, _)| *i != index) {
        if other == disk {
            return false;
        }
        on_node += usize::from(map.node_of[other] == map.node_of[disk]);
        in_zone += usize::from(map.zone_of[other] == map.zone_of[disk]);
    }
    on_node < map.limits.node && in_zone < map.limits.zone
}

/// Puts first in each group the disk that coordinates the smallest part of its share so far. A second pass hands groups
/// of disks that have too many on to members that have fewer.
fn appoint_coordinators(map: &Topology<'_>, pgs: &mut [Vec<CandidateIndex>]) {
    let mut share = vec![0u64; map.disks.len()];
    pgs.iter().flatten().for_each(|&disk| share[disk] += 1);
    let mut coordinated = vec![0u64; map.disks.len()];
    let load = |coordinated: &[u64], disk: CandidateIndex| (coordinated[disk] + 1) * 1_000_000 / share[disk];
    for slots in pgs.iter_mut() {
        let lightest =
            (0..slots.len()).min_by_key(|&i| load(&coordinated, slots[i])).expect("a group has slots");
        slots.swap(0, lightest);
        coordinated[slots[0]] += 1;
    }
    for slots in pgs.iter_mut() {
        let lightest =
            (0..slots.len()).min_by_key(|&i| load(&coordinated, slots[i])).expect("a group has slots");
        if coordinated[slots[0]] * 1_000_000 / share[slots[0]] > load(&coordinated, slots[lightest]) {
            assert!(coordinated[slots[0]] > 0, "the first pass gave every group a coordinator");
            coordinated[slots[0]] -= 1;
            slots.swap(0, lightest);
            coordinated[slots[0]] += 1;
        }
    }
}
