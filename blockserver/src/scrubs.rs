//! How far each disk of a node is verified, and how that goes on.

use std::collections::BTreeMap;
use std::sync::Mutex;

use proto::disks::{ScrubMode, ScrubStatus};
use segments::ScrubProgress;
use tracing::{info, warn};
use types::DiskId;

/// How each disk is verified, and how far that has come. Scheduled unless somebody has said otherwise since the start.
#[derive(Debug, Default)]
pub(crate) struct Scrubs(Mutex<BTreeMap<DiskId, State>>);

#[derive(Clone, Copy, Debug)]
struct State {
    mode: ScrubMode,
    progress: ScrubProgress,
    /// Passes that were complete when one was asked for.
    passes_before: u64,
}

impl Default for State {
    fn default() -> Self {
        Self { mode: ScrubMode::Scheduled, progress: ScrubProgress::default(), passes_before: 0 }
    }
}

impl Scrubs {
    pub(crate) fn mode(&self, id: DiskId) -> ScrubMode {
        self.of(id, |state| state.mode)
    }

    pub(crate) fn note(&self, id: DiskId, progress: ScrubProgress) {
        self.of(id, |state| {
            if progress.found > state.progress.found && progress.passes == state.progress.passes {
                warn!(disk = %id, found = progress.found, "damage was found that nobody had read: it is made again");
            }
            if progress.passes > state.passes_before && state.mode == ScrubMode::Now {
                state.mode = ScrubMode::Scheduled;
                info!(disk = %id, "the disk is verified");
            }
            state.progress = progress;
        });
    }

    pub(crate) fn control(&self, id: DiskId, mode: Option<ScrubMode>) -> ScrubStatus {
        self.of(id, |state| {
            if let Some(mode) = mode {
                (state.mode, state.passes_before) = (mode, state.progress.passes);
            }
            let ScrubProgress { checked, found, passes, last_pass, .. } = state.progress;
            ScrubStatus { mode: state.mode, checked, found, passes, last_pass }
        })
    }

    fn of<T>(&self, id: DiskId, with: impl FnOnce(&mut State) -> T) -> T {
        with(self.0.lock().expect("no panic while it is held").entry(id).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_that_was_asked_for_ends_and_a_pause_does_not() {
        let (scrubs, id) = (Scrubs::default(), DiskId(3));
        let at = |passes, checked| ScrubProgress { passes, checked, ..ScrubProgress::default() };
        assert_eq!(scrubs.mode(id), ScrubMode::Scheduled);
        scrubs.note(id, at(4, 10));
        assert_eq!(scrubs.control(id, Some(ScrubMode::Now)).checked, 10);
        scrubs.note(id, at(4, 20));
        assert_eq!(scrubs.mode(id), ScrubMode::Now);
        scrubs.note(id, at(5, 0));
        assert_eq!(scrubs.mode(id), ScrubMode::Scheduled);
        scrubs.control(id, Some(ScrubMode::Paused));
        scrubs.note(id, at(6, 0));
        assert_eq!(scrubs.control(id, None).mode, ScrubMode::Paused);
        assert_eq!(scrubs.mode(DiskId(4)), ScrubMode::Scheduled, "others go on");
    }
}
