//! I-LIN of what was read and of what was refused: every answer is the tree at the position it names. Pure.
//!
//! An answer without a position must fit one between what its client knew (or was told by anybody, when it asked the
//! leader) and what began after it had ended.

use types::{ErrorKind, Seq};

use super::order::Order;
use crate::history::{Asked, History, Operation, Outcome, Shown, Via};
use crate::model;
use crate::replay::Tree;
use crate::survey::Survey;
use crate::verdict::{Invariant, Verdict};

/// An answer that waits for the tree it is from.
struct Pending<'a> {
    operation: &'a Operation,
    first: Seq,
    last: Seq,
}

/// Judges all answers: I-LIN, and I-CAS for commits that were refused, and I-TREE for changes that were seen half done.
pub fn verdicts(history: &History, survey: &Survey, order: &Order, known: &[Seq]) -> [Verdict; 3] {
    let mut verdicts = [
        Verdict::new(Invariant::Lin, "every answer is the tree at the position it names"),
        Verdict::new(Invariant::Cas, "who is refused was too late"),
        Verdict::new(Invariant::Tree, "nobody sees a change half done"),
    ];
    let end = Seq(survey.early.len() as u64);
    let mut pending: Vec<Pending<'_>> = Vec::new();
    for (operation, known) in history.operations.iter().zip(known).filter(|(o, _)| is_judged(o)) {
        let (past, future) =
            (order.real_time.told_before(operation.start_ms), order.real_time.begun_after(operation.end_ms));
        let is_newest = operation.via == Via::Leader || operation.is_write();
        let oldest = if is_newest { past.max(*known) } else { *known };
        let newest = Seq(future.0.saturating_sub(1)).min(end);
        match operation.seq() {
            Some(seq) => {
                verdicts[0].violations.extend(displaced(
                    operation,
                    seq,
                    is_newest.then_some(past),
                    future,
                    end,
                ));
                pending.push(Pending { operation, first: seq.min(end), last: seq.min(end) });
            }
            None => pending.push(Pending { operation, first: oldest.min(newest), last: newest }),
        }
        // Only a position of its own could be one that is half done.
        verdicts[2].exercised += u64::from(operation.seq().is_some() && !order.inside.is_empty());
    }
    let commits =
        pending.iter().filter(|pending| pending.operation.is_write() && is_commit(pending.operation));
    verdicts[1].exercised = commits.count() as u64;
    verdicts[0].exercised = pending.len() as u64 - verdicts[1].exercised;
    sweep(survey, order, pending, &mut verdicts);
    verdicts
}

/// Goes through all trees and compares each with the answers that may be from it.
fn sweep(survey: &Survey, order: &Order, mut pending: Vec<Pending<'_>>, verdicts: &mut [Verdict; 3]) {
    pending.sort_by_key(|pending| std::cmp::Reverse(pending.first));
    let mut open: Vec<Pending<'_>> = Vec::new();
    let mut tree = Tree::new(survey.root);
    let mut records = survey.early.iter();
    for seq in (0..=survey.early.len() as u64).map(Seq) {
        while pending.last().is_some_and(|next| next.first == seq) {
            open.extend(pending.pop());
        }
        let is_inside = order.inside.contains(&seq);
        open.retain(|Pending { operation, last, .. }| {
            if is_inside && operation.seq() == Some(seq) {
                verdicts[2]
                    .violations
                    .push(format!("{operation} was answered from position {seq}, half a change"));
                return false;
            }
            let wrong = if is_inside {
                Err("the change at it is half done".to_owned())
            } else {
                fits(&mut tree, operation)
            };
            if let Err(why) = &wrong
                && *last == seq
            {
                let at = usize::from(operation.is_write() && is_commit(operation));
                verdicts[at].violations.push(format!("{operation}, at position {seq}: {why}"));
            }
            wrong.is_err() && *last > seq
        });
        if let Some(record) = records.next() {
            let _ = tree.apply(record); // A record that breaks a rule is reported by the checker of I-TREE.
        }
    }
}

/// Reads, and changes that were refused; not what failed for reasons that have nothing to do with the tree.
fn is_judged(operation: &Operation) -> bool {
    match (&operation.outcome, &operation.asked) {
        (_, Asked::Pull(_)) | (Outcome::Unknown, _) => false,
        (Outcome::Refused(e, _), _) => {
            !matches!(e.kind(), ErrorKind::Denied | ErrorKind::Corrupt | ErrorKind::Internal)
        }
        (Outcome::Done(..), _) => !operation.is_write(),
    }
}

