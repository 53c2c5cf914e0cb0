//! What happens when disks go down and come back: as little as possible.

use types::{Epoch, Profile};

use crate::solver::{Position, Solver};
use crate::topology::CandidateIndex;
use crate::{Candidate, Change, SlotState, Table};

/// Gives in the map of `epoch` every slot whose disk is down (or gone from the map) to a disk that is up, and sends slots back to a holder
/// that returned before its substitute was filled. Everything else stays where it is.
pub fn substitute(table: &Table, profile: Profile, disks: &[Candidate], epoch: Epoch) -> Change {
    let mut solver = Solver::new(table, profile, disks, epoch);
    let positions = solver.positions();
    positions.iter().for_each(|&position| welcome_back(&mut solver, position));
    for position in positions {
        if is_up(&solver, position) {
            continue;
        }
        // The previous holder still has all older shards: no other disk is filled faster.
        match previous_home(&solver, position) {
            Some(previous) => solver.move_slot(position, previous),
            None => solver.replace(position),
        }
    }
    solver.finish()
}

/// The holder is up, whether it may take more slots or not.
fn is_up(solver: &Solver<'_>, position: Position) -> bool {
    solver.holder(position).is_some_and(|disk| !solver.map.disks[disk].down)
}

fn welcome_back(solver: &mut Solver<'_>, position: Position) {
    let slot = solver.slot(position);
    if slot.returns
        && let Some(previous) = previous_home(solver, position)
    {
        return solver.move_slot(position, previous);
    }
    if slot.state == SlotState::Offline && is_up(solver, position) {
        // It missed what was written meanwhile.
        solver.refill(position);
    }
}

/// The previous holder, when it is up and may take the slot again.
fn previous_home(solver: &Solver<'_>, position: Position) -> Option<CandidateIndex> {
    let previous = solver.map.index(solver.slot(position).previous?)?;
    (solver.map.is_live(previous) && solver.fits(position, previous)).then_some(previous)
}
