//! One of several workers: random operations on its own files and on shared ones, with every outcome recorded.
//!
//! A worker forgets a file whose state it is not sure of; the journal tells at the end what became of it.

mod act;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use env::Random;
use env::time::Instant;
use proto::namespace::{Entry, Op};
use types::{Error, ErrorKind, InodeId, Name, Path, Result, Seq, VersionId};

use crate::check::is_conflict;
use crate::content::Maker;
use crate::history::{Answer, Commit, Freshness, History, Mark, Outcome, Promise, Read, Step};
use crate::session::Session;

/// What an operation may take beyond the deadlines of its requests, on a machine that is busy with everything else.
const GRACE: Duration = Duration::from_secs(10);
/// When no leader answers for this long, the client answers from a replica that may be behind (`client::Namespace`).
const LEADER_PATIENCE: Duration = Duration::from_secs(5);
/// The client may give up this long before a deadline: more than its longest pause.
const PAUSE: Duration = Duration::from_millis(200);
/// Roughly the bytes of a change without content.
const OP_SIZE: usize = 100;

/// What all workers of a run share.
#[derive(Debug)]
pub struct Shared {
    /// Makes contents, each different.
    pub maker: Maker,
    /// True: workers finish what they are doing and end.
    pub stop: AtomicBool,
    /// When the run began.
    pub started: Instant,
}

impl Shared {
    /// Milliseconds since the run began.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).expect("a run does not last forever")
    }
}

/// A file that only this worker changes.
#[derive(Clone, Debug)]
struct Held {
    path: Path,
    /// All versions, the newest last.
    versions: Vec<VersionId>,
}

impl Held {
    fn newest(&self) -> VersionId {
        *self.versions.last().expect("a file has a version")
    }
}

/// A worker and what it knows.
pub struct Worker {
    session: Arc<Session>,
    /// The other side of its races.
    rival: Arc<Session>,
    shared: Arc<Shared>,
    random: Random,
    history: History,
    home: Path,
    dirs: Vec<Path>,
    files: Vec<Held>,
    /// Files in the trash, most recently removed last.
    removed: Vec<(Held, InodeId)>,
    /// Names are used once.
    name_count: u64,
    /// How far this worker has followed the journal.
    cursor: Seq,
    /// The newest position the session has seen.
    known: Seq,
}

