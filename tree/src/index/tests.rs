//! Goal: registering, pinning and the filter agree with the rows. Method: the machine over `MemKv`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use kv::{Durability, Kv, MemKv, Overlay};
use proptest::prelude::*;
use proto::block::{ChunkKind, Layout};
use proto::command::Stamped;
use proto::index::{Holder, Locator, Sizes};
use types::{DiskId, Generation, Millis, PartitionId, Scope};

use super::*;
use crate::Replica;
use crate::row::encode;

struct Bench {
    kv: MemKv,
    replica: Replica<IndexMachine>,
}

impl Bench {
    fn new() -> Self {
        Self { kv: MemKv::new(0), replica: Replica::new(PartitionId(4), IndexMachine::default()) }
    }

    fn apply(&self, command: IndexCommand) -> Vec<Touched> {
        let reply = self.apply_bytes(&Stamped { time: Millis(1), command }.encode());
        answer::decode(&reply.unwrap()).unwrap()
    }

    fn amend(&self, amendments: Vec<Amendment>) -> Vec<bool> {
        let reply =
            self.apply_bytes(&Stamped { time: Millis(1), command: IndexCommand::Amend(amendments) }.encode());
        answer::decode(&reply.unwrap()).unwrap()
    }

    /// What is to be put right, and how much of it there is.
    fn flagged(&self) -> (Vec<ChunkKey>, (u64, u64, u64)) {
        let everything = (ChunkId([0; 32]), ChunkId([0xff; 32]));
        let (found, more) = list_known(&self.kv, everything, None, true).unwrap();
        assert!(!more);
        let stats = self.machine().stats(&self.kv).unwrap();
        (found.iter().map(|known| known.stored.chunk).collect(), (stats.displaced, stats.thin, stats.lost))
    }

    fn look_up(&self, chunks: &[u32]) -> Vec<Pinning> {
        let chunks: Vec<_> = chunks.iter().map(|n| had(*n)).collect();
        self.machine().look_up(&self.kv, &chunks).unwrap()
    }

    fn row(&self, n: u32) -> ChunkRow {
        load(&self.kv, &row::chunk_key(&chunk(n))).unwrap().unwrap()
    }

    /// As garbage collection will.
    fn set_state(&self, n: u32, state: ChunkState) {
        let mut batch = kv::Batch::new();
        let row = ChunkRow { state, ..self.row(n) };
        batch.put(&row::chunk_key(&chunk(n)), &encode(&row, FeatureLevel::FIRST));
        self.kv.write(batch, Durability::Buffered).unwrap();
    }

    fn machine(&self) -> &IndexMachine {
        self.replica.machine()
    }

    fn apply_bytes(&self, bytes: &[u8]) -> Result<Bytes, Halt> {
        let mut overlay = Overlay::new(&self.kv);
        let reply = self.replica.apply(&mut overlay, 1, bytes);
        let batch = overlay.into_batch();
        self.kv.write(batch, Durability::Buffered).unwrap();
        reply
    }

    fn set_epoch(&self, epoch: u32) {
        let mut batch = kv::Batch::new();
        batch.put(&row::epoch_key(), &encode(&GcEpoch(epoch), FeatureLevel::FIRST));
        self.kv.write(batch, Durability::Buffered).unwrap();
    }
}

/// What holds between the rows whatever commands made them.
impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let epoch = row::epoch(&self.kv).unwrap();
        let mut sums: BTreeMap<Slot, TotalsRow> = BTreeMap::new();
        let (start, end) = row::chunk_range(None);
        let visit = &mut |key: &[u8], value: &[u8]| {
            let row: ChunkRow = decode(value).unwrap();
            assert!(row.touch <= epoch, "no receipt is newer than the partition's epoch (I-GC)");
            sums.entry(row::chunk_of_key(key).unwrap().id.slot()).or_default().add(&row);
            ControlFlow::Continue(())
        };
        self.kv.scan(&start, &end, Order::Forward, visit).unwrap();
        let (start, end) = row::totals_range();
        let visit = &mut |key: &[u8], value: &[u8]| {
            let totals: TotalsRow = decode(value).unwrap();
            let slot = Slot::new(u16::from_be_bytes(key[3..].try_into().unwrap())).unwrap();
            assert_eq!(totals, sums.remove(&slot).unwrap_or_default(), "the totals are those of the rows");
            ControlFlow::Continue(())
        };
        self.kv.scan(&start, &end, Order::Forward, visit).unwrap();
        assert!(sums.is_empty(), "every slot with chunks has totals");
    }
}

