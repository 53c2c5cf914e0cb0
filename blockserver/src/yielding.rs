//! Repair gives way to users: it waits while they are served, but never for long.

use std::sync::atomic::{AtomicUsize, Ordering};

use types::limits::{REPAIR_YIELD_MAX, REPAIR_YIELD_STEP};

/// Users' requests that this node is busy with.
#[derive(Debug, Default)]
pub(crate) struct Users(AtomicUsize);

/// A request of a user, until it is dropped.
pub(crate) struct Busy<'a>(&'a Users);

impl Users {
    /// A user is being served.
    pub(crate) fn serve(&self) -> Busy<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Busy(self)
    }

    /// Waits until no user is being served, or long enough: repair that waits for ever is none (I-HEAL).
    pub(crate) async fn give_way(&self) {
        let until = env::time::now() + REPAIR_YIELD_MAX;
        while self.0.load(Ordering::Relaxed) > 0 && env::time::now() < until {
            env::time::sleep(REPAIR_YIELD_STEP).await;
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let before = self.0.0.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "who is served was counted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn repair_waits_for_users_but_not_for_ever() {
        let (users, start) = (Users::default(), env::time::now());
        let waited = || env::time::now().saturating_duration_since(start);
        users.give_way().await;
        assert_eq!(waited(), env::time::Duration::ZERO);
        let (one, two) = (users.serve(), users.serve());
        drop(one);
        users.give_way().await;
        assert_eq!(waited(), REPAIR_YIELD_MAX);
        drop(two);
        users.give_way().await;
        assert_eq!(waited(), REPAIR_YIELD_MAX);
    }
}
