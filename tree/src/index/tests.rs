//! Goal: registering, pinning and the filter agree with the rows. Method: the machine over `MemKv`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use kv::{Durability, Kv, MemKv, Overlay};
use proptest::prelude::*;
use proto::block::{ChunkKind, Layout};
use proto::command::Stamped;
use proto::index::{Locator, Sizes};
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

    fn look_up(&self, chunks: &[u32]) -> Vec<Pinning> {
        let chunks: Vec<_> = chunks.iter().map(|n| had(*n)).collect();
        self.machine().look_up(&self.kv, &chunks).unwrap()
    }

    fn row(&self, n: u32) -> ChunkRow {
        load(&self.kv, &row::chunk_key(&chunk(n))).unwrap().unwrap()
    }

    /// As evidence and garbage collection will.
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

fn new(n: u32, generation: Generation) -> Registration {
    let (chunk, possession) = had(n);
    Registration {
        chunk,
        generation,
        kind: ChunkKind::Data,
        locator: Locator::Slots(Layout::Replica),
        possession,
        sizes: Sizes { content: 100, plain: 100, stored: 75, disk: 150 },
        exceptions: Vec::new(),
    }
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
    assert_eq!(bench.apply(IndexCommand::Register(vec![new(1, first)])), [Some(touch(first, 0))]);
    assert_eq!(bench.apply(IndexCommand::Register(vec![new(1, second)])), [Some(touch(first, 0))]);
    assert_eq!(bench.look_up(&[1, 2]), [Pinning::Touched(touch(first, 0)), Pinning::Absent]);
    let stats = bench.machine().stats(&bench.kv).unwrap();
    assert_eq!((stats.chunks, stats.plain_bytes, stats.disk_bytes), (1, 100, 150));
    assert_eq!((stats.filter_negatives, stats.filter_positives), (2, 1));
}

#[test]
fn a_pin_in_a_later_epoch_goes_through_the_log_once() {
    let bench = Bench::new();
    let generation = Generation::new(GcEpoch(0), 1);
    bench.apply(IndexCommand::Register(vec![new(1, generation)]));
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
    bench.apply(IndexCommand::Register(vec![new(1, Generation::new(GcEpoch(0), 1))]));
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
    assert_eq!(bench.apply(IndexCommand::Register(vec![new(1, Generation::new(GcEpoch(3), 1))])), [None]);
    let late = Generation::new(GcEpoch(4), 1);
    assert_eq!(bench.apply(IndexCommand::Register(vec![new(1, late)])), [Some(touch(late, 5))]);
}

/// A dedup hit heals: what is lost is uploaded, by whoever has it, and is there again.
#[test]
fn a_lost_chunk_is_absent_until_it_is_stored_again() {
    let bench = Bench::new();
    let (first, second) = (Generation::new(GcEpoch(0), 1), Generation::new(GcEpoch(0), 2));
    bench.apply(IndexCommand::Register(vec![new(1, first)]));
    bench.set_state(1, ChunkState::Lost);
    assert_eq!(bench.look_up(&[1]), [Pinning::Absent]);
    assert_eq!(bench.apply(IndexCommand::Pin(vec![had(1)])), [None]);
    let sizes = Sizes { content: 100, plain: 100, stored: 90, disk: 180 };
    let again = Registration { sizes, exceptions: vec![(1, DiskId(7))], ..new(1, second) };
    assert_eq!(bench.apply(IndexCommand::Register(vec![again])), [Some(touch(second, 0))]);
    let row = bench.row(1);
    assert_eq!((row.state, row.exceptions), (ChunkState::Live, vec![(1, DiskId(7))]));
    assert_eq!(bench.machine().stats(&bench.kv).unwrap().disk_bytes, 180);
}

/// Whoever needs it before it is swept saves it: by a pin, or by storing it again.
#[test]
fn a_condemned_chunk_comes_back() {
    for saves in [IndexCommand::Pin(vec![had(1)]), IndexCommand::Register(vec![new(1, Generation(9))])] {
        let bench = Bench::new();
        let first = Generation::new(GcEpoch(0), 1);
        bench.apply(IndexCommand::Register(vec![new(1, first)]));
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
        bench.apply(IndexCommand::Register(part.iter().map(|n| new(*n, generation)).collect()));
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
    let chunks: Vec<Registration> = (0..4).map(|n| new(n, Generation::new(GcEpoch(0), n.into()))).collect();
    let pins = vec![had(0), had(1), had(9)];
    let commands = [
        IndexCommand::Register(chunks.clone()),
        IndexCommand::Pin(pins),
        IndexCommand::Pin(vec![had(0); PIN_COUNT_MAX + 1]),
        IndexCommand::Register(chunks),
    ];
    commands.into_iter().map(|command| Stamped { time: Millis(1), command }.encode()).collect()
}

proptest! {
    /// What another program may have written to the log: our commands with one byte changed.
    #[test]
    fn no_command_breaks_the_rows(damage in proptest::collection::vec((any::<u8>(), any::<usize>()), 4)) {
        let bench = Bench::new();
        bench.set_epoch(2);
        let chunks: Vec<Registration> = (0..4).map(|n| new(n, Generation::new(GcEpoch(1), n.into()))).collect();
        let pins = vec![had(0), had(1), had(9)];
        let commands = [
            IndexCommand::Register(chunks.clone()),
            IndexCommand::Pin(pins.clone()),
            IndexCommand::Register(chunks),
            IndexCommand::Pin(pins),
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
