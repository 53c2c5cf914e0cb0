//! What happens when disks are added, drained or removed: the fewest moves to a balanced table.

use types::{Epoch, Profile};

use crate::solver::{NO_BREACH, Position, Solver, spread};
use crate::topology::CandidateIndex;
use crate::{Candidate, Change, SlotState, Table};

/// Empties disks that may not hold slots, mends groups that broke a rule when there was no better disk, and moves slots
/// from disks that hold more than their share to those that hold less. Slots that are being filled are left alone
/// unless a rule needs them to move.
pub fn rebalance(table: &Table, profile: Profile, disks: &[Candidate], epoch: Epoch) -> Change {
    let mut solver = Solver::new(table, profile, disks, epoch);
    empty_lost_disks(&mut solver);
    mend_groups(&mut solver);
    level(&mut solver, Pass::Moved);
    level_by_detour(&mut solver, Cost::Free);
    level(&mut solver, Pass::Coordinators);
    level(&mut solver, Pass::Others);
    level(&mut solver, Pass::All);
    level_by_detour(&mut solver, Cost::Moves);
    solver.finish()
}

fn empty_lost_disks(solver: &mut Solver<'_>) {
    for position in solver.positions() {
        if solver.holder(position).is_none_or(|disk| !solver.map.is_live(disk)) {
            solver.replace(position);
        }
    }
}

/// A group whose limits allow better always has a disk that is better: the limits nest (zone, node, disk).
fn mend_groups(solver: &mut Solver<'_>) {
    // From the back: a slot 0 that moves takes the coordinator's warm state with it.
    for position in solver.positions().into_iter().rev() {
        let Some(holder) = solver.holder(position).filter(|&disk| solver.map.is_live(disk)) else { continue };
        // `None`: two slots on one disk, which `build` never produces; any other disk is better.
        if solver.breach(position, holder) != Some(NO_BREACH)
            && let Some((NO_BREACH, disk)) = solver.best_disk(position)
        {
            solver.move_slot(position, disk);
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Pass {
    /// Slots that this change has moved already: going on to another disk costs nothing.
    Moved,
    /// Slots 0, from disks that coordinate too many groups to those that coordinate too few.
    Coordinators,
    /// Slots that are not 0.
    Others,
    /// What is left.
    All,
}

#[derive(Clone, Copy, PartialEq)]
enum Cost {
    /// Only slots that this change has moved already.
    Free,
    /// Whatever it takes.
    Moves,
}

/// Moves slots straight from disks above their target to disks below it.
fn level(solver: &mut Solver<'_>, pass: Pass) {
    let cost = if pass == Pass::Moved { Cost::Free } else { Cost::Moves };
    for source in above(solver) {
        for position in gifts(solver, source, cost) {
            if solver.held(source) <= solver.target[source] {
                break;
            }
            let wanted = match pass {
                Pass::Coordinators => {
                    position.1 == 0 && solver.held_first[source] > solver.target_first[source]
                }
                Pass::Others => position.1 > 0,
                Pass::Moved | Pass::All => true,
            };
            if wanted && let Some(target) = emptiest(solver, position, pass) {
                solver.move_slot(position, target);
            }
        }
    }
}

fn above(solver: &Solver<'_>) -> Vec<CandidateIndex> {
    solver.map.live().filter(|&disk| solver.held(disk) > solver.target[disk]).collect()
}

/// Slots a disk holds and can give: first those that this change brought to it, then the others in an order that
/// mixes groups.
fn gifts(solver: &Solver<'_>, disk: CandidateIndex, cost: Cost) -> Vec<Position> {
    let may_go = |slot: &Position| {
        solver.is_moved(*slot) || (cost == Cost::Moves && solver.slot(*slot).state == SlotState::Serving)
    };
    let mut slots: Vec<Position> = solver.slots_of(disk).filter(may_go).collect();
    slots.sort_by_cached_key(|&slot| (!solver.is_moved(slot), spread(slot, disk)));
    slots
}

/// The disk that lacks most and may take the slot.
fn emptiest(solver: &Solver<'_>, position: Position, pass: Pass) -> Option<CandidateIndex> {
    let lacks = |disk: CandidateIndex| solver.target[disk].saturating_sub(solver.held(disk));
    let lacks_first = |disk: CandidateIndex| solver.target_first[disk] > solver.held_first[disk];
    let below = solver.map.live().filter(|&disk| lacks(disk) > 0);
    below
        .filter(|&disk| pass != Pass::Coordinators || lacks_first(disk))
        .filter(|&disk| solver.fits(position, disk))
        .max_by_key(|&disk| (lacks(disk) * 1_000_000 / solver.target[disk], spread(position, disk)))
}

/// Where no slot of a full disk fits an empty one, a third disk helps: it gives one and takes one. When that costs
/// moves, only what is more than a hundredth out of balance is worth it.
fn level_by_detour(solver: &mut Solver<'_>, cost: Cost) {
    let lacks = |solver: &Solver<'_>, disk: CandidateIndex| {
        let tolerated = if cost == Cost::Free { 0 } else { solver.target[disk] / 100 };
        solver.held(disk) + tolerated < solver.target[disk]
    };
    let below: Vec<CandidateIndex> = solver.map.live().filter(|&disk| lacks(solver, disk)).collect();
    for target in below {
        while lacks(solver, target) && detour_to(solver, target, cost) {}
    }
}

fn detour_to(solver: &mut Solver<'_>, target: CandidateIndex, cost: Cost) -> bool {
    let givers: Vec<Position> =
        above(solver).into_iter().flat_map(|disk| gifts(solver, disk, cost)).collect();
    let thirds: Vec<CandidateIndex> = solver.map.live().filter(|&disk| disk != target).collect();
    for third in thirds {
        let second = gifts(solver, third, cost).into_iter().find(|&position| solver.fits(position, target));
        let Some(second) = second else { continue };
        let may_follow = |position: &Position| {
            position.0 != second.0 && solver.holder(*position) != Some(third) && solver.fits(*position, third)
        };
        if let Some(first) = givers.iter().copied().find(may_follow) {
            solver.move_slot(second, target);
            solver.move_slot(first, third);
            return true;
        }
    }
    false
}