fn chunk(n: u32) -> ChunkKey {
    chunk::chunk_id(&n.to_le_bytes()).within(Scope::FIRST)
}

/// A chunk, and what whoever has it shows.
fn had(n: u32) -> (ChunkKey, Possession) {
    (chunk(n), chunk::possession(&n.to_le_bytes()))
}

fn new(n: u32, generation: Generation) -> StoredChunk {
    let (chunk, possession) = had(n);
    StoredChunk {
        chunk,
        generation,
        kind: ChunkKind::Data,
        locator: Locator::Slots(Layout::Replica),
        possession,
        sizes: Sizes { content: 100, plain: 100, stored: 75, disk: 150 },
    }
}

/// Chunks whose parts are all at home.
fn register(chunks: Vec<StoredChunk>) -> IndexCommand {
    let chunks = chunks.into_iter().map(|new| (new, Vec::new())).collect();
    IndexCommand::Register { epoch: Epoch(3), chunks }
}

fn at(slot: u8, disk: u32) -> Exception {
    Exception { slot, disk: Some(DiskId(disk)) }
}

fn nowhere(slot: u8) -> Exception {
    Exception { slot, disk: None }
}

/// The first incarnation of a chunk, with these exceptions, placed by the map of epoch 3.
fn displaced(n: u32, exceptions: &[Exception]) -> IndexCommand {
    let chunks = vec![(new(n, Generation::new(GcEpoch(0), 1)), exceptions.to_vec())];
    IndexCommand::Register { epoch: Epoch(3), chunks }
}

/// Of the first incarnation of a chunk.
fn news(n: u32, news: News) -> Amendment {
    Amendment { chunk: chunk(n), generation: Generation::new(GcEpoch(0), 1), news }
}

fn moved(slot: u8, was: Holder, now: Holder) -> News {
    News::Moved { slot, was, now }
}

fn touch(generation: Generation, epoch: u32) -> Touch {
    Touch { generation, epoch: GcEpoch(epoch), size: 100 }
}

#[test]
fn a_chunk_is_known_once_and_keeps_its_incarnation() {
    let bench = Bench::new();
    let (first, second) = (Generation::new(GcEpoch(0), 1), Generation::new(GcEpoch(0), 2));
    bench.replica.restored(&bench.kv).unwrap();
    assert_eq!(bench.look_up(&[1]), [Pinning::Absent]);
    assert_eq!(bench.apply(register(vec![new(1, first)])), [Some(touch(first, 0))]);
    assert_eq!(bench.apply(register(vec![new(1, second)])), [Some(touch(first, 0))]);
    assert_eq!(bench.look_up(&[1, 2]), [Pinning::Touched(touch(first, 0)), Pinning::Absent]);
    let stats = bench.machine().stats(&bench.kv).unwrap();
    assert_eq!((stats.chunks, stats.plain_bytes, stats.disk_bytes), (1, 100, 150));
    assert_eq!((stats.filter_negatives, stats.filter_positives), (2, 1));
}

#[test]
fn a_pin_in_a_later_epoch_goes_through_the_log_once() {
    let bench = Bench::new();
    let generation = Generation::new(GcEpoch(0), 1);
    bench.apply(register(vec![new(1, generation)]));
    bench.set_epoch(3);
    assert_eq!(bench.look_up(&[1]), [Pinning::Stale]);
    let pinned = bench.apply(IndexCommand::Pin(vec![had(1), had(2)]));
    assert_eq!(pinned, [Some(touch(generation, 3)), None]);
    assert_eq!(bench.look_up(&[1]), [Pinning::Touched(touch(generation, 3))]);
}

/// I-AUTH: neither a look nor a command tells anything to who does not have the bytes, or stores them elsewhere.
#[test]
fn a_chunk_is_pinned_by_its_bytes_in_its_scope() {
    let bench = Bench::new();
    bench.apply(register(vec![new(1, Generation::new(GcEpoch(0), 1))]));
    let (chunk, shown) = had(1);
    for stranger in [(chunk, Possession::default()), (ChunkKey { scope: Scope(2), ..chunk }, shown)] {
        assert_eq!(bench.machine().look_up(&bench.kv, &[stranger]).unwrap(), [Pinning::Absent]);
        assert_eq!(bench.apply(IndexCommand::Pin(vec![stranger])), [None]);
    }
}

