//! One client: random operations, each recorded with what was asked, what was answered and when.
//!
//! Owns: what an operation is in calls of the client library, and how long it may take.
//! Knows nothing of: what a right answer is; that is for the checkers.

mod act;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use env::Random;
use env::time::Instant;
use proto::namespace::{Attributes, Done, Entry, Expect, Mode, Op};
use tokio::sync::watch;
use types::{Error, ErrorKind, Path, Result, Seq, VersionId};

use crate::content::{Content, Maker, Recipe};
use crate::ground::Ground;
use crate::history::{Asked, Operation, Outcome, Shown, Step, Via};
use crate::mix::{Mix, SizeClass, Sizes};
use crate::session::Session;

/// Roughly the bytes of a change without content.
const STEP_SIZE: usize = 100;
/// Contents that may be stored once more.
const CONTENT_COUNT: usize = 32;

/// What all clients of a run share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What they do.
    pub mix: Mix,
    /// So many of them, the last ones, only ask the leader.
    pub asker_count: usize,
    /// How long an operation may take beyond the deadlines of its requests.
    pub grace: Duration,
    /// When the run began.
    pub started: Instant,
    /// The newest position before it.
    pub began: Seq,
    /// True: clients finish what they are doing and end.
    pub stop: watch::Receiver<bool>,
    /// The newest position that a client has seen, for all to know.
    pub newest: AtomicU64,
    /// Bytes that were drawn for contents.
    pub written: AtomicU64,
    /// Contents that were stored lately.
    pub stored: Mutex<VecDeque<Content>>,
}

impl Shared {
    /// Milliseconds since the run began.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).expect("a run does not last forever")
    }

    /// True when clients should end; also when nobody is left to tell them.
    pub fn is_over(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    /// How long an operation of so many requests may take.
    pub fn allowed(&self, session: &Session, requests: u32) -> Duration {
        session.timeout * requests + self.grace
    }

    /// Runs an operation. One that takes twice what is allowed hangs, and is given up.
    pub async fn timed(&self, mut noted: Operation, work: impl Future<Output = Outcome>) -> Operation {
        noted.start_ms = self.now_ms();
        let limit = Duration::from_millis(noted.allowed_ms * 2);
        noted.outcome = env::time::timeout(limit, Box::pin(work)).await.unwrap_or(Outcome::Unknown);
        noted.end_ms = self.now_ms();
        if let Some(seq) = noted.seq() {
            self.newest.fetch_max(seq.0, Ordering::Relaxed);
        }
        noted
    }

    fn stored(&self) -> MutexGuard<'_, VecDeque<Content>> {
        self.stored.lock().expect("no panic while it is held")
    }
}

/// An operation of which nothing is known yet but what is asked.
pub(crate) fn unanswered(client: usize, allowed: Duration, via: Via, asked: Asked) -> Operation {
    let allowed_ms = u64::try_from(allowed.as_millis()).expect("a deadline is no eternity");
    Operation { client, start_ms: 0, end_ms: 0, allowed_ms, via, asked, outcome: Outcome::Unknown }
}

/// A client and what it knows.
pub(crate) struct Worker {
    client: usize,
    session: Arc<Session>,
    /// The other side of its races: another client's session, and that client.
    rival: (usize, Arc<Session>),
    shared: Arc<Shared>,
    mix: Mix,
    random: Random,
    maker: Maker,
    ground: Ground,
    operations: Vec<Operation>,
}

impl Worker {
    /// The `client`-th of these sessions, of which the last ones only ask. Its choices follow from `random`, its contents
    /// also from the `seed` of all.
    pub fn new(
        client: usize,
        sessions: &[Arc<Session>],
        shared: Arc<Shared>,
        seed: u64,
        random: Random,
    ) -> Self {
        let worker_count = sessions.len() - shared.asker_count;
        let rival = (client + 1) % worker_count;
        let mix = if client < worker_count { shared.mix.clone() } else { shared.mix.asking() };
        Self {
            client,
            session: sessions[client].clone(),
            rival: (rival, sessions[rival].clone()),
            random,
            maker: Maker::new(seed, client),
            ground: Ground::new(client, shared.began, &shared.mix),
            operations: Vec::new(),
            mix,
            shared,
        }
    }

