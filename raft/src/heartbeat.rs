//! Heartbeats of all groups between two nodes, as one message.
//!
//! Left alone, every group beats at a time of its own. Here the host beats for all groups that it leads at once, and
//! what goes to the same replica within a few milliseconds travels together, and so do the answers.

use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use env::time::{now, sleep_until, timeout};
use futures::future::join_all;
use types::PartitionId;
use types::limits::HEARTBEAT_TIMEOUT;

use crate::codec;
use crate::message::Append;
use crate::shared::Shared;

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

/// Answers the heartbeats of several groups, each on its own: `None` of a group that does not take them.
pub async fn answer(host: &Shared, beats: Vec<(PartitionId, Append)>) -> Bytes {
    let answers = beats.into_iter().map(async |(group, append)| {
        let group = host.group(group)?;
        timeout(HEARTBEAT_TIMEOUT / 2, group.hear(append)).await.ok()?.ok()
    });
    codec::encode(&join_all(answers).await)
}
