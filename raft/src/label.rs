//! Ties the log, the state and the node's own records together: each says which store it belongs to and how often that
//! was started, so that one that was removed, exchanged or copied back does not pass for the other's half.

use std::path::Path;

use env::Disk;
use env::mutant::Mutant;
use kv::{Batch, Durability, Kv};
use types::{Error, Result, Start};

use crate::codec;

/// File in the log's directory.
const FILE: &str = "STORE";
/// Key in the store of states.
const KEY: &[u8] = b"l";

/// What a node knows of its store since the last time it was open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// Its starts so far; 0 when it was never open.
    pub count: u64,
    /// Its log had this many commits at least.
    pub mark: u64,
}

/// The label in the log's directory; `None` when there is none.
pub fn of_log(disk: &dyn Disk, dir: &Path) -> Result<Option<Start>> {
    match disk.read(&dir.join(FILE)) {
        Ok(bytes) => parse("log", &bytes).map(Some),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// The label among the states; `None` when there is none.
pub fn of_state(kv: &dyn Kv) -> Result<Option<Start>> {
    kv.get(KEY)?.map(|bytes| parse("state", &bytes)).transpose()
}

fn parse(what: &str, label: &[u8]) -> Result<Start> {
    codec::decode_stored(label).map_err(|e| e.context(format!("the label of the {what}")))
}

/// Labels both, durably. The node remembers the start afterwards: a crash in between leaves labels that are one ahead.
pub fn write(disk: &dyn Disk, dir: &Path, kv: &dyn Kv, start: &Start) -> Result<()> {
    let label = codec::encode(start);
    disk.write_atomic(&dir.join(FILE), &label)?;
    let mut batch = Batch::new();
    batch.put(KEY, &label);
    kv.write(batch, Durability::Synced)
}

/// `Corrupt` unless `found` is the label of the store that `start` is the next start of.
pub fn check(what: &str, found: Option<Start>, last: Last, start: &Start) -> Result<()> {
    let lost = |why: String| Err(Error::corrupt(format!("the {what} of this node's metadata store {why}")));
    match found {
        _ if Mutant::IdentityUnchecked.is_planted() => Ok(()),
        None if last.count == 0 => Ok(()),
        None => lost(format!("is gone: it was started {} times", last.count)),
        Some(label) if label.store != start.store => {
            lost(format!("belongs to store {}, this node's is {}", label.store, start.store))
        }
        Some(label) if label.count < last.count => {
            lost(format!("is an old copy: it has seen {} starts of {}", label.count, last.count))
        }
        Some(label) if label.count > last.count + 1 && last.count > 0 => {
            lost(format!("was used elsewhere: it has seen {} starts, this node {}", label.count, last.count))
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use types::StoreUuid;

    use super::*;

    fn start(store: u8, count: u64) -> Start {
        Start { store: StoreUuid([store; 16]), count, nonce: 5 }
    }

    #[test]
    fn reads_v1() {
        let golden = [&[1][..], &[16], &[7; 16], &[4, 5]].concat();
        assert_eq!(codec::decode::<Start>(&golden), Ok(start(7, 4)));
        assert_eq!(codec::encode(&start(7, 4)), golden);
    }

    #[test]
    fn only_the_label_of_the_start_before_is_taken() {
        for (found, last, want) in [
            (None, 0, Ok(())),
            (Some(start(1, 1)), 0, Ok(())),
            (Some(start(1, 4)), 4, Ok(())),
            // Killed after the labels were written and before the node took note.
            (Some(start(1, 5)), 4, Ok(())),
            (None, 4, Err("is gone: it was started 4 times")),
            (Some(start(1, 3)), 4, Err("old copy: it has seen 3 starts of 4")),
            (Some(start(1, 6)), 4, Err("used elsewhere")),
            (Some(start(2, 4)), 4, Err("belongs to store 0202")),
            (Some(start(2, 1)), 0, Err("belongs to store 0202")),
        ] {
            let last = Last { count: last, mark: 0 };
            match (check("log", found, last, &start(1, last.count + 1)), want) {
                (Ok(()), Ok(())) => {}
                (Err(e), Err(part)) => assert!(e.message().contains(part), "{e}"),
                (got, want) => panic!("{found:?} after {last:?}: {got:?}, want {want:?}"),
            }
        }
    }
}
