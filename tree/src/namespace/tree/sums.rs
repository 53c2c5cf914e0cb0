//! What directories know of everything below them, kept current.
//!
//! A change tells its own directory; all above learn of it when the batch ends, or before a directory moves: they add
//! and subtract what it has below it, whatever that is. So a batch writes the row of a directory once, and moving a
//! directory costs as much as it is deep.

use std::collections::BTreeMap;

use proto::namespace::{Contents, Kind, Place, Totals};
use types::InodeId;

use crate::digest;
use crate::draft::Draft;
use crate::failure::Halt;
use crate::namespace::key;
use crate::namespace::row::{Below, DirentRow, InodeRow, Reach};
use crate::row::{Row, damaged, load};

/// A sum with a sign, modulo what its numbers hold: adding and subtracting the same leaves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Delta {
    entries: u64,
    files: u64,
    dirs: u64,
    bytes: u64,
    digest: u128,
    /// Only grows.
    reach: Reach,
}

/// What directories do not know yet.
#[derive(Debug, Default)]
pub struct Sums {
    pending: BTreeMap<InodeId, Delta>,
    change_count: u64,
}

impl Delta {
    /// An entry with everything below it.
    fn of(at: &Place, row: &DirentRow, below: Option<&Below>) -> Self {
        let below = below.copied().unwrap_or_default();
        let Totals { files, dirs, bytes, digest } = below.contents.totals;
        let is_dir = row.kind == Kind::Dir;
        Self {
            entries: 1,
            files: files + u64::from(!is_dir),
            dirs: dirs + u64::from(is_dir),
            bytes: bytes.wrapping_add(if row.kind == Kind::File { row.size } else { 0 }),
            digest: u128::from_le_bytes(digest).wrapping_add(hash_of(at, row)),
            reach: below.reach.above(at.name.as_str()),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            entries: self.entries.wrapping_add(other.entries),
            files: self.files.wrapping_add(other.files),
            dirs: self.dirs.wrapping_add(other.dirs),
            bytes: self.bytes.wrapping_add(other.bytes),
            digest: self.digest.wrapping_add(other.digest),
            reach: self.reach.max(other.reach),
        }
    }

    /// Takes as much away. How far down it went is not forgotten.
    fn minus(self, other: Self) -> Self {
        Self {
            entries: self.entries.wrapping_sub(other.entries),
            files: self.files.wrapping_sub(other.files),
            dirs: self.dirs.wrapping_sub(other.dirs),
            bytes: self.bytes.wrapping_sub(other.bytes),
            digest: self.digest.wrapping_sub(other.digest),
            reach: self.reach,
        }
    }

    fn add_to(self, below: &mut Below, own_entries: u64) {
        let Contents { entries, totals } = below.contents;
        below.contents = Contents {
            entries: entries.wrapping_add(own_entries),
            totals: Totals {
                files: totals.files.wrapping_add(self.files),
                dirs: totals.dirs.wrapping_add(self.dirs),
                bytes: totals.bytes.wrapping_add(self.bytes),
                digest: u128::from_le_bytes(totals.digest).wrapping_add(self.digest).to_le_bytes(),
            },
        };
        below.reach = below.reach.max(self.reach);
    }
}

impl Sums {
    /// How often something was told: equal before and after when nothing was.
    pub fn change_count(&self) -> u64 {
        self.change_count
    }

    /// An entry is in a directory now.
    pub fn add(&mut self, at: &Place, row: &DirentRow, below: Option<&Below>) {
        self.tell(at, |delta| delta.plus(Delta::of(at, row, below)));
    }

    /// It is not there any more.
    pub fn subtract(&mut self, at: &Place, row: &DirentRow, below: Option<&Below>) {
        self.tell(at, |delta| delta.minus(Delta::of(at, row, below)));
    }

    /// It is there in another state.
    pub fn update(&mut self, at: &Place, old: &DirentRow, new: &DirentRow) {
        self.tell(at, |delta| delta.minus(Delta::of(at, old, None)).plus(Delta::of(at, new, None)));
    }

    /// How far down what a directory does not know of goes.
    pub fn reach_of(&self, dir: InodeId) -> Reach {
        self.pending.get(&dir).map(|delta| delta.reach).unwrap_or_default()
    }

    fn tell(&mut self, at: &Place, change: impl FnOnce(Delta) -> Delta) {
        let delta = self.pending.entry(at.dir).or_default();
        *delta = change(*delta);
        self.change_count += 1;
    }

    /// Tells all directories everything.
    pub fn flush(&mut self, state: &mut Draft<'_>) -> Result<(), Halt> {
        let mut rows: BTreeMap<InodeId, InodeRow> = BTreeMap::new();
        for (dir, delta) in std::mem::take(&mut self.pending) {
            let mut delta = delta;
            let (mut at, mut own_entries) = (dir, delta.entries);
            loop {
                let row = match rows.entry(at) {
                    std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::btree_map::Entry::Vacant(new) => {
                        let row = load(state, &key::of_inode(at))?;
                        new.insert(row.ok_or_else(|| damaged::<InodeRow>("a directory has none"))?)
                    }
                };
                let below = row.below.as_mut().ok_or_else(|| damaged::<InodeRow>("no directory"))?;
                delta.add_to(below, own_entries);
                if row.parent == at {
                    break;
                }
                delta.reach = below.reach.above(&row.name);
                (at, own_entries) = (row.parent, 0);
            }
        }
        for (inode, row) in rows {
            state.put(key::of_inode(inode), &row);
        }
        Ok(())
    }
}

/// What an entry adds to the digests of the directories above it. Fields of later versions are in the partition's digest
/// only.
pub fn hash_of(at: &Place, row: &DirentRow) -> u128 {
    let mut bytes = [0; 16];
    let key = key::of_dirent(at.dir, at.name.as_str());
    bytes.copy_from_slice(&digest::hash(&key, &row.to_plain(1))[..16]);
    u128::from_le_bytes(bytes)
}
