//! Who does not hear whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// The cuts of a network. An address always hears itself.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// From, to.
    ways: BTreeSet<(SocketAddr, SocketAddr)>,
    /// Who is cut off from everybody, whoever may come, and from whom it is not any more.
    isolated: BTreeMap<SocketAddr, BTreeSet<SocketAddr>>,
}

impl Cuts {
    pub(super) fn is_cut(&self, from: SocketAddr, to: SocketAddr) -> bool {
        let shuts_out = |a: SocketAddr, b| self.isolated.get(&a).is_some_and(|friends| !friends.contains(&b));
        from != to && (self.ways.contains(&(from, to)) || shuts_out(from, to) || shuts_out(to, from))
    }

    pub(super) fn cut_one_way(&mut self, from: SocketAddr, to: SocketAddr) {
        self.ways.insert((from, to));
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
        self.isolated.insert(address, BTreeSet::new());
    }

    pub(super) fn heal(&mut self, a: SocketAddr, b: SocketAddr) {
        for (from, to) in [(a, b), (b, a)] {
            self.ways.remove(&(from, to));
            if let Some(friends) = self.isolated.get_mut(&from) {
                friends.insert(to);
            }
        }
    }

    pub(super) fn rejoin(&mut self, address: SocketAddr) {
        self.isolated.remove(&address);
        self.ways.retain(|(from, to)| *from != address && *to != address);
    }

    pub(super) fn heal_all(&mut self) {
        *self = Self::default();
    }
}
