//! A directory as its keeper knows it.
//!
//! Owns: when it is looked at, and when opening it is tried again.
//! Knows nothing of: what follows from what is found.

use std::sync::Arc;

use env::time::{Duration, Instant};
use segments::DiskStore;
use types::DiskId;
use types::limits::{DISK_OPEN_PAUSE_MAX, DISK_OPEN_PAUSE_MIN, DISK_SILENCE_MAX};

use super::judge::{Finding, Use};

/// What is known of a directory, and done with it.
#[derive(Debug, Default)]
pub struct Spot {
    /// What was found when it was last looked at.
    found: Option<Finding>,
    /// Since when somebody looks at it, and which look that is.
    look: Option<(u64, Instant)>,
    look_count: u64,
    /// What is done with it.
    pub stage: Stage,
}

/// What is done with a directory.
#[derive(Debug, Default)]
pub enum Stage {
    /// It is left alone.
    #[default]
    Idle,
    /// Its disk is being opened.
    Opening,
    /// Its disk is open and has no id yet.
    New(Arc<DiskStore>),
    /// Its disk is open, under this id.
    Open(Arc<DiskStore>, DiskId),
    /// Its disk could not be opened.
    Failed {
        /// What was wrong, in words.
        why: String,
        /// Until when it is left alone.
        until: Instant,
        /// The pause before the next attempt but one.
        pause: Duration,
    },
}

impl Spot {
    /// Somebody looks at it from now on; returns the number of the look. `None` when somebody does already.
    pub fn begin_look(&mut self, now: Instant) -> Option<u64> {
        if self.look.is_some() {
            return None;
        }
        self.look_count += 1;
        self.look = Some((self.look_count, now));
        Some(self.look_count)
    }

    /// What was seen. A look that began before the directory was changed does not count.
    pub fn end_look(&mut self, number: u64, found: Finding) {
        if self.look.is_none_or(|(current, _)| current != number) {
            return;
        }
        self.look = None;
        if self.found.as_ref() != Some(&found) && matches!(self.stage, Stage::Failed { .. }) {
            // What was wrong may be over.
            self.stage = Stage::Idle;
        }
        self.found = Some(found);
    }

    /// It was changed: what was seen there is nothing to go by any more.
    pub fn enter(&mut self, stage: Stage) {
        (self.found, self.look, self.stage) = (None, None, stage);
    }

    /// What is there, as far as is known.
    pub fn finding(&self, now: Instant) -> Option<Finding> {
        if self.is_silent(now) { Some(Finding::Silent) } else { self.found.clone() }
    }

    /// True when it does not answer who looks at it.
    pub fn is_silent(&self, now: Instant) -> bool {
        self.look.is_some_and(|(_, since)| now.saturating_duration_since(since) > DISK_SILENCE_MAX)
    }

    /// What is done with it. A failure counts until opening is to be tried again.
    pub fn used(&self, now: Instant) -> Option<Use> {
        match &self.stage {
            Stage::Idle => None,
            Stage::Opening | Stage::New(_) => Some(Use::Opening),
            Stage::Open(store, _) => Some(Use::Open(store.uuid())),
            Stage::Failed { why, until, .. } => (now < *until).then(|| Use::Failed(why.clone())),
        }
    }

    /// Opening begins. Returns how long to wait after a failure, if it fails again.
    pub fn begin_open(&mut self) -> Duration {
        match std::mem::replace(&mut self.stage, Stage::Opening) {
            Stage::Failed { pause, .. } => pause,
            _ => DISK_OPEN_PAUSE_MIN,
        }
    }

    /// Opening has failed.
    pub fn fail(&mut self, now: Instant, why: String, pause: Duration) {
        let (until, pause) = (now + pause, (pause * 2).min(DISK_OPEN_PAUSE_MAX));
        self.stage = Stage::Failed { why, until, pause };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(spot: &mut Spot, now: Instant, found: Finding) {
        let number = spot.begin_look(now).expect("nobody looks at it");
        spot.end_look(number, found);
    }

    #[test]
    fn a_look_that_does_not_end_is_silence() {
        let (mut spot, start) = (Spot::default(), env::time::now());
        look(&mut spot, start, Finding::Absent);
        assert_eq!(spot.finding(start), Some(Finding::Absent));
        let number = spot.begin_look(start).unwrap();
        assert_eq!(spot.begin_look(start), None, "one at a time");
        assert_eq!(spot.finding(start + DISK_SILENCE_MAX), Some(Finding::Absent));
        let late = start + DISK_SILENCE_MAX * 2;
        assert_eq!(spot.finding(late), Some(Finding::Silent));
        spot.end_look(number, Finding::Absent);
        assert_eq!(spot.finding(late), Some(Finding::Absent));
    }

    #[test]
    fn what_was_seen_before_a_change_does_not_count() {
        let (mut spot, now) = (Spot::default(), env::time::now());
        look(&mut spot, now, Finding::Empty);
        let before = spot.begin_look(now).unwrap();
        spot.enter(Stage::Idle);
        assert_eq!(spot.finding(now), None);
        spot.end_look(before, Finding::Empty);
        assert_eq!(spot.finding(now), None);
        let after = spot.begin_look(now).unwrap();
        spot.end_look(before, Finding::Empty);
        assert_eq!(spot.finding(now), None);
        spot.end_look(after, Finding::Absent);
        assert_eq!(spot.finding(now), Some(Finding::Absent));
    }

    #[test]
    fn opening_is_tried_again_later_and_later_and_at_once_when_something_changes() {
        let (mut spot, mut now) = (Spot::default(), env::time::now());
        let mut pauses = Vec::new();
        look(&mut spot, now, Finding::Empty);
        for _ in 0..10 {
            let pause = spot.begin_open();
            assert_eq!(spot.used(now), Some(Use::Opening));
            spot.fail(now, "x".into(), pause);
            assert_eq!(spot.used(now), Some(Use::Failed("x".into())));
            now += pause;
            assert_eq!(spot.used(now), None);
            pauses.push(pause);
        }
        assert!(pauses.is_sorted() && pauses[0] == DISK_OPEN_PAUSE_MIN && pauses[9] == DISK_OPEN_PAUSE_MAX);
        look(&mut spot, now, Finding::Empty);
        assert!(matches!(spot.stage, Stage::Failed { .. }), "nothing has changed");
        look(&mut spot, now, Finding::Absent);
        assert_eq!(spot.begin_open(), DISK_OPEN_PAUSE_MIN);
    }
}
