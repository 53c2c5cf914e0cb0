//! Asking which of many chunks are stored.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::try_join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use proto::block::ChunkKind;
use proto::index::Pin;
use types::{ChunkId, Error, PartitionId, Possession, Result, Scope};

use super::table::Row;
use crate::context::{Bench, say};
use crate::deployment::Deployment;
use crate::figure::Goal;
use crate::percentiles::Percentiles;
use crate::session::Session;

/// Milliseconds until it is known of all chunks.
const GOAL: Goal = Goal::AtMost(5.0);
/// Chunks that are stored at the same time.
const STORING: usize = 64;
/// Bytes of a stored chunk.
const CHUNK_SIZE: usize = 1024;

/// A chunk, and the proof that its bytes are here.
type Wanted = (ChunkId, Possession);

/// Asks for chunks that are all stored, and for chunks of which none is.
pub async fn measure(bench: &Bench, deployment: &Deployment) -> Result<Vec<Row>> {
    let (count, times) = (bench.plan.block.have_count, bench.plan.block.have_times);
    say(format_args!("blocks: have of {count} chunks"));
    let session = Session::open(&bench.env, &deployment.credentials()).await?;
    let scope = session.namespace.scope().await?;
    store(&session, scope, count).await?;
    let mut rows = Vec::new();
    for (what, first, is_stored) in [("all stored", 0, true), ("none stored", count as u64, false)] {
        let (mut p50, mut p99) = (Vec::new(), Vec::new());
        for run in 0..bench.plan.runs {
            // What is not stored is new every time, as it is for those who ask.
            let from =
                |time: usize| if is_stored { 0 } else { first + ((run * times + time) * count) as u64 };
            let took = ask_times(&session, scope, count, times, from, is_stored).await?;
            p50.push(took.p50);
            p99.push(took.p99);
        }
        rows.push(Row::new(format!("have of {count} chunks, {what}: p50"), "ms", p50));
        let p99 = Row::new(format!("have of {count} chunks, {what}: p99"), "ms", p99);
        rows.push(p99.with_goal(bench.plan.goal(GOAL)));
    }
    Ok(rows)
}

async fn store(session: &Session, scope: Scope, count: usize) -> Result<()> {
    let blocks = session.blocks();
    stream::iter(0..count as u64)
        .map(|n| {
            let bytes = content(n);
            let chunk = chunk::chunk_id(&bytes).within(scope);
            blocks.put_chunk(chunk, ChunkKind::Data, Vec::new(), bytes)
        })
        .buffer_unordered(STORING)
        .try_for_each(|_| async { Ok(()) })
        .await
}

async fn ask_times(
    session: &Session,
    scope: Scope,
    count: usize,
    times: usize,
    from: impl Fn(usize) -> u64,
    is_stored: bool,
) -> Result<Percentiles> {
    let mut took = Vec::new();
    for time in 0..times {
        let wanted: Vec<Wanted> = (from(time)..from(time) + count as u64).map(wanted).collect();
        let start = env::time::now();
        let found = ask(session, scope, wanted).await?;
        took.push(start.elapsed().as_secs_f64() * 1000.0);
        let want = if is_stored { count } else { 0 };
        if found != want {
            return Err(Error::internal(format!("{found} of {count} chunks are stored instead of {want}")));
        }
    }
    Ok(Percentiles::of(took))
}

/// Asks the partitions of the index at once; returns how many of the chunks are stored.
async fn ask(session: &Session, scope: Scope, wanted: Vec<Wanted>) -> Result<usize> {
    let map = session.cluster.map();
    let mut parts: BTreeMap<PartitionId, Vec<Wanted>> = BTreeMap::new();
    for (id, possession) in wanted {
        parts.entry(map.chunk_partition(&id)).or_default().push((id, possession));
    }
    let questions: Vec<Pin> =
        parts.into_iter().map(|(partition, chunks)| Pin { partition, scope, chunks }).collect();
    let answers =
        try_join_all(questions.iter().map(|question| session.cluster.ask(question.partition, question)))
            .await?;
    Ok(answers.iter().flat_map(|answer| &answer.receipts).filter(|receipt| receipt.is_some()).count())
}

fn wanted(n: u64) -> Wanted {
    let bytes = content(n);
    (chunk::chunk_id(&bytes), chunk::possession(&bytes))
}

fn content(n: u64) -> Bytes {
    crate::data::noise(&format!("have {n}"), CHUNK_SIZE)
}
