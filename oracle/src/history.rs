//! What clients asked and what they were told, as plain values: the first input of the checkers.
//!
//! An outcome is what a client was told, not what happened: an unknown one may have happened, and may still happen.

use std::fmt;
use std::ops::Range;

use proto::namespace::{Entry, Record, Version};
use types::{Error, InodeId, Name, NodeId, Path, Result, Seq, VersionId};

use crate::content::{Content, Hash};
use crate::deed::FileVersion;

/// What a run did and saw.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The newest position of the journal before the first operation: what is older is nobody's here.
    pub began: Seq,
    /// By the time they began.
    pub operations: Vec<Operation>,
    /// What each follower of the journal was given.
    pub followed: Vec<Followed>,
    /// What followers had that began in the middle.
    pub mirrored: Vec<Mirrored>,
}

/// One thing a client did. Times are milliseconds since the run began.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Which client, counted from 0. Its session remembers what it has seen.
    pub client: usize,
    /// When it was asked.
    pub start_ms: u64,
    /// When it was answered or given up.
    pub end_ms: u64,
    /// How long it may take: the deadlines of its requests, and a grace for the machine.
    pub allowed_ms: u64,
    /// Who was asked for which state.
    pub via: Via,
    /// With which arguments.
    pub asked: Asked,
    /// What came of it.
    pub outcome: Outcome,
}

/// Who was asked for which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Whoever the client library asks; a read sees at least what this session has seen.
    Session,
    /// The leader; a read sees everything that was acknowledged before it began.
    Leader,
    /// This one node, which was shown a position; a read sees at least that state.
    Node {
        /// Which node.
        node: NodeId,
        /// The position, seen by this client or by another that told it.
        shown: Seq,
    },
}

/// What was asked for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// A change; several are one change, done entirely or not at all.
    Write(Vec<Step>),
    /// The entry at a path.
    Stat(Path),
    /// A page of a directory, after a name.
    List(Path, Option<Name>),
    /// A page of a file's versions, older than one.
    Versions(Path, Option<VersionId>),
    /// A version of a file, the newest unless named, and its bytes, all unless named.
    Read(Path, Option<VersionId>, Option<Range<u64>>),
    /// The newest position.
    Head,
    /// The journal after a position.
    Pull(Seq),
}

/// One change of the tree, which leaves one record in the journal.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Creates a directory.
    Mkdir(Path),
    /// Makes a new version of a file.
    Commit {
        /// Which file.
        path: Path,
        /// The version its writer had seen; `None` when there was no file.
        base: Option<FileVersion>,
        /// What was written.
        content: Content,
    },
    /// Moves an entry from the first path to the second.
    Rename(Path, Path),
    /// Moves an entry to the trash, with what is below it only when that was asked for.
    Remove(Path, bool),
    /// Makes an old version the newest again.
    Restore(Path, VersionId),
    /// Brings back what was last removed from a path.
    Undelete(Path),
}

/// What a client was told. The position is the state that the answer is from, where the answer says so.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is done.
    Done(Shown, Option<Seq>),
    /// It is not done and never will be.
    Refused(Error, Option<Seq>),
    /// Nobody answered in time.
    Unknown,
}

/// What came back.
#[derive(Clone, Debug)]
pub enum Shown {
    /// The entries that were changed, one for each step.
    Changed(Vec<InodeId>),
    /// What is at the path.
    Entry(Entry),
    /// Entries in order of their names, and whether there are more.
    Entries(Vec<Entry>, bool),
    /// Versions, newest first, and whether there are more.
    Versions(Vec<Version>, bool),
    /// A version, and the hash of the bytes that were asked for, or why they did not come.
    File(Version, Result<Hash>),
    /// The newest position, which is all that was asked for.
    Head,
    /// So many records.
    Records(usize),
}

/// What a follower of the journal was given.
#[derive(Clone, Debug, Default)]
pub struct Followed {
    /// Which client.
    pub client: usize,
    /// In the order they came.
    pub records: Vec<Record>,
    /// The last pull came when nobody wrote any more, and found nothing new.
    pub is_at_end: bool,
}

/// What a follower had that began in the middle.
#[derive(Clone, Debug)]
pub struct Mirrored {
    /// Which client.
    pub client: usize,
    /// Where it began.
    pub began: Seq,
    /// Where it looked.
    pub seq: Seq,
    /// What it had then.
    pub tree: Vec<(Path, Entry)>,
}

impl History {
    /// When writes were acknowledged, in order.
    pub fn write_times_ms(&self) -> Vec<u64> {
        let done = self.operations.iter().filter(|operation| operation.is_write() && operation.is_done());
        let mut times: Vec<u64> = done.map(|operation| operation.end_ms).collect();
        times.sort_unstable();
        times
    }
}

impl Operation {
    /// The changes it asked for; none when it is a read.
    pub fn steps(&self) -> &[Step] {
        match &self.asked {
            Asked::Write(steps) => steps,
            _ => &[],
        }
    }

    /// True when it asked for a change.
    pub fn is_write(&self) -> bool {
        matches!(self.asked, Asked::Write(_))
    }

    /// True when it was acknowledged.
    pub fn is_done(&self) -> bool {
        matches!(self.outcome, Outcome::Done(..))
    }

    /// The position that the answer names.
    pub fn seq(&self) -> Option<Seq> {
        match self.outcome {
            Outcome::Done(_, seq) | Outcome::Refused(_, seq) => seq,
            Outcome::Unknown => None,
        }
    }
}

impl Outcome {
    /// What an error means to a client: transient ones leave open what happened.
    pub fn of(answer: Result<(Shown, Option<Seq>)>) -> Self {
        match answer {
            Ok((shown, seq)) => Outcome::Done(shown, seq),
            Err(e) if e.is_transient() => Outcome::Unknown,
            Err(e) => Outcome::Refused(e, None),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operation { client, start_ms, end_ms, via, asked, .. } = self;
        write!(f, "client {client}'s {asked}")?;
        if let Via::Node { node, shown } = via {
            write!(f, " at node {node}, which was shown position {shown},")?;
        }
        write!(f, " ({start_ms} to {end_ms} ms)")
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Write(steps) => {
                let texts: Vec<String> = steps.iter().map(Step::to_string).collect();
                f.write_str(&texts.join(", "))
            }
            Asked::Stat(path) => write!(f, "stat {path}"),
            Asked::List(path, None) => write!(f, "list {path}"),
            Asked::List(path, Some(after)) => write!(f, "list {path} after {after}"),
            Asked::Versions(path, _) => write!(f, "history {path}"),
            Asked::Read(path, version, range) => {
                write!(f, "read {path}")?;
                version.iter().try_for_each(|version| write!(f, " at version {version}"))?;
                range.iter().try_for_each(|range| write!(f, ", bytes {range:?}"))
            }
            Asked::Head => f.write_str("head"),
            Asked::Pull(after) => write!(f, "pull after {after}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Mkdir(path) => write!(f, "mkdir {path}"),
            Step::Commit { path, base: None, .. } => write!(f, "put {path}"),
            Step::Commit { path, base: Some((inode, base)), .. } => {
                write!(f, "put {path} on version {base} of {inode}")
            }
            Step::Rename(source, target) => write!(f, "rename {source} to {target}"),
            Step::Remove(path, _) => write!(f, "remove {path}"),
            Step::Restore(path, version) => write!(f, "restore {path} to version {version}"),
            Step::Undelete(path) => write!(f, "undelete {path}"),
        }
    }
}
