//! What was measured on each system, side by side, and the goals that compare them. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::figure::{Figure, Goal, cell, median, number};

/// A row of the table, in the table's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Files committed per second, one per request, by so many clients.
    Rate(usize),
    /// Milliseconds of such a commit: half take at most this.
    P50(usize),
    /// Milliseconds that one of a hundred exceeds.
    P99(usize),
    /// Processor seconds of the servers per 1,000 of them.
    Cpu(usize),
    /// Files committed per second in batches.
    BatchRate,
    /// Milliseconds of a batch.
    BatchP99,
    /// Processor seconds per 1,000 files of batches.
    BatchCpu,
    /// Files per second while the store was filled.
    Fill,
    /// Milliseconds to list a whole directory: half take at most this.
    ListP50,
    /// Milliseconds that one listing of a hundred exceeds.
    ListP99,
    /// Milliseconds of its first page: half take at most this.
    PageP50,
    /// Milliseconds that one page of a hundred exceeds.
    PageP99,
    /// Bytes of memory of the servers with all files, as MB.
    Memory,
    /// Seconds from starting the killed servers to the first page of a directory.
    Restart,
    /// Megabytes after that.
    MemoryAfter,
}

/// Everything that was measured.
pub struct Comparison {
    /// The systems; ours is the first.
    systems: Vec<&'static str>,
    /// Files in the store, in a directory, in a page.
    counts: [usize; 3],
    samples: BTreeMap<What, Vec<Vec<f64>>>,
}

impl Comparison {
    /// Nothing yet. `counts` are files in the store, in a directory, and in a page.
    pub fn new(systems: Vec<&'static str>, counts: [usize; 3]) -> Self {
        Self { systems, counts, samples: BTreeMap::new() }
    }

    /// One more sample of a system.
    pub fn add(&mut self, what: What, system: usize, value: f64) {
        let all = self.samples.entry(what).or_insert_with(|| vec![Vec::new(); self.systems.len()]);
        all[system].push(value);
    }

    /// Both tables.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let peers = &self.systems[1..];
        let heads: Vec<String> = self.systems.iter().map(|name| format!(" {name} |")).collect();
        let ratios: Vec<String> = peers.iter().map(|name| format!(" to {name} |")).collect();
        let _ = writeln!(text, "| | unit |{}{}", heads.concat(), ratios.concat());
        let _ = writeln!(text, "|---|---|{}", "---:|".repeat(heads.len() + ratios.len()));
        for (what, all) in &self.samples {
            let cells: Vec<String> = all.iter().map(|samples| format!(" {} |", cell(samples))).collect();
            let ratios: Vec<String> = (1..all.len())
                .map(|peer| format!(" {} |", self.ratio(*what, *what, peer).map_or(String::new(), times)))
                .collect();
            let (title, unit) = self.title(*what);
            let _ = writeln!(text, "| {title} | {unit} |{}{}", cells.concat(), ratios.concat());
        }
        text
    }

    /// The goals, as far as what they are about was measured: ratios of medians.
    pub fn goals(&self) -> Vec<Figure> {
        let peer = |name| self.systems.iter().position(|system| *system == name).filter(|index| *index > 0);
        let (etcd, postgres) = (peer("etcd"), peer("PostgreSQL"));
        let [files, in_dir, in_page] = self.counts;
        let many = self
            .samples
            .keys()
            .filter_map(|what| if let What::Rate(n) = what { Some(*n) } else { None })
            .max();
        let mut goals = Vec::new();
        let mut ratio = |text: String, ours, theirs, peer: Option<usize>, goal: Option<f64>| {
            if let Some(ratio) = peer.and_then(|peer| self.ratio(ours, theirs, peer)) {
                goals.push(Figure::new(text, "times", vec![ratio]).with_goal(goal.map(Goal::AtLeast)));
            }
        };
        if let Some(many) = many {
            let single = What::Rate(many);
            ratio(format!("single commits, {many} clients: rate to etcd's"), single, single, etcd, Some(2.0));
            let p99 = What::P99(many);
            ratio(format!("single commits, {many} clients: etcd's p99 to ours"), p99, p99, etcd, Some(1.0));
            let batch = What::BatchRate;
            ratio(
                format!("batched to etcd's single commits, {many} clients"),
                batch,
                single,
                etcd,
                Some(6.0),
            );
            let text = format!("batched to PostgreSQL's transactions of a file, {many} clients");
            ratio(text, batch, single, postgres, Some(5.0));
            ratio("batched to etcd's transactions of 128 files".to_owned(), batch, batch, etcd, None);
            ratio(
                "batched to PostgreSQL's transactions of 512 files".to_owned(),
                batch,
                batch,
                postgres,
                None,
            );
        }
        let mut ours = |text: String, unit, what, goal| {
            if let Some(samples) =
                self.samples.get(&what).and_then(|all| all.first()).filter(|all| !all.is_empty())
            {
                goals.push(Figure::new(text, unit, samples.clone()).with_goal(Goal::AtMost(goal)));
            }
        };
        ours(format!("list {in_dir} entries, p50"), "ms", What::ListP50, 5.0);
        ours(format!("first page of {in_page}, p99"), "ms", What::PageP99, 2.0);
        ours(format!("restart with {files} files until the first answer"), "s", What::Restart, 5.0);
        goals
    }

    /// How many times as good ours is as a peer's: a rate is good when it is large, everything else when it is small.
    fn ratio(&self, ours: What, theirs: What, peer: usize) -> Option<f64> {
        let median_of = |what, system: usize| {
            let samples = self.samples.get(&what)?.get(system).filter(|samples| !samples.is_empty())?;
            Some(median(samples))
        };
        let (ours_median, theirs_median) = (median_of(ours, 0)?, median_of(theirs, peer)?);
        let is_rate = matches!(ours, What::Rate(_) | What::BatchRate | What::Fill);
        let ratio = if is_rate { ours_median / theirs_median } else { theirs_median / ours_median };
        ratio.is_finite().then_some(ratio)
    }

    fn title(&self, what: What) -> (String, &'static str) {
        let [files, in_dir, in_page] = self.counts;
        let clients = |n: usize| format!("{n} client{}", if n == 1 { "" } else { "s" });
        match what {
            What::Rate(n) => (format!("commits, {}", clients(n)), "per s"),
            What::P50(n) => (format!("commit, {}: p50", clients(n)), "ms"),
            What::P99(n) => (format!("commit, {}: p99", clients(n)), "ms"),
            What::Cpu(n) => (format!("servers' processor time, {}", clients(n)), "s per 1000"),
            What::BatchRate => ("commits in batches, 4 clients".to_owned(), "per s"),
            What::BatchP99 => ("batch: p99".to_owned(), "ms"),
            What::BatchCpu => ("servers' processor time in batches".to_owned(), "s per 1000"),
            What::Fill => (format!("filling with {files} files in batches"), "per s"),
            What::ListP50 => (format!("list {in_dir} entries: p50"), "ms"),
            What::ListP99 => (format!("list {in_dir} entries: p99"), "ms"),
            What::PageP50 => (format!("first page of {in_page}: p50"), "ms"),
            What::PageP99 => (format!("first page of {in_page}: p99"), "ms"),
            What::Memory => (format!("memory with {files} files"), "MB"),
            What::Restart => ("restart until the first answer".to_owned(), "s"),
            What::MemoryAfter => ("memory after that".to_owned(), "MB"),
        }
    }
}

