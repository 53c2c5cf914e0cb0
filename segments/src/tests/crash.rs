//! Goal: whatever was acknowledged survives power cuts, and nothing is ever read that was not written (I-ACK, I-READ).
//! Method: random batches against a model; the power is cut, or the process killed, at a random operation (also during
//! recovery); the index is set back or lost; after each restart every key is read and compared.

use env::Random;
use types::ErrorKind;

use super::*;

const KEYS: u64 = 80;
const SEEDS: u64 = 300;
const RESTARTS: u64 = 8;

/// What a reader may find under a key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    Absent,
    Present,
    /// The last change was not acknowledged.
    Either,
}

struct Run {
    random: Random,
    disk: FaultyDisk,
    kv: MemKv,
    model: Vec<Known>,
    rebuilt: bool,
}

#[test]
fn acknowledged_shards_survive_power_cuts() {
    (0..SEEDS).for_each(|seed| Run::new(seed).run(seed, 0));
}

#[test]
fn acknowledged_shards_survive_power_cuts_and_a_lost_index() {
    (1000..1000 + SEEDS).for_each(|seed| Run::new(seed).run(seed, 3));
}

impl Run {
    fn new(seed: u64) -> Self {
        let model = vec![Known::Absent; usize::try_from(KEYS).unwrap()];
        let (disk, kv) = (FaultyDisk::new(seed), MemKv::new(seed));
        Self { random: Random::seeded(seed), disk, kv, model, rebuilt: false }
    }

    /// Loses the index in one of `index_losses` restarts (never when 0).
    fn run(&mut self, seed: u64, index_losses: u64) {
        for restart in 0..RESTARTS {
            self.cut_somewhere();
            if let Ok(engine) = open(&self.disk, &self.kv) {
                // A disk that fails while it is opened gives up its index.
                self.rebuilt |= self.disk.is_cut();
                self.check(&engine, &format!("seed {seed}, restart {restart}"));
                self.work(engine);
            }
            if self.random.below(3) == 0 {
                // Only the process dies: what it wrote is still in memory, and the next cut may take it.
                self.disk.power_on();
            } else {
                self.disk.sim.crash();
                self.disk.power_on();
                self.kv.crash();
            }
            if index_losses > 0 && self.random.below(index_losses) == 0 {
                self.kv = MemKv::new(seed + restart);
                self.rebuilt = true;
            }
        }
        let engine = open(&self.disk, &self.kv).unwrap();
        self.check(&engine, &format!("seed {seed}, end"));
    }

    fn cut_somewhere(&self) {
        self.disk.cut_after(self.random.below(120), self.random.below(2) == 0);
    }

    /// Commits batches until the power is cut.
    fn work(&mut self, mut engine: Engine) {
        while !self.disk.is_cut() {
            let batch: Vec<(u64, bool)> = (0..=self.random.below(8))
                .map(|_| (self.random.below(KEYS), self.random.below(3) > 0))
                .collect();
            let changes: Vec<Change> = batch
                .iter()
                .map(|&(n, is_put)| if is_put { put(n) } else { Change::Delete { key: key(n) } })
                .collect();
            let results = engine.commit(&changes);
            for ((n, is_put), result) in batch.into_iter().zip(results) {
                let known = &mut self.model[usize::try_from(n).unwrap()];
                let wanted = if is_put { Known::Present } else { Known::Absent };
                *known = match result {
                    Ok(()) => wanted,
                    Err(error) => {
                        assert!(self.disk.is_cut(), "{error}");
                        if *known == wanted { wanted } else { Known::Either }
                    }
                };
            }
        }
    }

    fn check(&mut self, engine: &Engine, when: &str) {
        for (n, known) in (0..KEYS).zip(&mut self.model) {
            let found = match read(engine, n) {
                Ok(bytes) => {
                    assert_eq!(bytes, payload(n), "{when}: wrong bytes under key {n}");
                    Known::Present
                }
                Err(error) if error.kind() == ErrorKind::NotFound => Known::Absent,
                Err(error) => panic!("{when}: key {n}: {error}"),
            };
            assert!(
                *known == found || *known == Known::Either,
                "{when}: key {n} is {found:?}, not {known:?}"
            );
            // A disk that failed while it was opened shows what may still be lost.
            if !self.disk.is_cut() {
                *known = found;
            }
        }
        let status = engine.shared.status().clone();
        assert_eq!(status.totals.records, count(engine), "{when}");
        assert!(self.rebuilt || status.damage.quarantined == 0, "{when}: a crash was taken for damage");
    }
}
