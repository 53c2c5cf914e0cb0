//! Whether the copies of a partition are the same, by their digests at one command (I-DET).

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use proto::cluster::PartitionDigest;
use serde_json::{Value, json};
use types::limits::{COMPARE_PAUSE, COMPARE_TRY_COUNT_MAX};
use types::{Error, NodeId, PartitionId, Result};

use crate::exit::{self, Exit};
use crate::output::{Outcome, Table};
use crate::session::Session;

/// What was heard of the copies of one partition.
#[derive(Debug)]
struct Comparison {
    partition: PartitionId,
    nodes: BTreeSet<NodeId>,
    /// Digests by position: while somebody writes, copies are met at different ones.
    heard: BTreeMap<u64, BTreeMap<NodeId, [u8; 32]>>,
    /// Who could not be asked the last time, and why.
    silent: BTreeMap<NodeId, Error>,
}

/// Asks all copies of one partition, or of all, until each was met at the same command as the others.
pub async fn compare(session: &Session, only: Option<u32>) -> exit::Result<Outcome> {
    let map = session.cluster.map();
    let mut found = Vec::new();
    for partition in map.partitions.iter().filter(|known| only.is_none_or(|only| known.id.0 == only)) {
        let mut comparison = Comparison::new(partition.id, partition.voters.iter().copied().collect());
        for round in 0..COMPARE_TRY_COUNT_MAX {
            if round > 0 {
                env::time::sleep(COMPARE_PAUSE).await;
            }
            ask_all(session, &mut comparison).await;
            if comparison.is_decided() {
                break;
            }
        }
        found.push(comparison);
    }
    match only {
        Some(only) if found.is_empty() => {
            Err(Error::not_found(format!("there is no partition {only}")).into())
        }
        _ => Ok(outcome(&found)),
    }
}

async fn ask_all(session: &Session, comparison: &mut Comparison) {
    let partition = comparison.partition;
    let ask = async |node: NodeId| (node, session.cluster.fetch_digest(node, partition).await);
    let nodes = comparison.nodes.clone();
    for (node, answer) in join_all(nodes.into_iter().map(ask)).await {
        comparison.hear(node, answer);
    }
}

impl Comparison {
    fn new(partition: PartitionId, nodes: BTreeSet<NodeId>) -> Self {
        let (heard, silent) = Default::default();
        Self { partition, nodes, heard, silent }
    }

    fn hear(&mut self, node: NodeId, answer: Result<PartitionDigest>) {
        self.silent.remove(&node);
        match answer {
            Ok(found) => drop(self.heard.entry(found.applied).or_default().insert(node, found.digest)),
            Err(e) => drop(self.silent.insert(node, e)),
        }
    }

    /// True when asking again could not change the result.
    fn is_decided(&self) -> bool {
        self.differing().is_some() || self.common().is_some()
    }

    /// A position where two copies are not the same.
    fn differing(&self) -> Option<(u64, &BTreeMap<NodeId, [u8; 32]>)> {
        let differ = |digests: &BTreeMap<NodeId, [u8; 32]>| {
            digests.values().any(|digest| Some(digest) != digests.values().next())
        };
        self.heard.iter().find(|(_, digests)| differ(digests)).map(|(position, digests)| (*position, digests))
    }

    /// A position where all copies were met.
    fn common(&self) -> Option<(u64, &BTreeMap<NodeId, [u8; 32]>)> {
        let all = |digests: &BTreeMap<NodeId, [u8; 32]>| digests.keys().eq(self.nodes.iter());
        self.heard
            .iter()
            .rev()
            .find(|(_, digests)| all(digests))
            .map(|(position, digests)| (*position, digests))
    }

    /// The position that says most: where copies differ, where all were met, or the newest.
    fn position(&self) -> Option<(u64, &BTreeMap<NodeId, [u8; 32]>)> {
        let newest = || self.heard.iter().next_back().map(|(position, digests)| (*position, digests));
        self.differing().or_else(|| self.common()).or_else(newest)
    }

    fn is_equal(&self) -> bool {
        self.differing().is_none() && self.common().is_some()
    }

