//! What a run found, for people. Pure.

use std::fmt::{self, Write};

use crate::check::Verdict;
use crate::fault::Fault;
use crate::history::{History, Outcome, Promise};
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
    slowest_ms: u64,
}

/// How a promise stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Color {
    Green,
    Red,
    /// Never exercised: nothing is known.
    Grey,
}

impl Report {
    /// Puts the results of a run together.
    pub fn new(seed: u64, verdicts: Vec<Verdict>, injections: Vec<Injection>, history: History) -> Self {
        let commits = history.commits.iter().filter(|c| c.outcome == Outcome::Unknown).count();
        let steps = history.steps.iter().filter(|s| s.outcome == Outcome::Unknown).count();
        let operations = Operations {
            all: history.answers.len(),
            commits: history.commits.len(),
            reads: history.reads.len(),
            unknown: commits + steps,
            slowest_ms: history.answers.iter().map(|answer| answer.took_ms).max().unwrap_or(0),
        };
        let mut write_times_ms = history.write_times_ms;
        write_times_ms.sort_unstable();
        Self { seed, verdicts, injections, operations, write_times_ms }
    }

    /// True when no promise was seen broken.
    pub fn is_good(&self) -> bool {
        self.verdicts.iter().all(|verdict| color(verdict) != Color::Red)
    }

    /// How many promises were exercised and kept, and how many were not.
    pub fn counts(&self) -> (usize, usize) {
        let green = self.verdicts.iter().filter(|verdict| color(verdict) == Color::Green).count();
        (green, self.verdicts.len() - green)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for verdict in &self.verdicts {
            let Verdict { promise, exercised, violations } = verdict;
            let color = match color(verdict) {
                Color::Green => "green",
                Color::Red => "RED",
                Color::Grey => "grey",
            };
            writeln!(f, "{color:<6} {:<10} {exercised:>7} times: {}", name(*promise), meaning(*promise))?;
            for violation in violations.iter().take(SHOWN_COUNT) {
                writeln!(f, "       ! {violation}")?;
            }
            if violations.len() > SHOWN_COUNT {
                writeln!(f, "       ! and {} more", violations.len() - SHOWN_COUNT)?;
            }
        }
        let Operations { all, commits, reads, unknown, slowest_ms } = self.operations;
        writeln!(
            f,
            "operations: {all}, of these {commits} commits and {reads} whole reads; {unknown} changes of unknown \
             outcome; the slowest took {slowest_ms} ms"
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

fn color(verdict: &Verdict) -> Color {
    match verdict {
        Verdict { violations, .. } if !violations.is_empty() => Color::Red,
        Verdict { exercised: 0, .. } => Color::Grey,
        _ => Color::Green,
    }
}

fn name(promise: Promise) -> &'static str {
    match promise {
        Promise::Ack => "I-ACK",
        Promise::Read => "I-READ",
        Promise::Cas => "I-CAS",
        Promise::Lin => "I-LIN",
        Promise::Jrn => "I-JRN",
        Promise::Tree => "I-TREE",
        Promise::Det => "I-DET",
        Promise::Heal => "I-HEAL",
        Promise::Answers => "answers",
        Promise::Processes => "processes",
    }
}

fn meaning(promise: Promise) -> &'static str {
    match promise {
        Promise::Ack => "every acknowledged change is there",
        Promise::Read => "right bytes or an error",
        Promise::Cas => "no silent overwrite",
        Promise::Lin => "every answer is the tree at the position it names",
        Promise::Jrn => "the journal is whole and its replay is the tree",
        Promise::Tree => "always a tree",
        Promise::Det => "voters have the same digest",
        Promise::Heal => "the cluster is whole after every fault",
        Promise::Answers => "every operation is answered in time, and not with an error of our making",
        Promise::Processes => "no process ended or panicked on its own",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_include_the_edges() {
        for (times, want) in [(&[][..], 100), (&[110, 190], 80), (&[50, 150, 160, 900], 50), (&[195], 95)] {
            assert_eq!(longest_gap(times, 100, 200), want, "{times:?}");
        }
    }

    #[test]
    fn red_before_grey_before_green() {
        let verdict = |exercised, violations: &[&str]| Verdict {
            promise: Promise::Ack,
            exercised,
            violations: violations.iter().map(|v| (*v).to_owned()).collect(),
        };
        assert_eq!(color(&verdict(0, &["x"])), Color::Red);
        assert_eq!(color(&verdict(0, &[])), Color::Grey);
        assert_eq!(color(&verdict(9, &[])), Color::Green);
        let report = |verdicts| Report::new(7, verdicts, Vec::new(), History::default());
        let mixed = report(vec![verdict(1, &[]), verdict(0, &[]), verdict(1, &["lost"])]);
        assert_eq!((mixed.is_good(), mixed.counts()), (false, (1, 2)));
        assert!(mixed.to_string().contains("! lost"));
        assert!(report(vec![verdict(0, &[])]).is_good());
    }
}
