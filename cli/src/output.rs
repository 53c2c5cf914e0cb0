//! What commands print: tables for people, JSON for programs, both from the same values.

use std::io::{self, Write};

use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;
use types::{Error, Millis, Result};

use crate::exit::Exit;

/// How a command prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What a command has to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// For people: lines for standard output; may be empty.
    pub text: String,
    /// For programs: one value for standard output; `Null` prints nothing.
    pub json: Value,
    /// What went wrong along the way, for standard error.
    pub complaints: Vec<String>,
    /// The exit code of the process.
    pub exit: Exit,
}

impl Outcome {
    /// A success with nothing to complain about.
    pub fn ok(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json, complaints: Vec::new(), exit: Exit::Ok }
    }

    /// Says that it may be old: on standard error whatever the format, and in each value for programs.
    pub fn mark_stale(&mut self) {
        // Nobody is left to be told when standard error is closed.
        let _ = writeln!(
            io::stderr(),
            "cloudsync: no leader answers: this is what a replica has, and may be old"
        );
        let mark = |value: &mut Value| {
            if let Value::Object(fields) = value {
                fields.insert("stale".to_owned(), true.into());
            }
        };
        match &mut self.json {
            Value::Array(values) => values.iter_mut().for_each(mark),
            value => mark(value),
        }
    }

    /// Writes it to standard output and standard error.
    pub fn print(&self, format: Format) -> Result<()> {
        let text = match format {
            Format::Json if self.json.is_null() => String::new(),
            Format::Json => format!("{}\n", self.json),
            Format::Table if self.text.is_empty() || self.text.ends_with('\n') => self.text.clone(),
            Format::Table => format!("{}\n", self.text),
        };
        write_out(text.as_bytes())?;
        // In JSON the complaints are part of the value.
        if format == Format::Table {
            for complaint in &self.complaints {
                // Nobody is left to be told when standard error is closed.
                let _ = writeln!(io::stderr(), "cloudsync: {complaint}");
            }
        }
        Ok(())
    }
}

/// Writes to standard output. A reader that has gone away, as `head` does, is not an error.
pub fn write_out(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(Error::from(e).context("standard output")),
        Ok(()) => Ok(()),
    }
}

/// Text from a name: a control character would play tricks with the terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// How a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// For words.
    Left,
    /// For numbers: their units line up.
    Right,
}

/// Columns with a heading, each as wide as its widest cell.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table. A heading that begins with `>` makes a column of numbers.
    pub fn new(headings: &[&'static str]) -> Self {
        let column = |heading: &&'static str| match heading.strip_prefix('>') {
            Some(heading) => (heading, Align::Right),
            None => (*heading, Align::Left),
        };
        Self { columns: headings.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row with one cell per column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.columns.len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    /// The lines, each with its newline.
    pub fn render(&self) -> String {
        let heading = self.columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        let lines: Vec<Vec<String>> = std::iter::once(heading).chain(self.rows.iter().cloned()).collect();
        let width =
            |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for cells in &lines {
            let padded =
                cells.iter().zip(&self.columns).zip(&widths).map(|((cell, (_, align)), width)| match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                });
            text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Name and value, one per line.
pub fn describe(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

/// Bytes for people: `999 B`, `1.5 kB`, `20 MB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    // What would be printed as 1000 belongs to the next unit.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 9.95 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// A time for people: `2026-11-22 19:39:12`, in UTC.
pub fn time(at: Millis) -> String {
    const FORMAT: &[time::format_description::BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    let formatted = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|t| t.format(FORMAT).ok());
    formatted.unwrap_or_else(|| at.to_string())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn tables_line_up() {
        let mut table = Table::new(&["name", ">size", "state"]);
        table.row(["a".to_owned(), "1.5 kB".to_owned(), "up".to_owned()]);
        table.row(["größe".to_owned(), "7 B".to_owned(), String::new()]);
        expect![[r#"
            name     size  state
            a      1.5 kB  up
            größe     7 B
        "#]]
        .assert_eq(&table.render());
    }

    #[test]
    fn descriptions_line_up() {
        let text = describe(&[("path", "/a".to_owned()), ("modified", "now".to_owned())]);
        assert_eq!(text, "path      /a\nmodified  now\n");
    }

    #[test]
    fn old_answers_are_marked() {
        let mut one = Outcome::ok("", serde_json::json!({ "a": 1 }));
        one.mark_stale();
        assert_eq!(one.json.to_string(), r#"{"a":1,"stale":true}"#);
        let mut many = Outcome::ok("", serde_json::json!([{ "a": 1 }, { "a": 2 }]));
        many.mark_stale();
        assert_eq!(many.json.to_string(), r#"[{"a":1,"stale":true},{"a":2,"stale":true}]"#);
    }

    #[test]
    fn sizes() {
        for (bytes, want) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_549, "1.5 kB"),
            (9_940, "9.9 kB"),
            (9_960, "10 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (1 << 30, "1.1 GB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(size(bytes), want, "{bytes}");
        }
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(Millis(0)), "1970-01-01 00:00:00");
        assert_eq!(time(Millis(1_767_225_600_999)), "2026-01-01 00:00:00");
        assert_eq!(time(Millis(u64::MAX)), u64::MAX.to_string());
    }
}
