//! What is known about a promise after a run.

use std::fmt;

/// A promise that can be judged. All but the last are defined in `docs/invariants.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// I-ACK.
    Ack,
    /// I-READ.
    Read,
    /// I-CAS.
    Cas,
    /// I-LIN.
    Lin,
    /// I-JRN.
    Jrn,
    /// I-TREE.
    Tree,
    /// I-DET.
    Det,
    /// I-HEAL.
    Heal,
    /// I-BOUND.
    Bound,
    /// No process ends or panics unless it was told to.
    Processes,
}

impl fmt::Display for Invariant {
    /// The id of the promise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Invariant::Ack => "I-ACK",
            Invariant::Read => "I-READ",
            Invariant::Cas => "I-CAS",
            Invariant::Lin => "I-LIN",
            Invariant::Jrn => "I-JRN",
            Invariant::Tree => "I-TREE",
            Invariant::Det => "I-DET",
            Invariant::Heal => "I-HEAL",
            Invariant::Bound => "I-BOUND",
            Invariant::Processes => "processes",
        })
    }
}

/// How a promise stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Exercised, and kept every time.
    Green,
    /// Seen to be broken at least once.
    Red,
    /// Never exercised: nothing is known.
    Grey,
}

/// What one checker found out about one promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which promise.
    pub invariant: Invariant,
    /// What was checked, as a sentence that is true when nothing was found.
    pub claim: &'static str,
    /// How often the run could have broken it.
    pub exercised: u64,
    /// How it was broken, in the order it was found.
    pub violations: Vec<String>,
}

impl Verdict {
    /// Nothing is known yet.
    pub fn new(invariant: Invariant, claim: &'static str) -> Self {
        Self { invariant, claim, exercised: 0, violations: Vec::new() }
    }

    /// Red when broken, however often it was exercised.
    pub fn color(&self) -> Color {
        match self {
            Verdict { violations, .. } if !violations.is_empty() => Color::Red,
            Verdict { exercised: 0, .. } => Color::Grey,
            _ => Color::Green,
        }
    }

    /// Notes another chance to break the promise, and what went wrong if something did.
    pub fn judge(&mut self, outcome: Result<(), String>) {
        self.exercised += 1;
        self.violations.extend(outcome.err());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn red_before_grey_before_green() {
        let mut verdict = Verdict::new(Invariant::Ack, "all is well");
        assert_eq!(verdict.color(), Color::Grey);
        verdict.judge(Ok(()));
        assert_eq!((verdict.exercised, verdict.color()), (1, Color::Green));
        verdict.judge(Err("lost".to_owned()));
        assert_eq!((verdict.exercised, verdict.color()), (2, Color::Red));
        let unexercised = Verdict { exercised: 0, ..verdict };
        assert_eq!(unexercised.color(), Color::Red);
        assert_eq!(format!("{:<8}|", Invariant::Read), "I-READ  |");
    }
}