    /// Works until it is told to stop; returns what it did and saw.
    pub async fn run(mut self) -> Vec<Operation> {
        while !self.shared.is_over() {
            Box::pin(self.act()).await;
            let pause = &self.mix.pause_ms;
            let ms = pause.start + self.random.below((pause.end - pause.start).max(1));
            env::time::sleep(Duration::from_millis(ms)).await;
        }
        self.operations
    }

    /// Runs an operation of so many requests and notes what came of it.
    async fn perform(
        &mut self,
        via: Via,
        asked: Asked,
        requests: u32,
        work: impl Future<Output = Outcome>,
    ) -> &Operation {
        let allowed = self.shared.allowed(&self.session, requests);
        let begun = unanswered(self.client, allowed, via, asked);
        let done = self.shared.timed(begun, work).await;
        self.note(done)
    }

    fn note(&mut self, operation: Operation) -> &Operation {
        if operation.is_done() {
            operation.steps().iter().for_each(|step| self.ground.happened(step));
        } else if matches!(operation.outcome, Outcome::Unknown) {
            operation.steps().iter().for_each(|step| self.ground.is_unsure(step));
        }
        self.operations.push(operation);
        self.operations.last().expect("one was pushed")
    }

    /// Changes the tree, through the session or by asking the leader itself, which then says at which position.
    async fn change(&mut self, steps: Vec<Step>) {
        let (session, asked) = (self.session.clone(), Asked::Write(steps.clone()));
        let mut ops: Vec<Op> = steps.iter().map(op).collect();
        if self.random.below(2) == 0 {
            let work = async {
                let mode = if ops.len() == 1 { Mode::PerItem } else { Mode::Atomic };
                match session.write(mode, ops).await {
                    Ok(written) => changed(written.results, Some(written.seq)),
                    Err(e) => Outcome::of(Err(e)),
                }
            };
            self.perform(Via::Leader, asked, 1, work).await;
            return;
        }
        let work = async {
            let results = match ops.len() {
                1 => Ok(vec![session.namespace.apply(ops.remove(0), STEP_SIZE).await]),
                _ => session.namespace.apply_all(Mode::Atomic, ops).await,
            };
            results.map_or_else(|e| Outcome::of(Err(e)), |results| changed(results, None))
        };
        self.perform(Via::Session, asked, 1, work).await;
    }

    /// Looks at one entry; the second value is false when nobody answered.
    async fn stat(&mut self, path: &Path) -> (Option<Entry>, bool) {
        let session = self.session.clone();
        let work = async {
            let found = session.namespace.stat(path).await;
            let found = found.and_then(|entry| entry.ok_or_else(|| Error::not_found(format!("{path}"))));
            Outcome::of(found.map(|entry| (Shown::Entry(entry), None)))
        };
        match &self.perform(Via::Session, Asked::Stat(path.clone()), 1, work).await.outcome {
            Outcome::Done(Shown::Entry(entry), _) => (Some(entry.clone()), true),
            Outcome::Refused(e, _) => (None, e.kind() == ErrorKind::NotFound),
            _ => (None, false),
        }
    }

    /// Stores a content as the newest version of a file, on what was seen there.
    async fn put(&mut self, path: Path, seen: Option<Entry>, recipe: Recipe) {
        let (bytes, content) = Content::make(recipe);
        let allowed = self.shared.allowed(&self.session, put_requests(&recipe));
        let begun = begin_put(self.client, allowed, &path, seen.as_ref(), content);
        let work = Box::pin(put(&self.session, &path, seen, bytes));
        let done = self.shared.timed(begun, work).await;
        self.keep(&done, content);
        self.note(done);
    }

    /// Two sessions save changes to the same version at the same time (I-CAS).
    async fn race(&mut self, path: Path, seen: Option<Entry>) {
        let (rival, theirs) = self.rival.clone();
        let sizes = Sizes { tree: 0, ..self.shared.mix.sizes };
        let recipes = [self.draw_recipe(sizes), self.draw_recipe(sizes)];
        let [(bytes, content), (other_bytes, other_content)] = recipes.map(Content::make);
        let begin = |client, session: &Session, recipe, content| {
            let allowed = self.shared.allowed(session, put_requests(recipe));
            begin_put(client, allowed, &path, seen.as_ref(), content)
        };
        let ours = begin(self.client, &self.session, &recipes[0], content);
        let others = begin(rival, &theirs, &recipes[1], other_content);
        let ours = self.shared.timed(ours, Box::pin(put(&self.session, &path, seen.clone(), bytes)));
        let others = self.shared.timed(others, Box::pin(put(&theirs, &path, seen.clone(), other_bytes)));
        let (ours, others) = futures::future::join(Box::pin(ours), Box::pin(others)).await;
        for (done, content) in [(ours, content), (others, other_content)] {
            self.keep(&done, content);
            self.note(done);
        }
    }