#[test]
fn a_generation_from_before_the_last_cycle_is_refused() {
    let bench = Bench::new();
    bench.set_epoch(5);
    assert_eq!(bench.apply(register(vec![new(1, Generation::new(GcEpoch(3), 1))])), [None]);
    let late = Generation::new(GcEpoch(4), 1);
    assert_eq!(bench.apply(register(vec![new(1, late)])), [Some(touch(late, 5))]);
}

/// A dedup hit heals: what is lost is uploaded, by whoever has it, and is there again.
#[test]
fn a_lost_chunk_is_absent_until_it_is_stored_again() {
    let bench = Bench::new();
    let (first, second) = (Generation::new(GcEpoch(0), 1), Generation::new(GcEpoch(0), 2));
    bench.apply(register(vec![new(1, first)]));
    let lost = Amendment { chunk: chunk(1), generation: first, news: News::Lost };
    assert_eq!(bench.amend(vec![lost]), [true]);
    assert_eq!(bench.look_up(&[1]), [Pinning::Absent]);
    assert_eq!(bench.apply(IndexCommand::Pin(vec![had(1)])), [None]);
    let sizes = Sizes { content: 100, plain: 100, stored: 90, disk: 180 };
    let again = (StoredChunk { sizes, ..new(1, second) }, vec![at(1, 7)]);
    let again = IndexCommand::Register { epoch: Epoch(3), chunks: vec![again] };
    assert_eq!(bench.apply(again), [Some(touch(second, 0))]);
    let row = bench.row(1);
    assert_eq!((row.state, row.exceptions), (ChunkState::Live, vec![at(1, 7)]));
    assert_eq!(bench.machine().stats(&bench.kv).unwrap().disk_bytes, 180);
}

/// The owner takes its part back; nobody can say so who has not seen how it is now.
#[test]
fn parts_come_home() {
    let bench = Bench::new();
    bench.apply(displaced(1, &[at(0, 7), nowhere(2)]));
    assert_eq!(bench.flagged(), (vec![chunk(1)], (1, 1, 0)));
    let (guest, home) = (Holder::Disk(DiskId(7)), Holder::Home);
    let other = Amendment { generation: Generation(99), ..news(1, moved(0, guest, home)) };
    let wrong = [
        other,
        news(9, moved(0, guest, home)),
        news(1, moved(0, Holder::Nobody, home)),
        news(1, moved(1, guest, home)),
        news(1, moved(2, guest, home)),
    ];
    assert_eq!(bench.amend(wrong.to_vec()), [false; 5]);
    assert_eq!(bench.amend(vec![news(1, moved(2, Holder::Nobody, home))]), [true]);
    assert_eq!(bench.flagged(), (vec![chunk(1)], (1, 0, 0)));
    let another = Holder::Disk(DiskId(8));
    assert_eq!(bench.amend(vec![news(1, moved(0, guest, another))]), [true]);
    assert_eq!(bench.row(1).exceptions, [at(0, 8)]);
    assert_eq!(bench.amend(vec![news(1, moved(0, another, home)); 2]), [true, false]);
    assert_eq!(bench.flagged(), (vec![], (0, 0, 0)));
    // The other way round: a part that was at home has gone elsewhere.
    assert_eq!(bench.amend(vec![news(1, moved(1, home, Holder::Nobody))]), [true]);
    assert_eq!(bench.flagged(), (vec![chunk(1)], (1, 1, 0)));
}

/// A put that finds more disks than the one before leaves less to be put right.
#[test]
fn the_same_incarnation_again_can_only_be_better_placed() {
    let bench = Bench::new();
    bench.apply(displaced(1, &[at(0, 7), nowhere(2)]));
    bench.apply(displaced(1, &[at(0, 8), nowhere(1), nowhere(2)]));
    assert_eq!(bench.row(1).exceptions, [at(0, 7), nowhere(2)]);
    bench.apply(displaced(1, &[at(1, 9)]));
    assert_eq!(bench.row(1).exceptions, [at(1, 9)]);
    bench.apply(displaced(1, &[]));
    assert_eq!(bench.flagged(), (vec![], (0, 0, 0)));
}

