//! What CloudSync makes of the machine: the measurements on one deployment.

mod commits;
mod failover;
mod small;
mod transfer;

use types::Result;

use crate::context::{Bench, say};
use crate::deployment::{Deployment, Kind};
use crate::figure::Figure;
use crate::limits::Limits;

pub use transfer::CpuCost;

/// Everything that was measured on one deployment.
pub struct Results {
    /// The figures, in the order of the table.
    pub figures: Vec<Figure>,
    /// Processor time of the put of the large file.
    pub put_cpu: CpuCost,
    /// Processor time of its get.
    pub get_cpu: CpuCost,
}

/// Runs all measurements. The one that hurts the cluster comes last.
pub async fn all(bench: &Bench, deployment: &Deployment, limits: Option<&Limits>) -> Result<Results> {
    let title = deployment.kind.title();
    say(format_args!("{title}: put and get of a large file"));
    let transfer =
        transfer::measure(bench, deployment, limits.and_then(|limits| bench.plan.goal(limits.put_goal())))
            .await?;
    say(format_args!("{title}: small files and listing"));
    let mut figures = vec![transfer.put, transfer.get];
    figures.extend(small::measure(bench, deployment).await?);
    for clients in &bench.plan.commit_clients {
        say(format_args!("{title}: commits by {clients} clients"));
        figures.push(commits::measure(bench, deployment, *clients).await?);
    }
    if deployment.kind == Kind::Cluster {
        say(format_args!("{title}: kill -9 of the leader"));
        figures.push(failover::measure(bench, deployment).await?);
    }
    Ok(Results { figures, put_cpu: transfer.put_cpu, get_cpu: transfer.get_cpu })
}
