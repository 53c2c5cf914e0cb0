//! The results as Markdown: tables for people, the same on the terminal and in docs/benchmarks.md. Pure but for
//! reading and writing that page.

mod cost;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use env::Disk;
use types::{Error, Result};

use crate::block;
use crate::deployment::Kind;
use crate::figure::{Figure, number};
use crate::limits::Limits;
use crate::measure::Results;
use crate::meta;
use cost::Costs;

/// The lines before and after the results in the page: of CloudSync alone, of its metadata beside others, and of disks and
/// chunks beside their limits. Each is replaced when it was measured.
const MARKERS: (&str, &str) = ("<!-- bench: begin -->", "<!-- bench: end -->");
const META_MARKERS: (&str, &str) = ("<!-- bench meta: begin -->", "<!-- bench meta: end -->");
const BLOCK_MARKERS: (&str, &str) = ("<!-- bench block: begin -->", "<!-- bench block: end -->");

/// All results of a run.
pub struct Report {
    machine: String,
    command: String,
    sections: Vec<(String, Vec<Figure>)>,
    costs: Costs,
    meta: Option<meta::Comparison>,
    block: Vec<block::Section>,
}

impl Report {
    /// A report without results.
    pub fn new(machine: String, command: String) -> Self {
        let (sections, block) = (Vec::new(), Vec::new());
        Self { machine, command, sections, costs: Costs::default(), meta: None, block }
    }

    /// Adds the raw limits.
    pub fn add_limits(&mut self, limits: &Limits) {
        let figures = limits.figures().into_iter().cloned().collect();
        self.sections.push(("Raw limits of this machine".to_owned(), figures));
        self.costs.kernels =
            limits.kernels.iter().map(|(kernel, figure)| (*kernel, figure.clone())).collect();
    }

    /// Adds what was measured on a deployment.
    pub fn add_results(&mut self, kind: Kind, results: Results) {
        self.sections.push((kind.title().to_owned(), results.figures));
        self.costs.measured.push((kind, results.put_cpu, results.get_cpu));
    }

    /// Adds the metadata of all systems.
    pub fn add_meta(&mut self, results: meta::Comparison) {
        self.meta = Some(results);
    }

    /// Adds what disks and chunks have shown.
    pub fn add_block(&mut self, sections: Vec<block::Section>) {
        self.block = sections;
    }

    /// Prints it on standard output.
    pub fn print(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        for (_, text) in self.parts() {
            out.write_all(text.as_bytes())?;
        }
        Ok(out.flush()?)
    }

    /// Replaces the results in a page; what is outside the markers stays. `Invalid` when the page has no markers.
    pub fn write_into(&self, disk: &dyn Disk, page: &Path) -> Result<()> {
        let bytes = disk.read(page).map_err(|e| Error::from(e).context(page.display()))?;
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        for ((begin, end), results) in self.parts() {
            let places = text.find(begin).zip(text.find(end)).filter(|(begin, end)| begin < end);
            let Some((from, to)) = places else {
                return Err(Error::invalid(format!(
                    "{} has no lines {begin} and {end}: put them back",
                    page.display()
                )));
            };
            text = format!("{}\n\n{results}\n{}", &text[..from + begin.len()], &text[to..]);
        }
        Ok(disk.write_atomic(page, text.as_bytes())?)
    }

    /// What was measured, with the lines around it.
    fn parts(&self) -> Vec<((&str, &str), String)> {
        let alone = (!self.sections.is_empty()).then(|| (MARKERS, self.render()));
        let beside = self.meta.as_ref().map(|meta| (META_MARKERS, self.render_meta(meta)));
        let block = (!self.block.is_empty()).then(|| (BLOCK_MARKERS, self.render_block()));
        alone.into_iter().chain(beside).chain(block).collect()
    }

    fn render_block(&self) -> String {
        let mut text = format!("`{}`\n\n{}\n", self.command, self.machine);
        self.block.iter().for_each(|section| text.push_str(&format!("\n{}", section.render())));
        text
    }

    fn render_meta(&self, meta: &meta::Comparison) -> String {
        let mut text = format!("`{}`\n\n{}\n\n{}", self.command, self.machine, meta.render());
        let goals = meta.goals();
        if !goals.is_empty() {
            text.push_str("\n| | median | min..max | unit | goal |\n|---|---:|---:|---|---|\n");
            goals.iter().for_each(|figure| row(&mut text, figure));
        }
        text
    }

    fn render(&self) -> String {
        let mut text = format!("`{}`\n\n{}\n", self.command, self.machine);
        for (title, figures) in &self.sections {
            text.push_str(&format!(
                "\n### {title}\n\n| | median | min..max | unit | goal |\n|---|---:|---:|---|---|\n"
            ));
            figures.iter().for_each(|figure| row(&mut text, figure));
        }
        text.push_str(&self.costs.render());
        text
    }
}

fn row(text: &mut String, figure: &Figure) {
    let (low, high) = figure.spread();
    let _ = writeln!(
        text,
        "| {} | {} | {}..{} | {} | {} |",
        figure.what,
        number(figure.median()),
        number(low),
        number(high),
        figure.unit,
        figure.verdict().unwrap_or_default()
    );
}

#[cfg(test)]
mod tests {
    use env::disk::SimDisk;

    use super::*;
    use crate::figure::Goal;

    fn report() -> Report {
        let mut report = Report::new("a machine".to_owned(), "make bench".to_owned());
        let figure = Figure::new("list", "ms", vec![40.0, 60.0, 55.0]).with_goal(Goal::AtMost(50.0));
        report.sections.push(("embedded".to_owned(), vec![figure, Figure::new("put", "MB/s", vec![123.4])]));
        report
    }

    #[test]
    fn a_table() {
        let want = "`make bench`\n\na machine\n\n### embedded\n\n| | median | min..max | unit | goal |\n\
                    |---|---:|---:|---|---|\n\
                    | list | 55.0 | 40.0..60.0 | ms | ≤ 50.0 ms: 1.10x, **missed** |\n\
                    | put | 123 | 123..123 | MB/s |  |\n";
        assert_eq!(report().render(), want);
    }

    #[test]
    fn results_replace_what_is_between_the_markers() {
        let (disk, page) = (SimDisk::new(0), Path::new("/page.md"));
        let around = |between: &str| format!("before\n{}\n{between}\n{}\nafter\n", MARKERS.0, MARKERS.1);
        disk.write_atomic(page, around("old").as_bytes()).unwrap();
        for _ in 0..2 {
            report().write_into(&disk, page).unwrap();
            let text = String::from_utf8(disk.read(page).unwrap()).unwrap();
            assert_eq!(text, around(&format!("\n{}", report().render())));
        }
    }

    #[test]
    fn a_page_without_markers_stays_as_it_is() {
        let (disk, page) = (SimDisk::new(0), Path::new("/page.md"));
        for text in ["", "no markers", "<!-- bench: end --> <!-- bench: begin -->"] {
            disk.write_atomic(page, text.as_bytes()).unwrap();
            assert!(report().write_into(&disk, page).is_err());
            assert_eq!(disk.read(page).unwrap(), text.as_bytes());
        }
    }
}