#[test]
fn what_is_lost_is_listed_until_it_is_found() {
    let bench = Bench::new();
    bench.apply(displaced(1, &[]));
    bench.apply(displaced(2, &[at(0, 7)]));
    assert_eq!(
        bench.amend(vec![news(1, News::Found), news(1, News::Lost), news(1, News::Lost)]),
        [false, true, false]
    );
    assert_eq!(bench.amend(vec![news(2, News::Lost)]), [true]);
    assert_eq!(bench.flagged().1, (1, 0, 2));
    assert_eq!(bench.look_up(&[1, 2]), [Pinning::Absent; 2]);
    assert_eq!(bench.amend(vec![news(1, News::Found), news(2, News::Found)]), [true, true]);
    assert_eq!(bench.flagged(), (vec![chunk(2)], (1, 0, 0)));
}

/// Whoever has seen all rows since a fence knows that later ones were placed by that map or a newer one.
#[test]
fn behind_a_fence_old_maps_place_nothing() {
    let bench = Bench::new();
    let fence = |epoch| {
        let command = IndexCommand::Fence(Epoch(epoch));
        bench.apply_bytes(&Stamped { time: Millis(1), command }.encode()).unwrap();
    };
    bench.apply(displaced(1, &[]));
    fence(4);
    fence(2);
    assert_eq!(fence_of(&bench), Epoch(4));
    let reply = bench.apply_bytes(&Stamped { time: Millis(1), command: displaced(2, &[]) }.encode()).unwrap();
    let error = answer::decode::<Vec<Touched>>(&reply).unwrap_err();
    assert_eq!(error.kind(), types::ErrorKind::StaleEpoch, "{error}");
    assert_eq!(bench.look_up(&[2]), [Pinning::Absent]);
}

fn fence_of(bench: &Bench) -> Epoch {
    fence(&bench.kv).unwrap()
}

#[test]
fn known_chunks_come_in_pages_within_bounds() {
    let bench = Bench::new();
    let mut all: Vec<ChunkKey> = (0..CHUNK_PAGE_COUNT as u32 + 5).map(chunk).collect();
    for n in 0..all.len() as u32 {
        bench.apply(displaced(n, &[nowhere(0)][..n as usize % 2]));
    }
    all.sort();
    let list = |first, last, after, flagged| {
        let (found, more) = list_known(&bench.kv, (first, last), after, flagged).unwrap();
        (found.iter().map(|known| known.stored.chunk).collect::<Vec<_>>(), more)
    };
    let (first, last) = (ChunkId([0; 32]), ChunkId([0xff; 32]));
    let (page, more) = list(first, last, None, false);
    assert_eq!((&page[..], more), (&all[..CHUNK_PAGE_COUNT], true));
    assert_eq!(list(first, last, page.last().copied(), false), (all[CHUNK_PAGE_COUNT..].to_vec(), false));
    assert_eq!(list(all[3].id, all[5].id, None, false), (all[3..=5].to_vec(), false));
    assert_eq!(list(all[3].id, all[5].id, Some(all[4]), false), (vec![all[5]], false));
    assert_eq!(list(first, last, None, true).0.len(), all.len() / 2);
    let known = look_up_known(&bench.kv, &[all[2], chunk(1_000_000)]).unwrap();
    assert_eq!(known[0].as_ref().map(|known| known.stored.chunk), Some(all[2]));
    assert_eq!(known[1], None);
}

/// Whoever needs it before it is swept saves it: by a pin, or by storing it again.
#[test]
fn a_condemned_chunk_comes_back() {
    for saves in [IndexCommand::Pin(vec![had(1)]), register(vec![new(1, Generation(9))])] {
        let bench = Bench::new();
        let first = Generation::new(GcEpoch(0), 1);
        bench.apply(register(vec![new(1, first)]));
        bench.set_state(1, ChunkState::Condemned(GcEpoch(0)));
        assert_eq!(bench.look_up(&[1]), [Pinning::Stale], "through the log, although it was touched");
        assert_eq!(bench.apply(saves), [Some(touch(first, 0))]);
        assert_eq!(bench.row(1).state, ChunkState::Live);
    }
}

