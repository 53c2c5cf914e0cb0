//! The checkers: what clients were told and what was found, in; verdicts, out. Pure.
//!
//! Owns: what counts as a broken promise.
//! Knows nothing of: how the history came about.

mod answers;
mod blobs;
mod journal;
mod limits;
mod order;
mod realtime;
mod replicas;
mod sessions;
mod tree;

#[cfg(test)]
mod tests;

use types::Result;

use crate::history::History;
use crate::survey::Survey;
use crate::verdict::Verdict;

pub use limits::{Inventory, leaks};

/// Judges everything that a history and a survey can show. When looking at the cluster failed, nothing that had to be
/// seen counts as kept.
pub fn check(history: &History, survey: &Result<Survey>) -> Vec<Verdict> {
    let (seen, problem) = match survey {
        Ok(survey) => (survey, None),
        Err(e) => (&Survey::default(), Some(e)),
    };
    let mut verdicts = judge(history, seen);
    if let Some(e) = problem {
        for verdict in &mut verdicts {
            *verdict = Verdict::new(verdict.invariant, verdict.claim);
            verdict.judge(Err(format!("looking at it failed: {e}")));
        }
    }
    verdicts.push(limits::answered(history));
    verdicts
}

fn judge(history: &History, survey: &Survey) -> Vec<Verdict> {
    let order = order::Order::of(history, survey);
    let known = sessions::known(&history.operations, &order.certain);
    let mut verdicts = order.verdicts().to_vec();
    verdicts.extend(answers::verdicts(history, survey, &order, &known));
    verdicts.push(sessions::never_back(history, &known));
    verdicts.push(blobs::durable(history, survey, &order));
    verdicts.push(blobs::right_bytes(history, survey, &order));
    verdicts.push(journal::whole(survey));
    verdicts.push(journal::followers(history, survey));
    verdicts.push(journal::mirrors(history, survey));
    verdicts.push(tree::always_a_tree(survey));
    verdicts.push(replicas::equal(survey));
    verdicts.push(replicas::complete(survey));
    verdicts.sort_by_key(|verdict| verdict.invariant);
    verdicts
}
