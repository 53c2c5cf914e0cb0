//! One line on a terminal that says how far a transfer is: bytes, rate, time left.
//!
//! Owns: the line and when it is drawn. Nothing is drawn when standard error is not a terminal.
//! Knows nothing of: what is transferred.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use types::limits::PROGRESS_PERIOD_MS;

use client::Progress;
use env::task::JoinHandle;

use crate::output::size;

/// The rate is that of the last five seconds.
const RATE_SAMPLES: usize = 50;
/// Characters of the bar itself.
const BAR_WIDTH: usize = 20;

/// A line that draws itself until it is finished or dropped.
#[derive(Debug)]
pub struct Bar(Option<JoinHandle<()>>);

impl Bar {
    /// Starts to draw, if there is a terminal to draw on.
    pub fn start(total_bytes: u64, total_files: u64, progress: Arc<Progress>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        Self(Some(env::task::spawn(async move {
            let mut rate = Rate::default();
            loop {
                let done_bytes = progress.bytes_done.load(Ordering::Relaxed);
                let done_files = progress.files_done.load(Ordering::Relaxed);
                let per_second = rate.push(done_bytes);
                draw(&line(State { done_bytes, total_bytes, done_files, total_files, per_second }));
                env::time::sleep(Duration::from_millis(PROGRESS_PERIOD_MS)).await;
            }
        })))
    }

    /// Removes the line, so that a result can be printed in its place.
    pub fn finish(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
            draw("");
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Replaces the line.
fn draw(line: &str) {
    let mut terminal = std::io::stderr().lock();
    // Carriage return, clear to the end of the line. A terminal that has gone away needs no line.
    let _ = write!(terminal, "\r\x1b[K{line}");
    let _ = terminal.flush();
}

/// Bytes per second over the last samples.
#[derive(Debug, Default)]
struct Rate(VecDeque<u64>);

impl Rate {
    fn push(&mut self, done_bytes: u64) -> u64 {
        if self.0.len() > RATE_SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(done_bytes);
        let periods = self.0.len() as u64 - 1;
        let gained = done_bytes.saturating_sub(self.0[0]);
        (gained * 1000).checked_div(periods * PROGRESS_PERIOD_MS).unwrap_or(0)
    }
}

/// What the line says.
#[derive(Clone, Copy, Debug)]
struct State {
    done_bytes: u64,
    total_bytes: u64,
    done_files: u64,
    total_files: u64,
    per_second: u64,
}

fn line(state: State) -> String {
    let State { done_bytes, total_bytes, done_files, total_files, per_second } = state;
    // A file may have grown since it was counted.
    let done_bytes = done_bytes.min(total_bytes);
    let parts = |whole: u64| (done_bytes * whole).checked_div(total_bytes).unwrap_or(whole);
    let filled = usize::try_from(parts(BAR_WIDTH as u64)).unwrap_or(BAR_WIDTH);
    let left = match (total_bytes - done_bytes).checked_div(per_second) {
        Some(seconds) => duration(seconds),
        None => "--:--".to_owned(),
    };
    format!(
        "[{}{}] {:>3}%  {} of {}  {}/s  {done_files} of {total_files} files  {left} left",
        "#".repeat(filled),
        " ".repeat(BAR_WIDTH - filled),
        parts(100),
        size(done_bytes),
        size(total_bytes),
        size(per_second),
    )
}

/// `1:05`, `2:00:00`.
fn duration(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(done_bytes: u64, total_bytes: u64, per_second: u64, want: &str) {
        let state = State { done_bytes, total_bytes, done_files: 2, total_files: 9, per_second };
        assert_eq!(line(state), want);
    }

    #[test]
    fn lines() {
        let (mb, empty, full) = (1_000_000, " ".repeat(20), "#".repeat(20));
        check(0, 100 * mb, 0, &format!("[{empty}]   0%  0 B of 100 MB  0 B/s  2 of 9 files  --:-- left"));
        let half = format!("[{}{}]", "#".repeat(10), " ".repeat(10));
        check(
            50 * mb,
            100 * mb,
            mb,
            &format!("{half}  50%  50 MB of 100 MB  1.0 MB/s  2 of 9 files  0:50 left"),
        );
        check(
            150 * mb,
            100 * mb,
            mb,
            &format!("[{full}] 100%  100 MB of 100 MB  1.0 MB/s  2 of 9 files  0:00 left"),
        );
        check(0, 0, 0, &format!("[{full}] 100%  0 B of 0 B  0 B/s  2 of 9 files  --:-- left"));
    }

    #[test]
    fn durations() {
        assert_eq!([duration(0), duration(65), duration(7200)], ["0:00", "1:05", "2:00:00"]);
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut rate = Rate::default();
        assert_eq!(rate.push(0), 0);
        assert_eq!(rate.push(100), 1000);
        for _ in 0..2 * RATE_SAMPLES {
            rate.push(100);
        }
        assert_eq!(rate.push(100), 0);
    }
}
