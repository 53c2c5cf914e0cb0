//! One partition on one node: its log applied, command by command, by this build (I-DET).
//!
//! Owns: the feature level of the partition, what this build does not know, and that a command counts as a whole or not
//! at all.

use bytes::Bytes;
use kv::{Overlay, Read};
use proto::command::{Command, LEVEL_NEWEST, Logged, Stamped};
use types::{Error, FeatureLevel, Millis, PartitionId, Result};

use crate::digest::{self, Digest};
use crate::draft::{At, Draft};
use crate::failure::{Halt, refuse};
use crate::level::{self, LEVEL};
use crate::{answer, row};

/// What a kind of partition does with its commands.
pub trait Machine: Send + Sync + 'static {
    /// What it is told to do.
    type Command: Command;

    /// Carries out one command and returns its encoded answer. The same state, place and command give the same changes
    /// and the same answer on every replica.
    fn carry_out(&self, draft: &mut Draft<'_>, command: Self::Command) -> Result<Bytes, Halt>;

    /// All that was carried out so far is in the rows.
    fn applied(&self) {}

    /// Rebuilds what the machine keeps in memory after its whole state was opened or replaced.
    fn restored(&self, _state: &dyn Read) -> Result<(), Halt> {
        Ok(())
    }

    /// A row of one of its tables as every replica at this level has it.
    fn canonical(key: &[u8], value: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt>;
}

/// A partition's machine on this node.
#[derive(Debug)]
pub struct Replica<M> {
    /// Which partition.
    partition: PartitionId,
    /// The newest feature level that this build knows.
    newest: FeatureLevel,
    machine: M,
}

impl<M: Machine> Replica<M> {
    /// A replica of `partition`, as this build has it.
    pub fn new(partition: PartitionId, machine: M) -> Self {
        Self { partition, newest: LEVEL_NEWEST, machine }
    }

    /// The same, as a build has it that knows levels up to `newest` only.
    #[must_use]
    pub fn of_build(mut self, newest: FeatureLevel) -> Self {
        self.newest = newest;
        self
    }

    /// The machine, to be read from.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Applies the `index`-th command of the partition. A halt leaves `state` as it was.
    pub fn apply(&self, state: &mut Overlay<'_>, index: u64, logged: &[u8]) -> Result<Bytes, Halt> {
        let (changes, answer) = self.draft(&*state, index, logged).map_err(|halt| {
            halt.context(format!("partition {} stops before command {index}", self.partition))
        })?;
        state.absorb(changes);
        Ok(answer)
    }

    fn draft(&self, state: &dyn Read, index: u64, logged: &[u8]) -> Result<(kv::Changes, Bytes), Halt> {
        let level = level::level_within(state, self.newest)?;
        let at = At { index, time: Millis(0), level };
        match Logged::read(logged).map_err(unreadable)? {
            Logged::SetLevel(wanted) if wanted > self.newest => Err(level::too_old(wanted, self.newest)),
            Logged::SetLevel(wanted) => {
                let mut draft = Draft::new(state, at);
                let reached = wanted.max(level);
                draft.put(LEVEL, &reached);
                Ok((draft.into_changes(), answer::encode(&Ok(reached))))
            }
            // No build proposes that. Those that know the command and those that do not agree about it.
            Logged::Command { level: needed, .. } if needed > level => {
                let refused = refuse::<()>(Error::invalid(format!(
                    "the command needs feature level {needed}, partition {} is at {level}",
                    self.partition
                )));
                Ok((Draft::new(state, at).into_changes(), answer::of(refused)?))
            }
            Logged::Command { level: needed, body } => {
                let stamped: Stamped<M::Command> = proto::decode(body).map_err(unreadable)?;
                if stamped.command.level() != needed {
                    return Err(unreadable(Error::invalid(format!("it is not one of level {needed}"))));
                }
                let mut draft = Draft::new(state, At { time: stamped.time, ..at });
                let answer = self.machine.carry_out(&mut draft, stamped.command)?;
                Ok((draft.into_changes(), answer))
            }
        }
    }

    /// Rebuilds what is kept in memory after the whole state was opened or replaced. A halt when this build is too old
    /// for it, or cannot read it.
    pub fn restored(&self, state: &dyn Read) -> Result<(), Halt> {
        let restored = level::level_within(state, self.newest).and_then(|_| self.machine.restored(state));
        restored.map_err(|halt| halt.context(format!("partition {}", self.partition)))
    }
}

/// The digest of the state of a partition of a kind.
pub fn digest_of<M: Machine>(state: &dyn Read) -> Result<Digest, Halt> {
    let level = level::level(state)?;
    digest::of_state(state, |key, value| match key {
        LEVEL => row::canonical::<FeatureLevel>(value, level),
        _ => M::canonical(key, value, level),
    })
}

/// A row of a table that no machine of this kind has.
pub fn unknown_table(key: &[u8]) -> Halt {
    Halt::new(Error::corrupt(format!(
        "no table of this partition has the key {}: update this node, or let its state be replaced",
        key.escape_ascii()
    )))
}

/// Not `Corrupt`: the state is good, and so is the log, which has checksums of its own.
fn unreadable(error: Error) -> Halt {
    Halt::new(Error::internal(format!(
        "its command cannot be read ({}): update this node, or, if no build can read it, skip it on every voter",
        error.message()
    )))
}
