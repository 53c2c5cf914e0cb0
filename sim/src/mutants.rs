//! How good the checkers are, measured with planted bugs.

use std::collections::BTreeSet;
use std::path::Path;

use env::Env;
use env::mutant::{ARE_PLANTED, MUTANT_VARIABLE, Mutant};
use types::{Error, Result};

use crate::say::print;
use crate::seeds::each;
use crate::what::What;

/// Kinds of faults that leave all nodes up: where many work, one part that is missing is made again at once.
const QUIET_KINDS: [&str; 3] = ["clock", "diskspace", "disktime"];

/// Bugs that only some faults bring out, and which.
const KINDS: [(Mutant, &str); 5] = [
    (Mutant::LeaseOverSuspend, "pause"),
    (Mutant::IdentityUnchecked, "metadata"),
    (Mutant::LossUnnoticed, "diskrot"),
    (Mutant::Unreconciled, "diskrot"),
    (Mutant::ErrorAsTail, "diskerrors"),
];

/// Bugs that no seed brings out, because a run is too short for them or too careful, and the test that tells their story:
/// crate, target, name.
const STORIES: [(Mutant, [&str; 4]); 3] = [
    (Mutant::EarlyVoter, ["sim", "--lib", "--", "a_node_that_never_started_does_not_vote"]),
    (
        Mutant::UnfencedCompletion,
        ["metaserver", "--lib", "--", "slots_serve_when_their_holder_says_they_are_filled"],
    ),
    (Mutant::TrimAhead, ["raft", "--test=snapshots", "--", "a_node_catches_up_while_commands_go_on"]),
];

/// Runs each planted bug on `count` seeds and says which promises it was seen to break, and in how many of them; where
/// none saw it, once more with fewer faults. True when all were found. What breaks without any bug proves
/// nothing, so that is asked first.
pub fn all(count: u64, what: &What) -> Result<bool> {
    if !ARE_PLANTED {
        return Err(Error::invalid("this program has no planted bugs: build it with --features mutants"));
    }
    let only = |kinds: &[&str]| What {
        faults: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        ..what.clone()
    };
    let quiet = only(&QUIET_KINDS);
    let special = KINDS.map(|(mutant, kind)| (mutant, only(&[kind])));
    for what in [what, &quiet].into_iter().chain(special.iter().map(|(_, what)| what)) {
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
        let name = mutant.name();
        if let Some((_, test)) = STORIES.iter().find(|(other, _)| *other == mutant) {
            let is_found = passes("", test)? && !passes(name, test)?;
            found_count += usize::from(is_found);
            print(format_args!(
                "{name:<18} {} by {}",
                if is_found { "found" } else { "NOT FOUND" },
                test.join(" ")
            ));
            continue;
        }
        let special = special.iter().find(|(other, _)| *other == mutant);
        let mut found = Found::of(name, count, special.map_or(what, |(_, what)| what))?;
        let mut how =
            special.map_or(String::new(), |(_, what)| format!(" (--faults {})", what.faults.join(",")));
        if found.in_seeds == 0 {
            (found, how) =
                (Found::of(name, count, &quiet)?, format!(" (--faults {})", QUIET_KINDS.join(",")));
        }
        found_count += usize::from(found.in_seeds > 0);
        let (in_seeds, promises) = (found.in_seeds, Vec::from_iter(found.promises).join(", "));
        print(format_args!(
            "{name:<18} found in {in_seeds} of {count} seeds{how} by {promises}; {}",
            found.first
        ));
    }
    print(format_args!("{found_count} passed, {} failed", Mutant::ALL.len() - found_count));
    Ok(found_count == Mutant::ALL.len())
}

/// Runs a test with a planted bug, or with none, and says whether it passes.
fn passes(mutant: &str, [package, target, dashes, test]: &[&str; 4]) -> Result<bool> {
    let words = [
        "test",
        "--release",
        "--locked",
        "--features=env/mutants",
        "--package",
        package,
        target,
        dashes,
        test,
    ];
    let said = env::task::run(async {
        let words = words.map(str::to_owned);
        let log = std::env::temp_dir().join(format!("cloudsync-story-{:x}", Env::real().random.u64()));
        let variables = [(MUTANT_VARIABLE, mutant.to_owned())];
        let said = env::process::run_detached_with(Path::new("cargo"), &words, &variables, &log).await;
        Env::real().disk.remove_file(&log)?;
        said
    })?;
    let ran = |result: &str| said.lines().any(|line| line.starts_with(&format!("test result: {result}")));
    // Without the name of a test none runs, which is no success.
    match (ran("FAILED"), ran("ok") && said.contains("1 passed")) {
        (true, _) => Ok(false),
        (false, true) => Ok(true),
        (false, false) => Err(Error::invalid(format!("{test} of {package} does not run: {said}"))),
    }
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
