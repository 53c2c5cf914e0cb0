//! One measured number: its samples, their median, and the goal it is held against. Pure.

/// What a number should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At least this: rates.
    AtLeast(f64),
    /// At most this: times.
    AtMost(f64),
}

/// A number with its name and unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// The unit of the samples.
    pub unit: &'static str,
    /// One value per run, at least one.
    pub samples: Vec<f64>,
    /// What it should be, if there is a goal.
    pub goal: Option<Goal>,
}

impl Figure {
    /// A number without a goal.
    pub fn new(what: impl Into<String>, unit: &'static str, samples: Vec<f64>) -> Self {
        assert!(!samples.is_empty(), "every measurement runs at least once");
        Self { what: what.into(), unit, samples, goal: None }
    }

    /// With a goal, if there is one.
    #[must_use]
    pub fn with_goal(self, goal: impl Into<Option<Goal>>) -> Self {
        Self { goal: goal.into(), ..self }
    }

    /// Median of the samples.
    pub fn median(&self) -> f64 {
        median(&self.samples)
    }

    /// Smallest and largest sample.
    pub fn spread(&self) -> (f64, f64) {
        self.samples.iter().fold((f64::INFINITY, 0.0), |(low, high), &x| (x.min(low), x.max(high)))
    }

    /// The goal, how much of it the median is, and whether that is enough.
    pub fn verdict(&self) -> Option<String> {
        let median = self.median();
        let (sign, goal, is_met) = match self.goal? {
            Goal::AtLeast(goal) => ("≥", goal, median >= goal),
            Goal::AtMost(goal) => ("≤", goal, median <= goal),
        };
        let word = if is_met { "met" } else { "**missed**" };
        Some(format!("{sign} {} {}: {:.2}x, {word}", number(goal), self.unit, median / goal))
    }
}

/// The middle value; of an even number of values the mean of the two in the middle.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// The median, and the spread where there is one; empty without samples.
pub fn cell(samples: &[f64]) -> String {
    if samples.is_empty() {
        return String::new();
    }
    let low = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let high = samples.iter().copied().fold(0.0, f64::max);
    match samples.len() {
        1 => number(low),
        _ => format!("{} ({}..{})", number(median(samples)), number(low), number(high)),
    }
}

/// Three significant digits are more than any of this can promise.
pub fn number(value: f64) -> String {
    match value.abs() {
        x if x >= 100.0 => format!("{value:.0}"),
        x if x >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (samples, want) in [(&[3.0][..], 3.0), (&[9.0, 1.0, 2.0], 2.0), (&[4.0, 1.0, 2.0, 9.0], 3.0)] {
            assert_eq!(median(samples), want);
        }
        assert_eq!(Figure::new("x", "s", vec![2.0, 0.5, 3.0]).spread(), (0.5, 3.0));
    }

    #[track_caller]
    fn check(median: f64, goal: Goal, want: &str) {
        assert_eq!(Figure::new("x", "s", vec![median]).with_goal(goal).verdict().as_deref(), Some(want));
    }

    #[test]
    fn verdicts() {
        check(2.0, Goal::AtMost(2.5), "≤ 2.50 s: 0.80x, met");
        check(5.0, Goal::AtMost(2.5), "≤ 2.50 s: 2.00x, **missed**");
        check(200.0, Goal::AtLeast(100.0), "≥ 100 s: 2.00x, met");
        check(99.0, Goal::AtLeast(100.0), "≥ 100 s: 0.99x, **missed**");
        assert_eq!(Figure::new("x", "s", vec![1.0]).verdict(), None);
    }
}
