//! Follows the journal as a sync client would: from the beginning, page by page, waiting for more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use types::Seq;

use crate::history::{Asked, Followed, Operation, Outcome, Shown, Via};
use crate::session::Session;
use crate::worker::{Shared, unanswered};

/// How long it waits for the next record.
const WAIT: Duration = Duration::from_millis(700);
/// After an error, and between pages that came at once.
const PAUSE: Duration = Duration::from_millis(50);
/// When nobody writes any more, so many pulls may fail before it gives up.
const LAST_TRY_COUNT: usize = 10;

/// A cursor, and what came before it.
pub(crate) struct Follower {
    session: Arc<Session>,
    shared: Arc<Shared>,
    /// True when nobody writes any more.
    quiet: watch::Receiver<bool>,
    followed: Followed,
    operations: Vec<Operation>,
}

impl Follower {
    /// At the beginning of the journal.
    pub fn new(
        client: usize,
        session: Arc<Session>,
        shared: Arc<Shared>,
        quiet: watch::Receiver<bool>,
    ) -> Self {
        let followed = Followed { client, ..Followed::default() };
        Self { session, shared, quiet, followed, operations: Vec::new() }
    }

    /// Follows until nobody writes any more and there is nothing new.
    pub async fn run(mut self) -> (Followed, Vec<Operation>) {
        let mut tries_left = LAST_TRY_COUNT;
        while tries_left > 0 {
            let is_quiet = *self.quiet.borrow();
            let count = self.pull().await;
            self.followed.is_at_end = is_quiet && count == Some(0);
            if self.followed.is_at_end {
                break;
            }
            tries_left -= usize::from(is_quiet && count.is_none());
            env::time::sleep(PAUSE).await;
        }
        (self.followed, self.operations)
    }

    /// Pulls a page; `None` when it did not come.
    async fn pull(&mut self) -> Option<usize> {
        let cursor = self.followed.records.last().map_or(Seq(0), |record| record.seq);
        let allowed = self.shared.allowed(&self.session, 1) + WAIT;
        let begun = unanswered(self.followed.client, allowed, Via::Session, Asked::Pull(cursor));
        let mut records = Vec::new();
        let work = async {
            let page = self.session.namespace.pull_journal(cursor, WAIT).await;
            let page = page.map(|page| {
                records = page.records;
                (Shown::Records(records.len()), Some(page.head))
            });
            Outcome::of(page)
        };
        let done = self.shared.timed(begun, work).await;
        let count = done.is_done().then_some(records.len());
        self.operations.push(done);
        self.followed.records.append(&mut records);
        count
    }
}
