//! The answering side: a service at an address, in one of its lives.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use env::task::{JoinSet, Owner};
use env::time::Instant;
use tokio::sync::oneshot;
use types::{Identity, Result};

use super::event::{Letter, LinkEventKind};
use super::fabric::{Fabric, Side};
use crate::Caller;
use crate::admission::Line;
use crate::desk::{Desk, Outlet};
use crate::frame::Frame;

/// Who answers at which address.
#[derive(Default)]
pub(super) struct Attachments(Mutex<BTreeMap<SocketAddr, Arc<Attached>>>);

/// A service that answers. A request belongs to it from the moment it is sent: as on a connection, what was sent to
/// one life never reaches the next, and it arrives whether its caller still waits or not.
pub(super) struct Attached {
    fabric: Arc<Fabric>,
    desk: Arc<Desk>,
    owner: Owner,
    /// One per caller and address, as if it had one connection from there.
    lines: Mutex<BTreeMap<(SocketAddr, Identity), Line>>,
    /// Ends with the process: what it was doing stops half-way. `None` from then on.
    calls: Mutex<Option<JoinSet<()>>>,
}

/// An answer on its way.
pub(super) struct Answer {
    pub frame: Frame,
    pub letter: Letter,
    pub arrival: Instant,
}

/// Brings an [`Answer`], or `None` when caller and service lost each other. Closed when the service was killed.
pub(super) type Inlet = oneshot::Receiver<Option<Answer>>;

impl Attachments {
    pub(super) fn find(&self, address: SocketAddr) -> Option<Arc<Attached>> {
        self.0.lock().expect("no panic while it is held").get(&address).cloned()
    }

    /// Puts `next` at `address`. Whoever was there is gone.
    pub(super) fn replace(&self, address: SocketAddr, next: Option<Attached>) {
        let before = {
            let mut all = self.0.lock().expect("no panic while it is held");
            match next {
                Some(next) => all.insert(address, Arc::new(next)),
                None => all.remove(&address),
            }
        };
        if let Some(before) = before {
            drop(before.lock_calls().take());
        }
    }
}

impl Attached {
    pub(super) fn new(fabric: Arc<Fabric>, desk: Arc<Desk>, owner: Owner) -> Self {
        Self { fabric, desk, owner, lines: Mutex::default(), calls: Mutex::new(Some(JoinSet::new())) }
    }

    /// Sends a request here; `None` when it is lost at once.
    pub(super) fn ask(&self, letter: Letter, caller: Caller, frame: Frame) -> Option<Inlet> {
        let arrival = self.fabric.send(&letter)?;
        let copy = self.fabric.send_copy(&letter).map(|arrival| (arrival, caller.clone(), frame.clone()));
        let (sender, inlet) = oneshot::channel();
        let way_back = |outlet| WayBack { fabric: self.fabric.clone(), letter, outlet };
        self.receive(arrival, way_back(Some(sender)), caller, frame);
        if let Some((arrival, caller, frame)) = copy {
            self.receive(arrival, way_back(None), caller, frame);
        }
        Some(inlet)
    }

    fn receive(&self, arrival: Instant, way_back: WayBack, caller: Caller, frame: Frame) {
        let open = self.fabric.open_call(way_back.letter.to, Side::Answering);
        let (desk, line) = (self.desk.clone(), self.line(&caller));
        let mut calls = self.lock_calls();
        let Some(calls) = calls.as_mut() else { return };
        while calls.try_join_next().is_some() {}
        calls.spawn_as(&self.owner, async move {
            let _open = open;
            if !way_back.fabric.arrive(&way_back.letter, arrival).await {
                way_back.lose();
                return;
            }
            way_back.fabric.note(LinkEventKind::Delivered, &way_back.letter);
            let admitted = line
                .map_err(|full| Frame::error(frame.prefix.id, &full))
                .and_then(|line| desk.admit(&caller, &line, &frame.prefix));
            match admitted {
                Err(refusal) => way_back.deliver(refusal).await,
                Ok(ticket) => desk.answer(&caller, ticket, frame.into_request(), way_back).await,
            }
        });
    }

    fn lock_calls(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.calls.lock().expect("no panic while it is held")
    }

    fn line(&self, caller: &Caller) -> Result<Line> {
        let mut lines = self.lines.lock().expect("no panic while it is held");
        Ok(match lines.entry((caller.address, caller.identity.clone())) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => new.insert(self.desk.connect(caller)?).clone(),
        })
    }
}

/// The way back to a caller.
struct WayBack {
    fabric: Arc<Fabric>,
    letter: Letter,
    /// `None` for the copy of a request.
    outlet: Option<oneshot::Sender<Option<Answer>>>,
}

impl WayBack {
    fn lose(self) {
        if let Some(outlet) = self.outlet {
            let _ = outlet.send(None);
        }
    }
}

impl Outlet for WayBack {
    async fn deliver(self, frame: Frame) {
        let letter = self.letter.answer(&frame);
        self.fabric.note(LinkEventKind::Answered, &letter);
        if let Some(outlet) = self.outlet {
            let arrival = self.fabric.send(&letter);
            let _ = outlet.send(arrival.map(|arrival| Answer { frame, letter, arrival }));
        }
    }
}
