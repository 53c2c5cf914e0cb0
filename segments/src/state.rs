//! What a disk can do at the moment, as those see it who decide where to write.

/// From good to bad; of several that apply the worst one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskState {
    /// Reads and writes.
    Healthy,
    /// Reads and writes, much slower than others of its kind.
    Slow,
    /// Reads and writes, but should be given nothing that could go elsewhere.
    BackfillFull,
    /// Takes no new shards; reads, deletes and repair go on.
    Full,
    /// Never takes anything again; says why. Reads go on.
    ReadOnly(String),
    /// Answers nothing; says since when. May come back.
    Failed(String),
}
