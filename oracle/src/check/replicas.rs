//! I-DET and I-HEAL of the metadata: all voters are there and have the same. Pure.

use std::collections::{BTreeMap, BTreeSet};

use types::Seq;

use crate::survey::{Digest, Survey};
use crate::verdict::{Invariant, Verdict};

/// I-DET: voters that have applied the same have the same.
pub fn equal(survey: &Survey) -> Verdict {
    let mut verdict = Verdict::new(Invariant::Det, "voters have the same digest");
    // Whenever it was asked for: equal positions, equal states.
    let mut by_seq: BTreeMap<Seq, Vec<(&Digest, [u8; 16])>> = BTreeMap::new();
    for digest in survey.digests.iter().flatten() {
        if let Ok(stats) = &digest.state {
            by_seq.entry(stats.seq).or_default().push((digest, stats.totals.digest));
        }
    }
    for (seq, states) in &by_seq {
        verdict.exercised += states.len() as u64 - 1;
        let different: BTreeSet<[u8; 16]> = states.iter().map(|(_, state)| *state).collect();
        if different.len() > 1 {
            let nodes: Vec<String> =
                states.iter().map(|(digest, state)| format!("{} {state:02x?}", digest.node)).collect();
            verdict.violations.push(format!("at position {seq} the voters differ: {}", nodes.join(", ")));
        }
    }
    verdict
}

/// I-HEAL: every voter of the map answers and has caught up.
pub fn complete(survey: &Survey) -> Verdict {
    let mut verdict = Verdict::new(Invariant::Heal, "every voter has what was acknowledged");
    for round in &survey.digests {
        let newest =
            round.iter().filter_map(|digest| digest.state.as_ref().ok()).map(|stats| stats.seq).max();
        for Digest { node, state } in round {
            verdict.judge(match state {
                Ok(stats) if Some(stats.seq) == newest => Ok(()),
                Ok(stats) => Err(format!("voter {node} is at position {}, another at {newest:?}", stats.seq)),
                Err(e) => Err(format!("voter {node} does not answer: {e}")),
            });
        }
    }
    verdict
}
