//! Load shedding: a server that has too much to do says `Busy` at once.
//!
//! Requests come in lanes, each with room of its own: clients cannot use up what consensus needs. Within a lane nobody
//! holds more than is still free: one caller alone gets half of it, and there is always room for another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use types::limits::{
    CONNECTION_CLIENT_COUNT_MAX, CONNECTION_REQUEST_COUNT_MAX, CONSENSUS_REQUEST_BYTES_MAX,
    CONSENSUS_REQUEST_COUNT_MAX, CONTROL_REQUEST_BYTES_MAX, CONTROL_REQUEST_COUNT_MAX,
    NODE_REQUEST_BYTES_MAX, NODE_REQUEST_COUNT_MAX, REQUEST_RETRY_MS,
};
use types::{Error, Identity, Result};

use crate::counters::{BusyReason, Counters};
use crate::lane::Lane;

/// Requests in progress, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// How many.
    pub requests: usize,
    /// Of their frames.
    pub bytes: usize,
}

/// How much a server takes on before it answers `Busy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests in progress on one connection. Consensus is not counted: a node has many groups.
    pub connection_requests: usize,
    /// Connections of callers who are no nodes. Doors have more slots than these.
    pub client_connections: usize,
    /// The room of each lane, in the order of [`Lane::ALL`].
    pub lanes: [Allowance; Lane::ALL.len()],
}

impl Load {
    /// The same room in every lane.
    pub fn even(connection_requests: usize, room: Allowance) -> Self {
        let lanes = [room; Lane::ALL.len()];
        Self { connection_requests, client_connections: CONNECTION_CLIENT_COUNT_MAX, lanes }
    }
}

impl Default for Load {
    fn default() -> Self {
        let room = |requests, bytes| Allowance { requests, bytes };
        Self {
            connection_requests: CONNECTION_REQUEST_COUNT_MAX as usize,
            client_connections: CONNECTION_CLIENT_COUNT_MAX,
            lanes: [
                room(CONSENSUS_REQUEST_COUNT_MAX, CONSENSUS_REQUEST_BYTES_MAX),
                room(CONTROL_REQUEST_COUNT_MAX, CONTROL_REQUEST_BYTES_MAX),
                room(NODE_REQUEST_COUNT_MAX, NODE_REQUEST_BYTES_MAX),
                room(NODE_REQUEST_COUNT_MAX, NODE_REQUEST_BYTES_MAX),
            ],
        }
    }
}

/// Counts what a server has in progress.
#[derive(Debug)]
pub(crate) struct Admission {
    load: Load,
    counters: Arc<Counters>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    lanes: [Allowance; Lane::ALL.len()],
    /// What each caller has of them; who has nothing is not listed.
    callers: BTreeMap<Identity, [Allowance; Lane::ALL.len()]>,
    client_connections: usize,
}

/// One connection of a caller.
#[derive(Clone, Debug)]
pub(crate) struct Line(Arc<Origin>);

#[derive(Debug)]
struct Origin {
    admission: Arc<Admission>,
    identity: Identity,
    requests: AtomicUsize,
}

/// Where a request stands, whether it is in progress or not.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    line: Line,
    lane: Lane,
    bytes: usize,
}

/// The right to have one request in progress.
#[derive(Debug)]
pub(crate) struct Permit(Place);

impl Admission {
    pub(crate) fn new(load: Load, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self { load, counters, held: Mutex::default() })
    }

    /// Takes in a connection. `Busy` when callers who are no nodes have too many: the other slots are for nodes.
    pub(crate) fn connect(self: &Arc<Self>, identity: &Identity) -> Result<Line> {
        if !identity.is_node() {
            let mut held = self.lock();
            if held.client_connections >= self.load.client_connections {
                self.counters.count_refusal(Lane::Clients, BusyReason::Connections);
                let count = held.client_connections;
                let full = format!("the node has {count} connections of clients; try again shortly");
                return Err(Error::busy(full, REQUEST_RETRY_MS));
            }
            held.client_connections += 1;
        }
        let (admission, identity) = (self.clone(), identity.clone());
        Ok(Line(Arc::new(Origin { admission, identity, requests: AtomicUsize::new(0) })))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no panic while it is held")
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if !self.identity.is_node() {
            self.admission.lock().client_connections -= 1;
        }
    }
}

