//! What most of many values are at most. Pure.

/// The middle, and what one in a hundred exceeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentiles {
    /// Half are at most this.
    pub p50: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
}

impl Percentiles {
    /// Of at least one value.
    pub fn of(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "something was measured");
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() as f64 * share).ceil() as usize).max(1) - 1];
        Self { p50: at(0.5), p99: at(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(count: usize, p50: f64, p99: f64) {
        let values = (1..=count).rev().map(|value| value as f64).collect();
        assert_eq!(Percentiles::of(values), Percentiles { p50, p99 });
    }

    #[test]
    fn percentiles() {
        check(1, 1.0, 1.0);
        check(2, 1.0, 2.0);
        check(100, 50.0, 99.0);
        check(1000, 500.0, 990.0);
    }
}
