//! What stands in a directory: kinds, attributes, entries, and what a directory says of everything below it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use types::limits::{LINK_TARGET_SIZE_MAX, MEDIA_TYPE_SIZE_MAX, XATTR_COUNT_MAX, XATTRS_SIZE_MAX};
use types::{ChunkId, Error, InodeId, Millis, Name, Nanos, Result, VersionId};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Has entries and no versions.
    Dir,
    /// Has versions and no entries.
    File,
    /// A symbolic link: a text, in versions. Nobody follows it here.
    Symlink,
}

/// What the writer of an entry says about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Time of its last change.
    pub modified: Nanos,
    /// Permission bits (07777), if its writer has such.
    pub mode: Option<u16>,
    /// It is a program. Stands for itself where there are no permission bits.
    pub executable: bool,
    /// Media type, empty when unknown.
    pub media_type: String,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Bytes>,
}

/// One line of a listing: everything that is known of an entry but its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in its directory; the root's is empty.
    pub name: String,
    /// Stays the same wherever the entry moves.
    pub inode: InodeId,
    /// What it is.
    pub kind: Kind,
    /// Bytes; 0 for a directory.
    pub size: u64,
    /// When it was last changed, by the leader's clock.
    pub changed: Millis,
    /// Newest version; 0 for a directory.
    pub version: VersionId,
    /// Identifies the content; zeros for a directory.
    pub content_root: ChunkId,
    /// What a link points to; empty otherwise.
    pub target: String,
    /// What its writer says about it.
    pub attributes: Attributes,
    /// None has a meaning yet: for mounts, locks and restrictions.
    pub flags: u32,
}

/// What is below a directory, at any depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Files and links.
    pub files: u64,
    /// Directories, not counting itself.
    pub dirs: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Sum of the hashes of all entries, modulo 2^128: the same entries give the same value in any order.
    #[serde(with = "serde_bytes")]
    pub digest: [u8; 16],
}

/// What a directory has, and what is below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Its own entries.
    pub entries: u64,
    /// All that is below it.
    pub totals: Totals,
}

/// A place in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Inode of the directory.
    pub dir: InodeId,
    /// The name in it.
    pub name: Name,
}

impl Attributes {
    /// Of something that was changed at a time, and of which nothing else is known.
    pub fn at(modified: Nanos) -> Self {
        Self { modified, ..Self::default() }
    }

    /// Checks what comes from a client; `Invalid` says what is over a limit.
    pub fn check(&self) -> Result<()> {
        let invalid = |what: String| Err(Error::invalid(format!("attributes: {what}")));
        if let Some(mode) = self.mode.filter(|mode| *mode > 0o7777) {
            return invalid(format!("{mode:o} are more than permission bits"));
        }
        if self.media_type.len() > MEDIA_TYPE_SIZE_MAX {
            return invalid(format!("a media type has at most {MEDIA_TYPE_SIZE_MAX} bytes"));
        }
        let size: usize = self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.xattrs.len() > XATTR_COUNT_MAX || size > XATTRS_SIZE_MAX {
            return invalid(format!(
                "{} extended attributes of {size} bytes: {XATTR_COUNT_MAX} of {XATTRS_SIZE_MAX} bytes are possible",
                self.xattrs.len()
            ));
        }
        if self.xattrs.keys().any(|name| name.is_empty() || name.contains('\0')) {
            return invalid("an extended attribute has a name without NUL".to_owned());
        }
        Ok(())
    }
}

impl Entry {
    /// An entry of which nothing else is known: nothing in it, no version.
    pub fn new(name: &str, inode: InodeId, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            inode,
            kind,
            size: 0,
            changed: Millis(0),
            version: VersionId(0),
            content_root: ChunkId::default(),
            target: String::new(),
            attributes: Attributes::default(),
            flags: 0,
        }
    }

    /// True for what has entries.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }
}

/// Checks what a link is to point to; `Invalid` for what no file system takes.
pub fn check_link(target: &str) -> Result<()> {
    if target.is_empty() || target.len() > LINK_TARGET_SIZE_MAX || target.contains('\0') {
        return Err(Error::invalid(format!(
            "a link points to a text of 1 to {LINK_TARGET_SIZE_MAX} bytes without NUL"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_limits() {
        let xattrs = |count: usize, size: usize| {
            (0..count).map(|i| (format!("user.{i}"), Bytes::from(vec![0; size]))).collect()
        };
        let with = |xattrs| Attributes { xattrs, ..Attributes::default() };
        let mode = |mode| Attributes { mode: Some(mode), ..Attributes::default() };
        for (attributes, is_good) in [
            (Attributes::default(), true),
            (mode(0o7777), true),
            (mode(0o10000), false),
            (with(xattrs(64, 1)), true),
            (with(xattrs(65, 1)), false),
            (with(xattrs(1, 4096)), false),
            (with(BTreeMap::from([(String::new(), Bytes::new())])), false),
            (with(BTreeMap::from([("a\0".to_owned(), Bytes::new())])), false),
            (Attributes { media_type: "x".repeat(256), ..Attributes::default() }, false),
        ] {
            assert_eq!(attributes.check().is_ok(), is_good, "{attributes:?}");
        }
        for (target, is_good) in [("a", true), ("../a b", true), ("", false), ("a\0b", false)] {
            assert_eq!(check_link(target).is_ok(), is_good, "{target:?}");
        }
    }
}