fn times(ratio: f64) -> String {
    format!("{}x", number(ratio))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Comparison {
        let mut results = Comparison::new(vec!["CloudSync", "etcd", "PostgreSQL"], [1000, 100, 10]);
        for (system, rate, p99, batch) in
            [(0, 300.0, 8.0, 4000.0), (1, 100.0, 4.0, 1000.0), (2, 200.0, 2.0, 1500.0)]
        {
            results.add(What::Rate(64), system, rate);
            results.add(What::P99(64), system, p99);
            results.add(What::BatchRate, system, batch);
        }
        results.add(What::Restart, 0, 4.0);
        results
    }

    #[test]
    fn systems_stand_side_by_side() {
        let want = "| | unit | CloudSync | etcd | PostgreSQL | to etcd | to PostgreSQL |\n\
                    |---|---|---:|---:|---:|---:|---:|\n\
                    | commits, 64 clients | per s | 300 | 100 | 200 | 3.00x | 1.50x |\n\
                    | commit, 64 clients: p99 | ms | 8.00 | 4.00 | 2.00 | 0.50x | 0.25x |\n\
                    | commits in batches, 4 clients | per s | 4000 | 1000 | 1500 | 4.00x | 2.67x |\n\
                    | restart until the first answer | s | 4.00 |  |  |  |  |\n";
        assert_eq!(results().render(), want);
    }

    #[test]
    fn goals_compare() {
        let goals = results().goals();
        let verdicts: Vec<String> = goals.iter().filter_map(Figure::verdict).collect();
        let want = [
            "≥ 2.00 times: 1.50x, met",
            "≥ 1.00 times: 0.50x, **missed**",
            "≥ 6.00 times: 6.67x, met",
            "≥ 5.00 times: 4.00x, met",
            "≤ 5.00 s: 0.80x, met",
        ];
        assert_eq!(verdicts, want);
        assert_eq!(goals.len(), 7, "two more are told without a goal");
    }

    #[test]
    fn alone_nothing_is_compared() {
        let mut alone = Comparison::new(vec!["CloudSync"], [1, 1, 1]);
        alone.add(What::Rate(1), 0, 10.0);
        alone.add(What::Rate(1), 0, 20.0);
        assert!(alone.render().ends_with("| commits, 1 client | per s | 15.0 (10.0..20.0) |\n"));
        assert!(alone.goals().is_empty());
    }
}
