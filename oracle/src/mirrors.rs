//! Followers that begin at some moment while others write, look at what they have when it should be the tree, and begin
//! again.

use std::sync::Arc;
use std::time::Duration;

use env::Random;
use tokio::sync::watch;
use types::Result;

use crate::history::Mirrored;
use crate::session::Session;

/// Longest pause before one begins.
const PAUSE_MS_MAX: u64 = 1_500;
/// It follows for up to so many steps after it is settled.
const STEP_COUNT_MAX: u64 = 4;
/// How long it waits for the next record.
const WAIT: Duration = Duration::from_millis(300);
/// What one client looks at in a run.
const MIRROR_COUNT_MAX: usize = 50;

/// Begins mirrors until nobody writes any more, each at another time.
pub(crate) async fn run(
    client: usize,
    session: Arc<Session>,
    random: Random,
    quiet: watch::Receiver<bool>,
) -> Vec<Mirrored> {
    let mut found = Vec::new();
    while !*quiet.borrow() && found.len() < MIRROR_COUNT_MAX {
        env::time::sleep(Duration::from_millis(random.below(PAUSE_MS_MAX))).await;
        // One that gets no answer is given up.
        if let Ok(Some(mirrored)) = mirror(client, &session, &random, &quiet).await {
            found.push(mirrored);
        }
    }
    found
}

async fn mirror(
    client: usize,
    session: &Session,
    random: &Random,
    quiet: &watch::Receiver<bool>,
) -> Result<Option<Mirrored>> {
    let mut mirror = session.namespace.begin_mirror().await?;
    let began = mirror.cursor();
    let mut steps_left = random.below(STEP_COUNT_MAX);
    loop {
        session.namespace.advance(&mut mirror, WAIT).await?;
        if mirror.is_settled() {
            if steps_left == 0 || *quiet.borrow() {
                let (seq, tree) = (mirror.cursor(), mirror.paths());
                return Ok(Some(Mirrored { client, began, seq, tree }));
            }
            steps_left -= 1;
        }
    }
}
