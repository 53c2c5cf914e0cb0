//! What carries messages: links, cuts, dice, and the account of all that happened.
//!
//! Knows nothing of: servers and callers.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use env::Random;
use env::time::{self, Instant};

use super::cuts::Cuts;
use super::event::{Letter, LinkCounts, LinkEvent, LinkEventKind};
use super::link::{Direction, LinkFaults};
use crate::Request;

/// Calls in progress at one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenCalls {
    /// Calls from there that have not returned.
    pub asked: usize,
    /// Requests on their way there or in the hands of its service, copies included, whether anybody waits or not.
    pub answering: usize,
}

type Hook = Box<dyn Fn(&LinkEvent) + Send + Sync>;

pub(super) struct Fabric {
    start: Instant,
    hook: OnceLock<Hook>,
    ground: Mutex<Ground>,
}

pub(super) struct Ground {
    random: Random,
    pub cuts: Cuts,
    pub default: LinkFaults,
    /// By sender and receiver, as all that belongs to links.
    links: BTreeMap<(IpAddr, IpAddr), LinkFaults>,
    directions: BTreeMap<(IpAddr, IpAddr), Direction>,
    pub counts: LinkCounts,
    /// Has no entry for an address without calls.
    pub open: BTreeMap<SocketAddr, OpenCalls>,
    call_count: u64,
}

/// Which side of a call.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Asked,
    Answering,
}

/// A call in progress on one side; ends when it is dropped.
pub(super) struct OpenCall {
    fabric: Arc<Fabric>,
    address: SocketAddr,
    side: Side,
}

impl Fabric {
    pub(super) fn new(random: Random) -> Arc<Self> {
        let ground = Ground {
            random,
            cuts: Cuts::default(),
            default: LinkFaults::default(),
            links: BTreeMap::new(),
            directions: BTreeMap::new(),
            counts: LinkCounts::default(),
            open: BTreeMap::new(),
            call_count: 0,
        };
        Arc::new(Self { start: time::world_now(), hook: OnceLock::new(), ground: Mutex::new(ground) })
    }

    pub(super) fn set_hook(&self, hook: Hook) {
        assert!(self.hook.set(hook).is_ok(), "a network has one hook");
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Ground> {
        self.ground.lock().expect("no panic while it is held")
    }

    /// Chance of its own for something on the network.
    pub(super) fn split_random(&self) -> Random {
        Random::seeded(self.lock().random.u64())
    }

    /// The message that takes `request` along.
    pub(super) fn letter(&self, from: SocketAddr, to: SocketAddr, request: &Request) -> Letter {
        let mut ground = self.lock();
        ground.call_count += 1;
        Letter::request(ground.call_count, from, to, request)
    }

    /// Counts and tells what happened to `letter`.
    pub(super) fn note(&self, kind: LinkEventKind, letter: &Letter) {
        *self.lock().counts.of(kind) += 1;
        if let Some(hook) = self.hook.get() {
            hook(&LinkEvent { at: self.start.elapsed(), kind, letter: *letter });
        }
    }

    /// When `letter`, sent now, arrives if the link is not cut until then; `None` when it is lost.
    pub(super) fn send(&self, letter: &Letter) -> Option<Instant> {
        let arrival = self.lock().send(letter);
        if arrival.is_none() {
            self.note(letter.loss(), letter);
        }
        arrival
    }

    /// When a second copy of the request `letter` arrives, if there is one.
    pub(super) fn send_copy(&self, letter: &Letter) -> Option<Instant> {
        let is_duplicated = {
            let ground = self.lock();
            ground.link(letter).is_duplicated(&ground.random)
        };
        if !is_duplicated {
            return None;
        }
        self.note(LinkEventKind::Duplicated, letter);
        self.send(letter)
    }

    /// Waits until `letter` arrives at `arrival`; false when a cut came first.
    pub(super) async fn arrive(&self, letter: &Letter, arrival: Instant) -> bool {
        if arrival > time::world_now() {
            time::sleep_until_world(arrival).await;
        }
        let is_cut = self.lock().meets_cut(letter);
        if is_cut {
            self.note(letter.loss(), letter);
        }
        !is_cut
    }

    pub(super) fn open_call(self: &Arc<Self>, address: SocketAddr, side: Side) -> OpenCall {
        let mut ground = self.lock();
        *side.of(ground.open.entry(address).or_default()) += 1;
        OpenCall { fabric: self.clone(), address, side }
    }
}

impl Ground {
    pub(super) fn set_link(&mut self, from: SocketAddr, to: SocketAddr, faults: LinkFaults) {
        self.links.insert((from.ip(), to.ip()), faults);
    }

    fn send(&mut self, letter: &Letter) -> Option<Instant> {
        let now = time::world_now();
        if self.meets_cut(letter) {
            return None;
        }
        let link = self.link(letter);
        let Self { random, directions, counts, .. } = self;
        let direction = directions.entry((letter.from.ip(), letter.to.ip())).or_default();
        link.pass(direction, random, counts, now, letter.size())
    }

    fn meets_cut(&mut self, letter: &Letter) -> bool {
        let is_cut = self.cuts.is_cut(letter.from, letter.to);
        self.counts.cut += u64::from(is_cut);
        is_cut
    }

    /// What a message within a machine meets is no network.
    fn link(&self, letter: &Letter) -> LinkFaults {
        let (from, to) = (letter.from.ip(), letter.to.ip());
        if from == to {
            return LinkFaults::default();
        }
        self.links.get(&(from, to)).copied().unwrap_or(self.default)
    }
}

impl Side {
    fn of(self, calls: &mut OpenCalls) -> &mut usize {
        match self {
            Side::Asked => &mut calls.asked,
            Side::Answering => &mut calls.answering,
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut ground = self.fabric.lock();
        let calls = ground.open.get_mut(&self.address).expect("it was counted when it began");
        *self.side.of(calls) -= 1;
        if *calls == OpenCalls::default() {
            ground.open.remove(&self.address);
        }
    }
}
