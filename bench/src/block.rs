//! Disks and chunks, each number beside its limit: coding, one disk through its engine, chunks of a cluster.
//!
//! Owns: what is measured and in which order.
//! Knows nothing of: how a disk or a cluster does it.

mod append;
mod chunks;
mod cluster;
mod coding;
mod filter;
mod have;
mod index;
mod own_disk;
mod reads;
mod recorder;
mod repair;
mod segment_files;
mod slow;
mod table;

use types::Result;

use crate::context::Bench;
use crate::limits;
pub use index::occupy;
use repair::Speeds;
pub use table::Section;

/// Measures everything.
pub async fn measure(bench: &Bench) -> Result<Vec<Section>> {
    let coding = coding::measure(bench).await?;
    let append = append::measure(bench).await?;
    let reads = reads::measure(bench).await?;
    let index = index::measure(bench).await?;
    let speeds = Speeds {
        network: limits::measure_tcp(bench).await?.median(),
        append: append.limit,
        read: reads.limit,
        rebuild: coding.rebuild,
    };
    let mut sections = vec![coding.section, append.section, reads.section, index];
    sections.extend(Box::pin(cluster::measure(bench, speeds)).await?);
    Ok(sections)
}
