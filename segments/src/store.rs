//! The door to a disk: what other parts of the node call.
//!
//! Owns: the threads that read, how long they may take, what an answer says of a shard.
//! Knows nothing of: segments, batches.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use env::task::DiskPool;
use env::{Clock, Env, time};
use kv::Kv;
use proto::block::{ShardKey, ShardMeta};
use tokio::sync::oneshot;
use types::limits::{
    DISK_QUEUE_RETRY_MS, DISK_READ_QUEUE_COUNT_MAX, DISK_READ_THREAD_COUNT, DISK_READ_TIMEOUT,
};
use types::{ChunkId, ChunkKey, DiskId, DiskUuid, Error, ErrorKind, Generation, Result};

use crate::change::Change;
use crate::committer::Committer;
use crate::health::{DiskFailures, Kind};
use crate::index::{Damage, Entry, Known, Mode, Tables, Totals, not_known};
use crate::open::{DiskConfig, open_engine};
use crate::progress::ScrubProgress;
use crate::read::read_record;
use crate::scrub::{self, Stepped};
use crate::shared::{Shared, Status};
use crate::space::Purpose;
use crate::state::DiskState;

/// Figures of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskStats {
    /// What it can do.
    pub state: DiskState,
    /// Live shards and replicas.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Bytes the file system can still take.
    pub free: u64,
    /// Bytes of the file system.
    pub total: u64,
    /// Number of damaged extents that were found and taken out of use.
    pub quarantined: u64,
    /// Shards that were lost with them and have not been put again: see [`DiskStore::lost`].
    pub lost: u64,
    /// The index is being rebuilt: of what is stored only a part is known, and the figures above are not.
    pub is_rebuilding: bool,
    /// Moving average of what reads take, waiting included, in microseconds; 0 before the first.
    pub read_micros: u64,
    /// The same for writes that are made durable.
    pub sync_micros: u64,
    /// What went wrong since it was opened.
    pub failures: DiskFailures,
}

/// A shard, or a part of one, that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardFound {
    /// Which one it is: matters when the newest was asked for.
    pub key: ShardKey,
    /// How its chunk was coded.
    pub meta: ShardMeta,
    /// Bytes of the whole shard.
    pub size: u32,
    /// The bytes asked for.
    pub bytes: Bytes,
}

/// An open disk. Dropping it waits for the batch in progress and unlocks the directory.
#[derive(Debug)]
pub struct DiskStore {
    clock: Clock,
    shared: Arc<Shared>,
    committer: Arc<Committer>,
    readers: DiskPool,
}

/// An index that may not know all that was stored.
#[derive(Debug)]
pub struct Doubt(Tables);

impl DiskStore {
    /// Opens a disk, or formats an empty directory. `open_index` opens the index in the directory it is given, once
    /// this is known to be the right disk; when it says `Corrupt`, that directory is removed and it is called again.
    /// `Invalid` for a disk that is not the expected one, `Conflict` for one in use. Blocks while it recovers. A new
    /// index is made in the background: until it is complete, questions about what was stored before are `Unavailable`.
    pub fn open(
        env: &Env,
        config: DiskConfig,
        open_index: impl Fn(&std::path::Path) -> Result<Arc<dyn Kv>> + Send + Sync + 'static,
    ) -> Result<Arc<Self>> {
        let engine = open_engine(env, config, open_index)?;
        let shared = engine.shared.clone();
        let committer = Arc::new(Committer::start(engine));
        let (count, waiting) = (DISK_READ_THREAD_COUNT, DISK_READ_QUEUE_COUNT_MAX);
        let readers = DiskPool::start("disk-reader", &shared.disk, count, waiting);
        Ok(Arc::new(Self { clock: env.clock.clone(), shared, committer, readers }))
    }

    /// Which physical disk this is.
    pub fn uuid(&self) -> DiskUuid {
        self.shared.superblock().uuid
    }

    /// Its id in the cluster; `None` until [`DiskStore::assign`].
    pub fn id(&self) -> Option<DiskId> {
        self.shared.superblock().disk
    }

    /// Records the id that the cluster assigned; `Conflict` when it has another one. Blocks for two syncs.
    pub fn assign(&self, id: DiskId) -> Result<()> {
        match self.id() {
            Some(old) if old == id => Ok(()),
            Some(old) => Err(Error::conflict(format!("disk {} already has id {old}, not {id}", self.uuid()))),
            None => self.shared.update_superblock(|superblock| superblock.disk = Some(id)),
        }
    }

