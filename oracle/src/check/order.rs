//! Finds every change of a history in the journal: I-ACK, I-CAS and I-LIN of what was written. Pure.
//!
//! A change that named its position must be there. One that was acknowledged without a position is the record that says
//! what the reference says it does, between what was told before it began and what began after it had ended. One whose
//! outcome nobody knows is such a record, or none. A record that is left over was done by nobody, or twice.

use std::collections::{BTreeMap, BTreeSet};

use proto::namespace::Record;
use types::{InodeId, Seq};

use super::realtime::{RealTime, first};
use crate::content::Content;
use crate::deed::{Deed, FileVersion};
use crate::history::{History, Operation, Outcome, Shown, Step};
use crate::model::{self, Effect};
use crate::replay::Tree;
use crate::survey::Survey;
use crate::verdict::{Invariant, Verdict};

/// Where the operations of a history stand.
#[derive(Debug)]
pub struct Order {
    /// For each operation the position of its answer; for a change, of its last record.
    pub seqs: Vec<Option<Seq>>,
    /// Those of them that nothing else could explain: only they say something about other operations.
    pub certain: Vec<Option<Seq>>,
    /// Positions between the records of one change: no state that anybody may see.
    pub inside: BTreeSet<Seq>,
    /// What was written as which version, as far as clients wrote it.
    pub contents: BTreeMap<FileVersion, Content>,
    /// Where each version was made.
    pub made: BTreeMap<FileVersion, Seq>,
    /// What real time says about these positions.
    pub real_time: RealTime,
    verdicts: [Verdict; 3],
}

impl Order {
    /// Finds the changes in the journal as it was when the clients had stopped.
    pub fn of(history: &History, survey: &Survey) -> Self {
        let operations = &history.operations;
        let told: Vec<Option<Seq>> = operations.iter().map(Operation::seq).collect();
        let mut search = Search {
            operations,
            seqs: told.clone(),
            real_time: RealTime::new(operations, &told),
            end: Seq(survey.early.len() as u64),
            claims: BTreeMap::new(),
            waiting: Vec::new(),
            open: Vec::new(),
            lost: Vec::new(),
            ambiguous: BTreeSet::new(),
            contents: BTreeMap::new(),
            made: versions_of(&survey.early),
            faults: Vec::new(),
        };
        search.claim_told(history.began);
        let mut tree = Tree::new(survey.root);
        for record in &survey.early {
            if record.seq > history.began {
                search.place(&tree, record);
            }
            let _ = tree.apply(record); // A record that breaks a rule is reported by the checker of I-TREE.
        }
        search.give_up();
        search.finish()
    }

    /// I-ACK, I-CAS, I-LIN.
    pub fn verdicts(&self) -> [Verdict; 3] {
        self.verdicts.clone()
    }
}

/// A change whose position is not known.
struct Floating {
    operation: usize,
    /// It stands after this position.
    after: Seq,
    /// And before this one; where nobody answered, it may still happen.
    before: Seq,
}

struct Search<'a> {
    operations: &'a [Operation],
    seqs: Vec<Option<Seq>>,
    real_time: RealTime,
    /// The last position of the journal.
    end: Seq,
    /// Which step of which operation should be at a position.
    claims: BTreeMap<Seq, (usize, usize)>,
    /// Changes that stand further on, the next ones last.
    waiting: Vec<Floating>,
    /// Changes that may stand here.
    open: Vec<Floating>,
    /// Changes that should have stood before.
    lost: Vec<Floating>,
    /// Operations of which one could as well be where another is.
    ambiguous: BTreeSet<usize>,
    contents: BTreeMap<FileVersion, Content>,
    made: BTreeMap<FileVersion, Seq>,
    faults: Vec<(Invariant, String)>,
}

