//! What failed in a batch, and what that means for the disk: the medium, this machine, room, or the index.
//!
//! Owns: the rule that only the medium ends writing. Knows nothing of: how a batch is undone.

use std::io;

use env::disk::Cause;
use types::Error;
use types::limits::{DISK_FULL_RETRY_MS, DISK_RESOURCE_RETRY_MS};

/// What failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Appending, or making a segment.
    Write(io::Error),
    /// Making what was appended durable.
    Sync(io::Error),
    /// Reading or changing the index.
    Index(Error),
    /// Nothing: it was not tried.
    Refused(Error),
}

/// What it means.
#[derive(Debug)]
pub(crate) enum Meaning {
    /// Nobody knows what is on the disk: never write there again.
    Final(&'static str, Error),
    /// Whatever was begun must be undone; then the disk is as good as before. The answer to those who asked.
    Passing { answer: Error, is_full: bool },
    /// The index is worth nothing any more, the segments are fine.
    IndexLost(Error),
    /// The answer to those who asked.
    Answer(Error),
}

impl Fault {
    pub(crate) fn meaning(self, root: &std::path::Path) -> Meaning {
        let (what, error) = match self {
            Fault::Write(error) => ("a write failed", error),
            Fault::Sync(error) => ("a sync failed", error),
            Fault::Index(error) => return Meaning::IndexLost(error),
            Fault::Refused(error) => return Meaning::Answer(error),
        };
        let root = root.display();
        match Cause::of(&error) {
            Cause::Medium | Cause::Device => Meaning::Final(what, error.into()),
            Cause::Space => {
                let text = format!("disk {root} is full: add a disk or delete files");
                Meaning::Passing { answer: Error::busy(text, DISK_FULL_RETRY_MS), is_full: true }
            }
            Cause::Resource => {
                let text = format!("disk {root}: this machine lacks something at the moment: {error}");
                Meaning::Passing { answer: Error::busy(text, DISK_RESOURCE_RETRY_MS), is_full: false }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_medium_ends_writing() {
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let kind = |fault: Fault| match fault.meaning(std::path::Path::new("/disk")) {
            Meaning::Final(..) => "final",
            Meaning::Passing { answer, .. } => {
                assert_eq!(answer.kind(), types::ErrorKind::Busy);
                "passing"
            }
            Meaning::IndexLost(_) => "index",
            Meaning::Answer(_) => "answer",
        };
        assert_eq!(kind(Fault::Write(io(io::ErrorKind::StorageFull))), "passing");
        assert_eq!(kind(Fault::Sync(io(io::ErrorKind::OutOfMemory))), "passing");
        assert_eq!(kind(Fault::Write(io(io::ErrorKind::Interrupted))), "passing");
        assert_eq!(kind(Fault::Write(io::Error::other("anything"))), "final");
        assert_eq!(kind(Fault::Sync(io(io::ErrorKind::ReadOnlyFilesystem))), "final");
        assert_eq!(kind(Fault::Index(Error::corrupt("rot"))), "index");
        assert_eq!(kind(Fault::Refused(Error::busy("full", 1))), "answer");
    }
}
