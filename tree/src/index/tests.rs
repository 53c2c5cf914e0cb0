//! Goal: registering, pinning and the filter agree with the rows. Method: the machine over `MemKv`.

use kv::{Durability, Kv, MemKv, Overlay};
use proptest::prelude::*;
use proto::command::Stamped;
use types::{Millis, PartitionId};

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
        batch.put(b"g", &encode(&GcEpoch(epoch), FeatureLevel::FIRST));
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
        let mut sum = TotalsRow::default();
        let (start, end) = row::chunk_range();
        let visit = &mut |key: &[u8], value: &[u8]| {
            let row: ChunkRow = crate::row::decode(value).unwrap();
            sum.chunks += 1;
            sum.plain_bytes += u64::from(row.plain_size);
            sum.disk_bytes += u64::from(row.disk_size);
            assert!(row.touch <= epoch, "no receipt is newer than the partition's epoch (I-GC)");
            assert_eq!(key[1..], row::chunk_of_key(key).unwrap().0);
            ControlFlow::Continue(())
        };
        self.kv.scan(&start, &end, Order::Forward, visit).unwrap();
        let totals = load::<TotalsRow>(&self.kv, &row::totals_key()).unwrap();
        assert_eq!(totals.unwrap_or_default(), sum, "the totals are those of the rows");
    }
}

fn chunk(n: u32) -> ChunkId {
    chunk::chunk_id(&n.to_le_bytes())
}

fn new(n: u32, generation: Generation) -> Registration {
    Registration { chunk: chunk(n), generation, plain_size: 100, disk_size: 150 }
}

#[test]
fn a_chunk_is_known_once_and_keeps_its_incarnation() {
    let bench = Bench::new();
    let (first, second) = (Generation::new(GcEpoch(0), 1), Generation::new(GcEpoch(0), 2));
    assert_eq!(bench.machine().look_up(&bench.kv, &[chunk(1)]).unwrap(), [Pinning::Absent]);
    assert_eq!(bench.apply(IndexCommand::Register(vec![new(1, first)])), [Some((first, GcEpoch(0)))]);
    assert_eq!(bench.apply(IndexCommand::Register(vec![new(1, second)])), [Some((first, GcEpoch(0)))]);
    assert_eq!(
        bench.machine().look_up(&bench.kv, &[chunk(1), chunk(2)]).unwrap(),
        [Pinning::Touched(first, GcEpoch(0)), Pinning::Absent]
    );
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
    assert_eq!(bench.machine().look_up(&bench.kv, &[chunk(1)]).unwrap(), [Pinning::Stale]);
    assert_eq!(
        bench.apply(IndexCommand::Pin(vec![chunk(1), chunk(2)])),
        [Some((generation, GcEpoch(3))), None]
    );
    assert_eq!(
        bench.machine().look_up(&bench.kv, &[chunk(1)]).unwrap(),
        [Pinning::Touched(generation, GcEpoch(3))]
    );
}

#[test]
fn a_generation_from_before_the_last_cycle_is_refused() {
    let bench = Bench::new();
    bench.set_epoch(5);
    assert_eq!(bench.apply(IndexCommand::Register(vec![new(1, Generation::new(GcEpoch(3), 1))])), [None]);
    let late = Generation::new(GcEpoch(4), 1);
    assert_eq!(bench.apply(IndexCommand::Register(vec![new(1, late)])), [Some((late, GcEpoch(5)))]);
}

#[test]
fn the_filter_grows_and_is_made_again_from_the_rows() {
    let bench = Bench::new();
    let generation = Generation::new(GcEpoch(0), 1);
    let count = FILTER_CAPACITY_MIN as u32 + 1000;
    for part in (0..count).collect::<Vec<_>>().chunks(512) {
        bench.apply(IndexCommand::Register(part.iter().map(|n| new(*n, generation)).collect()));
    }
    let all: Vec<ChunkId> = (0..count).map(chunk).collect();
    let known = |machine: &IndexMachine| {
        let found = machine.look_up(&bench.kv, &all).unwrap();
        found.iter().all(|pinning| *pinning == Pinning::Touched(generation, GcEpoch(0)))
    };
    assert!(known(bench.machine()));
    assert!(!bench.machine().filter.read().unwrap().is_full());
    let reopened = IndexMachine::default();
    assert!(!known(&reopened), "an empty filter knows nothing");
    reopened.restored(&bench.kv).unwrap();
    assert!(known(&reopened));
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

/// What the disk says about its damage is an error of opening the partition, not the end of the process.
#[test]
fn rows_that_cannot_be_read_are_an_error() {
    let error = IndexMachine::default().restored(&Broken).unwrap_err();
    assert!(error.to_string().contains("does not match its checksum"), "{error}");
}

/// A log with a command of every kind.
pub fn log() -> Vec<Bytes> {
    let chunks: Vec<Registration> = (0..4).map(|n| new(n, Generation::new(GcEpoch(0), n.into()))).collect();
    let pins = vec![chunk(0), chunk(1), chunk(9)];
    let commands = [
        IndexCommand::Register(chunks.clone()),
        IndexCommand::Pin(pins),
        IndexCommand::Pin(vec![chunk(0); PIN_COUNT_MAX + 1]),
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
        let pins = vec![chunk(0), chunk(1), chunk(9)];
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