impl Search<'_> {
    /// Gives the changes that named a position that position, and sorts out those that did not.
    fn claim_told(&mut self, began: Seq) {
        for (index, operation) in self.operations.iter().enumerate().filter(|(_, o)| o.is_write()) {
            let after = self.real_time.told_before(operation.start_ms);
            let before = match (&operation.outcome, operation.seq()) {
                (Outcome::Refused(..), _) => continue,
                (Outcome::Done(..), Some(seq)) if seq > self.end || seq <= began => {
                    let end = self.end;
                    let text =
                        format!("{operation} was acknowledged at position {seq}, the journal ends at {end}");
                    self.faults.push((Invariant::Ack, text));
                    self.seqs[index] = None;
                    continue;
                }
                (Outcome::Done(..), Some(seq)) => {
                    self.claim(index, seq);
                    continue;
                }
                (Outcome::Done(..), None) => self.real_time.begun_after(operation.end_ms),
                (Outcome::Unknown, _) => Seq(u64::MAX),
            };
            self.waiting.push(Floating { operation: index, after, before });
        }
        self.waiting.sort_by_key(|floating| std::cmp::Reverse(floating.after));
    }

    /// Notes that an operation's last record is at `last`.
    fn claim(&mut self, index: usize, last: Seq) {
        self.seqs[index] = Some(last);
        if last > self.end {
            let (operation, end) = (&self.operations[index], self.end);
            self.faults
                .push((Invariant::Lin, format!("{operation} is half done, the journal ends at {end}")));
        }
        for step in 0..self.operations[index].steps().len() {
            let seq = Seq(first(&self.operations[index], last).0 + step as u64);
            if let Some((other, _)) = self.claims.insert(seq, (index, step)) {
                let (a, b) = (&self.operations[other], &self.operations[index]);
                self.faults.push((Invariant::Lin, format!("{a} and {b} are both at position {seq}")));
            }
        }
    }

    /// Finds the change that a record was made by. `tree` is the one before it.
    fn place(&mut self, tree: &Tree, record: &Record) {
        if let Some((index, step)) = self.claims.get(&record.seq).copied() {
            let operation = &self.operations[index];
            self.faults.extend(compare(tree, operation, step, record));
            return self.keep_content(&operation.steps()[step], record);
        }
        let seq = record.seq;
        self.open_until(seq);
        let fits = |floating: &&Floating| made(tree, &self.operations[floating.operation], 0, record);
        let fitting: Vec<usize> = self.open.iter().filter(fits).map(|floating| floating.operation).collect();
        if let Some(index) = fitting.first().copied() {
            if fitting.len() > 1 {
                self.ambiguous.extend(fitting);
            }
            self.open.retain(|floating| floating.operation != index);
            let steps = self.operations[index].steps();
            self.claim(index, Seq(seq.0 + steps.len() as u64 - 1));
            return self.keep_content(&steps[0], record);
        }
        let refused = |operation: &&Operation| matches!(operation.outcome, Outcome::Refused(..));
        let mut refused = self.operations.iter().filter(refused);
        let fault = match refused.find(|operation| made(tree, operation, 0, record)) {
            Some(operation) => {
                let is_commit = matches!(operation.steps(), [Step::Commit { .. }]);
                let invariant = if is_commit { Invariant::Cas } else { Invariant::Lin };
                (invariant, format!("{operation} was refused, but is there at position {seq}"))
            }
            None => (Invariant::Lin, format!("nobody asked for position {seq}: {}", told(record))),
        };
        self.faults.push(fault);
    }

    fn keep_content(&mut self, step: &Step, record: &Record) {
        let Some(version) = Deed::version(record) else { return };
        let content = match step {
            Step::Commit { content, .. } => Some(*content),
            Step::Restore(_, old) => self.contents.get(&(record.inode, *old)).copied(),
            _ => None,
        };
        self.contents.extend(content.map(|content| (version, content)));
    }

    /// Opens what may stand at `seq`, and gives up what should have stood before. Those that must come soonest are first,
    /// those that were acknowledged before those that may never have been done.
    fn open_until(&mut self, seq: Seq) {
        while let Some(floating) = self.waiting.pop_if(|floating| floating.after < seq) {
            let at = self.open.partition_point(|open| open.before <= floating.before);
            self.open.insert(at, floating);
        }
        let passed = self.open.partition_point(|open| open.before <= seq);
        self.lost.extend(self.open.drain(..passed));
    }

    fn give_up(&mut self) {
        let left = self.lost.iter().chain(&self.open).chain(&self.waiting);
        let left = left.map(|floating| &self.operations[floating.operation]).filter(|o| o.is_done());
        let faults =
            left.map(|o| (Invariant::Ack, format!("{o} was acknowledged and is not in the journal")));
        self.faults.extend(faults);
    }

    /// Compares the positions with real time, and sums up.
    fn finish(mut self) -> Order {
        let is_certain =
            |(index, seq): (usize, &Option<Seq>)| seq.filter(|_| !self.ambiguous.contains(&index));
        let certain: Vec<Option<Seq>> = self.seqs.iter().enumerate().map(is_certain).collect();
        let real_time = RealTime::new(self.operations, &certain);
        let placed = |operation: &&Operation| !matches!(operation.outcome, Outcome::Refused(..));
        let writes = self.operations.iter().zip(&certain).filter(|(o, _)| o.is_write() && placed(o));
        let writes: Vec<_> = writes.filter_map(|(operation, seq)| Some((operation, (*seq)?))).collect();
        let displaced = writes.iter().filter_map(|(operation, last)| displaced(operation, *last, &real_time));
        self.faults.extend(displaced.map(|text| (Invariant::Lin, text)));
        let acknowledged = self.operations.iter().filter(|o| o.is_write() && o.is_done()).count();
        let conditional = self.operations.iter().filter(|operation| is_conditional(operation)).count();
        let mut verdicts = [
            Verdict::new(Invariant::Ack, "every acknowledged change is in the journal"),
            Verdict::new(Invariant::Cas, "no silent overwrite"),
            Verdict::new(Invariant::Lin, "every change is done once, in the order of real time"),
        ];
        for (verdict, exercised) in verdicts.iter_mut().zip([acknowledged, conditional, writes.len()]) {
            verdict.exercised = exercised as u64;
            let own = self.faults.iter().filter(|(invariant, _)| *invariant == verdict.invariant);
            verdict.violations.extend(own.map(|(_, text)| text.clone()));
        }
        let inside = self.inside();
        Order {
            seqs: self.seqs,
            certain,
            inside,
            contents: self.contents,
            made: self.made,
            real_time,
            verdicts,
        }
    }

    fn inside(&self) -> BTreeSet<Seq> {
        let last = |index: usize| self.operations[index].steps().len() - 1;
        let inside = self.claims.iter().filter(|(_, (index, step))| *step < last(*index));
        inside.map(|(seq, _)| *seq).collect()
    }
}

