//! What went over the wire, counted while it goes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Transport;

/// Counts of one process in one role (server or client), per transport.
#[derive(Debug, Default)]
pub struct Counters([Tally; 3]);

/// Counts of one transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests received (server) or made (client).
    pub requests: u64,
    /// Those that were answered with an error or not at all.
    pub errors: u64,
    /// Frame bytes received, also of requests that were never completed. For gRPC the bytes of HTTP/2.
    pub received: u64,
    /// Frame bytes sent.
    pub sent: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub requests: AtomicU64,
    pub errors: AtomicU64,
    pub received: AtomicU64,
    pub sent: AtomicU64,
}

impl Counters {
    /// Counts of one transport until now.
    pub fn of(&self, transport: Transport) -> Traffic {
        let tally = self.tally(transport);
        Traffic {
            requests: tally.requests.load(Relaxed),
            errors: tally.errors.load(Relaxed),
            received: tally.received.load(Relaxed),
            sent: tally.sent.load(Relaxed),
        }
    }

    /// Counts of all transports together.
    pub fn total(&self) -> Traffic {
        Transport::ALL.iter().map(|t| self.of(*t)).fold(Traffic::default(), |a, b| Traffic {
            requests: a.requests + b.requests,
            errors: a.errors + b.errors,
            received: a.received + b.received,
            sent: a.sent + b.sent,
        })
    }

    pub(crate) fn tally(&self, transport: Transport) -> &Tally {
        &self.0[transport as usize]
    }
}

impl Tally {
    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }
}
