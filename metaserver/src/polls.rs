//! Who waits for a change of which namespace.
//!
//! Owns: the rows of those who wait, their limits, and waking those whose namespace has changed, and nobody else.
//! Knows nothing of: what has changed, how a wait ends otherwise.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;
use types::limits::{POLL_COUNT_MAX, POLL_RETRY_MS};
use types::{Error, Identity, NamespaceId, Result};

/// Everybody who waits on this node. Clones are the same table.
#[derive(Clone, Debug, Default)]
pub struct Polls(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    count: usize,
    /// Rows of each caller; who has none is not listed.
    callers: BTreeMap<Identity, usize>,
    /// Tells those who wait for a namespace; one that nobody waits for is not listed.
    namespaces: BTreeMap<NamespaceId, watch::Sender<()>>,
    woken: u64,
}

/// A row of the table: somebody waits.
#[derive(Debug)]
pub struct Poll {
    polls: Polls,
    caller: Identity,
    namespace: NamespaceId,
    /// `None` only while it is dropped.
    changed: Option<watch::Receiver<()>>,
}

impl Polls {
    /// Begins to wait: what changes from now on wakes. `Busy` when there are too many rows, or too many of this caller:
    /// nobody has more than is still free.
    pub fn begin(&self, caller: &Identity, namespace: NamespaceId) -> Result<Poll> {
        let mut table = self.lock();
        let (free, own) = (POLL_COUNT_MAX - table.count, table.callers.get(caller).copied().unwrap_or(0));
        if own >= free {
            let full = format!("{} wait for changes here, {own} of them for {caller}", table.count);
            return Err(Error::busy(format!("{full}: ask again later"), POLL_RETRY_MS));
        }
        table.count += 1;
        *table.callers.entry(caller.clone()).or_default() += 1;
        let changed = table.namespaces.entry(namespace).or_insert_with(|| watch::channel(()).0).subscribe();
        Ok(Poll { polls: self.clone(), caller: caller.clone(), namespace, changed: Some(changed) })
    }

    /// Wakes those who wait for these namespaces.
    pub fn wake(&self, namespaces: &[NamespaceId]) {
        let mut table = self.lock();
        for namespace in namespaces {
            if let Some(waiting) = table.namespaces.get(namespace) {
                let count = waiting.receiver_count() as u64;
                waiting.send_replace(());
                table.woken += count;
            }
        }
    }

    /// Wakes everybody: what has changed is not known.
    pub fn wake_all(&self) {
        let namespaces: Vec<NamespaceId> = self.lock().namespaces.keys().copied().collect();
        self.wake(&namespaces);
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.lock().count
    }

    /// How often somebody was woken.
    pub fn woken(&self) -> u64 {
        self.lock().woken
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("no panic while it is held")
    }
}

impl Poll {
    /// Returns when the namespace has changed since the wait began, or since this returned last.
    pub async fn changed(&mut self) {
        let changed = self.changed.as_mut().expect("it is not being dropped");
        changed.changed().await.expect("a namespace that somebody waits for is listed");
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        let mut table = self.polls.lock();
        table.count -= 1;
        self.changed = None;
        if let Entry::Occupied(mut own) = table.callers.entry(self.caller.clone()) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
        if table.namespaces.get(&self.namespace).is_some_and(|waiting| waiting.receiver_count() == 0) {
            table.namespaces.remove(&self.namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use types::ErrorKind;

    use super::*;

    fn user(n: usize) -> Identity {
        Identity::User(format!("user{n}"))
    }

    fn is_woken(poll: &mut Poll) -> bool {
        poll.changed().now_or_never().is_some()
    }

    #[test]
    fn a_change_wakes_those_who_wait_for_it() {
        let polls = Polls::default();
        polls.wake(&[NamespaceId(1)]);
        let mut waiting: Vec<Poll> =
            [1, 1, 2].map(|namespace| polls.begin(&user(1), NamespaceId(namespace)).unwrap()).into();
        let mut woken = || waiting.iter_mut().map(is_woken).collect::<Vec<_>>();
        assert_eq!(woken(), [false, false, false], "what was before does not count");
        polls.wake(&[NamespaceId(1), NamespaceId(3)]);
        assert_eq!(woken(), [true, true, false]);
        assert_eq!(woken(), [false, false, false], "once per change");
        polls.wake_all();
        assert_eq!(woken(), [true, true, true]);
        assert_eq!((polls.count(), polls.woken()), (3, 5));
        waiting.clear();
        let table = polls.lock();
        assert_eq!((table.count, table.callers.len(), table.namespaces.len()), (0, 0, 0));
    }

    #[test]
    fn there_is_always_room_for_another() {
        let polls = Polls::default();
        let take = |who: usize| {
            let rows = std::iter::from_fn(|| match polls.begin(&user(who), NamespaceId(1)) {
                Ok(poll) => Some(poll),
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Busy, "{e}");
                    None
                }
            });
            rows.collect::<Vec<_>>()
        };
        let first = take(1);
        let second = take(2);
        assert_eq!((first.len(), second.len()), (POLL_COUNT_MAX / 2, POLL_COUNT_MAX / 4));
        drop(first);
        assert!(take(2).len() > POLL_COUNT_MAX / 8, "what is given back can be had");
    }
}
