//! What a rule reports.

use std::fmt;

/// One place that breaks a rule, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Path from the root of the workspace.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Name of the rule.
    pub rule: &'static str,
    /// What is wrong and what to do.
    pub advice: String,
    /// False for a warning.
    pub fails: bool,
}

impl Finding {
    /// A finding that fails the run.
    pub fn new(rule: &'static str, file: &str, line: usize, advice: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, rule, advice: advice.into(), fails: true }
    }

    /// A finding that is only printed.
    pub fn warning(rule: &'static str, file: &str, line: usize, advice: impl Into<String>) -> Self {
        Self { fails: false, ..Self::new(rule, file, line, advice) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, rule, advice, fails } = self;
        write!(f, "{file}:{line}: {rule}: {}{advice}", if *fails { "" } else { "warning: " })
    }
}

/// The findings as `line rule advice`, for the tables of the tests.
#[cfg(test)]
pub fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|f| format!("{}:{} {}", f.file, f.line, f.advice)).collect()
}

/// Asserts that the findings are exactly as many as `want` and that each begins with or contains its text.
#[cfg(test)]
#[track_caller]
pub fn expect(findings: &[Finding], want: &[&str]) {
    let got = lines(findings);
    let fits = got.len() == want.len() && got.iter().zip(want).all(|(got, want)| got.contains(want));
    assert!(fits, "got {got:#?}\nwant {want:#?}");
}
