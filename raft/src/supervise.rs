//! Looks after the groups of a host: one that has stopped is started again, and what stops all of them is reported.
//!
//! A group stops when its state machine halts (an error of this machine's disk, an entry it cannot apply) or when its
//! core panics. The others go on. A log that cannot be written, or states that are damaged, concern the whole store:
//! only whoever opened it can open it again.

use std::sync::Weak;
use std::time::Duration;

use types::PartitionId;
use types::limits::{GROUP_RESTART_PAUSE_MAX, GROUP_RESTART_PAUSE_MIN, ROSTER_SAVE_PERIOD, SUPERVISE_PERIOD};

use crate::Role;
use crate::blocking;
use crate::shared::Shared;

/// Runs until the host is gone.
pub async fn run(host: Weak<Shared>) {
    let mut saved_at = env::time::now();
    loop {
        env::time::sleep(SUPERVISE_PERIOD).await;
        let Some(host) = host.upgrade() else { return };
        if let Some(trouble) = host.find_trouble() {
            host.link.report(trouble);
            return;
        }
        for id in stopped(&host) {
            restart(&host, id).await;
        }
        if saved_at.elapsed() >= ROSTER_SAVE_PERIOD {
            saved_at = env::time::now();
            if let Err(e) = blocking::run(|| host.link.roster.save()) {
                tracing::warn!("what was heard of other stores is not saved: {e}");
            }
        }
    }
}

/// The groups to start now. One that has just stopped waits for its first attempt, longer after each.
fn stopped(host: &Shared) -> Vec<PartitionId> {
    let now = env::time::now();
    let mut due = Vec::new();
    for (id, slot) in &mut *host.lock() {
        if slot.group.status().role != Role::Stopped {
            continue;
        }
        match slot.retry_at {
            Some(at) if now >= at => due.push(*id),
            Some(_) => {}
            None => {
                slot.problem = slot.group.halted();
                let why = slot.problem.as_ref().map_or("its core ended".to_owned(), ToString::to_string);
                tracing::error!(partition = %id, "a group has stopped and will be started again: {why}");
                slot.retry_at = Some(now + pause(slot.restarts));
            }
        }
    }
    due
}

fn pause(restarts: u64) -> Duration {
    let doublings = u32::try_from(restarts.min(16)).expect("at most 16");
    GROUP_RESTART_PAUSE_MIN.saturating_mul(1 << doublings).min(GROUP_RESTART_PAUSE_MAX)
}

async fn restart(host: &Shared, id: PartitionId) {
    match host.restart_group(id).await {
        Ok(()) => tracing::info!(partition = %id, "the group runs again"),
        Err(e) => {
            tracing::error!(partition = %id, "the group could not be started again: {e}");
            if let Some(slot) = host.lock().get_mut(&id) {
                slot.restarts += 1;
                slot.retry_at = Some(env::time::now() + pause(slot.restarts));
                slot.problem = Some(e);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_keeps_stopping_is_tried_less_often() {
        let pauses = [0, 1, 2, 4, 6, 9, u64::MAX].map(|restarts| pause(restarts).as_millis());
        assert_eq!(pauses, [500, 1000, 2000, 8000, 30_000, 30_000, 30_000]);
    }
}
