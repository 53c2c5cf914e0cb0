//! How far repair is, how fast it goes, and what holds it up. Plain values: whoever repairs says what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use env::time::{Duration, Instant};
use proto::disks::{DiskHealing, HealLimit};
use types::limits::HEAL_RATE_TIME;
use types::{ChunkId, DiskId, PgId};

use crate::task::Task;

/// Work of one kind that repair does for a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Asking the index what should be there.
    Index,
    /// Waiting until users are served.
    Users,
    /// Reading the part, or what it is made of.
    Sources,
    /// Making it durable on its own disk.
    Write,
}

/// What is known of the repair of each disk.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<BTreeMap<DiskId, Repair>>);

#[derive(Debug, Default)]
struct Repair {
    /// Slots to fill, and how much of each is done, in thousandths.
    slots: BTreeMap<(PgId, u8), u64>,
    /// Slots that were filled since there was nothing to fill.
    complete: u64,
    begun: Option<Instant>,
    made: u64,
    bytes: u64,
    /// Parts that could not be made when a slot was looked through last, by slot.
    aside: BTreeMap<(PgId, u8), u64>,
    rate: Rate,
    /// Time spent lately, by step.
    spent: [Duration; 4],
}

/// Bytes per second, of the last complete span of [`HEAL_RATE_TIME`].
#[derive(Debug, Default)]
struct Rate {
    begun: Option<Instant>,
    bytes: u64,
    last: u64,
}

impl Rate {
    fn add(&mut self, now: Instant, bytes: u64) {
        let begun = *self.begun.get_or_insert(now);
        self.bytes += bytes;
        let took = now.saturating_duration_since(begun);
        if took >= HEAL_RATE_TIME {
            self.last = (self.bytes as f64 / took.as_secs_f64()) as u64;
            (self.begun, self.bytes) = (Some(now), 0);
        }
    }
}

impl Progress {
    /// A node has these slots: some that are to be filled, and the others. What is known of more is forgotten.
    pub(crate) fn plan(&self, now: Instant, to_fill: &[Task], others: &[Task]) {
        let mut all = self.all();
        let mut held: BTreeMap<DiskId, BTreeSet<(PgId, u8)>> = BTreeMap::new();
        for task in to_fill.iter().chain(others) {
            held.entry(task.disk).or_default().insert((task.pg, task.slot));
        }
        for task in to_fill {
            all.entry(task.disk).or_default();
        }
        for (id, repair) in all.iter_mut() {
            let wanted = to_fill.iter().filter(|task| task.disk == *id).map(|task| (task.pg, task.slot));
            let before = std::mem::take(&mut repair.slots);
            repair.slots = wanted.map(|slot| (slot, before.get(&slot).copied().unwrap_or(0))).collect();
            repair.aside.retain(|slot, _| held.get(id).is_some_and(|held| held.contains(slot)));
            if repair.slots.is_empty() {
                (repair.begun, repair.complete) = (None, 0);
            } else {
                repair.begun.get_or_insert(now);
            }
        }
    }

    /// A slot was looked through up to a chunk.
    pub(crate) fn at(&self, task: Task, (first, last): (ChunkId, ChunkId), chunk: ChunkId) {
        let place = |id: ChunkId| u64::from_be_bytes(id.0[..8].try_into().expect("eight bytes"));
        let done = u128::from(place(chunk).saturating_sub(place(first))) * 1000;
        let share = done / u128::from((place(last) - place(first)).max(1));
        if let Some(known) = self.of(task.disk).slots.get_mut(&(task.pg, task.slot)) {
            *known = u64::try_from(share).expect("at most a thousand");
        }
    }

    /// A slot was looked through; so many parts of it cannot be made yet.
    pub(crate) fn end(&self, task: Task, failed: u64) {
        let mut repair = self.of(task.disk);
        let slot = (task.pg, task.slot);
        match failed {
            0 => {
                repair.aside.remove(&slot);
                repair.complete += u64::from(repair.slots.remove(&slot).is_some());
            }
            failed => drop(repair.aside.insert(slot, failed)),
        }
    }

    /// A part is there again.
    pub(crate) fn made(&self, now: Instant, disk: DiskId, bytes: u64) {
        let mut repair = self.of(disk);
        repair.made += 1;
        repair.bytes += bytes;
        repair.rate.add(now, bytes);
    }

    /// Time went by for a step.
    pub(crate) fn spend(&self, disk: DiskId, step: Step, time: Duration) {
        let mut repair = self.of(disk);
        repair.spent[step as usize] += time;
        // What was long ago says less and less.
        if repair.spent.iter().sum::<Duration>() > 4 * HEAL_RATE_TIME {
            repair.spent.iter_mut().for_each(|time| *time /= 2);
        }
    }

    /// Slots that are to be filled.
    pub(crate) fn slot_count(&self) -> u32 {
        self.all().values().map(|repair| repair.slots.len() as u32).sum()
    }

    /// How each disk is doing.
    pub(crate) fn report(&self, now: Instant) -> BTreeMap<DiskId, DiskHealing> {
        self.all().iter_mut().map(|(id, repair)| (*id, repair.report(now))).collect()
    }

    fn of(&self, disk: DiskId) -> impl std::ops::DerefMut<Target = Repair> + '_ {
        let mut all = self.all();
        all.entry(disk).or_default();
        Entry { all, disk }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<DiskId, Repair>> {
        self.0.lock().expect("no panic while it is held")
    }
}

struct Entry<'a> {
    all: MutexGuard<'a, BTreeMap<DiskId, Repair>>,
    disk: DiskId,
}

