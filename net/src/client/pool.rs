//! The connections to one target.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use env::time::{self, Instant};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use types::{Error, Result};

use super::dialer::Dialer;
use super::link::Link;
use crate::{Reply, Request, Target};

/// A connection that is open or being opened; all who wait for it share the outcome.
type Dialing = Shared<BoxFuture<'static, Result<Arc<Link>>>>;

pub(super) struct Pool {
    target: Target,
    dialer: Arc<Dialer>,
    stations: Vec<Station>,
}

#[derive(Default)]
struct Station {
    dialing: Mutex<Option<Dialing>>,
    in_flight: AtomicUsize,
}

impl Pool {
    pub(super) fn new(target: Target, connections: usize, dialer: Arc<Dialer>) -> Self {
        Self {
            target,
            dialer,
            stations: std::iter::repeat_with(Station::default).take(connections).collect(),
        }
    }

    /// Calls over the least busy connection. A request that was provably not sent is tried once more, over a new one.
    pub(super) async fn call(&self, request: Request, deadline: Instant) -> Result<Reply> {
        let station =
            self.stations.iter().min_by_key(|s| s.in_flight.load(Relaxed)).expect("a pool has a connection");
        station.in_flight.fetch_add(1, Relaxed);
        let _busy = Busy(station);
        let mut again = true;
        loop {
            let link = self.link(station, deadline).await.map_err(|e| e.context(self.target))?;
            match link.call(request.clone(), deadline).await {
                Ok(frame) => return frame.into_result(),
                Err(failure) if failure.unsent && again => again = false,
                Err(failure) => return Err(failure.error.context(self.target)),
            }
        }
    }

    async fn link(&self, station: &Station, deadline: Instant) -> Result<Arc<Link>> {
        let dialing = self.dialing(station);
        if let Some(Ok(link)) = dialing.peek() {
            return Ok(link.clone());
        }
        time::timeout_at(deadline, dialing).await.unwrap_or_else(|time::Elapsed| {
            Err(Error::unavailable(
                "no connection within the time of this call; check that the node runs, or wait longer",
            ))
        })
    }

    /// The station's connection, replaced when it is broken or could not be made.
    fn dialing(&self, station: &Station) -> Dialing {
        let mut held = station.dialing.lock().expect("no panic while it is held");
        if let Some(dialing) = &*held {
            let usable = match dialing.peek() {
                None => true,
                Some(Ok(link)) => link.is_alive(),
                Some(Err(_)) => false,
            };
            if usable {
                return dialing.clone();
            }
        }
        // A task of its own: the connection is opened even if those who asked first have no time to wait for it.
        let (dialer, target) = (self.dialer.clone(), self.target);
        let task = env::task::spawn(async move { Link::open(&dialer, target).await.map(Arc::new) });
        let outcome =
            async { task.await.unwrap_or_else(|e| Err(Error::internal(format!("connecting failed: {e}")))) };
        let dialing = outcome.boxed().shared();
        *held = Some(dialing.clone());
        dialing
    }
}

/// Counts a call on a station until it is done or given up.
struct Busy<'a>(&'a Station);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