fn is_commit(operation: &Operation) -> bool {
    matches!(operation.steps(), [crate::history::Step::Commit { .. }])
}

/// What real time says against the position of an answer.
fn displaced(operation: &Operation, seq: Seq, past: Option<Seq>, future: Seq, end: Seq) -> Option<String> {
    if seq > end {
        return Some(format!("{operation} was answered from position {seq}, the journal ends at {end}"));
    }
    if future <= seq {
        return Some(format!(
            "{operation} was answered from position {seq}, but {future} began after it had ended"
        ));
    }
    let past = past.filter(|past| seq < *past)?;
    Some(format!("{operation} was answered from position {seq}, but {past} had been told before it began"))
}

/// Why an answer is not what this tree gives.
fn fits(tree: &mut Tree, operation: &Operation) -> Result<(), String> {
    let shown = match &operation.outcome {
        Outcome::Done(shown, _) => shown,
        Outcome::Refused(e, _) => {
            let want = refusal(tree, operation);
            return if want == Some(e.kind()) {
                Ok(())
            } else {
                Err(format!("refused ({e}), expected {want:?}"))
            };
        }
        Outcome::Unknown => return Ok(()),
    };
    let missing = |kind: ErrorKind| format!("it was shown, but the tree says: {kind}");
    match (&operation.asked, shown) {
        (Asked::Stat(path), Shown::Entry(entry)) => {
            let (id, inode) = model::found(tree, path).map_err(missing)?;
            let name = path.names().last().map_or("", |name| name.as_str());
            let is_it = model::is_entry(entry, name, id, inode);
            is_it.then_some(()).ok_or_else(|| format!("{entry:?} was shown, there is {id} as {inode:?}"))
        }
        (Asked::List(path, after), Shown::Entries(entries, more)) => {
            let mut want = model::list(tree, path, after.as_ref()).map_err(missing)?;
            for entry in entries {
                let found =
                    want.next().filter(|(name, id, inode)| model::is_entry(entry, name.as_str(), *id, inode));
                found.ok_or_else(|| format!("the listing shows {entry:?}, the tree does not"))?;
            }
            match want.next() {
                next if next.is_some() == *more => Ok(()),
                next => Err(format!("the listing ends ({more}) before {:?}", next.map(|(name, ..)| name))),
            }
        }
        (Asked::Versions(path, before), Shown::Versions(versions, more)) => {
            let inode = model::file(tree, path).map_err(missing)?;
            let older = |id: &types::VersionId| before.is_none_or(|before| *id < before);
            let mut want = inode.versions.iter().rev().filter(|(id, _)| older(id));
            for version in versions {
                let found = want.next().filter(|(id, revision)| model::is_version(version, **id, revision));
                found.ok_or_else(|| format!("the history shows {version:?}, the tree does not"))?;
            }
            (want.next().is_some() == *more)
                .then_some(())
                .ok_or_else(|| "the history has another end".to_owned())
        }
        (Asked::Read(path, version, _), Shown::File(opened, _)) => {
            let inode = model::file(tree, path).map_err(missing)?;
            let id = version.unwrap_or(inode.version());
            let found = inode.versions.get(&id).filter(|revision| model::is_version(opened, id, revision));
            let newest = inode.version();
            let (read, wanted) = (opened.id, version.map_or(newest, |version| version));
            found
                .map(|_| ())
                .ok_or_else(|| format!("version {read} was read as {opened:?}, it should be {wanted}"))
        }
        _ => Ok(()),
    }
}

/// With which error the tree refuses what was asked for; `None` when it does not.
fn refusal(tree: &mut Tree, operation: &Operation) -> Option<ErrorKind> {
    match &operation.asked {
        Asked::Write(steps) => model::refusal(tree, steps),
        Asked::Stat(path) => model::found(tree, path).err(),
        Asked::List(path, _) => model::list(tree, path, None).err(),
        Asked::Versions(path, _) => model::file(tree, path).err(),
        Asked::Read(path, version, _) => match (model::file(tree, path), version) {
            (Ok(inode), Some(version)) if !inode.versions.contains_key(version) => Some(ErrorKind::NotFound),
            (file, _) => file.err(),
        },
        Asked::Head | Asked::Pull(_) => None,
    }
}
