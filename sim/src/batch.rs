//! Many runs: one process per seed, as many at once as there are cores.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use env::Env;
use futures::StreamExt;
use futures::stream;
use serde::{Deserialize, Serialize};
use sim::plan::Plan;
use sim::run::Report;
use sim::trace::Trace;
use types::{Error, Result};

use super::What;

/// Problems of a run that are printed.
const PROBLEM_COUNT: usize = 3;
/// A process that says nothing for this long is counted as a hang, in seconds of real time.
const MUTANT_VARIABLE: &str = "CLOUDSYNC_MUTANT";

/// What a process says of its run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    seed: u64,
    is_good: bool,
    problems: Vec<String>,
    operations: u64,
    acknowledged: u64,
    simulated_seconds: u64,
    cpu_seconds: f64,
    trace: String,
    counts: BTreeMap<String, u64>,
    /// Promises that were not exercised.
    grey: Vec<String>,
}

impl Outcome {
    /// The outcome of a run in this process.
    pub fn of(seed: u64, report: &Report, trace: &Trace, cpu_seconds: f64) -> Self {
        let (lines, hash) = trace.digest();
        let is_grey = |verdict: &&oracle::Verdict| verdict.color() == oracle::Color::Grey;
        let grey = report.verdicts.iter().filter(is_grey).map(|verdict| verdict.claim.to_owned());
        Self {
            seed,
            is_good: report.is_good(),
            problems: report.problems(),
            operations: report.operations.0,
            acknowledged: report.operations.1,
            simulated_seconds: report.simulated.as_secs(),
            cpu_seconds,
            trace: format!("{hash}:{lines}"),
            counts: report.counts.iter().cloned().collect(),
            grey: grey.collect(),
        }
    }

    /// One line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain values can be written")
    }
}

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
            return true;
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
        true
    })?;
    summary(&outcomes, what);
    let equal = repeated - unequal.len();
    say(format_args!("{equal} of {repeated} repeated seeds have equal traces; unequal: {unequal:?}"));
    say(format_args!("broken seeds: {failed:?}"));
    print(&format!(
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

/// Leaves out faults, clients and time as long as the run still fails. True: it is found whether or not it got smaller.
pub fn shrink(seed: u64, what: &What) -> Result<bool> {
    let mut what = what.clone();
    let fails = |what: &What| -> Result<Option<String>> {
        let mut first = None;
        each(&[seed], what, "", |outcome| {
            first = (!outcome.is_good).then(|| outcome.problems.first().cloned().unwrap_or_default());
            true
        })?;
        Ok(first)
    };
    let Some(mut problem) = fails(&what)? else {
        return Err(Error::invalid(format!("seed {seed} does not fail: there is nothing to shrink")));
    };
    // Halves first, then one by one: each step must fail like the one before it.
    let count = Plan::draw(seed, &what.options()?).strikes.len() + what.without.len();
    let mut size = count.div_ceil(2);
    while size > 0 {
        for start in (0..count).step_by(size) {
            let mut smaller = what.clone();
            smaller.without.extend((start..(start + size).min(count)).filter(|n| !what.without.contains(n)));
            smaller.without.sort_unstable();
            if smaller.without.len() > what.without.len()
                && let Some(found) = fails(&smaller)?
            {
                say(format_args!("fails without {:?}: {found}", smaller.without));
                (what, problem) = (smaller, found);
            }
        }
        size /= 2;
    }
    for (clients, seconds) in [(1, what.seconds), (2, what.seconds), (what.clients, what.seconds / 2)] {
        let smaller = What { clients: clients.min(what.clients), seconds: seconds.max(1), ..what.clone() };
        if smaller.words() != what.words()
            && let Some(found) = fails(&smaller)?
        {
            (what, problem) = (smaller, found);
        }
    }
    say(format_args!("{problem}"));
    print(&replay(seed, &what));
    Ok(true)
}

/// Runs each planted bug on seeds until it is found. True when all are.
pub fn mutants(count: u64, what: &What) -> Result<bool> {
    let mutants = env::mutant::Mutant::ALL;
    if !env::mutant::ARE_PLANTED {
        return Err(Error::invalid(
            "this program has no mutants: build it with --features mutants (make mutants)",
        ));
    }
    let mut found_count = 0;
    for mutant in mutants {
        let (mut tried, mut found) = (0, None);
        let seeds: Vec<u64> = (1..=count).collect();
        each(&seeds, what, mutant.name(), |outcome| {
            tried += 1;
            found = outcome.problems.first().map(|problem| (outcome.seed, problem.clone()));
            found.is_none()
        })?;
        match found {
            Some((seed, problem)) => {
                found_count += 1;
                print(&format!("found     {:<18} in {tried} seeds (seed {seed}): {problem}", mutant.name()));
            }
            None => print(&format!("NOT FOUND {:<18} in {tried} seeds", mutant.name())),
        }
    }
    print(&format!("{found_count} passed, {} failed", mutants.len() - found_count));
    Ok(found_count == mutants.len())
}

/// Runs seeds in processes of their own and hands over their outcomes in order, until `take` says false.
fn each(seeds: &[u64], what: &What, mutant: &str, mut take: impl FnMut(Outcome) -> bool) -> Result<()> {
    env::task::run(async {
        let env = Env::real();
        let program = env::process::current_exe()?;
        let logs = std::env::temp_dir().join(format!("cloudsync-sim-{:x}", env.random.u64()));
        env.disk.create_dir_all(&logs)?;
        let runs = stream::iter(seeds.iter().enumerate()).map(|(index, seed)| {
            let log: PathBuf = logs.join(format!("{index}"));
            let mut words = vec!["run".to_owned(), "--json".to_owned(), format!("--seed={seed}")];
            words.extend(what.words());
            let (program, variables) = (program.clone(), [(MUTANT_VARIABLE, mutant.to_owned())]);
            async move {
                let said = env::process::run_detached_with(&program, &words, &variables, &log).await?;
                let outcome = said.lines().rev().find_map(|line| serde_json::from_str(line).ok());
                Ok::<Outcome, Error>(outcome.unwrap_or_else(|| Outcome::crashed(*seed, &said)))
            }
        });
        let mut runs = runs.buffered(env::process::core_count());
        while let Some(outcome) = runs.next().await {
            if !take(outcome?) {
                break;
            }
        }
        drop(runs);
        Ok(env.disk.remove_dir_all(&logs)?)
    })
}

impl Outcome {
    /// The outcome of a process that ended without a word: an assertion stopped it.
    fn crashed(seed: u64, said: &str) -> Self {
        let panic =
            said.lines().find(|line| line.contains("panicked at")).unwrap_or("it ended without a word");
        let reason = said.lines().skip_while(|line| !line.contains("panicked at")).nth(1).unwrap_or_default();
        Self {
            seed,
            is_good: false,
            problems: vec![format!("{panic} {reason}")],
            operations: 0,
            acknowledged: 0,
            simulated_seconds: 0,
            cpu_seconds: 0.0,
            trace: String::new(),
            counts: BTreeMap::new(),
            grey: Vec::new(),
        }
    }
}

fn replay(seed: u64, what: &What) -> String {
    format!(
        "make sim-run ARGS='--seed={seed} {} --trace trace.txt --picture picture.svg'",
        what.words().join(" ")
    )
}

fn say(text: impl std::fmt::Display) {
    eprintln!("sim: {text}");
}

fn print(line: &str) {
    // A reader that went away needs nothing.
    let _ = writeln!(std::io::stdout(), "{line}");
}
