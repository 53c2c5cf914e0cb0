//! The disks of a node: looked for, recognised, opened and closed while it runs, and known to the cluster by an id.
//!
//! Owns: what is done about the directories of a node. `judge` decides, `keeper` performs, `record` remembers.
//! Knows nothing of: how a disk stores anything; what others do about a disk that is away.

mod adopt;
mod judge;
mod keeper;
mod naming;
mod record;
mod spot;

pub use keeper::{DiskKeeper, Duties};
pub use record::Record;
