//! I-ACK and I-READ of what files hold. Pure.

use std::collections::BTreeMap;

use types::{ErrorKind, Seq};

use super::order::Order;
use crate::deed::FileVersion;
use crate::history::{Asked, History, Operation, Outcome, Shown, Step};
use crate::survey::{Kept, Survey};
use crate::verdict::{Invariant, Verdict};

/// I-ACK: every acknowledged version can be read and is what was written, from every node that can serve it; nothing
/// that was acknowledged was said to be gone, and what was removed comes back.
pub fn durable(history: &History, survey: &Survey, order: &Order) -> Verdict {
    let mut verdict = Verdict::new(Invariant::Ack, "every acknowledged version can be read, from every node");
    let kept: BTreeMap<FileVersion, &Kept> =
        survey.kept.iter().map(|kept| ((kept.inode, kept.version), kept)).collect();
    let made: BTreeMap<Seq, FileVersion> = order.made.iter().map(|(version, seq)| (*seq, *version)).collect();
    for (operation, seq) in history.operations.iter().zip(&order.seqs) {
        match (operation.steps(), &operation.outcome, seq) {
            ([Step::Commit { .. } | Step::Restore(..)], Outcome::Done(..), Some(seq)) => {
                // That no version was made there is reported by the checker of I-LIN.
                if let Some(version) = made.get(seq) {
                    verdict.judge(is_kept(operation, *version, kept.get(version).copied(), order));
                }
            }
            (_, Outcome::Done(Shown::File(version, Err(e)), _), _) if is_loss(e.kind()) => {
                verdict.judge(Err(format!("{operation}: version {} is lost: {e}", version.id)));
            }
            _ => {}
        }
    }
    for served in &survey.served {
        let lost = |e| format!("node {} cannot serve chunk {}: {e}", served.node, served.chunk);
        verdict.judge(served.outcome.clone().map_err(lost));
    }
    verdict.violations.extend(survey.strangers.iter().cloned());
    verdict
}

fn is_kept(
    operation: &Operation,
    made: FileVersion,
    kept: Option<&Kept>,
    order: &Order,
) -> Result<(), String> {
    let (inode, version) = made;
    let version = format!("{version} of {inode}");
    let found = match kept.map(|kept| &kept.hash) {
        None => return Err(format!("{operation} became version {version}, which is gone")),
        Some(Err(e)) => {
            return Err(format!("{operation} became version {version}, which cannot be read: {e}"));
        }
        Some(Ok(hash)) => *hash,
    };
    match order.contents.get(&made) {
        Some(content) if content.hash != found => {
            Err(format!("{operation} became version {version}, which is {found:?}, not {:?}", content.hash))
        }
        _ => Ok(()),
    }
}

/// Errors that say that something is not there, and will not be.
fn is_loss(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::Corrupt)
}

/// I-READ: no read returned bytes that were not written as the version it named.
pub fn right_bytes(history: &History, survey: &Survey, order: &Order) -> Verdict {
    let mut verdict = Verdict::new(Invariant::Read, "right bytes or an error");
    let is_judged = |made: FileVersion| order.made.get(&made).is_none_or(|seq| *seq > history.began);
    for operation in &history.operations {
        let (Asked::Read(_, _, range), Outcome::Done(Shown::File(version, Ok(hash)), _)) =
            (&operation.asked, &operation.outcome)
        else {
            continue;
        };
        let made = (version.inode, version.id);
        if is_judged(made) {
            let content = order.contents.get(&made);
            let want =
                content.map(|content| range.as_ref().map_or(content.hash, |range| content.hash_of(range)));
            verdict.judge(is_equal(format_args!("{operation}: version {}", version.id), *hash, want));
        }
    }
    for kept in survey.kept.iter().filter(|kept| is_judged((kept.inode, kept.version))) {
        if let Ok(hash) = kept.hash {
            let want = order.contents.get(&(kept.inode, kept.version)).map(|content| content.hash);
            verdict.judge(is_equal(format_args!("version {} of {}", kept.version, kept.inode), hash, want));
        }
    }
    verdict
}

fn is_equal<T: PartialEq + std::fmt::Debug>(
    what: std::fmt::Arguments<'_>,
    found: T,
    want: Option<T>,
) -> Result<(), String> {
    match want {
        Some(want) if want == found => Ok(()),
        Some(want) => Err(format!("{what} was read as {found:?}, written was {want:?}")),
        None => Err(format!("{what} was read as {found:?}, which nobody wrote")),
    }
}
