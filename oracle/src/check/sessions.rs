//! I-LIN: nobody is taken back in time. Pure.

use std::collections::BTreeMap;

use types::Seq;

use crate::history::{Asked, History, Operation, Via};
use crate::verdict::{Invariant, Verdict};

/// For each operation the oldest state that its answer may be from, by what its client, or whoever told it, had seen.
/// `certain` says where the operations stand.
pub fn known(operations: &[Operation], certain: &[Option<Seq>]) -> Vec<Seq> {
    let mut answers: BTreeMap<usize, Vec<(u64, Seq)>> = BTreeMap::new();
    for (operation, seq) in operations.iter().zip(certain) {
        let Some(seq) = seq.filter(|_| is_remembered(operation)) else { continue };
        answers.entry(operation.client).or_default().push((operation.end_ms, seq));
    }
    for answers in answers.values_mut() {
        answers.sort_unstable();
        let mut newest = Seq(0);
        for (_, seq) in answers {
            newest = newest.max(*seq);
            *seq = newest;
        }
    }
    let known = |operation: &Operation| match operation.via {
        Via::Node { shown, .. } => shown,
        Via::Session => {
            let answers = answers.get(&operation.client).map_or(&[][..], Vec::as_slice);
            // What happens in the same millisecond has no order.
            let count = answers.partition_point(|(end, _)| *end < operation.start_ms);
            count.checked_sub(1).map_or(Seq(0), |last| answers[last].1)
        }
        Via::Leader => Seq(0),
    };
    operations.iter().map(known).collect()
}

/// What a session remembers: its own answers. The journal is followed with a cursor of its own.
fn is_remembered(operation: &Operation) -> bool {
    operation.via == Via::Session && operation.is_done() && !matches!(operation.asked, Asked::Pull(_))
}

/// I-LIN: a session that has seen a position, and a node that was shown one, answer from that state or a newer one.
pub fn never_back(history: &History, known: &[Seq]) -> Verdict {
    let mut verdict = Verdict::new(Invariant::Lin, "nobody is taken back in time");
    for (operation, known) in history.operations.iter().zip(known) {
        let Some(seq) = operation.seq().filter(|_| !operation.is_write() && *known > Seq(0)) else {
            continue;
        };
        verdict.judge(if seq >= *known {
            Ok(())
        } else {
            Err(format!("{operation} was answered from position {seq} to a client that knew {known}"))
        });
    }
    verdict
}