impl Worker {
    /// Worker `number` of a run; its choices follow from `seed`.
    pub fn new(number: u64, seed: u64, sessions: [Arc<Session>; 2], shared: Arc<Shared>) -> Result<Self> {
        let [session, rival] = sessions;
        let home = Path::root().join(Name::parse(&format!("worker{number}"))?)?;
        Ok(Self {
            session,
            rival,
            shared,
            random: Random::seeded(seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            history: History::default(),
            home,
            dirs: Vec::new(),
            files: Vec::new(),
            removed: Vec::new(),
            name_count: 0,
            cursor: Seq(0),
            known: Seq(0),
        })
    }

    /// Creates its own directory, while nothing is broken yet.
    pub async fn move_in(&mut self) {
        let home = self.home.clone();
        self.make_dir(&home).await;
    }

    /// Works until it is told to stop; returns what it did and saw.
    pub async fn run(mut self) -> History {
        while !self.shared.stop.load(Ordering::Relaxed) {
            Box::pin(self.act()).await;
            // More would only measure this machine, and leave too many versions to read at the end.
            env::time::sleep(Duration::from_millis(20 + self.random.below(100))).await;
        }
        self.history
    }

    /// Runs one operation and notes how long it took. One that takes twice what is allowed hangs, and is given up.
    async fn timed<T>(
        &mut self,
        what: &'static str,
        requests: u32,
        work: impl Future<Output = Result<T>>,
    ) -> (Result<T>, Duration) {
        let allowed = self.session.timeout * requests + GRACE;
        let start = env::time::now();
        let hangs = |env::time::Elapsed| Err(Error::unavailable("it hangs"));
        let answer = env::time::timeout(allowed * 2, Box::pin(work)).await.unwrap_or_else(hangs);
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let took = start.elapsed();
        self.history.answers.push(Answer { what, took_ms: ms(took), allowed_ms: ms(allowed) });
        if let Err(e) = &answer
            && matches!(
                e.kind(),
                ErrorKind::Denied | ErrorKind::Invalid | ErrorKind::Corrupt | ErrorKind::Internal
            )
        {
            self.surprise(Promise::Answers, format!("{what}: {e}"));
        }
        (answer, took)
    }

    /// Commits new content. `alone` says that nobody else writes this file.
    async fn commit(&mut self, path: &Path, seen: Option<Entry>, alone: bool) -> Outcome<VersionId> {
        let (bytes, content) = self.shared.maker.make(&self.random);
        let base = seen.as_ref().map(|entry| entry.version);
        let session = self.session.clone();
        let (answer, _) = self.timed("put", 4, session.put(path, seen, &bytes)).await;
        if let Err(e) = &answer
            && !e.is_transient()
            && (alone || !is_conflict(e.kind()))
        {
            self.surprise(Promise::Cas, format!("a put of {path} on {base:?} was refused: {e}"));
        }
        let outcome = Outcome::of(answer);
        self.note_commit(Commit { path: path.clone(), base, content, outcome });
        outcome
    }

    fn note_commit(&mut self, commit: Commit) {
        if let Outcome::Done(version) = commit.outcome {
            self.known = self.known.max(Seq(version.0));
            self.history.write_times_ms.push(self.shared.now_ms());
        }
        self.history.commits.push(commit);
    }

    /// Changes the tree in a way that nothing should prevent.
    async fn change(&mut self, mark: Mark, path: &Path, op: Op) -> Outcome<InodeId> {
        let session = self.session.clone();
        let (answer, _) = self.timed("change", 1, session.namespace.apply(op, OP_SIZE)).await;
        if let Err(e) = &answer
            && !e.is_transient()
        {
            self.surprise(Promise::Ack, format!("{path} should be there to be {mark:?}: {e}"));
        }
        let outcome = Outcome::of(answer.map(|done| done.inode));
        if matches!(outcome, Outcome::Done(_)) {
            self.history.write_times_ms.push(self.shared.now_ms());
        }
        self.history.steps.push(Step { mark, outcome });
        outcome
    }

    async fn make_dir(&mut self, path: &Path) -> bool {
        let op = Op::Mkdir { path: path.clone(), parents: false };
        matches!(self.change(Mark::Added, path, op).await, Outcome::Done(_))
    }

    /// Reads one of its own files to the end: the newest version or an older one.
    async fn read(&mut self, held: &Held, old: Option<VersionId>) {
        let (session, known, path) = (self.session.clone(), self.known, held.path.clone());
        let (answer, took) = self.timed("open", 1, session.namespace.open_version(&path, old)).await;
        let opened = match answer {
            Ok(opened) => opened,
            Err(e) => return self.missed(&path, &e, took),
        };
        let (seq, version) = (opened.seq, opened.version.id);
        self.known = self.known.max(seq);
        let (answer, _) = self.timed("read", 3, session.read(opened)).await;
        if let Ok(content) = answer {
            let fresh = Freshness { known, seq, leaderless: self.is_leaderless(took) };
            self.history.reads.push(Read { path, is_old: old.is_some(), fresh, version, content });
        }
    }

    /// The entry of one of its own files, if it is as this worker left it.
    async fn look_at(&mut self, held: &Held) -> Option<Entry> {
        let session = self.session.clone();
        let (answer, took) = self.timed("stat", 1, session.namespace.stat(&held.path)).await;
        let found = match answer.map(|entry| entry.ok_or_else(|| Error::not_found("it is not there"))) {
            Ok(Ok(entry)) if entry.version == held.newest() => return Some(entry),
            Ok(Ok(entry)) => Error::conflict(format!("version {} and not {}", entry.version, held.newest())),
            Ok(Err(e)) | Err(e) => e,
        };
        self.missed(&held.path, &found, took);
        None
    }

    /// Notes that something of its own was not found as it was left.
    fn missed(&mut self, path: &Path, error: &Error, took: Duration) {
        if !error.is_transient() && !self.is_leaderless(took) {
            self.surprise(Promise::Ack, format!("{path}: {error}"));
        }
    }

    /// An answer that took this long may be from a replica that is behind.
    fn is_leaderless(&self, took: Duration) -> bool {
        took + PAUSE >= LEADER_PATIENCE.min(self.session.timeout)
    }

    fn surprise(&mut self, promise: Promise, what: String) {
        let ms = self.shared.now_ms();
        self.history.surprises.push((promise, format!("after {ms} ms: {what}")));
    }

    /// A name that was never used before.
    fn new_name(&mut self, dir: &Path, kind: &str) -> Path {
        self.name_count += 1;
        let name = Name::parse(&format!("{kind}{}", self.name_count)).expect("letters and digits are a name");
        dir.join(name).expect("three levels are not too deep")
    }
}
