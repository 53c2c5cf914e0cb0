//! What happens in a run, decided from its seed before anything starts. Pure: a plan can be printed, cut down and run
//! again.
//!
//! Owns: which faults there are, when they strike and whom, and the budget within which every promise must hold.

mod budget;
mod fault;

use std::fmt;

use env::Random;
use types::{NodeId, Profile};

use crate::world::Shape;
use budget::{Budget, duration};
pub use fault::{Fault, FaultKind, Harm, Led};

/// A fault and its times, in milliseconds since the workload began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// When it begins.
    pub at_ms: u64,
    /// How long until it is undone.
    pub for_ms: u64,
    /// What it is.
    pub fault: Fault,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.at_ms, self.at_ms + self.for_ms);
        write!(
            f,
            "{:>3}.{:03} to {:>3}.{:03}: {:?}",
            from / 1000,
            from % 1000,
            to / 1000,
            to % 1000,
            self.fault
        )
    }
}

/// A run: everything that decides what happens in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Decides everything that is not written here.
    pub seed: u64,
    /// How many nodes, of which kinds.
    pub shape: Shape,
    /// Clients that change things; one more only asks, two follow the journal.
    pub clients: u64,
    /// Simulated seconds of work.
    pub seconds: u64,
    /// What goes wrong, by time.
    pub strikes: Vec<Strike>,
}

/// What a plan is drawn with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Nodes of the cluster.
    pub nodes: u64,
    /// Clients that change things.
    pub clients: u64,
    /// Simulated seconds of work.
    pub seconds: u64,
    /// Kinds of faults to draw from.
    pub kinds: Vec<FaultKind>,
    /// Positions in the plan that are left out: how a shrunk plan is named.
    pub without: Vec<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 8, clients: 4, seconds: 60, kinds: FaultKind::ALL.to_vec(), without: Vec::new() }
    }
}

/// Nodes that hold metadata: the voters, and one more that can take the place of one.
const META_COUNT: u64 = 4;

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64, options: &Options) -> Self {
        let random = Random::seeded(seed ^ 0x5eed);
        let shape =
            Shape { nodes: options.nodes, meta: META_COUNT, profile: Profile { k: 4, m: 2 }, pg_count: 64 };
        let (last, others): (Vec<FaultKind>, Vec<FaultKind>) =
            options.kinds.iter().partition(|kind| kind.is_for_good());
        let is_lost = !last.is_empty() && (options.kinds.len() == 1 || random.below(3) == 0);
        // A swarm: every seed leaves out about a third of the kinds. What is lost in the end needs its budget.
        let is_kept = |kind: &FaultKind| random.below(3) > 0 && !(is_lost && *kind == FaultKind::Metadata);
        let kinds: Vec<FaultKind> = others.into_iter().filter(is_kept).collect();
        let mut strikes = Vec::new();
        let mut budget = Budget::default();
        // What can happen once only must happen late, too: a log that was trimmed does not have it all any more.
        let begin_ms = if options.kinds.len() == 1 { options.seconds * 500 } else { 2_000 };
        let mut at_ms = 1_000 + random.below(begin_ms);
        while !kinds.is_empty() && at_ms < options.seconds * 1_000 {
            let kind = kinds[random.below(kinds.len() as u64) as usize];
            let for_ms = duration(kind, &random);
            if let Some(fault) = budget.draw(kind, shape, &random) {
                let lead_ms = fault.lead_ms();
                strikes.push(Strike { at_ms, for_ms, fault });
                at_ms += lead_ms;
            }
            // One after the other, with time to heal: what may be wrong at once stays within the budget.
            at_ms += for_ms + 2_000 + random.below(6_000);
        }
        // Nothing may come after what takes the whole budget.
        if is_lost {
            at_ms = at_ms.max(options.seconds * 1_000);
            let kind = last[random.below(last.len() as u64) as usize];
            let fault = budget.draw(kind, shape, &random);
            strikes.extend(fault.map(|fault| Strike { at_ms, for_ms: duration(kind, &random), fault }));
        }
        let keep = |(index, strike): (usize, Strike)| (!options.without.contains(&index)).then_some(strike);
        let strikes = strikes.into_iter().enumerate().filter_map(keep).collect();
        Self { seed, shape, clients: options.clients, seconds: options.seconds, strikes }
    }

    /// All nodes that do not come back.
    pub fn gone(&self) -> Vec<NodeId> {
        self.strikes.iter().flat_map(|strike| strike.fault.gone()).copied().collect()
    }
}

#[cfg(test)]
mod tests;