impl Line {
    /// Lets in a request of `bytes` before they are read, or says which limit is reached.
    pub(crate) fn admit(&self, method: u16, bytes: usize) -> Result<Permit> {
        Place { line: self.clone(), lane: Lane::of(&self.0.identity, method), bytes }.take()
    }
}

impl Place {
    /// Lets the request in, for the first time or again.
    pub(crate) fn take(self) -> Result<Permit> {
        let connection = &*self.line.0;
        let Admission { load, counters, .. } = &*connection.admission;
        let lane = self.lane as usize;
        let mut held = connection.admission.lock();
        let own = held.callers.get(&connection.identity).map_or(Allowance::default(), |own| own[lane]);
        let on_line = connection.requests.load(Relaxed);
        let refused = if on_line >= load.connection_requests && self.lane != Lane::Consensus {
            let full = format!("this connection has {on_line} requests in progress");
            Some((BusyReason::Connection, full))
        } else {
            refuse(load.lanes[lane], held.lanes[lane], own, self.bytes)
        };
        if let Some((reason, full)) = refused {
            counters.count_refusal(self.lane, reason);
            return Err(Error::busy(format!("{full}; try again shortly"), REQUEST_RETRY_MS));
        }
        let own = match held.callers.get_mut(&connection.identity) {
            Some(own) => own,
            None => held.callers.entry(connection.identity.clone()).or_default(),
        };
        own[lane].add(self.bytes);
        held.lanes[lane].add(self.bytes);
        connection.requests.fetch_add(1, Relaxed);
        drop(held);
        Ok(Permit(self))
    }
}

/// Why a caller who holds `own` of what is `held` of a lane cannot have room for `bytes` more.
fn refuse(lane: Allowance, held: Allowance, own: Allowance, bytes: usize) -> Option<(BusyReason, String)> {
    let free = Allowance { requests: lane.requests - held.requests, bytes: lane.bytes - held.bytes };
    if free.requests == 0 {
        return Some((BusyReason::Requests, format!("the node has {} requests in progress", held.requests)));
    }
    if bytes > free.bytes {
        return Some((
            BusyReason::Bytes,
            format!("the node has {} bytes of requests in progress", held.bytes),
        ));
    }
    // Whoever has nothing may take what there is: a request can be larger than half of the room.
    let has_share = own.requests < free.requests && own.bytes + bytes <= free.bytes;
    if own.requests == 0 || has_share {
        return None;
    }
    let what = format!("this caller has {} requests with {} bytes in progress", own.requests, own.bytes);
    Some((BusyReason::Share, format!("{what}, and the rest is for others")))
}

impl Allowance {
    fn add(&mut self, bytes: usize) {
        self.requests += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.requests -= 1;
        self.bytes -= bytes;
    }
}

impl Permit {
    pub(crate) fn lane(&self) -> Lane {
        self.0.lane
    }

