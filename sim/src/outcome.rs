//! What a process says of its run to the one that started it.

use std::collections::BTreeMap;

use oracle::{Color, Verdict};
use serde::{Deserialize, Serialize};
use sim::run::Report;
use sim::trace::Trace;

/// One run, as a line of JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// What decided it.
    pub seed: u64,
    /// True when no promise was broken.
    pub is_good: bool,
    /// Every violation, with the id of its promise.
    pub problems: Vec<String>,
    /// Operations of clients.
    pub operations: u64,
    /// Those of them that were acknowledged.
    pub acknowledged: u64,
    /// How long it took in simulated time.
    pub simulated_seconds: u64,
    /// Seconds of a core.
    pub cpu_seconds: f64,
    /// Equal for equal traces.
    pub trace: String,
    /// What went wrong in the world, and how often.
    pub counts: BTreeMap<String, u64>,
    /// Claims that were not exercised.
    pub grey: Vec<String>,
}

impl Outcome {
    /// The outcome of a run in this process.
    pub fn of(seed: u64, report: &Report, trace: &Trace, cpu_seconds: f64) -> Self {
        let (lines, hash) = trace.digest();
        let is_grey = |verdict: &&Verdict| verdict.color() == Color::Grey;
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
            counts: report.counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            grey: grey.collect(),
        }
    }

    /// The outcome of the run whose process said this.
    pub fn read(seed: u64, said: &str) -> Self {
        let line = said.lines().rev().find_map(|line| serde_json::from_str(line).ok());
        line.unwrap_or_else(|| {
            let last = said.lines().last().unwrap_or("nothing");
            Self { seed, problems: vec![format!("the run ended early, and said: {last}")], ..Self::default() }
        })
    }

    /// One line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain values can be written")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_was_written() {
        let outcome = Outcome { seed: 7, is_good: true, trace: "a:1".to_owned(), ..Outcome::default() };
        let read = Outcome::read(7, &format!("a warning\n{}\n", outcome.to_json()));
        assert_eq!((read.seed, read.is_good, read.trace), (7, true, outcome.trace));
    }

    #[test]
    fn a_process_that_was_cut_short_is_not_good() {
        let read = Outcome::read(3, "thread main panicked\n{\"seed\":3");
        assert!(!read.is_good && read.problems[0].contains("{\"seed\":3"), "{read:?}");
        assert!(!Outcome::read(3, "").is_good);
    }
}
