//! Metadata beside etcd and PostgreSQL: the same load on three processes of each, on the same disk, in turns.
//!
//! Owns: what is measured and in which order.
//! Knows nothing of: how a system does it.

mod cloudsync;
mod etcd;
mod load;
mod ports;
mod postgres;
mod server;
mod system;
mod table;

use types::{Error, Result};

use crate::context::{Bench, say};
use crate::usage;
use cloudsync::CloudSync;
use etcd::Etcd;
use postgres::Postgres;
use server::wait_until;
use system::System;
pub use table::Comparison;
use table::What;

/// Clients that upload directories at the same time.
const BATCHERS: usize = 4;
/// Entries of a first page.
const PAGE_COUNT: usize = 500;
/// How often a directory is listed, and how often its first page.
const LIST_COUNT: usize = 20;
const PAGE_READS: usize = 300;

/// Measures all systems.
pub async fn measure(bench: &Bench) -> Result<Comparison> {
    let mut systems = start(bench).await?;
    let names = systems.iter().map(|system| system.name()).collect();
    let in_dir = bench.plan.meta_dir_count.min(bench.plan.meta_files);
    let mut results = Comparison::new(names, [bench.plan.meta_files, in_dir, PAGE_COUNT.min(in_dir)]);
    commits(bench, &systems, &mut results).await?;
    batches(bench, &systems, &mut results).await?;
    fill(bench, &systems, &mut results).await?;
    lists(bench, &systems, &mut results).await?;
    restarts(bench, &mut systems, &mut results).await?;
    Ok(results)
}

async fn start(bench: &Bench) -> Result<Vec<Box<dyn System>>> {
    let missing = |what| Error::unavailable(format!("{what} is missing: scripts/bench-peers.sh installs it"));
    let programs = Postgres::programs(bench);
    if bench.plan.peers && !Etcd::is_installed(bench) {
        return Err(missing("etcd"));
    }
    let mut systems: Vec<Box<dyn System>> = vec![Box::new(CloudSync::start_new(bench).await?)];
    if bench.plan.peers {
        say("starting: etcd, PostgreSQL");
        systems.push(Box::new(Etcd::start_new(bench).await?));
        let programs = programs.ok_or_else(|| missing("PostgreSQL"))?;
        systems.push(Box::new(Postgres::start_new(bench, programs).await?));
    }
    Ok(systems)
}

async fn commits(bench: &Bench, systems: &[Box<dyn System>], results: &mut Comparison) -> Result<()> {
    for clients in bench.plan.commit_clients.iter().copied() {
        say(format_args!("metadata: commits by {clients} clients"));
        let mut workers = Vec::new();
        for system in systems {
            workers.push(load::connect(&**system, &format!("single-{clients}"), clients).await?);
        }
        for _ in 0..bench.plan.runs {
            for (index, system) in systems.iter().enumerate() {
                let (disk, time) = (&*bench.env.disk, bench.plan.commit_time);
                let done = load::commit(disk, &**system, &mut workers[index], 1, time).await?;
                results.add(What::Rate(clients), index, done.rate);
                results.add(What::P50(clients), index, done.latency.p50);
                results.add(What::P99(clients), index, done.latency.p99);
                results.add(What::Cpu(clients), index, done.cpu);
            }
        }
    }
    Ok(())
}

async fn batches(bench: &Bench, systems: &[Box<dyn System>], results: &mut Comparison) -> Result<()> {
    say("metadata: commits in batches");
    let mut workers = Vec::new();
    for system in systems {
        workers.push(load::connect(&**system, "batch", BATCHERS).await?);
    }
    for _ in 0..bench.plan.runs {
        for (index, system) in systems.iter().enumerate() {
            let (disk, time) = (&*bench.env.disk, bench.plan.commit_time);
            let done = load::commit(disk, &**system, &mut workers[index], system.batch_size(), time).await?;
            results.add(What::BatchRate, index, done.rate);
            results.add(What::BatchP99, index, done.latency.p99);
            results.add(What::BatchCpu, index, done.cpu);
        }
    }
    Ok(())
}

async fn fill(bench: &Bench, systems: &[Box<dyn System>], results: &mut Comparison) -> Result<()> {
    for (index, system) in systems.iter().enumerate() {
        say(format_args!("metadata: {} files for {}", bench.plan.meta_files, system.name()));
        let (files, per_dir) = (bench.plan.meta_files, bench.plan.meta_dir_count);
        results.add(What::Fill, index, load::fill(&**system, files, per_dir, BATCHERS).await?);
        system.settle().await?;
        let memory = usage::memory(&*bench.env.disk, &system.pids());
        results.add(What::Memory, index, memory as f64 / 1e6);
    }
    Ok(())
}

async fn lists(bench: &Bench, systems: &[Box<dyn System>], results: &mut Comparison) -> Result<()> {
    say("metadata: listing");
    let want = bench.plan.meta_dir_count.min(bench.plan.meta_files);
    for run in 0..bench.plan.runs {
        for (index, system) in systems.iter().enumerate() {
            let mut client = system.connect().await?;
            let dirs = bench.plan.meta_files / bench.plan.meta_dir_count;
            let dir = load::full_dir(run % dirs.max(1));
            // The first answer brings it into the caches of everybody.
            load::list(&mut *client, &dir, None, want, 1).await?;
            let whole = load::list(&mut *client, &dir, None, want, LIST_COUNT).await?;
            let page =
                load::list(&mut *client, &dir, Some(PAGE_COUNT), PAGE_COUNT.min(want), PAGE_READS).await?;
            results.add(What::ListP50, index, whole.p50);
            results.add(What::ListP99, index, whole.p99);
            results.add(What::PageP50, index, page.p50);
            results.add(What::PageP99, index, page.p99);
        }
    }
    Ok(())
}

async fn restarts(bench: &Bench, systems: &mut [Box<dyn System>], results: &mut Comparison) -> Result<()> {
    let want = PAGE_COUNT.min(bench.plan.meta_dir_count.min(bench.plan.meta_files));
    for _ in 0..bench.plan.runs {
        for (index, system) in systems.iter_mut().enumerate() {
            say(format_args!("metadata: restart of {}", system.name()));
            system.kill().await?;
            let begun = env::time::now();
            system.start().await?;
            wait_until("it answers again", async || {
                let mut client = system.connect().await?;
                load::list(&mut *client, &load::full_dir(0), Some(PAGE_COUNT), want, 1).await
            })
            .await?;
            results.add(What::Restart, index, begun.elapsed().as_secs_f64());
            let memory = usage::memory(&*bench.env.disk, &system.pids());
            results.add(What::MemoryAfter, index, memory as f64 / 1e6);
        }
    }
    Ok(())
}
