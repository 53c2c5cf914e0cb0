//! One attempt at a call over a connection: how long its caller waits, and how it can fail.

use env::time::{self, Instant};
use types::{Error, ErrorKind};

/// A call that a connection could not complete.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// The peer cannot have seen the request.
    pub(super) unsent: bool,
}

impl Failure {
    pub(super) fn unsent(error: Error) -> Self {
        Self { error, unsent: true }
    }

    /// The peer may have seen the request. Whatever broke, the caller's question is whether it was carried out.
    pub(super) fn broken(error: Error) -> Self {
        let transient = error.kind() == ErrorKind::Unavailable;
        let error = if transient { error } else { Error::unavailable(error.message()) };
        Self { error, unsent: false }
    }
}

/// What the server is told: how long the caller still waits.
pub(super) fn deadline_ms(deadline: Instant) -> u32 {
    let left = deadline.saturating_duration_since(time::now()).as_millis();
    u32::try_from(left).unwrap_or(u32::MAX).max(1)
}