    /// Stores a shard; durable on return. Repeating it is a cheap success; other bytes under the same key are a
    /// `Conflict`. `crc` is what the payload's CRC was where it came from, `None` when it was coded here: `Unavailable` when
    /// it differs, and when the disk is read-only; `Busy` when the queue or, for this purpose, the disk is full.
    pub async fn put_shard(
        &self,
        key: ShardKey,
        meta: ShardMeta,
        payload: Bytes,
        crc: Option<u32>,
        purpose: Purpose,
    ) -> Result<()> {
        self.submit(Change::Put { key, meta, payload, crc, purpose }).await
    }

    /// Deletes a shard, durably; deleting one that is not there is a success.
    pub async fn delete(&self, key: ShardKey) -> Result<()> {
        self.submit(Change::Delete { key }).await
    }

    /// Takes a shard out of use whose bytes are wrong although they match their checksums, as a reader elsewhere has
    /// proven: it is lost from now on, durably.
    pub async fn distrust(&self, key: ShardKey) -> Result<()> {
        self.submit(Change::Distrust { key }).await
    }

    /// Reads a shard, or a range of its bytes: of the newest generation and of any slot unless they are named. A damaged
    /// one is `Corrupt`, not `NotFound`, until it is put again or deleted. An empty range asks the index only.
    pub async fn get_shard(
        &self,
        chunk: ChunkKey,
        slot: Option<u8>,
        generation: Option<Generation>,
        range: Option<Range<u32>>,
    ) -> Result<ShardFound> {
        let committer = self.committer.clone();
        let read = self.blocking(move |shared| {
            let (key, entry) = find(shared, chunk, slot, generation)?;
            assert!(
                key.chunk == chunk
                    && slot.is_none_or(|slot| key.slot == slot)
                    && generation.is_none_or(|generation| key.generation == generation),
                "the index answers what it was asked: {key:?}"
            );
            let is_asked_only = range.as_ref().is_some_and(Range::is_empty);
            let read =
                if is_asked_only { Ok(Bytes::new()) } else { read_record(shared, &key, &entry, range) };
            match read {
                Ok(bytes) => Ok(Ok(ShardFound { key, meta: entry.meta, size: entry.payload_size, bytes })),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    // Here, not where the answer is awaited: a bad sector takes longer than most have patience.
                    tracing::error!("disk {}: {error}; quarantined", shared.root.display());
                    Ok(Err((error, committer.enqueue(Change::Quarantine { key, entry }))))
                }
                Err(error) => Err(error),
            }
        });
        let (error, noted) = match read.await? {
            Ok(found) => return Ok(found),
            Err(failed) => failed,
        };
        let noted = match noted {
            Ok(answer) => answer.await.unwrap_or_else(|_| Err(Error::internal("the committer stopped"))),
            Err(busy) => Err(busy),
        };
        if let Err(failed) = noted {
            tracing::error!("disk {}: a loss is not written down: {failed}", self.shared.root.display());
        }
        Err(error)
    }

    /// True when the shard is here, as far as the index knows: its bytes are not checked.
    pub async fn has(&self, key: ShardKey) -> Result<bool> {
        self.blocking(move |shared| match known(shared, &key)? {
            Known::Unknown => Err(not_known()),
            known => Ok(matches!(known, Known::Stored(_))),
        })
        .await
    }

    /// Shards that were found damaged and must be rebuilt, in order, after `after`, at most `limit`.
    pub async fn lost(&self, after: Option<ShardKey>, limit: usize) -> Result<Vec<(ShardKey, ShardMeta)>> {
        self.blocking(move |shared| shared.ask(|tables| tables.lost(after, limit))).await
    }

    /// Shards of the chunks from `first` to `last` in order, after `after`, at most `limit`.
    pub async fn list_shards(
        &self,
        first: ChunkId,
        last: ChunkId,
        after: Option<ShardKey>,
        limit: usize,
    ) -> Result<Vec<(ShardKey, ShardMeta)>> {
        self.blocking(move |shared| {
            let found = shared.ask(|tables| tables.list((first, last), after, limit))?;
            Ok(found.into_iter().map(|(key, entry)| (key, entry.meta)).collect())
        })
        .await
    }

    /// Verifies the next records on the medium, about `budget` bytes, and goes on where the last step ended, whichever
    /// process did that. What is damaged or cannot be read is lost from now on. Whoever calls decides when; `Unavailable`
    /// while the index is rebuilt.
    pub async fn scrub_step(&self, budget: u64) -> Result<ScrubProgress> {
        let (shared, now) = (self.shared.clone(), self.clock.wall());
        let Stepped { progress, losses } =
            self.committer.run(move || scrub::step(&shared, now, budget)).await?;
        for change in losses {
            // One that fails is found again: the progress is not kept.
            self.submit(change).await?;
        }
        self.blocking(move |shared| {
            shared.ask(|tables| tables.set_scrub_progress(&scrub::begin_pass(progress)))?;
            Ok(progress)
        })
        .await
    }

    /// How far [`DiskStore::scrub_step`] has come.
    pub async fn scrub_progress(&self) -> Result<ScrubProgress> {
        self.blocking(|shared| shared.ask(|tables| tables.scrub_progress())).await
    }

    /// Waits for what the disk has to do on its own: to rebuild its index, to seal segments. Returns when it has tried.
    pub async fn settled(&self) {
        self.committer.idle().await;
    }

    /// Whether the index was begun anew, or found segments gone, since [`DiskStore::trust`]: what could not be read then is
    /// neither lost nor stored, but absent, and only those know of it who know what should be here. `Unavailable` while the
    /// index is rebuilt.
    pub async fn doubt(&self) -> Result<Option<Doubt>> {
        let look = |tables: &Tables| Ok((!tables.is_trusted()?).then(|| Doubt(tables.clone())));
        self.blocking(move |shared| shared.ask(look)).await
    }

    /// All that should be here was looked for since a doubt was raised.
    pub async fn trust(&self, doubt: Doubt) -> Result<()> {
        self.blocking(move |_| doubt.0.trust()).await
    }

    /// Says whether it is slow compared with others of its kind which those know who know them all.
    pub fn set_slow(&self, is_slow: bool) {
        self.shared.status().is_slow = is_slow;
    }

    /// Its figures. Asks the file system, which may block for a moment.
    pub fn stats(&self) -> Result<DiskStats> {
        let space = self.shared.space_in_time()?;
        let state = self.shared.state(space);
        let Status { totals, damage, .. } = self.shared.status().clone();
        let (Totals { records, bytes }, Damage { quarantined, lost }) = (totals, damage);
        let (read_micros, sync_micros) = self.shared.health.averages();
        self.committer.wake();
        Ok(DiskStats {
            state,
            records,
            bytes,
            free: space.free,
            total: space.total,
            quarantined,
            lost,
            is_rebuilding: self.shared.index.mode() != Mode::Ready,
            read_micros,
            sync_micros,
            failures: self.shared.health.failures(),
        })
    }

    async fn submit(&self, change: Change) -> Result<()> {
        self.committer.submit(change).await
    }

    /// Runs work that reads on one of the disk's threads. It runs to its end, even when that takes too long for those who
    /// wait.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.committer.wake();
        let (done, answer) = oneshot::channel();
        let (shared, operation) = (self.shared.clone(), self.shared.health.begin(Kind::Read));
        let is_queued = self.readers.try_push(move || {
            let result = work(&shared);
            // Before anybody knows that it is done: what was asked may be closed then.
            drop((operation, shared));
            let _ = done.send(result);
        });
        let root = self.shared.root.display();
        if !is_queued {
            return Err(Error::busy(format!("disk {root}: too many reads wait"), DISK_QUEUE_RETRY_MS));
        }
        match time::timeout(DISK_READ_TIMEOUT, answer).await {
            Ok(result) => result.map_err(|_| Error::internal("a disk's thread failed"))?,
            Err(time::Elapsed) => {
                self.shared.health.count(|count| count.timeouts += 1);
                Err(Error::unavailable(format!("disk {root} has not answered in time; ask another one")))
            }
        }
    }
}

