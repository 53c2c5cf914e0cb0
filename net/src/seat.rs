//! The place of the request that is being answered, which its service may leave while it waits.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use types::Result;

use crate::admission::Permit;

tokio::task_local! {
    static CURRENT: Arc<Seat>;
}

/// Lets the running request wait for something without counting as one in progress: for waits that are long, and
/// bounded by whoever calls this. Afterwards the request is admitted again, or `Busy`. Outside of a server it just
/// waits.
pub async fn step_aside<T>(wait: impl Future<Output = T>) -> Result<T> {
    let Ok(seat) = CURRENT.try_with(Clone::clone) else { return Ok(wait.await) };
    let place = seat.0.lock().unwrap_or_else(PoisonError::into_inner).take().map(|permit| permit.place());
    let found = wait.await;
    if let Some(place) = place {
        let permit = place.take()?;
        *seat.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
    }
    Ok(found)
}

/// Holds the permit of a request that is being answered.
#[derive(Debug)]
pub(crate) struct Seat(Mutex<Option<Permit>>);

impl Seat {
    pub(crate) fn new(permit: Permit) -> Self {
        Self(Mutex::new(Some(permit)))
    }

    /// Runs what answers the request: it may [`step_aside`].
    pub(crate) fn hold<F: Future>(self: Arc<Self>, answer: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, answer)
    }

    /// Gives the permit back.
    pub(crate) fn leave(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
