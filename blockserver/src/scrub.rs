//! Reading what nobody reads: each disk as a whole within a month, or at once when somebody asks for it.
//!
//! What is found damaged is lost on that disk, and made again like all that is (I-DISK, I-HEAL).

use std::collections::BTreeMap;
use std::sync::Mutex;

use proto::disks::{ControlScrub, ScrubMode, ScrubStatus, Scrubbed};
use segments::{DiskStore, ScrubProgress};
use tracing::{debug, info, warn};
use types::limits::{SCRUB_PASS_TIME, SCRUB_PERIOD, SCRUB_STEP_MIN, SCRUB_STEP_SIZE};
use types::{DiskId, Error, Result};

use crate::server::Blockserver;

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

/// Starts verifying for as long as the server lives.
pub fn start(server: &std::sync::Arc<Blockserver>) {
    let this = std::sync::Arc::downgrade(server);
    env::task::spawn(async move {
        loop {
            env::time::sleep(SCRUB_PERIOD).await;
            let Some(server) = this.upgrade() else { return };
            for (id, disk) in server.disks.open() {
                if let Err(e) = server.scrub(id, &disk).await {
                    debug!(disk = %id, "it is not verified at the moment: {e}");
                }
            }
        }
    });
}

/// Bytes to verify in a period, of a disk with so many: all of them within the time of a pass.
fn share(used_bytes: u64) -> u64 {
    let periods = (SCRUB_PASS_TIME.as_secs() / SCRUB_PERIOD.as_secs()).max(1);
    if used_bytes == 0 { 0 } else { (used_bytes / periods).max(SCRUB_STEP_MIN) }
}

impl Blockserver {
    /// What is due of a disk in this period; all of it when somebody has asked for that.
    async fn scrub(&self, id: DiskId, disk: &DiskStore) -> Result<()> {
        let mut left = share(disk.stats()?.bytes);
        loop {
            let is_now = match self.scrubs.mode(id) {
                ScrubMode::Paused => return Ok(()),
                ScrubMode::Now => true,
                ScrubMode::Scheduled if left == 0 => return Ok(()),
                ScrubMode::Scheduled => false,
            };
            self.users.give_way().await;
            let budget = if is_now { SCRUB_STEP_SIZE } else { left.min(SCRUB_STEP_SIZE) };
            let progress = disk.scrub_step(budget).await?;
            left = left.saturating_sub(budget);
            self.scrubs.note(id, progress);
        }
    }

    /// Does with the disks of this node what an administrator says, and tells how they are.
    pub(crate) fn control_scrub(&self, request: ControlScrub) -> Result<Scrubbed> {
        let open = self.disks.open();
        if let Some(disk) = request.disk.filter(|disk| !open.contains_key(disk)) {
            return Err(Error::not_found(format!("disk {disk} is not open on node {}", self.node)));
        }
        let disks = open.into_keys().filter(|id| request.disk.is_none_or(|disk| disk == *id));
        Ok(Scrubbed { disks: disks.map(|id| (id, self.scrubs.control(id, request.mode))).collect() })
    }
}

impl Scrubs {
    fn mode(&self, id: DiskId) -> ScrubMode {
        self.of(id, |state| state.mode)
    }

    fn note(&self, id: DiskId, progress: ScrubProgress) {
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

    fn control(&self, id: DiskId, mode: Option<ScrubMode>) -> ScrubStatus {
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
    fn a_disk_is_verified_within_the_time_of_a_pass() {
        let periods = SCRUB_PASS_TIME.as_secs() / SCRUB_PERIOD.as_secs();
        assert_eq!(share(0), 0);
        assert_eq!(share(1), SCRUB_STEP_MIN);
        let large = 20_000_000_000_000;
        assert!(share(large) * (periods + 1) >= large && share(large) < large / 100);
    }

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
