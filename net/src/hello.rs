//! The first exchange on a connection: may these two talk?

use types::{ClusterId, Error, Result};

use crate::frame::Hello;

/// The protocol this build speaks.
pub(crate) const VERSION: u16 = 1;
/// The oldest protocol this build accepts.
pub(crate) const OLDEST: u16 = 1;

/// What this side says.
pub(crate) fn ours(cluster: ClusterId) -> Hello {
    Hello { version: VERSION, oldest: OLDEST, cluster }
}

/// Compares what we say with what the peer says. Both sides come to the same answer.
pub(crate) fn check(ours: &Hello, theirs: &Hello) -> Result<()> {
    if ours.version < theirs.oldest || theirs.version < ours.oldest {
        return Err(Error::invalid(format!(
            "one side speaks protocol {} to {}, the other {} to {}; upgrade the older one",
            ours.oldest, ours.version, theirs.oldest, theirs.version
        )));
    }
    if ours.cluster != theirs.cluster {
        return Err(Error::denied(format!(
            "one side belongs to cluster {}, the other to {}; check the address and the credential file",
            ours.cluster, theirs.cluster
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use types::ErrorKind;

    use super::*;

    #[track_caller]
    fn compare(ours: (u16, u16), theirs: (u16, u16), cluster: u8, want: Option<ErrorKind>) {
        let hello = |(version, oldest), id| Hello { version, oldest, cluster: ClusterId([id; 16]) };
        let (a, b) = (hello(ours, 1), hello(theirs, cluster));
        assert_eq!(check(&a, &b).err().map(|e| e.kind()), want);
        assert_eq!(check(&b, &a).err().map(|e| e.kind()), want);
    }

    #[test]
    fn versions_overlap_or_not() {
        compare((1, 1), (1, 1), 1, None);
        compare((3, 2), (2, 1), 1, None);
        compare((3, 1), (1, 1), 1, None);
        compare((3, 3), (2, 1), 1, Some(ErrorKind::Invalid));
        compare((1, 1), (1, 1), 2, Some(ErrorKind::Denied));
    }

    #[test]
    fn a_refusal_names_both_versions() {
        let old = Hello { version: 1, oldest: 1, cluster: ClusterId::default() };
        let new = Hello { version: 7, oldest: 5, cluster: ClusterId::default() };
        let message = check(&old, &new).unwrap_err().message().to_owned();
        assert!(message.contains("protocol 1 to 1") && message.contains("5 to 7"), "{message}");
    }
}
