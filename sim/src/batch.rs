//! Many runs: one process per seed, as many at once as there are cores.

use std::collections::BTreeMap;

use env::Env;
use env::mutant::MUTANT_VARIABLE;
use futures::StreamExt;
use futures::stream;
use types::Result;

use crate::outcome::Outcome;
use crate::say::{print, say};
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
            outcome
                .problems
                .iter()
                .take(PROBLEM_COUNT)
                .for_each(|problem| say(format_args!("    {problem}")));
            say(format_args!("    replay: {}", replay(outcome.seed, what)));
            failed.push(outcome.seed);
        }
        outcomes.insert(outcome.seed, outcome);
    })?;
    summary(&outcomes, what);
    let equal = repeated - unequal.len();
    say(format_args!("{equal} of {repeated} repeated seeds have equal traces; unequal: {unequal:?}"));
    say(format_args!("broken seeds: {failed:?}"));
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

/// Runs seeds in processes of their own, with a planted bug unless its name is empty, and hands over their outcomes in
/// order.
pub fn each(seeds: &[u64], what: &What, mutant: &str, mut take: impl FnMut(Outcome)) -> Result<()> {
    env::task::run(async {
        let env = Env::real();
        let program = env::process::current_exe()?;
        let logs = std::env::temp_dir().join(format!("cloudsync-sim-{:x}", env.random.u64()));
        env.disk.create_dir_all(&logs)?;
        let runs = stream::iter(seeds.iter().enumerate()).map(|(index, seed)| {
            let log = logs.join(index.to_string());
            let mut words = vec!["run".to_owned(), "--json".to_owned(), format!("--seed={seed}")];
            words.extend(what.words());
            let (program, variables) = (program.clone(), [(MUTANT_VARIABLE, mutant.to_owned())]);
            async move {
                let said = env::process::run_detached_with(&program, &words, &variables, &log).await?;
                Result::<Outcome>::Ok(Outcome::read(*seed, &said))
            }
        });
        let mut runs = runs.buffered(env::process::core_count());
        while let Some(outcome) = runs.next().await {
            take(outcome?);
        }
        drop(runs);
        Ok(env.disk.remove_dir_all(&logs)?)
    })
}

/// The command that runs a seed again and shows all of it.
pub fn replay(seed: u64, what: &What) -> String {
    let words = what.words().join(" ");
    format!("make sim-run ARGS='--seed={seed} {words} --trace trace.txt --picture picture.svg'")
}