#[test]
fn a_filter_is_made_of_the_rows_page_by_page() {
    let bench = Bench::new();
    let count = 2 * FILTER_PAGE_COUNT as u32 + 10;
    for part in (0..count).collect::<Vec<_>>().chunks(512) {
        let generation = Generation::new(GcEpoch(0), 1);
        bench.apply(register(part.iter().map(|n| new(*n, generation)).collect()));
    }
    let reopened = IndexMachine::default();
    reopened.restored(&bench.kv).unwrap();
    assert!(reopened.filters().is_wanted());
    let round = reopened.filters().begin(count.into());
    let (mut after, mut pages) = (None, 0);
    loop {
        let (chunks, next) = list_chunks(&bench.kv, after).unwrap();
        assert!(reopened.filters().feed(round, &chunks));
        pages += 1;
        let Some(next) = next else { break };
        after = Some(next);
    }
    assert_eq!(pages, 3);
    reopened.filters().finish(round);
    let known: Vec<ChunkId> = (0..count).map(|n| chunk(n).id).collect();
    assert!(reopened.filters().may_contain(known.iter()).into_iter().all(|may| may));
    let others: Vec<ChunkId> = (count..2 * count).map(|n| chunk(n).id).collect();
    let wrong = reopened.filters().may_contain(others.iter()).into_iter().filter(|may| *may).count();
    assert!(wrong < count as usize / 10, "{wrong} of {count}");
}

/// A disk from which nothing can be read.
struct Broken;

impl Read for Broken {
    fn get(&self, _: &[u8]) -> Result<Option<Bytes>> {
        Err(Error::corrupt("a block does not match its checksum"))
    }

    fn scan(&self, _: &[u8], _: &[u8], _: Order, _: &mut kv::Visit<'_>) -> Result<()> {
        Err(Error::corrupt("a block does not match its checksum"))
    }
}

/// What the disk says about its damage is an error of opening the partition, or of making its filter, not the end of the
/// process.
#[test]
fn rows_that_cannot_be_read_are_an_error() {
    let opened = IndexMachine::default().restored(&Broken).unwrap_err();
    let listed = list_chunks(&Broken, None).unwrap_err();
    for error in [opened.to_string(), listed.to_string()] {
        assert!(error.contains("does not match its checksum"), "{error}");
    }
}

/// A log with a command of every kind.
pub fn log() -> Vec<Bytes> {
    let chunks: Vec<StoredChunk> = (0..4).map(|n| new(n, Generation::new(GcEpoch(0), n.into()))).collect();
    let pins = vec![had(0), had(1), had(9)];
    let commands = [
        register(chunks.clone()),
        IndexCommand::Pin(pins),
        IndexCommand::Pin(vec![had(0); PIN_COUNT_MAX + 1]),
        register(chunks),
        displaced(5, &[at(0, 7), nowhere(2)]),
        IndexCommand::Amend(vec![
            news(5, moved(0, Holder::Disk(DiskId(7)), Holder::Home)),
            news(1, News::Lost),
            news(2, News::Lost),
            news(2, News::Found),
        ]),
        IndexCommand::Fence(Epoch(4)),
        displaced(6, &[at(0, 7)]),
    ];
    commands.into_iter().map(|command| Stamped { time: Millis(1), command }.encode()).collect()
}

proptest! {
    /// What another program may have written to the log: our commands with one byte changed.
    #[test]
    fn no_command_breaks_the_rows(damage in proptest::collection::vec((any::<u8>(), any::<usize>()), 6)) {
        let bench = Bench::new();
        bench.set_epoch(2);
        let chunks: Vec<StoredChunk> = (0..4).map(|n| new(n, Generation::new(GcEpoch(1), n.into()))).collect();
        let pins = vec![had(0), had(1), had(9)];
        let commands = [
            register(chunks.clone()),
            IndexCommand::Pin(pins.clone()),
            register(chunks),
            IndexCommand::Pin(pins),
            displaced(5, &[at(0, 7), nowhere(2)]),
            IndexCommand::Amend(vec![news(1, News::Lost), news(5, moved(2, Holder::Nobody, Holder::Home))]),
        ];
        for (command, (byte, at)) in commands.into_iter().zip(damage) {
            let mut bytes = Stamped { time: Millis(1), command }.encode().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            // Carried out, refused, or a halt: in each case the rows still fit each other.
            let _ = bench.apply_bytes(&bytes);
        }
    }
}