    /// Where the request stands: to be taken again after this permit was dropped.
    pub(crate) fn place(&self) -> Place {
        self.0.clone()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Place { line, lane, bytes } = &self.0;
        let (connection, lane) = (&*line.0, *lane as usize);
        let mut held = connection.admission.lock();
        held.lanes[lane].remove(*bytes);
        let own = held.callers.get_mut(&connection.identity).expect("taken with the permit");
        own[lane].remove(*bytes);
        if own.iter().all(|room| room.requests == 0) {
            held.callers.remove(&connection.identity);
        }
        connection.requests.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proto::Method;
    use types::{ErrorKind, NodeId};

    use super::*;

    fn user(name: &str) -> Identity {
        Identity::User(name.into())
    }

    fn admission(connection_requests: usize, requests: usize, bytes: usize) -> Arc<Admission> {
        Admission::new(Load::even(connection_requests, Allowance { requests, bytes }), Arc::default())
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(got: Result<T>, part: &str) {
        let error = got.unwrap_err();
        assert!(error.kind() == ErrorKind::Busy && error.message().contains(part), "{error}");
    }

    /// I-BOUND: full means `Busy`.
    #[test]
    fn each_limit_refuses_and_recovers() {
        let admission = admission(2, 4, 100);
        let [a, b, c] = ["ann", "bob", "cyd"].map(|name| admission.connect(&user(name)).unwrap());
        let read = Method::Stat as u16;
        let held = [a.admit(read, 20).unwrap(), a.admit(read, 20).unwrap()];
        refused(a.admit(read, 1), "this connection has 2");
        refused(b.admit(read, 61), "40 bytes");
        let more = [b.admit(read, 20).unwrap(), c.admit(read, 20).unwrap()];
        refused(c.admit(read, 0), "the node has 4 requests");
        drop((held, more));
        assert!(a.admit(read, 100).is_ok());
        assert!(admission.lock().callers.is_empty());
    }

    #[test]
    fn nobody_holds_more_than_is_free() {
        // Of a lane with 8 places and 80 bytes: held by others, own requests of 1 byte, bytes more -> let in?
        for (others, own, bytes, want) in [
            (0, 0, 80, true),
            (0, 3, 1, true),
            (0, 4, 1, false),
            (2, 2, 1, true),
            (2, 3, 1, false),
            (7, 0, 1, true),
            (0, 1, 78, true),
            (0, 1, 79, false),
            (0, 1, 80, false),
        ] {
            let [lane, held, has] = [(8, 80), (others + own, others + own), (own, own)]
                .map(|(requests, bytes)| Allowance { requests, bytes });
            assert_eq!(refuse(lane, held, has, bytes).is_none(), want, "{others} {own} {bytes}");
        }
    }

    #[test]
    fn lanes_have_room_of_their_own() {
        let admission = admission(1, 2, 100);
        let node = admission.connect(&Identity::Node(NodeId(1))).unwrap();
        let lines = ["ann", "bob"].map(|name| admission.connect(&user(name)).unwrap());
        let _held = lines.each_ref().map(|line| line.admit(Method::Stat as u16, 50).unwrap());
        refused(lines[0].admit(Method::Stat as u16, 0), "in progress");
        let _raft = [(); 1].map(|()| node.admit(Method::Raft as u16, 100).unwrap());
        assert!(lines[0].admit(Method::FetchStatus as u16, 0).is_err(), "the connection is full");
        assert!(admission.connect(&user("eve")).unwrap().admit(Method::FetchStatus as u16, 0).is_ok());
    }

    #[test]
    fn clients_leave_connections_to_nodes() {
        let load = Load { client_connections: 2, ..Load::default() };
        let admission = Admission::new(load, Arc::default());
        let held = [Identity::Anonymous, user("ann")].map(|who| admission.connect(&who).unwrap());
        refused(admission.connect(&user("bob")), "2 connections of clients");
        assert!(admission.connect(&Identity::Node(NodeId(1))).is_ok());
        drop(held);
        assert!(admission.connect(&user("bob")).is_ok());
    }

    #[test]
    fn a_place_can_be_left_and_taken_again() {
        let admission = admission(9, 1, 100);
        let [a, b] = ["ann", "bob"].map(|name| admission.connect(&user(name)).unwrap());
        let permit = a.admit(Method::PullJournal as u16, 10).unwrap();
        let place = permit.place();
        drop(permit);
        let other = b.admit(Method::Stat as u16, 10).unwrap();
        refused(place.clone().take(), "the node has 1 requests");
        drop(other);
        assert!(place.take().is_ok());
    }
}