/// The versions that a journal tells of, and where.
fn versions_of(journal: &[Record]) -> BTreeMap<FileVersion, Seq> {
    journal.iter().filter_map(|record| Some((Deed::version(record)?, record.seq))).collect()
}

/// What real time says against the position of a change.
fn displaced(operation: &Operation, last: Seq, real_time: &RealTime) -> Option<String> {
    let first = first(operation, last);
    let (past, future) = (real_time.told_before(operation.start_ms), real_time.begun_after(operation.end_ms));
    if past >= first {
        return Some(format!("{operation} is at position {first}, but {past} had been told before it began"));
    }
    let is_too_late = operation.is_done() && future <= last;
    is_too_late.then(|| format!("{operation} is at position {last}, but {future} began after it had ended"))
}

/// A commit that was told whether what its writer had seen was still there.
fn is_conditional(operation: &Operation) -> bool {
    let is_commit = |step: &Step| matches!(step, Step::Commit { .. });
    operation.steps().iter().any(is_commit) && !matches!(operation.outcome, Outcome::Unknown)
}

/// True when a step of an operation would leave this record.
fn made(tree: &Tree, operation: &Operation, step: usize, record: &Record) -> bool {
    let Some(asked) = operation.steps().get(step) else { return false };
    let is_effect = model::effect(tree, asked).is_ok_and(|effect| effect.is(record));
    is_effect && shown_inode(operation, step).is_none_or(|inode| inode == record.inode)
}

/// The entry that the client was told it had changed.
fn shown_inode(operation: &Operation, step: usize) -> Option<InodeId> {
    match &operation.outcome {
        Outcome::Done(Shown::Changed(inodes), _) => inodes.get(step).copied(),
        _ => None,
    }
}

/// Why the record at the position that an operation named is not its own.
fn compare(tree: &Tree, operation: &Operation, step: usize, record: &Record) -> Option<(Invariant, String)> {
    if made(tree, operation, step, record) {
        return None;
    }
    let (asked, seq) = (&operation.steps()[step], record.seq);
    let effect = model::effect(tree, asked);
    let invariant = match (asked, Deed::of(record)) {
        (Step::Commit { base, .. }, Deed::Versioned { base: found, .. })
            if found.map(|found| (record.inode, found)) != *base =>
        {
            Invariant::Cas
        }
        _ => Invariant::Ack,
    };
    let should = match &effect {
        Ok(Effect { inode, deed }) if *deed == Deed::of(record) => {
            format!("of {inode:?}, the client was told {:?}", shown_inode(operation, step))
        }
        Ok(Effect { deed, .. }) => format!("it should be {deed:?}"),
        Err(kind) => format!("it should have been refused: {kind}"),
    };
    let was = if operation.is_done() { "was acknowledged" } else { "was begun, and should end" };
    Some((invariant, format!("{operation} {was} at position {seq}, which is {}; {should}", told(record))))
}

fn told(record: &Record) -> String {
    format!("{:?} of {}", Deed::of(record), record.inode)
}
