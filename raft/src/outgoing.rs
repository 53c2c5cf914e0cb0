//! The state that a group is sending to nodes that are too far behind, and what of the log waits for them.
//!
//! One view of the state serves all receivers. It is kept over errors, so that a transfer goes on where it broke off;
//! and as long as it is kept, the log from its position on is, too, because a receiver needs that next. Both end after a
//! time, or when the log has no room any more; then a newer view is sent from its beginning.

use std::sync::{Mutex, MutexGuard};

use env::time::{Instant, now};
use types::limits::{SNAPSHOT_AGE_MAX, SNAPSHOT_PAUSE_MAX};
use types::{Error, Result};

use crate::engine::{LogId, SnapshotMeta};
use crate::state::{Meta, State, StateStore};

/// A state at one position of the log. Equal positions mean equal states, on all nodes (I-DET).
#[derive(Clone, Debug)]
pub struct View {
    pub state: State,
    pub meta: SnapshotMeta,
    /// Commands that the state has seen.
    pub commands: u64,
}

impl View {
    /// Of a state and what is known of it.
    pub fn new((state, meta): (State, Meta)) -> Self {
        let commands = meta.commands;
        let meta = SnapshotMeta { last_log_id: meta.log, last_membership: meta.membership };
        Self { state, meta, commands }
    }
}

/// What a group sends. Empty on most nodes most of the time.
#[derive(Debug, Default)]
pub struct Outgoing(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    held: Option<Held>,
    /// Entries up to here are gone or about to go.
    floor: Option<u64>,
}

#[derive(Debug)]
struct Held {
    view: View,
    begun: Instant,
    used: Instant,
}

impl Outgoing {
    /// The view to send: the one that is being sent, or of the state as it is now.
    pub fn view(&self, store: &StateStore) -> Result<View> {
        let held = self.lock().held.as_ref().map(|held| held.view.clone());
        held.map_or_else(|| store.snapshot().map(View::new), Ok)
    }

    /// Notes that `view` is being sent, again when it is already. `Busy` when another one is.
    pub fn keep(&self, view: &View) -> Result<()> {
        let mut inner = self.lock();
        let now = now();
        match &mut inner.held {
            Some(held) if held.view.meta.last_log_id == view.meta.last_log_id => held.used = now,
            Some(_) => return Err(Error::busy("another view of the state is being sent: send that one", 0)),
            none => *none = Some(Held { view: view.clone(), begun: now, used: now }),
        }
        Ok(())
    }

    /// Like [`Outgoing::keep`], of a view that is being sent already. `Unavailable` when it is not kept any more.
    pub fn go_on(&self, position: &LogId) -> Result<()> {
        let mut inner = self.lock();
        let held = inner.held.as_mut().filter(|held| held.view.meta.last_log_id.as_ref() == Some(position));
        let held = held.ok_or_else(|| {
            Error::unavailable("the log after this snapshot is gone: a newer one is sent from its beginning")
        })?;
        held.used = now();
        Ok(())
    }

    /// The position from which on the log must stay. Forgets a view that is too old, or that nobody has asked for.
    pub fn needed_from(&self) -> Option<u64> {
        let mut inner = self.lock();
        let is_in_time = |held: &mut Held| {
            held.begun.elapsed() < SNAPSHOT_AGE_MAX && held.used.elapsed() < SNAPSHOT_PAUSE_MAX
        };
        inner.held.take_if(|held| !is_in_time(held));
        inner.held.as_ref().and_then(|held| held.view.meta.last_log_id.as_ref()).map(LogId::index)
    }

    /// Notes that the entries up to `index` go. A view before that is of no use any more.
    pub fn raise_floor(&self, index: u64) {
        let mut inner = self.lock();
        inner.floor = inner.floor.max(Some(index));
        let floor = inner.floor;
        inner.held.take_if(|held| held.view.meta.last_log_id.as_ref().map(LogId::index) < floor);
    }

    /// `Unavailable` for a receiver that needs entries which are gone or about to go: as long as it gets them, openraft
    /// does not remove any. It gets a snapshot instead.
    pub fn check(&self, prev: Option<&LogId>) -> Result<()> {
        if prev.map(LogId::index) < self.lock().floor {
            return Err(Error::unavailable(
                "the entries that it needs are leaving the log: it gets a snapshot",
            ));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("never poisoned: no panic inside")
    }
}
