//! I-BOUND: nothing takes longer, and nothing is kept longer, than it may. Pure.

use types::ErrorKind;

use crate::history::{History, Operation, Outcome, Shown};
use crate::verdict::{Invariant, Verdict};

/// What somebody holds that must be given back. Whoever runs the cluster counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Permits of semaphores and budgets that are taken.
    pub permits: u64,
    /// Tasks that run.
    pub tasks: u64,
    /// Requests that were taken in and not answered.
    pub requests: u64,
}

/// I-BOUND: every operation ends in its time, and not with an error that only a bug of ours explains.
pub fn answered(history: &History) -> Verdict {
    let claim = "every operation is answered in time, and not with an error of our making";
    let mut verdict = Verdict::new(Invariant::Bound, claim);
    for operation in &history.operations {
        let took_ms = operation.end_ms - operation.start_ms;
        let of_ours = error(operation).filter(|e| is_ours(e.kind(), operation));
        verdict.judge(match of_ours {
            _ if took_ms > operation.allowed_ms => {
                Err(format!("{operation} took {took_ms} ms, at most {} are allowed", operation.allowed_ms))
            }
            Some(e) => Err(format!("{operation}: {e}")),
            None => Ok(()),
        });
    }
    verdict
}

fn error(operation: &Operation) -> Option<&types::Error> {
    match &operation.outcome {
        Outcome::Refused(e, _) | Outcome::Done(Shown::File(_, Err(e)), _) => Some(e),
        _ => None,
    }
}

/// Errors that nothing a client does here should lead to. Whether the others are right is judged by the tree.
fn is_ours(kind: ErrorKind, operation: &Operation) -> bool {
    let is_reading = operation.is_done();
    match kind {
        ErrorKind::Denied | ErrorKind::Corrupt | ErrorKind::Internal => true,
        ErrorKind::Invalid | ErrorKind::Exists | ErrorKind::Conflict => is_reading,
        _ => false,
    }
}

/// I-BOUND: no more is held after a run than before it, when everything has come to rest.
pub fn leaks(before: Inventory, after: Inventory) -> Verdict {
    let mut verdict = Verdict::new(Invariant::Bound, "what was taken is given back");
    let counted = [
        ("permits", before.permits, after.permits),
        ("tasks", before.tasks, after.tasks),
        ("open requests", before.requests, after.requests),
    ];
    for (what, before, after) in counted {
        let leak = || format!("{before} {what} before and {after} after");
        verdict.judge(if after <= before { Ok(()) } else { Err(leak()) });
    }
    verdict
}
