//! One simulated disk: its files, the dice for its faults, and which handles still count.

use std::io;
use std::path::{Path, PathBuf};

use super::content::{Content, Losses};
use super::faults::{Dice, DiskFault, FaultRule, When, is_below};
use super::names::InodeNumber;
use super::tree::Tree;
use crate::Random;

/// A sector of another place begins at a multiple of this.
const SECTOR_SIZE: u64 = 512;

/// All that the handles of a disk share.
#[derive(Debug)]
pub struct State {
    pub tree: Tree,
    pub dice: Dice,
    /// Disk handles of an earlier life are those of a process that is gone.
    pub life: u64,
    /// So are files that were opened in an earlier epoch: each life has one or, with crashes, several.
    pub epoch: u64,
}

impl State {
    pub fn new(seed: u64) -> Self {
        Self { tree: Tree::new(), dice: Dice::new(seed), life: 0, epoch: 0 }
    }

    /// What would be left after a power loss in which `chance` decided so.
    pub fn after_crash(&self, chance: &Random) -> Self {
        let dice = Dice { random: chance.clone(), ..Dice::new(0) };
        let mut state = Self { tree: self.tree.clone(), dice, life: self.life, epoch: self.epoch };
        state.crash();
        state.dice = Dice::new(0);
        state
    }

    /// Power loss.
    pub fn crash(&mut self) {
        let (lost_names, Losses { lost, torn }) = self.tree.crash(&self.dice.random);
        let counts = &mut self.dice.counts;
        counts.crashes += 1;
        counts.crash_lost_names += lost_names;
        counts.crash_lost_changes += lost;
        counts.crash_torn_writes += torn;
        self.epoch += 1;
    }

    /// The process that had the disk is gone: what it wrote stays, its handles are worth nothing.
    pub fn start_life(&mut self) -> u64 {
        self.tree.close_all();
        self.epoch += 1;
        self.life += 1;
        self.life
    }

    /// The answer to a handle that is worth nothing.
    pub fn stale(&mut self) -> io::Error {
        self.dice.counts.stale += 1;
        io::Error::from_raw_os_error(libc::ESTALE)
    }

    /// Adds a rule for one path.
    pub fn always(&mut self, prefix: &Path, fault: DiskFault) {
        self.dice.plan.rules.push(FaultRule { prefix: prefix.to_owned(), fault, when: When::Always });
    }

    /// The path that rules are compared with.
    pub fn path(&self, inode: InodeNumber) -> PathBuf {
        if self.dice.plan.rules.is_empty() { PathBuf::new() } else { self.tree.path(inode) }
    }

    /// Whether `inode` may grow to `end` bytes; `Err` is the end that fits.
    pub fn room(&mut self, inode: InodeNumber, end: u64) -> Result<(), u64> {
        let free = self.dice.plan.capacity.saturating_sub(self.tree.used());
        let taken = self.tree.file(inode).map_or(0, |body| body.content.footprint());
        if end <= taken + free {
            return Ok(());
        }
        self.dice.counts.full += 1;
        Err(taken + free)
    }

    /// Where an access to `inode` at `offset` goes when it is misdirected; `None`: nowhere.
    pub fn elsewhere(
        &self,
        inode: InodeNumber,
        offset: u64,
        len: fn(&Content) -> u64,
    ) -> Option<(InodeNumber, u64)> {
        let random = &self.dice.random;
        let siblings = self.tree.siblings(inode);
        let other = siblings[random.below(siblings.len() as u64) as usize];
        let sectors = len(&self.tree.file(other)?.content).div_ceil(SECTOR_SIZE);
        if sectors == 0 {
            return None;
        }
        let at = random.below(sectors) * SECTOR_SIZE + offset % SECTOR_SIZE;
        (other != inode || at != offset).then_some((other, at))
    }

    /// Flips `count` bits of what is durable below `prefix`; returns how many, 0 when there is nothing.
    pub fn rot(&mut self, prefix: &Path, count: u64) -> u64 {
        let files = self.tree.files().filter(|inode| is_below(&self.tree.path(*inode), prefix));
        let durable_len = |inode| self.tree.file(inode).map_or(0, |body| body.content.durable_len());
        let sizes: Vec<(InodeNumber, u64)> = files.map(|inode| (inode, durable_len(inode))).collect();
        let total: u64 = sizes.iter().map(|(_, size)| size).sum();
        if total == 0 {
            return 0;
        }
        for _ in 0..count {
            let (mut at, bit) = (self.dice.random.below(total), self.dice.random.below(8) as u8);
            for (inode, size) in &sizes {
                if at < *size {
                    self.tree.edit(*inode, |body| body.content.flip_bit(at, bit));
                    break;
                }
                at -= size;
            }
        }
        self.dice.counts.rotten_bits += count;
        count
    }
}
