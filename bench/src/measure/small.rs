//! Many small files: storing a directory of them, and listing it.

use std::path::Path as LocalPath;

use client::{upload_tree, walk_local};
use env::{Disk, OpenMode};
use types::{Error, Path, Result};

use crate::context::{Bench, path};
use crate::data::noise;
use crate::deployment::Deployment;
use crate::figure::{Figure, Goal};
use crate::plan::Plan;
use crate::session::Session;

/// All small files, durable.
const PUT_GOAL: Goal = Goal::AtMost(4.0);
/// All entries of their directory.
const LIST_GOAL: Goal = Goal::AtMost(50.0);

/// Stores a new directory in every run, as `cloudsync put DIR` does, and lists it as another client.
pub async fn measure(bench: &Bench, deployment: &Deployment) -> Result<Vec<Figure>> {
    let plan = &bench.plan;
    let (mut puts, mut lists) = (Vec::new(), Vec::new());
    for run in 0..plan.runs {
        let source = bench.scratch.join("small");
        fill(&*bench.env.disk, &source, plan, &format!("{:?} small {run}", deployment.kind))?;
        let target = path(&[&format!("small-{run}")])?;
        puts.push(put(bench, deployment, &source, &target).await?);
        bench.env.disk.remove_dir_all(&source)?;
        lists.push(list(bench, deployment, &target).await?);
    }
    let count = plan.small_count;
    let put = format!("put {count} files of {} KiB, durable", plan.small_size / 1024);
    Ok(vec![
        Figure::new(put, "s", puts).with_goal(plan.goal(PUT_GOAL)),
        Figure::new(format!("list {count} entries"), "ms", lists).with_goal(plan.goal(LIST_GOAL)),
    ])
}

fn fill(disk: &dyn Disk, dir: &LocalPath, plan: &Plan, label: &str) -> Result<()> {
    disk.create_dir_all(dir)?;
    let content = noise(label, plan.small_count * plan.small_size);
    for (index, bytes) in content.chunks(plan.small_size).enumerate() {
        let file = disk.open(&dir.join(format!("{index:05}")), OpenMode::CreateNew)?;
        file.write_at(&[bytes], 0)?;
    }
    Ok(())
}

/// Seconds.
async fn put(bench: &Bench, deployment: &Deployment, source: &LocalPath, target: &Path) -> Result<f64> {
    let session = Session::open(&bench.env, &deployment.credentials()).await?;
    let uploader = session.uploader();
    let start = env::time::now();
    let (entries, report) = walk_local(bench.env.disk.clone(), source, target).await?;
    let report = upload_tree(&uploader, &session.namespace, entries, report).await?;
    let seconds = start.elapsed().as_secs_f64();
    if let Some((path, error)) = report.failures.into_iter().next() {
        return Err(error.context(path.display()));
    }
    Ok(seconds)
}

/// Milliseconds. The connection is there already: a client that lists has asked something before.
async fn list(bench: &Bench, deployment: &Deployment, dir: &Path) -> Result<f64> {
    let session = Session::open(&bench.env, &deployment.credentials()).await?;
    session.namespace.stat(dir).await?;
    let start = env::time::now();
    let entries = session.namespace.list_whole_dir(dir).await?;
    let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
    if entries.len() != bench.plan.small_count {
        return Err(Error::internal(format!("{dir} has {} entries", entries.len())));
    }
    Ok(milliseconds)
}
