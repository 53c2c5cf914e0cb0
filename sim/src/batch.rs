//! Many seeds: what they broke, what they exercised, and whether they replay.

use std::collections::BTreeMap;

use types::Result;

use crate::outcome::Outcome;
use crate::say::{print, say};
use crate::seeds::{each, replay};
use crate::shrink;
use crate::what::What;

/// Problems of a run that are printed.
const PROBLEM_COUNT: usize = 3;

/// Runs `count` seeds from `first` on, the first `twice` of them a second time. True when nothing was broken.
pub fn all(first: u64, count: u64, twice: u64, what: &What) -> Result<bool> {
    what.options()?;
    let seeds: Vec<u64> = (first..first + count).chain(first..first + twice.min(count)).collect();
    let mut outcomes: BTreeMap<u64, Outcome> = BTreeMap::new();
    let (mut failed, mut unequal, mut repeated) = (Vec::new(), Vec::new(), 0);
    each(&seeds, what, "", |outcome| {
        if let Some(before) = outcomes.get(&outcome.seed) {
            repeated += 1;
            if before.trace != outcome.trace {
                unequal.push(outcome.seed);
            }
            return;
        }
        if !outcome.is_good {
            say(format_args!("seed {} is broken:", outcome.seed));
            let problems = outcome.problems.iter().take(PROBLEM_COUNT);
            problems.for_each(|problem| say(format_args!("    {problem}")));
            say(format_args!("    replay: {}", replay(outcome.seed, what)));
            failed.push(outcome.seed);
        }
        outcomes.insert(outcome.seed, outcome);
    })?;
    summary(&outcomes, what);
    let equal = repeated - unequal.len();
    say(format_args!("{equal} of {repeated} repeated seeds have equal traces; unequal: {unequal:?}"));
    say(format_args!("broken seeds: {failed:?}"));
    if let Some(seed) = failed.first() {
        say(format_args!("a smaller run that breaks the same promise as seed {seed}:"));
        shrink::shrink(*seed, what)?;
    }
    print(format_args!(
        "{} passed, {} failed",
        outcomes.len() - failed.len() + equal,
        failed.len() + unequal.len()
    ));
    Ok(failed.is_empty() && unequal.is_empty())
}

fn summary(outcomes: &BTreeMap<u64, Outcome>, what: &What) {
    let sum = |field: fn(&Outcome) -> f64| outcomes.values().map(field).sum::<f64>();
    let runs = outcomes.len().max(1) as f64;
    let simulated = sum(|outcome| outcome.simulated_seconds as f64);
    let cpu = sum(|outcome| outcome.cpu_seconds);
    say(format_args!(
        "{runs} runs of {} s: {} operations, {} acknowledged; a simulated minute takes {:.2} s of a core",
        what.seconds,
        sum(|outcome| outcome.operations as f64),
        sum(|outcome| outcome.acknowledged as f64),
        cpu / simulated.max(1.0) * 60.0
    ));
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, count) in outcomes.values().flat_map(|outcome| &outcome.counts) {
        *counts.entry(name).or_default() += count;
    }
    let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    say(format_args!("exercised: {}", counts.join(", ")));
    let mut grey: BTreeMap<&str, usize> = BTreeMap::new();
    outcomes
        .values()
        .flat_map(|outcome| &outcome.grey)
        .for_each(|claim| *grey.entry(claim).or_default() += 1);
    let never: Vec<&str> =
        grey.iter().filter(|(_, count)| **count == outcomes.len()).map(|(c, _)| *c).collect();
    say(format_args!("never exercised (grey): {never:?}"));
}