/// What the index knows of a shard. While it is rebuilt, that is what has happened since.
fn known(shared: &Shared, key: &ShardKey) -> Result<Known> {
    let (tables, mode) = shared.index.view();
    let known = match mode {
        Mode::Lost => Ok(Known::Unknown),
        Mode::Rebuilding { .. } => tables.fresh(key),
        Mode::Ready => tables.known(key),
    };
    known.map_err(|error| shared.index_error(&tables, error))
}

/// The shard that is asked for: the newest one where several match.
fn find(
    shared: &Shared,
    chunk: ChunkKey,
    slot: Option<u8>,
    generation: Option<Generation>,
) -> Result<(ShardKey, Entry)> {
    let lost = || Error::corrupt(format!("chunk {chunk} was on this disk and is damaged"));
    let absent = || Error::not_found(format!("chunk {chunk} is not on this disk"));
    if let (Some(slot), Some(generation)) = (slot, generation) {
        let key = ShardKey { chunk, generation, slot };
        return match known(shared, &key)? {
            Known::Stored(entry) => Ok((key, entry)),
            Known::Lost(_) => Err(lost()),
            Known::Absent => Err(absent()),
            Known::Unknown => Err(not_known()),
        };
    }
    let found = shared.ask(|tables| {
        let stored = tables.newest(chunk, slot, generation)?;
        let is_lost = stored.is_none() && tables.newest_lost(chunk, slot, generation)?.is_some();
        Ok((stored, is_lost))
    });
    match found? {
        (Some(found), _) => Ok(found),
        (None, true) => Err(lost()),
        (None, false) => Err(absent()),
    }
}
