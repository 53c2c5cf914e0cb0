//! To whom the tasks of a simulation belong.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time;
use types::limits::SIMULATED_WORK_MS_MAX;

use super::{AbortHandle, JoinHandle};
use crate::Random;

thread_local! {
    static CURRENT: RefCell<Option<Owner>> = const { RefCell::new(None) };
}

/// A node of a simulation in one of its lives: the tasks that die, stand still and go on together. Clones are the same
/// owner. A node that starts again is another one.
#[derive(Clone)]
pub struct Owner(Arc<Shared>);

struct Shared {
    name: String,
    random: Random,
    life: Mutex<Life>,
}

#[derive(Default)]
struct Life {
    is_dead: bool,
    /// Wakers of tasks that were to run while the owner was paused; `None` while it runs.
    paused: Option<Vec<Waker>>,
    /// Since when the owner is suspended.
    suspended: Option<time::Instant>,
    /// How long it was suspended until now.
    missed: Duration,
    tasks: BTreeMap<u64, Task>,
    next_id: u64,
}

struct Task {
    /// `None` for a moment after it was started.
    handle: Option<AbortHandle>,
    /// Where it was started.
    site: &'static Location<'static>,
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({})", self.0.name)
    }
}

impl Owner {
    /// An owner whose delays are drawn from `random`.
    pub fn new(name: impl Into<String>, random: Random) -> Self {
        Self(Arc::new(Shared { name: name.into(), random, life: Mutex::default() }))
    }

    /// The owner of the running task; `None` outside of simulations.
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// What it is called in traces.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Starts a task that belongs to this owner. A dead owner's task never runs.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (id, task) = self.own(future);
        let handle = tokio::spawn(task);
        self.remember(id, handle.abort_handle());
        handle
    }

    /// Runs `work` in a task of its own after `delay`.
    pub(crate) fn spawn_delayed<T: Send + 'static>(
        &self,
        delay: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.spawn(async move {
            time::sleep(delay).await;
            work()
        })
    }

    /// How long a piece of blocking work takes: the same choice for the same seed.
    pub(crate) fn draw_delay(&self) -> Duration {
        Duration::from_millis(self.0.random.below(SIMULATED_WORK_MS_MAX + 1))
    }

    /// Ends all tasks where they are, as the end of a process does. Their values are dropped, nothing of them runs.
    pub fn kill(&self) {
        let tasks = {
            let mut life = self.lock();
            life.is_dead = true;
            life.paused = None;
            std::mem::take(&mut life.tasks)
        };
        tasks.into_values().filter_map(|task| task.handle).for_each(|handle| handle.abort());
    }

    /// Holds all tasks until [`Owner::resume`]; time goes on.
    pub fn pause(&self) {
        self.lock().paused.get_or_insert_default();
    }

    /// As [`Owner::pause`], but the owner's monotonic clock stands still, too: its machine is suspended.
    pub fn suspend(&self) {
        let mut life = self.lock();
        life.paused.get_or_insert_default();
        life.suspended.get_or_insert_with(time::Instant::now);
    }

    /// Lets held tasks go on.
    pub fn resume(&self) {
        let held = {
            let mut life = self.lock();
            let missed = life.suspended.take().map_or(Duration::ZERO, |since| since.elapsed());
            life.missed += missed;
            life.paused.take()
        };
        held.into_iter().flatten().for_each(Waker::wake);
    }

    /// How much time the machine of the running task has spent suspended.
    pub(crate) fn time_missed() -> Duration {
        CURRENT.with_borrow(|owner| owner.as_ref().map_or(Duration::ZERO, |owner| owner.lock().missed))
    }

    /// Tasks that have not ended, by where they were started.
    pub fn task_sites(&self) -> Vec<String> {
        let sites = |task: &Task| format!("{}:{}", task.site.file(), task.site.line());
        self.lock().tasks.values().map(sites).collect()
    }

    /// Tasks that have not ended: what a node that is stopped in an orderly way must not leave behind.
    pub fn task_count(&self) -> usize {
        self.lock().tasks.len()
    }

    /// Makes a task of `future`. Whoever spawns it gives its handle to [`Owner::remember`].
    #[track_caller]
    pub(crate) fn own<F: Future>(&self, future: F) -> (u64, Owned<F>) {
        let mut life = self.lock();
        life.next_id += 1;
        let id = life.next_id;
        life.tasks.insert(id, Task { handle: None, site: Location::caller() });
        (id, Owned { id, owner: self.clone(), future: Some(Box::pin(future)) })
    }

    pub(crate) fn remember(&self, id: u64, handle: AbortHandle) {
        let mut life = self.lock();
        if life.is_dead {
            handle.abort();
        } else if let Some(task) = life.tasks.get_mut(&id) {
            task.handle = Some(handle);
        }
    }

    /// Runs `work` as one of the owner's tasks does.
    fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = CURRENT.replace(Some(self.clone()));
        let done = work();
        CURRENT.set(before);
        done
    }

    fn lock(&self) -> MutexGuard<'_, Life> {
        self.0.life.lock().expect("no panic while it is held")
    }
}

/// A task of an owner.
pub(crate) struct Owned<F> {
    id: u64,
    owner: Owner,
    future: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Owned<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let owner = self.owner.clone();
        {
            let mut life = owner.lock();
            if life.is_dead {
                return Poll::Pending; // Aborted; the runtime drops it next.
            }
            if let Some(held) = &mut life.paused {
                held.push(context.waker().clone());
                return Poll::Pending;
            }
        }
        let future = self.future.as_mut().expect("a task is not polled after its end");
        let done = owner.enter(|| future.as_mut().poll(context));
        if done.is_ready() {
            owner.enter(|| self.future = None);
            owner.lock().tasks.remove(&self.id);
        }
        done
    }
}

impl<F> Drop for Owned<F> {
    fn drop(&mut self) {
        // What a value does when it is dropped, it does as its owner.
        let future = self.future.take();
        self.owner.clone().enter(|| drop(future));
        self.owner.lock().tasks.remove(&self.id);
    }
}
