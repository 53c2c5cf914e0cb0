//! For simulations and tests: a network in memory, whose links fail as a seed says.
//!
//! Owns: what happens to a message between two addresses, and who answers at an address.
//! Knows nothing of: what a request means, nodes, disks.
//!
//! Behaves as [`crate::Client`] and [`crate::Server`] do (deadlines, load shedding, panics, errors) and passes the same
//! conformance suite, without sockets or certificates. Works on a paused clock. On one thread the same seed and the
//! same calls give the same fates.

mod attached;
mod cuts;
mod event;
mod fabric;
mod link;
mod port;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use env::Random;
use env::task::Owner;
use env::time::Duration;
use types::{ClusterId, Identity};

use crate::desk::Desk;
use crate::{Dial, Load, Service};
use attached::{Attached, Attachments};
use fabric::Fabric;
use port::Port;

pub use event::{Letter, LinkCounts, LinkEvent, LinkEventKind};
pub use fabric::OpenCalls;
pub use link::{Jitter, LinkFaults};

/// The network. Clones are the same network.
///
/// A message that is lost shows as silence: the caller hears so after the time in which a real connection notices it,
/// or at the end of its own patience. Request and answer are two messages: when only the answer is lost, the work was
/// done. Links and cuts are those of machines: what is said of an address holds for all ports of its IP address.
#[derive(Clone)]
pub struct Switchboard {
    fabric: Arc<Fabric>,
    attachments: Arc<Attachments>,
}

impl Default for Switchboard {
    fn default() -> Self {
        Self::new()
    }
}

impl Switchboard {
    /// A perfect network with nobody on it, for tests that leave nothing to chance.
    pub fn new() -> Self {
        Self::seeded(Random::seeded(0))
    }

    /// A network with nobody on it that draws the fates of messages from `random`. Its time begins now.
    pub fn seeded(random: Random) -> Self {
        Self { fabric: Fabric::new(random), attachments: Arc::default() }
    }

    /// Lets `service` answer at `address`, instead of whoever did before, in tasks of the current owner. Without one the
    /// service is its own owner.
    pub fn attach(&self, address: SocketAddr, service: Arc<dyn Service>) {
        self.attach_with_load(address, service, Load::default());
    }

    /// As [`Switchboard::attach`], refusing more than `load`.
    pub fn attach_with_load(&self, address: SocketAddr, service: Arc<dyn Service>, load: Load) {
        let desk = Desk::new(ClusterId::default(), service, load);
        let alone = || Owner::new(address.to_string(), self.fabric.split_random());
        let owner = Owner::current().unwrap_or_else(alone);
        self.attachments.replace(address, Some(Attached::new(self.fabric.clone(), desk, owner)));
    }

    /// The process at `address` is killed: its calls stop half-way, their callers see a closed connection, new ones are
    /// refused. For a machine that loses power [`Switchboard::isolate`] it first: nothing speaks for it then.
    pub fn detach(&self, address: SocketAddr) {
        self.attachments.replace(address, None);
    }

    /// The network as `identity` at `address` uses it.
    pub fn dialer(&self, address: SocketAddr, identity: Identity) -> Arc<dyn Dial> {
        let (fabric, attachments) = (self.fabric.clone(), self.attachments.clone());
        Arc::new(Port { fabric, attachments, address, identity })
    }

    /// How messages fare that are sent from now on, where [`Switchboard::set_link`] says nothing else. Within a
    /// machine they always arrive at once.
    pub fn set_default(&self, faults: LinkFaults) {
        self.fabric.lock().default = faults;
    }

    /// All links are perfect from now on but for this delay, where [`Switchboard::set_link`] says nothing else.
    pub fn set_latency(&self, latency: Duration) {
        self.set_default(LinkFaults { delay: latency, ..LinkFaults::default() });
    }

    /// How messages fare that `from` sends to `to` from now on.
    pub fn set_link(&self, from: SocketAddr, to: SocketAddr, faults: LinkFaults) {
        self.fabric.lock().set_link(from, to, faults);
    }

    /// Nothing arrives any more between `a` and `b`, in both directions and without notice.
    pub fn cut(&self, a: SocketAddr, b: SocketAddr) {
        self.fabric.lock().cuts.cut(a, b);
    }

    /// Nothing that `from` sends, or has on its way, arrives at `to`.
    pub fn cut_one_way(&self, from: SocketAddr, to: SocketAddr) {
        self.fabric.lock().cuts.cut_one_way(from, to);
    }

    /// Cuts every two addresses of different sides. Who is on no side still hears all.
    pub fn partition(&self, sides: &[&[SocketAddr]]) {
        self.fabric.lock().cuts.partition(sides);
    }

    /// Cuts `address` off from all others, also from those that come later.
    pub fn isolate(&self, address: SocketAddr) {
        self.fabric.lock().cuts.isolate(address);
    }

    /// Undoes every cut between `a` and `b`, also where one of them is isolated. What was lost stays lost.
    pub fn heal(&self, a: SocketAddr, b: SocketAddr) {
        self.fabric.lock().cuts.heal(a, b);
    }

    /// Undoes every cut around `address`. Another that is isolated stays so.
    pub fn rejoin(&self, address: SocketAddr) {
        self.fabric.lock().cuts.rejoin(address);
    }

    /// Undoes all cuts. Links keep their other faults.
    pub fn heal_all(&self) {
        self.fabric.lock().cuts.heal_all();
    }

    /// Calls `hook` with everything that happens from now on. Panics when there is a hook already.
    ///
    /// It may change links and owners. It runs inside of a task: one whose owner it kills goes on until it next waits.
    pub fn on_event(&self, hook: impl Fn(&LinkEvent) + Send + Sync + 'static) {
        self.fabric.set_hook(Box::new(hook));
    }

    /// What happened until now.
    pub fn counts(&self) -> LinkCounts {
        self.fabric.lock().counts
    }

    /// Calls in progress by address; an address without any is not listed. Empty when nobody has left anything behind.
    pub fn open_calls(&self) -> BTreeMap<SocketAddr, OpenCalls> {
        self.fabric.lock().open.clone()
    }
}
