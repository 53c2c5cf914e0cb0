//! What went over the wire, counted while it goes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Transport;
use crate::lane::Lane;

/// Counts of one process in one role (server or client): per transport, and in a server per lane.
#[derive(Debug, Default)]
pub struct Counters {
    transports: [Tally; Transport::ALL.len()],
    lanes: [LaneTally; Lane::ALL.len()],
}

/// Why a request, or a connection, was refused at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BusyReason {
    /// Clients have too many connections.
    Connections,
    /// Its connection has too many requests in progress.
    Connection,
    /// Its lane has too many.
    Requests,
    /// Its lane has too many bytes of them.
    Bytes,
    /// Its caller has more than a share of the lane.
    Share,
}

impl BusyReason {
    /// All reasons.
    pub const ALL: [BusyReason; 5] = [
        BusyReason::Connections,
        BusyReason::Connection,
        BusyReason::Requests,
        BusyReason::Bytes,
        BusyReason::Share,
    ];

    /// What it is called in metrics.
    pub fn name(self) -> &'static str {
        match self {
            BusyReason::Connections => "connections",
            BusyReason::Connection => "connection",
            BusyReason::Requests => "requests",
            BusyReason::Bytes => "bytes",
            BusyReason::Share => "share",
        }
    }
}

/// Counts of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneTraffic {
    /// Requests admitted.
    pub requests: u64,
    /// Those that were answered with an error.
    pub errors: u64,
    /// Bytes of requests admitted.
    pub received: u64,
    /// Bytes of answers.
    pub sent: u64,
    /// Requests refused, in the order of [`BusyReason::ALL`].
    pub refused: [u64; BusyReason::ALL.len()],
}

#[derive(Debug, Default)]
struct LaneTally {
    requests: AtomicU64,
    errors: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    refused: [AtomicU64; BusyReason::ALL.len()],
}

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

    /// Counts of one lane until now.
    pub fn lane(&self, lane: Lane) -> LaneTraffic {
        let tally = &self.lanes[lane as usize];
        LaneTraffic {
            requests: tally.requests.load(Relaxed),
            errors: tally.errors.load(Relaxed),
            received: tally.received.load(Relaxed),
            sent: tally.sent.load(Relaxed),
            refused: tally.refused.each_ref().map(|count| count.load(Relaxed)),
        }
    }

    pub(crate) fn tally(&self, transport: Transport) -> &Tally {
        &self.transports[transport as usize]
    }

    pub(crate) fn count_admitted(&self, lane: Lane, bytes: usize) {
        let tally = &self.lanes[lane as usize];
        tally.requests.fetch_add(1, Relaxed);
        tally.received.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn count_answer(&self, lane: Lane, bytes: usize, is_error: bool) {
        let tally = &self.lanes[lane as usize];
        tally.errors.fetch_add(u64::from(is_error), Relaxed);
        tally.sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn count_refusal(&self, lane: Lane, reason: BusyReason) {
        self.lanes[lane as usize].refused[reason as usize].fetch_add(1, Relaxed);
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
