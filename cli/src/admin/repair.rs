//! Commands on a stopped node, for when the cluster cannot help itself.

use std::net::SocketAddr;
use std::path::Path;

use env::Env;
use node::RealPlatform;
use node::repair::{StoppedMeta, readdress as tell};
use serde_json::json;
use types::{NodeId, PartitionId, Result};

use crate::exit::{self, Failure};
use crate::output::{Outcome, Table};
use crate::serve::load;

/// What may be lost, in the words of whoever must decide it.
const LOSS: &str = "Go on with this node alone, in the partitions of which most voters are lost for good (--lost says which \
                    nodes are; all others unless told), only when they are. Lost is what only they had, \
                    acknowledged or not; entries after the committed one count from now on, acknowledged or not. A \
                    voter that comes back after all is emptied and filled from this one.";

/// Makes a node's metadata the only one, or shows what it has.
pub fn recover(env: &Env, config: &Path, lost: &[u64], yes: bool) -> exit::Result<Outcome> {
    let config = load(env, config)?;
    let stopped = StoppedMeta::open(env, &RealPlatform(env.clone()), &config)?;
    let found = stopped.survey()?;
    let mut table = Table::new(&["partition", "voters", ">commands", ">committed", ">last"]);
    let mut values = Vec::new();
    for remains in &found {
        let voters: Vec<u64> = remains.voters.iter().map(|voter| voter.node().0).collect();
        table.row([
            remains.partition.to_string(),
            voters.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            remains.applied.to_string(),
            remains.committed.to_string(),
            remains.last.to_string(),
        ]);
        values.push(json!({
            "partition": remains.partition.0,
            "voters": voters,
            "commands": remains.applied,
            "committed": remains.committed,
            "last": remains.last,
        }));
    }
    if !yes {
        return Err(Failure::refused(format!("{}{LOSS} Add --yes to do it.", table.render())));
    }
    let lost = if lost.is_empty() { stopped.others() } else { lost.iter().copied().map(NodeId).collect() };
    let taken = stopped.take_over(&lost)?;
    let names = taken.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let text = format!("{}This node is the only voter of partitions {names} now: start it.", table.render());
    let taken: Vec<u32> = taken.iter().map(|partition| partition.0).collect();
    Ok(Outcome::ok(text, json!({ "recovered": true, "taken_over": taken, "partitions": values })))
}

/// Has a stopped node leave a command out.
pub fn skip(
    env: &Env,
    config: &Path,
    partition: u32,
    index: u64,
    reason: &str,
    yes: bool,
) -> exit::Result<Outcome> {
    let config = load(env, config)?;
    let stopped = StoppedMeta::open(env, &RealPlatform(env.clone()), &config)?;
    if !yes {
        return Err(Failure::refused(format!(
            "Command {index} of partition {partition} would change nothing on this node and be answered with an error. \
             Leave the same one out on every voter, or their states differ. Add --yes to do it."
        )));
    }
    stopped.skip(PartitionId(partition), index, reason)?;
    let json = json!({ "partition": partition, "skipped": index, "reason": reason });
    Ok(Outcome::ok("noted: do the same on every other voter, then start them".to_owned(), json))
}

/// Tells a stopped node where others are.
pub fn readdress(env: &Env, config: &Path, addresses: &[(u64, SocketAddr)]) -> Result<Outcome> {
    let moved: Vec<(NodeId, SocketAddr)> = addresses.iter().map(|(id, to)| (NodeId(*id), *to)).collect();
    tell(env, &load(env, config)?, &moved)?;
    let json = json!({ "moved": addresses.iter().map(|(id, _)| *id).collect::<Vec<_>>() });
    Ok(Outcome::ok("noted; do the same on every node that must find them, then start all".to_owned(), json))
}
