//! Numbers in the text format of Prometheus.

use std::fmt::Write as _;

/// Numbers as text, family by family.
#[derive(Default)]
pub struct Metrics(String, String);

impl Metrics {
    /// Begins a family.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) -> &mut Self {
        self.1 = format!("cloudsync_{name}");
        let name = &self.1;
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}.\n# TYPE {name} {kind}");
        self
    }

    /// A number of the last family.
    pub fn add(&mut self, labels: &str, number: u64) {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.0, "{}{labels} {number}", self.1);
    }
    /// All that was added, in its order.
    pub fn finish(self) -> String {
        self.0
    }
}
