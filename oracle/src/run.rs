//! One run of the workload: the same for simulated and for real clusters, which differ in what is done to them meanwhile.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use env::Random;
use env::task::JoinHandle;
use env::time::Instant;
use tokio::sync::watch;
use types::{Error, Result};

use crate::follower::Follower;
use crate::history::History;
use crate::mirrors;
use crate::mix::Mix;
use crate::session::Session;
use crate::worker::{Shared, Worker};

/// What clients do.
#[derive(Clone, Debug)]
pub struct Workload {
    /// How often what.
    pub mix: Mix,
    /// So many of the clients, fewer than all, only ask the leader for the newest state.
    pub asker_count: usize,
    /// So many more clients only follow the journal.
    pub follower_count: usize,
    /// So many more begin to follow it again and again, each time from the tree as it is.
    pub mirror_count: usize,
    /// How long an operation may take beyond the deadlines of its requests: on simulated time next to nothing, on a
    /// machine that is busy with everything else some seconds.
    pub grace: Duration,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            mix: Mix::default(),
            asker_count: 0,
            follower_count: 2,
            mirror_count: 1,
            grace: Duration::from_secs(1),
        }
    }
}

/// Works with one client per session until `stop` says true, then waits until all have finished. Every choice follows
/// from `random`; on a paused clock the same cluster gives the same history. Times of the history count from `started`.
///
/// The error is of the first question, before anything was written: the namespace does not answer.
pub async fn run(
    sessions: Vec<Session>,
    workload: &Workload,
    random: &Random,
    started: Instant,
    stop: watch::Receiver<bool>,
) -> Result<History> {
    let sessions: Vec<Arc<Session>> = sessions.into_iter().map(Arc::new).collect();
    assert!(workload.asker_count < sessions.len().max(1), "somebody must work");
    let first = sessions.first().ok_or_else(|| Error::invalid("a run needs a client"))?;
    let began = first.namespace.fetch_namespace().await?.seq;
    let shared = Arc::new(Shared {
        mix: workload.mix.clone(),
        asker_count: workload.asker_count,
        grace: workload.grace,
        started,
        began,
        stop,
        newest: AtomicU64::new(began.0),
        written: AtomicU64::new(0),
        stored: Mutex::new(VecDeque::new()),
    });
    let seed = random.u64();
    let worker = |client| {
        let random = Random::seeded(random.u64());
        Worker::new(client, &sessions, shared.clone(), seed, random)
    };
    let workers: Vec<Worker> = (0..sessions.len()).map(worker).collect();
    let (quiet, is_quiet) = watch::channel(false);
    let follower = |number: usize| {
        let session = sessions[number % sessions.len()].clone();
        Follower::new(sessions.len() + number, session, shared.clone(), is_quiet.clone())
    };
    let followers: Vec<Follower> = (0..workload.follower_count).map(follower).collect();
    let working: Vec<_> = workers.into_iter().map(|worker| Running::start(worker.run())).collect();
    let following: Vec<_> = followers.into_iter().map(|follower| Running::start(follower.run())).collect();
    let mirroring = (0..workload.mirror_count).map(|number| {
        let session = sessions[number % sessions.len()].clone();
        let client = sessions.len() + workload.follower_count + number;
        let random = Random::seeded(random.u64());
        Running::start(mirrors::run(client, session, random, is_quiet.clone()))
    });
    let mirroring: Vec<_> = mirroring.collect();
    let mut history = History { began, ..History::default() };
    for client in working {
        history.operations.extend(client.end().await?);
    }
    let _ = quiet.send(true); // Without followers nobody listens.
    for client in following {
        let (followed, operations) = client.end().await?;
        history.operations.extend(operations);
        history.followed.push(followed);
    }
    for client in mirroring {
        history.mirrored.extend(client.end().await?);
    }
    history.operations.sort_by_key(|operation| (operation.start_ms, operation.client));
    Ok(history)
}

/// A task that ends with this value: a run that is dropped leaves nobody behind.
struct Running<T>(JoinHandle<T>);

impl<T: Send + 'static> Running<T> {
    fn start(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(env::task::spawn(work))
    }

    async fn end(mut self) -> Result<T> {
        (&mut self.0).await.map_err(|e| Error::internal(format!("a client failed: {e}")))
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