    fn problems(&self) -> Vec<String> {
        let partition = self.partition;
        if let Some((position, digests)) = self.differing() {
            let nodes: Vec<String> = digests.keys().map(ToString::to_string).collect();
            return vec![format!(
                "the copies of partition {partition} on nodes {} differ at command {position}: stop who is wrong and remove \
                 its directory meta, and the others fill it again",
                nodes.join(", ")
            )];
        }
        if self.common().is_some() {
            return Vec::new();
        }
        let silent = self.silent.iter().map(|(node, e)| {
            format!("the copy of partition {partition} on node {node} cannot be asked: {}", e.message())
        });
        let silent: Vec<String> = silent.collect();
        match silent.is_empty() {
            false => silent,
            true => {
                vec![format!("the copies of partition {partition} were never at the same command: ask again")]
            }
        }
    }
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One line and one object per partition.
fn outcome(found: &[Comparison]) -> Outcome {
    let mut table = Table::new(&["partition", ">command", "copies", "digests"]);
    let mut values = Vec::new();
    for comparison in found {
        let position = comparison.position();
        let digests: Vec<(NodeId, String)> =
            position.iter().flat_map(|(_, digests)| digests.iter()).map(|(id, d)| (*id, hex(d))).collect();
        table.row([
            comparison.partition.to_string(),
            position.map(|(position, _)| position.to_string()).unwrap_or_default(),
            if comparison.is_equal() { "equal" } else { "not equal" }.to_owned(),
            digests
                .iter()
                .map(|(node, digest)| format!("{node}:{}", &digest[..8]))
                .collect::<Vec<_>>()
                .join(" "),
        ]);
        let digests = digests.into_iter().map(|(node, digest)| (node.to_string(), json!(digest)));
        values.push(json!({
            "partition": comparison.partition.0,
            "position": position.map(|(position, _)| position),
            "digests": Value::Object(digests.collect()),
            "equal": comparison.is_equal(),
            "problems": comparison.problems(),
        }));
    }
    let mut text = table.render();
    let problems: Vec<String> = found.iter().flat_map(Comparison::problems).collect();
    problems.iter().for_each(|problem| text.push_str(&format!("! {problem}\n")));
    let exit = if problems.is_empty() { Exit::Ok } else { Exit::Degraded };
    Outcome { text, json: Value::Array(values), complaints: Vec::new(), exit }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn comparison(heard: &[(u64, u64, u8)]) -> Comparison {
        let mut comparison = Comparison::new(PartitionId(3), [1, 2, 3].map(NodeId).into());
        for (node, applied, byte) in heard {
            comparison.hear(NodeId(*node), Ok(PartitionDigest { applied: *applied, digest: [*byte; 32] }));
        }
        comparison
    }

    #[test]
    fn copies_are_compared_where_they_were_met() {
        let check = |heard: &[(u64, u64, u8)], want: &str| {
            let found = comparison(heard);
            let said = format!(
                "{} {} {:?}",
                if found.is_decided() { "decided" } else { "ask again" },
                if found.is_equal() { "equal" } else { "not equal" },
                found.position().map(|(position, _)| position)
            );
            assert_eq!(said, want, "{heard:?}");
        };
        check(&[], "ask again not equal None");
        check(&[(1, 9, 7), (2, 9, 7)], "ask again not equal Some(9)");
        check(&[(1, 9, 7), (2, 9, 7), (3, 9, 7)], "decided equal Some(9)");
        check(&[(1, 9, 7), (2, 9, 7), (3, 8, 6)], "ask again not equal Some(9)");
        // Each at its time: the third was at command 9 when the others were further.
        check(&[(1, 9, 7), (2, 9, 7), (3, 8, 6), (1, 10, 8), (3, 9, 7)], "decided equal Some(9)");
        check(&[(1, 9, 7), (2, 8, 6), (3, 8, 5)], "decided not equal Some(8)");
        check(&[(1, 9, 7), (2, 9, 7), (3, 9, 7), (1, 10, 8), (2, 10, 9)], "decided not equal Some(10)");
    }

    #[test]
    fn what_was_found_is_shown() {
        let equal = comparison(&[(1, 9, 7), (2, 9, 7), (3, 9, 7)]);
        let different = comparison(&[(1, 9, 7), (2, 9, 7), (3, 9, 8)]);
        let mut silent = comparison(&[(1, 9, 7), (2, 9, 7)]);
        silent.hear(NodeId(3), Err(Error::unavailable("it does not answer")));
        let lagging = comparison(&[(1, 9, 7), (2, 9, 7), (3, 8, 8)]);
        let good = outcome(std::slice::from_ref(&equal));
        assert_eq!((good.exit, &good.json[0]["equal"]), (Exit::Ok, &json!(true)));
        let bad = outcome(&[equal, different, silent, lagging]);
        expect![[r#"
            partition  command  copies     digests
            3                9  equal      1:07070707 2:07070707 3:07070707
            3                9  not equal  1:07070707 2:07070707 3:08080808
            3                9  not equal  1:07070707 2:07070707
            3                9  not equal  1:07070707 2:07070707
            ! the copies of partition 3 on nodes 1, 2, 3 differ at command 9: stop who is wrong and remove its directory meta, and the others fill it again
            ! the copy of partition 3 on node 3 cannot be asked: it does not answer
            ! the copies of partition 3 were never at the same command: ask again
        "#]].assert_eq(&bad.text);
        assert_eq!(bad.exit, Exit::Degraded);
        assert_eq!((&bad.json[1]["position"], &bad.json[1]["equal"]), (&json!(9), &json!(false)));
        assert_eq!(bad.json[1]["digests"]["3"], "08".repeat(32));
    }
}
