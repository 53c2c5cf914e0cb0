//! What was measured, each beside what it is compared with. Pure.

use std::fmt::Write as _;

use crate::figure::{Figure, Goal, cell, median, number};

/// Rows that are compared with the same kind of thing.
pub struct Section {
    /// What it is called.
    pub title: String,
    /// Head of the column with what is compared.
    pub beside: String,
    /// In their order.
    pub rows: Vec<Row>,
}

/// A number of ours, and what it is compared with.
#[derive(Debug)]
pub struct Row {
    what: String,
    unit: &'static str,
    /// One value per run, at least one.
    ours: Vec<f64>,
    /// One value per run, in the order of ours; empty when it is compared with nothing.
    beside: Vec<f64>,
    goal: Option<Goal>,
    /// The goal is about the ratio, not about the number itself.
    is_relative: bool,
}

impl Row {
    /// A number that is compared with nothing.
    pub fn new(what: impl Into<String>, unit: &'static str, ours: Vec<f64>) -> Self {
        assert!(!ours.is_empty(), "every measurement runs at least once");
        Self { what: what.into(), unit, ours, beside: Vec::new(), goal: None, is_relative: false }
    }

    /// Compared with this: measured in the same runs.
    #[must_use]
    pub fn beside(self, beside: Vec<f64>) -> Self {
        assert_eq!(self.ours.len(), beside.len(), "a run has both numbers");
        Self { beside, ..self }
    }

    /// With a goal for the number, if there is one.
    #[must_use]
    pub fn with_goal(self, goal: Option<Goal>) -> Self {
        Self { goal, ..self }
    }

    /// With a goal for the ratio to what it is compared with, if there is one.
    #[must_use]
    pub fn with_ratio_goal(self, goal: Option<Goal>) -> Self {
        assert!(!self.beside.is_empty(), "it is compared with something");
        Self { goal, is_relative: true, ..self }
    }

    /// Ours to what it is compared with, run by run: what disturbs a run disturbs both.
    fn ratios(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.beside).map(|(ours, beside)| ours / beside).collect()
    }

    fn verdict(&self) -> Option<String> {
        let (unit, samples) =
            if self.is_relative { ("times", self.ratios()) } else { (self.unit, self.ours.clone()) };
        Figure::new(&*self.what, unit, samples).with_goal(self.goal).verdict()
    }

    fn render(&self, text: &mut String) {
        let ratio = (!self.beside.is_empty()).then(|| format!("{}x", number(median(&self.ratios()))));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            self.what,
            self.unit,
            cell(&self.ours),
            cell(&self.beside),
            ratio.unwrap_or_default(),
            self.verdict().unwrap_or_default()
        );
    }
}

impl Section {
    /// A heading and a table.
    pub fn render(&self) -> String {
        let mut text =
            format!("### {}\n\n| | unit | CloudSync | {} | ratio | goal |\n", self.title, self.beside);
        text.push_str("|---|---|---:|---:|---:|---|\n");
        self.rows.iter().for_each(|row| row.render(&mut text));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(row: Row, want: &str) {
        let section = Section { title: "t".to_owned(), beside: "plain".to_owned(), rows: vec![row] };
        let text = section.render();
        assert_eq!(text.lines().last(), Some(want), "{text}");
        assert!(text.starts_with("### t\n\n| | unit | CloudSync | plain | ratio | goal |\n|---|"), "{text}");
    }

    #[test]
    fn rows() {
        check(Row::new("a", "ms", vec![2.0]), "| a | ms | 2.00 |  |  |  |");
        check(
            Row::new("a", "ms", vec![6.0]).with_goal(Some(Goal::AtMost(5.0))),
            "| a | ms | 6.00 |  |  | ≤ 5.00 ms: 1.20x, **missed** |",
        );
        let beside = || Row::new("a", "MB/s", vec![90.0, 10.0, 80.0]).beside(vec![100.0, 20.0, 100.0]);
        check(beside(), "| a | MB/s | 80.0 (10.0..90.0) | 100 (20.0..100) | 0.80x |  |");
        check(
            beside().with_ratio_goal(Some(Goal::AtLeast(0.85))),
            "| a | MB/s | 80.0 (10.0..90.0) | 100 (20.0..100) | 0.80x | ≥ 0.85 times: 0.94x, **missed** |",
        );
    }
}
