//! Reading what nobody reads: each disk as a whole within a month, or at once when somebody asks for it.
//!
//! What is found damaged is lost on that disk, and made again like all that is (I-DISK, I-HEAL).

use env::time::Instant;
use proto::disks::{ControlScrub, ScrubMode, Scrubbed};
use segments::DiskStore;
use tracing::debug;
use types::limits::{SCRUB_PASS_TIME, SCRUB_PERIOD, SCRUB_STEP_MIN, SCRUB_STEP_SIZE};
use types::{DiskId, Error, Result};

use crate::server::Blockserver;

/// Verifies the disks of a server for as long as it lives.
pub fn keep_verifying(server: &std::sync::Arc<Blockserver>) {
    let this = std::sync::Arc::downgrade(server);
    env::task::spawn(async move {
        loop {
            let end = env::time::now() + SCRUB_PERIOD;
            {
                let Some(server) = this.upgrade() else { return };
                let (server, reports) = (&server, server.disks.reports());
                let all = server.disks.open().into_iter().map(|(id, disk)| {
                    let used_bytes = reports.get(&id).map_or(0, |report| report.used_bytes);
                    async move {
                        if let Err(e) = server.scrub(id, &disk, used_bytes, end).await {
                            debug!(disk = %id, "it is not verified at the moment: {e}");
                        }
                    }
                });
                futures::future::join_all(all).await;
            }
            env::time::sleep(end.saturating_duration_since(env::time::now())).await;
        }
    });
}

/// Bytes to verify in a period, of a disk with so many: all of them within the time of a pass.
fn share(used_bytes: u64) -> u64 {
    let periods = (SCRUB_PASS_TIME.as_secs() / SCRUB_PERIOD.as_secs()).max(1);
    if used_bytes == 0 { 0 } else { (used_bytes / periods).max(SCRUB_STEP_MIN) }
}

impl Blockserver {
    /// What is due of a disk until a period ends; as much as it can when somebody has asked for all of it.
    async fn scrub(&self, id: DiskId, disk: &DiskStore, used_bytes: u64, end: Instant) -> Result<()> {
        let mut left = share(used_bytes);
        while env::time::now() < end {
            let is_now = match self.scrubs.mode(id) {
                ScrubMode::Paused => return Ok(()),
                ScrubMode::Now => true,
                ScrubMode::Scheduled if left == 0 => return Ok(()),
                ScrubMode::Scheduled => false,
            };
            let budget = if is_now { SCRUB_STEP_SIZE } else { left.min(SCRUB_STEP_SIZE) };
            self.users.make_room(budget).await;
            let progress = disk.scrub_step(budget).await?;
            left = left.saturating_sub(budget);
            self.scrubs.note(id, progress);
        }
        Ok(())
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
}
