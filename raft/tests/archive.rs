//! An archive of a running host: it gets every segment, also one that fails at first.
#![allow(clippy::unwrap_used)] // All of this file is a test; helpers of tests fail loudly, too.

mod harness;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use env::Disk;
use env::disk::SimDisk;
use harness::{A, Recorder, config, eventually, replica};
use kv::MemKv;
use raft::{Archive, Host, HostConfig, Last, Network};
use types::{Error, NodeId, Result};

/// Remembers what it was given. Every second attempt fails.
#[derive(Debug)]
struct Memory {
    disk: SimDisk,
    seen: Mutex<(u64, Vec<(u64, usize)>)>,
}

impl Archive for Memory {
    fn take_segment(&self, number: u64, path: &Path) -> Result<()> {
        let (attempts, taken) = &mut *self.seen.lock().unwrap();
        *attempts += 1;
        if attempts.is_multiple_of(2) {
            return Err(Error::unavailable("the archive does not answer"));
        }
        taken.push((number, self.disk.read(path)?.len()));
        Ok(())
    }

    fn lose_segments(&self, numbers: Range<u64>) -> Result<()> {
        panic!("{numbers:?} were lost although there was room");
    }
}

struct Nobody;

#[async_trait::async_trait]
impl Network for Nobody {
    async fn send(&self, _: NodeId, _: Bytes, _: Duration) -> Result<Bytes> {
        Err(Error::unavailable("nobody is there"))
    }
}

#[tokio::test(start_paused = true)]
async fn an_archive_gets_every_segment() {
    let disk = SimDisk::new(1);
    let env = env::Env { disk: Arc::new(disk.clone()), ..env::Env::simulated(1) };
    let archive = Arc::new(Memory { disk, seen: Mutex::default() });
    let config =
        HostConfig { archive: Some(archive.clone()), ..config(replica(1), Last::default(), "/log".into()) };
    let host = Host::open(env, config, Arc::new(MemKv::new(1)), Arc::new(Nobody)).await.unwrap();
    let group = host.open_group(A, Arc::new(Recorder::default())).await.unwrap();
    group.initialize(BTreeSet::from([replica(1)])).await.unwrap();
    eventually("a leader", async || group.is_leader().then_some(())).await;
    for _ in 0..52 {
        group.propose(Bytes::from(vec![b'x'; 4 << 20])).await.unwrap();
    }
    let taken = eventually("three segments", async || {
        let taken = archive.seen.lock().unwrap().1.clone();
        (taken.len() == 3).then_some(taken)
    })
    .await;
    assert!(
        taken.iter().zip(1..).all(|((number, size), want)| *number == want && *size > 64 << 20),
        "{taken:?}"
    );
    host.shutdown().await;
}
