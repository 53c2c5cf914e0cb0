//! What happened in a run, line by line: equal for equal seeds.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use env::time::{Duration, Instant};
use net::testing::LinkEvent;

/// A trace that many parts of a world write to. Clones are the same trace.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Lines>>);

struct Lines {
    started: Instant,
    hasher: blake3::Hasher,
    count: u64,
    /// Kept only when somebody will look at them: a minute has some hundred thousand.
    kept: Option<Vec<Line>>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Since the world began.
    pub at: Duration,
    /// What it says.
    pub event: Event,
}

/// What a line says.
#[derive(Clone, Debug)]
pub enum Event {
    /// Something that happened to a message.
    Link(LinkEvent),
    /// What the run did to the world, or saw of it.
    Note(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.event {
            Event::Link(event) => event.fmt(f),
            Event::Note(note) => write!(f, "{}.{:03} == {note}", self.at.as_secs(), self.at.subsec_millis()),
        }
    }
}

impl Trace {
    /// An empty trace that begins now. Its lines are kept when `keep`, and always part of its hash.
    pub fn new(keep: bool) -> Self {
        let kept = keep.then(Vec::new);
        let lines = Lines { started: env::time::now(), hasher: blake3::Hasher::new(), count: 0, kept };
        Self(Arc::new(Mutex::new(lines)))
    }

    /// Writes what happened to a message.
    pub fn link(&self, event: LinkEvent) {
        self.lock().write(Event::Link(event));
    }

    /// Writes what the run did or saw.
    pub fn note(&self, note: impl fmt::Display) {
        self.lock().write(Event::Note(note.to_string()));
    }

    /// Number of lines, and a hash of all of them: equal for equal traces.
    pub fn digest(&self) -> (u64, String) {
        let lines = self.lock();
        (lines.count, lines.hasher.finalize().to_hex()[..16].to_owned())
    }

    /// The lines, if they were kept.
    pub fn lines(&self) -> Vec<Line> {
        self.lock().kept.clone().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().expect("no panic while it is held")
    }
}

impl Lines {
    fn write(&mut self, event: Event) {
        let line = Line { at: self.started.elapsed(), event };
        self.hasher.update(line.to_string().as_bytes());
        self.hasher.update(b"\n");
        self.count += 1;
        self.kept.iter_mut().for_each(|kept| kept.push(line.clone()));
    }
}
