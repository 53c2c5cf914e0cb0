//! What a run found, for people. Pure.

use std::fmt::{self, Write};

use oracle::{Asked, Color, History, Operation, Outcome, Step, Verdict};

use crate::fault::Fault;
use crate::inject::Injection;

/// Violations shown for one promise; the first ones say most.
const SHOWN_COUNT: usize = 5;

/// The result of a run.
#[derive(Debug)]
pub struct Report {
    seed: u64,
    verdicts: Vec<Verdict>,
    injections: Vec<Injection>,
    operations: Operations,
    write_times_ms: Vec<u64>,
}

/// How many operations there were.
#[derive(Clone, Copy, Debug, Default)]
struct Operations {
    all: usize,
    commits: usize,
    reads: usize,
    unknown: usize,
    refused: usize,
    slowest_ms: u64,
}

impl Report {
    /// Puts the results of a run together.
    pub fn new(seed: u64, verdicts: Vec<Verdict>, injections: Vec<Injection>, history: &History) -> Self {
        let count = |is: &dyn Fn(&&Operation) -> bool| history.operations.iter().filter(is).count();
        let took_ms = |operation: &Operation| operation.end_ms - operation.start_ms;
        let operations = Operations {
            all: history.operations.len(),
            commits: count(&|o| matches!(o.steps(), [Step::Commit { .. }])),
            reads: count(&|o| matches!(o.asked, Asked::Read(..))),
            unknown: count(&|o| o.is_write() && matches!(o.outcome, Outcome::Unknown)),
            refused: count(&|o| o.is_write() && matches!(o.outcome, Outcome::Refused(..))),
            slowest_ms: history.operations.iter().map(took_ms).max().unwrap_or(0),
        };
        Self { seed, verdicts, injections, operations, write_times_ms: history.write_times_ms() }
    }

    /// True when no promise was seen broken.
    pub fn is_good(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.color() != Color::Red)
    }

    /// How many promises were exercised and kept, and how many were not.
    pub fn counts(&self) -> (usize, usize) {
        let green = self.verdicts.iter().filter(|verdict| verdict.color() == Color::Green).count();
        (green, self.verdicts.len() - green)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for verdict in &self.verdicts {
            let Verdict { invariant, claim, exercised, violations } = verdict;
            let color = match verdict.color() {
                Color::Green => "green",
                Color::Red => "RED",
                Color::Grey => "grey",
            };
            writeln!(f, "{color:<6} {invariant:<10} {exercised:>7} times: {claim}")?;
            for violation in violations.iter().take(SHOWN_COUNT) {
                writeln!(f, "       ! {violation}")?;
            }
            if violations.len() > SHOWN_COUNT {
                writeln!(f, "       ! and {} more", violations.len() - SHOWN_COUNT)?;
            }
        }
        let Operations { all, commits, reads, unknown, refused, slowest_ms } = self.operations;
        writeln!(
            f,
            "operations: {all}, of these {commits} commits and {reads} reads of files; {refused} changes were refused, \
             {unknown} of unknown outcome; the slowest took {slowest_ms} ms"
        )?;
        f.write_str("faults:")?;
        for fault in Fault::ALL {
            let of_kind: Vec<&Injection> = self.injections.iter().filter(|i| i.fault == fault).collect();
            let slowest = of_kind.iter().map(|i| i.heal_ms).max().unwrap_or(0);
            write!(f, "\n  {fault}: {}", of_kind.len())?;
            if !of_kind.is_empty() {
                write!(f, ", whole again at most {slowest} ms after it was undone; no write for at most")?;
                let gaps = of_kind.iter().map(|i| longest_gap(&self.write_times_ms, i.at_ms, end(i)));
                gaps.into_iter().try_for_each(|gap| write!(f, " {gap}"))?;
                f.write_str(" ms")?;
            }
        }
        f.write_char('\n')
    }
}

fn end(injection: &Injection) -> u64 {
    injection.at_ms + injection.away_ms + injection.heal_ms
}

/// The longest time without an acknowledged write from `start_ms` to `end_ms`. `times_ms` are in order.
fn longest_gap(times_ms: &[u64], start_ms: u64, end_ms: u64) -> u64 {
    let within = times_ms.iter().copied().filter(|time| (start_ms..end_ms).contains(time));
    let mut last = start_ms;
    let mut longest = 0;
    for time in within.chain([end_ms]) {
        longest = longest.max(time - last);
        last = time;
    }
    longest
}

#[cfg(test)]
mod tests {
    use oracle::Invariant;

    use super::*;

    #[test]
    fn gaps_include_the_edges() {
        for (times, want) in [(&[][..], 100), (&[110, 190], 80), (&[50, 150, 160, 900], 50), (&[195], 95)] {
            assert_eq!(longest_gap(times, 100, 200), want, "{times:?}");
        }
    }

    #[test]
    fn one_broken_promise_makes_a_bad_run_and_an_unknown_one_no_good_smoke() {
        let verdict = |exercised, violations: &[&str]| Verdict {
            exercised,
            violations: violations.iter().map(|v| (*v).to_owned()).collect(),
            ..Verdict::new(Invariant::Ack, "what was acknowledged stays")
        };
        let report = |verdicts| Report::new(7, verdicts, Vec::new(), &History::default());
        let mixed = report(vec![verdict(1, &[]), verdict(0, &[]), verdict(1, &["lost"])]);
        assert_eq!((mixed.is_good(), mixed.counts()), (false, (1, 2)));
        assert!(mixed.to_string().contains("! lost"));
        assert!(report(vec![verdict(0, &[])]).is_good());
    }
}
