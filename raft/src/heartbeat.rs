//! Heartbeats of all groups between two nodes, as one message.
//!
//! Left alone, every group beats at a time of its own. Here the host beats for all groups that it leads at once, and
//! what goes to the same replica within a few milliseconds travels together, and so do the answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, Weak};
use std::time::Duration;

use bytes::Bytes;
use env::time::{now, sleep, sleep_until, timeout};
use futures::future::join_all;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use types::limits::{HEARTBEAT_GATHER_TIME, HEARTBEAT_TIMEOUT};
use types::{Error, PartitionId, ReplicaId, Result};

use crate::link::Link;
use crate::message::{Append, Body};
use crate::shared::Shared;
use crate::{Network, codec};

/// Beats until the host is gone.
pub async fn run(host: Weak<Shared>, period: Duration) {
    let mut next = now();
    loop {
        next = (next + period).max(now());
        sleep_until(next).await;
        let Some(groups) = host.upgrade().map(|host| host.groups()) else { return };
        let leading = groups.into_iter().filter(|group| group.is_leader());
        let beats: Vec<_> = leading.map(|group| group.beat()).collect();
        // A core that takes nothing must not cost the others their beat.
        let _ = timeout(period / 4, join_all(beats)).await;
    }
}

/// Heartbeats that wait for those of other groups to the same replica.
#[derive(Debug, Default)]
pub struct Gathering(Mutex<BTreeMap<ReplicaId, Vec<Beat>>>);

#[derive(Debug)]
struct Beat {
    group: PartitionId,
    append: Append,
    answer: oneshot::Sender<Result<Bytes>>,
}

impl Gathering {
    /// `Some` for the first one, which sends them all.
    fn add(&self, target: ReplicaId, beat: Beat) -> Option<First<'_>> {
        let mut waiting = self.lock();
        let beats = waiting.entry(target).or_default();
        beats.push(beat);
        (beats.len() == 1).then(|| First { gathering: self, target, is_done: false })
    }

    fn take(&self, target: ReplicaId) -> Vec<Beat> {
        self.lock().remove(&target).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, Vec<Beat>>> {
        self.0.lock().expect("never poisoned: no panic inside")
    }
}

/// The duty to send what waits. When the first gives up before it has, the others learn it at once.
struct First<'a> {
    gathering: &'a Gathering,
    target: ReplicaId,
    is_done: bool,
}

impl First<'_> {
    fn take(mut self) -> Vec<Beat> {
        self.is_done = true;
        self.gathering.take(self.target)
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.gathering.take(self.target);
        }
    }
}

/// Sends a heartbeat of a group, together with those of others.
pub async fn send<T: DeserializeOwned>(
    link: &Link,
    network: &dyn Network,
    group: PartitionId,
    target: ReplicaId,
    append: Append,
) -> Result<T> {
    let (answer, answered) = oneshot::channel();
    if let Some(first) = link.gathering.add(target, Beat { group, append, answer }) {
        sleep(HEARTBEAT_GATHER_TIME).await;
        send_gathered(link, network, target, first.take()).await;
    }
    let body = answered.await.map_err(|_| Error::unavailable("the heartbeats were not sent"))??;
    codec::decode(&body)
}

async fn send_gathered(link: &Link, network: &dyn Network, target: ReplicaId, beats: Vec<Beat>) {
    let mut answers = Vec::new();
    let mut appends = Vec::new();
    for Beat { group, append, answer } in beats {
        appends.push((group, append));
        answers.push((group, answer));
    }
    let asked = link.ask::<Vec<Option<Bytes>>>(network, target, Body::Heartbeats(appends), HEARTBEAT_TIMEOUT);
    let bodies = asked.await;
    for (at, (group, answer)) in answers.into_iter().enumerate() {
        let body = match &bodies {
            Ok(bodies) => bodies.get(at).cloned().flatten().ok_or_else(|| {
                Error::unavailable(format!("replica {target} does not follow in partition {group} now"))
            }),
            Err(e) => Err(e.clone()),
        };
        let _ = answer.send(body); // Whoever asked may have given up.
    }
}

/// Answers the heartbeats of several groups, each on its own: `None` of a group that does not take them.
pub async fn answer(host: &Shared, beats: Vec<(PartitionId, Append)>) -> Bytes {
    let answers = beats.into_iter().map(async |(group, append)| {
        let group = host.group(group)?;
        timeout(HEARTBEAT_TIMEOUT / 2, group.hear(append)).await.ok()?.ok()
    });
    codec::encode(&join_all(answers).await)
}
