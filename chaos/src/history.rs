//! What a run did and saw, as plain values: the input of the checkers.
//!
//! An outcome is what the client was told, not what happened: an unknown one may have happened, and may still happen.

use std::fmt;

use proto::namespace::{Entry, Record};
use types::{Error, ErrorKind, InodeId, NodeId, Path, Seq, VersionId};

/// A promise that this program checks. The first ones are defined in `docs/invariants.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// I-ACK.
    Ack,
    /// I-READ.
    Read,
    /// I-CAS.
    Cas,
    /// I-LIN.
    Lin,
    /// I-JRN.
    Jrn,
    /// I-TREE.
    Tree,
    /// I-DET.
    Det,
    /// I-HEAL.
    Heal,
    /// Every operation is answered in its time and in an expected way.
    Answers,
    /// No process ends or panics unless it was told to.
    Processes,
}

impl Promise {
    /// All promises, in the order of the report.
    pub const ALL: [Promise; 10] = [
        Promise::Ack,
        Promise::Read,
        Promise::Cas,
        Promise::Lin,
        Promise::Jrn,
        Promise::Tree,
        Promise::Det,
        Promise::Heal,
        Promise::Answers,
        Promise::Processes,
    ];
}

/// BLAKE3 of all bytes of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content(pub [u8; 32]);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// What the client was told about a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It is done.
    Done(T),
    /// It is not done and never will be.
    Refused(ErrorKind),
    /// Nobody answered in time.
    Unknown,
}

impl<T> Outcome<T> {
    /// The outcome that a client's answer means.
    pub fn of(answer: Result<T, Error>) -> Self {
        match answer {
            Ok(done) => Outcome::Done(done),
            Err(e) if e.is_transient() => Outcome::Unknown,
            Err(e) => Outcome::Refused(e.kind()),
        }
    }
}

/// A new version of a file.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Which file.
    pub path: Path,
    /// The version its writer had seen; `None` when there was no file.
    pub base: Option<VersionId>,
    /// What was written; no two commits write the same.
    pub content: Content,
    /// The version it became.
    pub outcome: Outcome<VersionId>,
}

/// The mark that a change of the tree leaves in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// Created, or brought back from the trash.
    Added,
    /// Renamed, perhaps into another directory.
    Moved,
    /// Put into the trash.
    Removed,
}

/// A change of the tree other than a commit.
#[derive(Clone, Debug)]
pub struct Step {
    /// What was done.
    pub mark: Mark,
    /// Which entry it was done to, if it was done.
    pub outcome: Outcome<InodeId>,
}

/// When and how fresh an answer was.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// The newest position the session had seen when it asked.
    pub known: Seq,
    /// The position it was answered from.
    pub seq: Seq,
    /// The client had waited for a leader in vain, and may have answered from a replica that is behind.
    pub leaderless: bool,
}

/// A file that was read to its end.
#[derive(Clone, Debug)]
pub struct Read {
    /// Which file.
    pub path: Path,
    /// An old version was asked for.
    pub is_old: bool,
    /// From which state.
    pub fresh: Freshness,
    /// The version in the answer.
    pub version: VersionId,
    /// Hash of the bytes that came.
    pub content: Content,
}

/// A directory that was listed.
#[derive(Clone, Debug)]
pub struct Look {
    /// Which directory.
    pub path: Path,
    /// From which state.
    pub fresh: Freshness,
    /// Name, inode and version of what was in it.
    pub entries: Vec<(String, InodeId, VersionId)>,
}

/// Two commits at the same time, based on the same version, to a file that nobody else touches.
#[derive(Clone, Debug)]
pub struct Race {
    /// Which file.
    pub path: Path,
    /// How the two ended.
    pub outcomes: [Outcome<VersionId>; 2],
}

/// How long an operation took.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Which operation.
    pub what: &'static str,
    /// How long it took.
    pub took_ms: u64,
    /// How long it may take.
    pub allowed_ms: u64,
}

/// What workers did and saw.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// New versions.
    pub commits: Vec<Commit>,
    /// Other changes.
    pub steps: Vec<Step>,
    /// Files read.
    pub reads: Vec<Read>,
    /// Directories listed.
    pub looks: Vec<Look>,
    /// Pairs of commits that raced.
    pub races: Vec<Race>,
    /// Journal records, as followers saw them while others wrote.
    pub tails: Vec<Record>,
    /// All operations.
    pub answers: Vec<Answer>,
    /// When writes were acknowledged, in milliseconds since the start.
    pub write_times_ms: Vec<u64>,
    /// What was seen to be wrong on the spot.
    pub surprises: Vec<(Promise, String)>,
}

impl History {
    /// Adds what another worker did.
    pub fn extend(&mut self, other: History) {
        self.commits.extend(other.commits);
        self.steps.extend(other.steps);
        self.reads.extend(other.reads);
        self.looks.extend(other.looks);
        self.races.extend(other.races);
        self.tails.extend(other.tails);
        self.answers.extend(other.answers);
        self.write_times_ms.extend(other.write_times_ms);
        self.surprises.extend(other.surprises);
    }
}

/// A version as it was found at the end.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Of which file.
    pub inode: InodeId,
    /// Its id: the position of its commit in the journal.
    pub version: VersionId,
    /// The version it replaced; `None` for the first.
    pub base: Option<VersionId>,
    /// Its bytes, or why they cannot be read.
    pub content: Result<Content, String>,
}

/// The state of a namespace on one voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Which voter.
    pub node: NodeId,
    /// Its newest position.
    pub seq: Seq,
    /// Set hash of all its rows.
    pub digest: [u8; 16],
}

/// What was found when everything had come to rest.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The root directory.
    pub root: InodeId,
    /// The journal when the workers had stopped.
    pub early: Vec<Record>,
    /// The journal after what was in the trash had been brought back.
    pub journal: Vec<Record>,
    /// Every entry of a recursive listing, as often as it was listed.
    pub tree: Vec<(Path, Entry)>,
    /// Every version of every file of the tree.
    pub kept: Vec<Kept>,
    /// One round of digests for each time they were asked for.
    pub digests: Vec<Vec<Digest>>,
}
