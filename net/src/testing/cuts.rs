//! Which machine does not hear which.
//!
//! A machine is all ports of an IP address: what is cut from one of them is cut from all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// The cuts of a network. A machine always hears itself.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// From, to.
    ways: BTreeSet<(IpAddr, IpAddr)>,
    /// Who is cut off from everybody, whoever may come, and from whom it is not any more.
    isolated: BTreeMap<IpAddr, BTreeSet<IpAddr>>,
}

impl Cuts {
    pub(super) fn is_cut(&self, from: SocketAddr, to: SocketAddr) -> bool {
        let (from, to) = (from.ip(), to.ip());
        let shuts_out = |a, b| self.isolated.get(&a).is_some_and(|friends| !friends.contains(&b));
        from != to && (self.ways.contains(&(from, to)) || shuts_out(from, to) || shuts_out(to, from))
    }

    pub(super) fn cut_one_way(&mut self, from: SocketAddr, to: SocketAddr) {
        self.ways.insert((from.ip(), to.ip()));
    }

    pub(super) fn cut(&mut self, a: SocketAddr, b: SocketAddr) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    pub(super) fn partition(&mut self, sides: &[&[SocketAddr]]) {
        for (index, side) in sides.iter().enumerate() {
            for other in &sides[index + 1..] {
                side.iter().for_each(|a| other.iter().for_each(|b| self.cut(*a, *b)));
            }
        }
    }

    pub(super) fn isolate(&mut self, address: SocketAddr) {
        self.isolated.insert(address.ip(), BTreeSet::new());
    }

    pub(super) fn heal(&mut self, a: SocketAddr, b: SocketAddr) {
        for (from, to) in [(a.ip(), b.ip()), (b.ip(), a.ip())] {
            self.ways.remove(&(from, to));
            if let Some(friends) = self.isolated.get_mut(&from) {
                friends.insert(to);
            }
        }
    }

    pub(super) fn rejoin(&mut self, address: SocketAddr) {
        let machine = address.ip();
        self.isolated.remove(&machine);
        self.ways.retain(|(from, to)| *from != machine && *to != machine);
    }

    pub(super) fn heal_all(&mut self) {
        *self = Self::default();
    }
}
