//! What real time says about positions: what was acknowledged before an operation began is in its past, what began
//! after it had ended is in its future. Pure.

use types::Seq;

use crate::history::{Operation, Outcome};

/// Bounds for the positions of operations, from the positions of others.
#[derive(Debug)]
pub struct RealTime {
    /// When answers came, in order, and the newest position that any of them named until then.
    ended: Vec<(u64, Seq)>,
    /// When changes began, in order, and the oldest position of any that began then or later.
    started: Vec<(u64, Seq)>,
}

impl RealTime {
    /// From every operation's position; of a change, where its last record is.
    pub fn new(operations: &[Operation], seqs: &[Option<Seq>]) -> Self {
        let placed = || operations.iter().zip(seqs).filter_map(|(operation, seq)| Some((operation, (*seq)?)));
        let answered = placed().filter(|(operation, _)| !matches!(operation.outcome, Outcome::Unknown));
        let mut ended: Vec<(u64, Seq)> = answered.map(|(operation, seq)| (operation.end_ms, seq)).collect();
        ended.sort_unstable();
        let mut newest = Seq(0);
        for (_, seq) in &mut ended {
            newest = newest.max(*seq);
            *seq = newest;
        }
        let changes = placed().filter(|(operation, _)| operation.is_write() && !is_refused(operation));
        let mut started: Vec<(u64, Seq)> =
            changes.map(|(operation, seq)| (operation.start_ms, first(operation, seq))).collect();
        started.sort_unstable();
        let mut oldest = Seq(u64::MAX);
        for (_, seq) in started.iter_mut().rev() {
            oldest = oldest.min(*seq);
            *seq = oldest;
        }
        Self { ended, started }
    }

    /// The newest position that somebody had been told before this time. What happens in the same millisecond has no
    /// order.
    pub fn told_before(&self, time_ms: u64) -> Seq {
        let count = self.ended.partition_point(|(end, _)| *end < time_ms);
        count.checked_sub(1).map_or(Seq(0), |last| self.ended[last].1)
    }

    /// The oldest position of a change that began after this time.
    pub fn begun_after(&self, time_ms: u64) -> Seq {
        let first = self.started.partition_point(|(start, _)| *start <= time_ms);
        self.started.get(first).map_or(Seq(u64::MAX), |(_, seq)| *seq)
    }
}

/// Where the first record of a change is, whose last is at `last`.
pub fn first(operation: &Operation, last: Seq) -> Seq {
    let others = operation.steps().len().saturating_sub(1) as u64;
    // A position that is too small for the change is wrong, but not here.
    Seq(last.0.saturating_sub(others))
}

fn is_refused(operation: &Operation) -> bool {
    matches!(operation.outcome, Outcome::Refused(..))
}
