//! How good the checkers are, measured with planted bugs.

use std::collections::BTreeSet;

use env::mutant::{ARE_PLANTED, Mutant};
use types::{Error, Result};

use crate::say::print;
use crate::seeds::each;
use crate::what::What;

/// Kinds of faults after which no part of a chunk may be missing, however strictly it is judged.
const STRICT_KINDS: [&str; 3] = ["clock", "diskspace", "disktime"];

/// Runs each planted bug on `count` seeds and says which promises it was seen to break, and in how many of them; where
/// none saw it, once more with fewer faults and all checks. True when all were found. What breaks without any bug proves
/// nothing, so that is asked first.
pub fn all(count: u64, what: &What) -> Result<bool> {
    if !ARE_PLANTED {
        return Err(Error::invalid("this program has no planted bugs: build it with --features mutants"));
    }
    let strict = What { faults: STRICT_KINDS.map(str::to_owned).to_vec(), strict: true, ..what.clone() };
    for what in [what, &strict] {
        let healthy = Found::of("", count, what)?;
        if healthy.in_seeds > 0 {
            return Err(Error::invalid(format!(
                "{} of {count} seeds break a promise without any bug, so that others are not told from it: {}",
                healthy.in_seeds, healthy.first
            )));
        }
    }
    let mut found_count = 0;
    for mutant in Mutant::ALL {
        let mut found = Found::of(mutant.name(), count, what)?;
        let mut how = "";
        if found.in_seeds == 0 {
            (found, how) = (Found::of(mutant.name(), count, &strict)?, " (--strict)");
        }
        found_count += usize::from(found.in_seeds > 0);
        let (name, in_seeds) = (mutant.name(), found.in_seeds);
        let promises = Vec::from_iter(found.promises).join(", ");
        print(format_args!(
            "{name:<16} found in {in_seeds} of {count} seeds{how} by {promises}; {}",
            found.first
        ));
    }
    print(format_args!("{found_count} passed, {} failed", Mutant::ALL.len() - found_count));
    Ok(found_count == Mutant::ALL.len())
}

/// What a bug led to.
#[derive(Default)]
struct Found {
    in_seeds: u64,
    promises: BTreeSet<String>,
    first: String,
}

impl Found {
    fn of(mutant: &str, count: u64, what: &What) -> Result<Self> {
        let mut found = Self::default();
        let seeds: Vec<u64> = (1..=count).collect();
        each(&seeds, what, mutant, |outcome| {
            if outcome.is_good {
                return;
            }
            found.in_seeds += 1;
            let promise = |problem: &String| problem.split(':').next().unwrap_or_default().to_owned();
            found.promises.extend(outcome.problems.iter().map(promise));
            if found.first.is_empty() {
                let problem = outcome.problems.first().map_or("", String::as_str);
                found.first = format!("seed {}: {problem}", outcome.seed);
            }
        })?;
        Ok(found)
    }
}