    /// Reads a version to its end, or a range of it.
    async fn read(&mut self, path: Path, version: Option<VersionId>, range: Option<std::ops::Range<u64>>) {
        let session = self.session.clone();
        let asked = Asked::Read(path.clone(), version, range.clone());
        let work = async {
            let opened = match session.namespace.open_version(&path, version).await {
                Ok(opened) => opened,
                Err(e) => return Outcome::of(Err(e)),
            };
            let (version, seq) = (opened.version.clone(), opened.seq);
            let hash = session.read(opened, range).await;
            Outcome::Done(Shown::File(version, hash), Some(seq))
        };
        self.perform(Via::Session, asked, 4, work).await;
    }

    fn keep(&self, done: &Operation, content: Content) {
        if !done.is_done() {
            return;
        }
        let mut stored = self.shared.stored();
        stored.push_back(content);
        if stored.len() > CONTENT_COUNT {
            stored.pop_front();
        }
    }

    /// A content that nobody has stored yet.
    fn new_recipe(&mut self) -> Recipe {
        self.draw_recipe(self.shared.mix.sizes)
    }

    fn draw_recipe(&mut self, mut sizes: Sizes) -> Recipe {
        if self.shared.written.load(Ordering::Relaxed) > self.shared.mix.written_bytes_max {
            sizes = Sizes { inline: 1, replica: 0, stripe: 0, chunks: 0, tree: 0 };
        }
        let recipe = self.maker.draw(&sizes, &self.random);
        self.shared.written.fetch_add(recipe.size, Ordering::Relaxed);
        recipe
    }
}

async fn put(session: &Session, path: &Path, seen: Option<Entry>, bytes: bytes::Bytes) -> Outcome {
    let uploaded = session.put(path, seen, bytes).await;
    Outcome::of(uploaded.map(|uploaded| (Shown::Changed(Vec::new()), uploaded.seq)))
}

fn begin_put(
    client: usize,
    allowed: Duration,
    path: &Path,
    seen: Option<&Entry>,
    content: Content,
) -> Operation {
    let base = seen.map(|entry| (entry.inode, entry.version));
    let step = Step::Commit { path: path.clone(), base, content };
    unanswered(client, allowed, Via::Session, Asked::Write(vec![step]))
}

/// Looks, pins and puts chunks, commits; a tree has nodes besides.
fn put_requests(recipe: &Recipe) -> u32 {
    if SizeClass::of(recipe.size) == SizeClass::Tree { 8 } else { 4 }
}

/// What a batch was told. One that is done entirely or not at all was refused by the first error that is its own: the
/// others say no more than that it was refused.
fn changed(results: Vec<Result<Done>>, seq: Option<Seq>) -> Outcome {
    let errors = results.iter().filter_map(|result| result.as_ref().err());
    let own = errors.clone().find(|e| e.kind() != ErrorKind::Conflict).or(errors.clone().next());
    match own {
        None => {
            let inodes = results.into_iter().filter_map(Result::ok).map(|done| done.inode).collect();
            Outcome::Done(Shown::Changed(inodes), seq)
        }
        Some(e) if e.is_transient() => Outcome::Unknown,
        Some(e) => Outcome::Refused(e.clone(), seq),
    }
}

/// What to ask for. Commits are made by uploads.
fn op(step: &Step) -> Op {
    match step.clone() {
        Step::Mkdir(path) => Op::Mkdir { path, parents: false, attributes: Attributes::default() },
        Step::Rename(source, target) => {
            Op::Rename { source, expect: Expect::Any, target, replace: Expect::Absent }
        }
        Step::Remove(path, recursive) => Op::Remove { path, expect: Expect::Any, recursive },
        Step::Restore(path, version) => Op::RestoreVersion { path, expect: Expect::Any, version },
        Step::Undelete(path) => Op::Undelete { path },
        Step::Commit { .. } => unreachable!("a commit needs an upload"),
    }
}