impl std::ops::Deref for Entry<'_> {
    type Target = Repair;
    fn deref(&self) -> &Repair {
        &self.all[&self.disk]
    }
}

impl std::ops::DerefMut for Entry<'_> {
    fn deref_mut(&mut self) -> &mut Repair {
        self.all.get_mut(&self.disk).expect("it was put there")
    }
}

impl Repair {
    fn report(&mut self, now: Instant) -> DiskHealing {
        self.rate.add(now, 0);
        let total = (self.complete + self.slots.len() as u64) * 1000;
        let done = self.complete * 1000 + self.slots.values().sum::<u64>();
        let per_mille = (done * 1000).checked_div(total).unwrap_or(1000);
        let elapsed = self.begun.map(|begun| now.saturating_duration_since(begun));
        let left = elapsed.filter(|_| done > 0).map(|elapsed| elapsed.as_secs() * (total - done) / done);
        DiskHealing {
            slots: self.slots.len() as u32,
            per_mille: per_mille as u16,
            aside: self.aside.values().sum(),
            made: self.made,
            bytes: self.bytes,
            bytes_per_second: self.rate.last,
            seconds_left: left,
            limit: self.limit(),
        }
    }

    fn limit(&self) -> HealLimit {
        if self.slots.is_empty() && self.aside.is_empty() {
            return HealLimit::Nothing;
        }
        if !self.aside.is_empty() && self.aside.len() >= self.slots.len() {
            return HealLimit::Missing;
        }
        let steps = [HealLimit::Index, HealLimit::Users, HealLimit::Sources, HealLimit::Write];
        let longest = steps.into_iter().zip(self.spent).max_by_key(|(_, spent)| *spent);
        longest.expect("there are steps").0
    }
}

#[cfg(test)]
mod tests {
    use types::Epoch;

    use super::*;

    const DISK: DiskId = DiskId(3);

    fn task(slot: u8) -> Task {
        Task { pg: PgId(0), slot, disk: DISK, since: Epoch(1) }
    }

    fn chunk(first: u8) -> ChunkId {
        let mut id = [0; 32];
        id[0] = first;
        ChunkId(id)
    }

    #[test]
    fn progress_is_the_share_of_keys_that_were_looked_through() {
        let (progress, begun) = (Progress::default(), env::time::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        progress.plan(begun, &[task(0), task(1)], &[]);
        let said = |seconds| progress.report(at(seconds)).remove(&DISK).unwrap();
        assert_eq!((said(0).slots, said(0).per_mille, said(0).seconds_left), (2, 0, None));
        let all = (ChunkId([0; 32]), ChunkId([0xff; 32]));
        progress.at(task(0), all, chunk(128));
        assert_eq!((said(10).per_mille, said(10).seconds_left), (250, Some(30)));
        progress.end(task(0), 0);
        progress.plan(at(10), &[task(1)], &[task(0)]);
        assert_eq!((said(10).slots, said(10).per_mille, said(10).seconds_left), (1, 500, Some(10)));
        progress.end(task(1), 0);
        progress.plan(at(20), &[], &[task(0), task(1)]);
        assert_eq!((said(20).slots, said(20).per_mille, said(20).seconds_left), (0, 1000, None));
        assert_eq!(said(20).limit, HealLimit::Nothing);
    }

    #[test]
    fn what_takes_longest_is_the_limit() {
        let (progress, now) = (Progress::default(), env::time::now());
        progress.plan(now, &[task(0), task(1)], &[]);
        let limit = || progress.report(now)[&DISK].limit;
        progress.spend(DISK, Step::Sources, Duration::from_secs(2));
        progress.spend(DISK, Step::Users, Duration::from_secs(1));
        assert_eq!(limit(), HealLimit::Sources);
        // What was before is forgotten by and by.
        (0..100).for_each(|_| progress.spend(DISK, Step::Users, Duration::from_secs(1)));
        assert_eq!(limit(), HealLimit::Users);
        progress.end(task(0), 7);
        assert_eq!((limit(), progress.report(now)[&DISK].aside), (HealLimit::Users, 7));
        progress.end(task(1), 1);
        assert_eq!(limit(), HealLimit::Missing);
        progress.end(task(0), 0);
        progress.end(task(1), 0);
        assert_eq!(limit(), HealLimit::Nothing);
    }

    /// Whoever has it now tries to make what is missing of it.
    #[test]
    fn a_slot_that_another_disk_has_is_forgotten() {
        let (progress, now) = (Progress::default(), env::time::now());
        progress.plan(now, &[], &[task(0), task(1)]);
        progress.end(task(0), 7);
        progress.end(task(1), 1);
        progress.plan(now, &[], &[task(1)]);
        assert_eq!(progress.report(now)[&DISK].aside, 1);
        progress.plan(now, &[], &[]);
        assert_eq!(
            (progress.report(now)[&DISK].aside, progress.report(now)[&DISK].limit),
            (0, HealLimit::Nothing)
        );
    }

    #[test]
    fn the_rate_is_that_of_the_last_span() {
        let (progress, begun) = (Progress::default(), env::time::now());
        let half = HEAL_RATE_TIME / 2;
        let rate = |at| progress.report(at)[&DISK].bytes_per_second;
        progress.made(begun, DISK, 1_000_000);
        assert_eq!(rate(begun + half), 0, "not known yet");
        let want = (1_000_000.0 / HEAL_RATE_TIME.as_secs_f64()) as u64;
        assert_eq!(rate(begun + 2 * half), want);
        assert_eq!(rate(begun + 5 * half), 0, "nothing since");
        assert_eq!((progress.report(begun)[&DISK].made, progress.report(begun)[&DISK].bytes), (1, 1_000_000));
    }
}
