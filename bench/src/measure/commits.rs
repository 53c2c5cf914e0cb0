//! Commits of small files by clients that know nothing of each other: only the servers can batch them.

use std::time::Duration;

use bytes::Bytes;
use chunk::manifest::Manifest;
use env::task::JoinSet;
use env::time::Instant;
use futures::stream::{self, StreamExt, TryStreamExt};
use proto::namespace::{Attributes, Expect, NewContent, Op};
use types::{Error, Path, Result};

use crate::context::{Bench, path};
use crate::data::noise;
use crate::deployment::Deployment;
use crate::figure::Figure;
use crate::session::Session;

/// Clients that connect at the same time: handshakes cost processor time, and too many at once run into deadlines.
const CONNECTING: usize = 16;

/// How many files per second `clients` clients commit, each with its own connection and one file at a time.
pub async fn measure(bench: &Bench, deployment: &Deployment, clients: usize) -> Result<Figure> {
    let credentials = deployment.credentials();
    let mut writers: Vec<Writer> = stream::iter(0..clients)
        .map(|client| {
            let credentials = &credentials;
            async move {
                let session = Session::open_small(&bench.env, credentials).await?;
                Writer::new(session, &format!("commits-{clients}-{client}"), bench.plan.small_size).await
            }
        })
        .buffered(CONNECTING)
        .try_collect()
        .await?;
    let mut rates = Vec::new();
    for _ in 0..bench.plan.runs {
        let (count, seconds);
        (writers, count, seconds) = run(writers, bench.plan.commit_time).await?;
        rates.push(count as f64 / seconds);
    }
    let plural = if clients == 1 { "" } else { "s" };
    let size = bench.plan.small_size / 1024;
    Ok(Figure::new(format!("commits of {size} KiB files, {clients} client{plural}"), "per s", rates))
}

/// Lets all write for `time`; returns them, how many commits they made, and how many seconds that took.
async fn run(writers: Vec<Writer>, time: Duration) -> Result<(Vec<Writer>, usize, f64)> {
    let start = env::time::now();
    let mut tasks = JoinSet::new();
    for mut writer in writers {
        tasks.spawn(async move {
            let mut count = 0;
            while start.elapsed() < time {
                writer.commit().await?;
                count += 1;
            }
            Ok::<_, Error>((writer, count))
        });
    }
    let (mut writers, mut count) = (Vec::new(), 0);
    while let Some(done) = tasks.join_next().await {
        let (writer, commits) = done.map_err(|e| Error::internal(e.to_string()))??;
        writers.push(writer);
        count += commits;
    }
    Ok((writers, count, start.elapsed().as_secs_f64()))
}

/// A client that commits one new file after another.
pub struct Writer {
    session: Session,
    dir: Path,
    content: Bytes,
    next: u64,
}

impl Writer {
    /// A writer with a directory of its own. Creating it opens the connection that is used from then on.
    pub async fn new(session: Session, dir: &str, size: usize) -> Result<Self> {
        let (content, dir) = (noise(dir, size), path(&[dir])?);
        let op = Op::Mkdir { path: dir.clone(), parents: true, attributes: Attributes::default() };
        session.namespace.apply(op, dir.to_string().len()).await?;
        Ok(Self { session, dir, content, next: 0 })
    }

    /// Commits one more file, durably; returns when that was acknowledged.
    pub async fn commit(&mut self) -> Result<Instant> {
        let name = types::Name::parse(&self.next.to_string())?;
        self.next += 1;
        let op = Op::CommitVersion {
            path: self.dir.join(name)?,
            expect: Expect::Absent,
            content: NewContent::File {
                manifest: Manifest::inline(self.content.clone()),
                receipts: Vec::new(),
            },
            attributes: Attributes::default(),
        };
        self.session.namespace.apply(op, self.content.len()).await?;
        Ok(env::time::now())
    }
}
