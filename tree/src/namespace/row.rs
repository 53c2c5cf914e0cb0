//! Rows of a tree partition. Format: `docs/formats/metadata-rows.md`.

#[cfg(feature = "next-level")]
mod next;

use chunk::manifest::{Manifest, content_root};
use proto::namespace::{Attributes, Contents, Done, Entry, Kind, Record, Version, Written};
use serde::{Deserialize, Serialize};
use types::{
    ChunkId, Error, ErrorKind, FeatureLevel, InodeId, Millis, NamespaceId, Result, Seq, TenantId, VersionId,
};

use super::key::{self, table};
use crate::failure::Halt;
use crate::replica::unknown_table;
use crate::row::{PARTITION, Row, canonical, damaged, rows};

/// A namespace and its newest state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceRow {
    /// Its root directory.
    pub root: InodeId,
    /// Its name; empty for one that was a directory.
    pub name: String,
    /// Who may use it, the text of an identity.
    pub owner: String,
    /// Whose data it holds.
    pub tenant: TenantId,
    /// When it was created, by the leader's clock.
    pub created: Millis,
    /// Newest position of the journal.
    pub seq: Seq,
    /// Records up to here are gone.
    pub floor: Seq,
    /// When it was deleted; `None` while it is there.
    pub deleted: Option<Millis>,
    /// Commands that have changed it since version 2 is written.
    #[cfg(feature = "next-level")]
    pub commands: u64,
}

impl NamespaceRow {
    /// A namespace in which nothing has happened.
    pub fn new(root: InodeId, name: String, owner: String, tenant: TenantId, created: Millis) -> Self {
        Self {
            root,
            name,
            owner,
            tenant,
            created,
            seq: Seq(0),
            floor: Seq(0),
            deleted: None,
            #[cfg(feature = "next-level")]
            commands: 0,
        }
    }
}

/// An entry of a directory: everything a listing shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirentRow {
    /// The file, directory or link.
    pub inode: InodeId,
    /// Which of them.
    pub kind: Kind,
    /// Bytes of the newest version; 0 for a directory.
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
    /// None has a meaning yet.
    pub flags: u32,
}

impl DirentRow {
    /// A directory that was made at a time.
    pub fn dir(inode: InodeId, changed: Millis, attributes: Attributes) -> Self {
        Self {
            inode,
            kind: Kind::Dir,
            size: 0,
            changed,
            version: VersionId(0),
            content_root: ChunkId::default(),
            target: String::new(),
            attributes,
            flags: 0,
        }
    }

    /// As it is shown under a name.
    pub fn entry(self, name: &str) -> Entry {
        let Self { inode, kind, size, changed, version, content_root, target, attributes, flags } = self;
        let name = name.to_owned();
        Entry { name, inode, kind, size, changed, version, content_root, target, attributes, flags }
    }
}

/// What can be found by its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InodeRow {
    /// The directory it is in. A root is its own parent; what is in the trash has [`trash_of`].
    pub parent: InodeId,
    /// Its name there; empty for a root.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What a directory knows; nothing else has it.
    pub below: Option<Below>,
}

/// What a directory knows of everything below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Below {
    /// How much that is.
    pub contents: Contents,
    /// How far down it goes, at most: what was removed may still count.
    pub reach: Reach,
}

/// How long paths below a directory are, counted from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Names of the longest one.
    pub depth: u32,
    /// Bytes, separators included.
    pub size: u32,
}

impl Reach {
    /// Of a directory with an entry of this name that reaches so far itself.
    pub fn above(self, name: &str) -> Self {
        Self { depth: self.depth + 1, size: self.size + 1 + name.len() as u32 }
    }

    /// Of a directory in which there are both.
    pub fn max(self, other: Self) -> Self {
        Self { depth: self.depth.max(other.depth), size: self.size.max(other.size) }
    }
}

/// The directory that what was removed is in: nobody can name it.
pub fn trash_of(inode: InodeId) -> InodeId {
    InodeId::new(inode.slot(), 0)
}

/// A version of a file or link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRow {
    /// The version it replaced; `None` for the first.
    pub base: Option<VersionId>,
    /// Who committed it, the text of an identity.
    pub author: String,
    /// When it was committed, by the leader's clock.
    pub committed: Millis,
    /// What its writer says about it.
    pub attributes: Attributes,
    /// What it is.
    pub content: VersionContent,
}

/// What a version is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VersionContent {
    /// Bytes: inline, a list of chunks, or a tree of them.
    File(Manifest),
    /// What a link points to.
    Symlink(String),
}

impl VersionContent {
    /// What an entry has that holds it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File(_) => Kind::File,
            Self::Symlink(_) => Kind::Symlink,
        }
    }

    /// Bytes that it has.
    pub fn size(&self) -> u64 {
        match self {
            Self::File(manifest) => manifest.size,
            Self::Symlink(target) => target.len() as u64,
        }
    }

    /// Equal for equal content.
    pub fn root(&self) -> ChunkId {
        match self {
            Self::File(manifest) => content_root(manifest),
            Self::Symlink(target) => chunk::chunk_id(target.as_bytes()),
        }
    }

    /// What a link points to; empty for a file.
    pub fn target(&self) -> &str {
        match self {
            Self::File(_) => "",
            Self::Symlink(target) => target,
        }
    }
}

impl VersionRow {
    /// As it is shown.
    pub fn describe(&self, inode: InodeId, id: VersionId) -> Version {
        Version {
            inode,
            id,
            base: self.base,
            author: self.author.clone(),
            committed: self.committed,
            attributes: self.attributes.clone(),
            size: self.content.size(),
            content_root: self.content.root(),
            target: self.content.target().to_owned(),
        }
    }
}

/// An entry that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedRow {
    /// The directory it was in.
    pub dir: InodeId,
    /// The path it had then.
    pub path: String,
    /// What it was.
    pub dirent: DirentRow,
    /// When it was removed.
    pub time: Millis,
    /// Who removed it, the text of an identity.
    pub author: String,
}

/// The remembered answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRow {
    /// Of what was asked for: another request under the same id is not answered with this.
    pub fingerprint: [u8; 16],
    /// What was answered; messages are shortened.
    pub answer: Result<Written>,
}

/// A remembered answer in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRow {
    /// Key of its [`RequestRow`].
    pub key: Vec<u8>,
    /// What it counts for in [`AnswersRow::size`].
    pub size: u64,
}

/// All remembered answers: numbered without gaps, the oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswersRow {
    /// Number of the oldest.
    pub first: u64,
    /// Number of the next.
    pub next: u64,
    /// Sum of their sizes.
    pub size: u64,
}

/// A row that only finds another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer;

rows! {
    "namespaces by name" = NamespaceId;
    "directory entries" = DirentRow;
    "inodes" = InodeRow;
    "versions" = VersionRow;
    "journal" = Record;
    "trash" = RemovedRow;
    "trash by path" = Pointer;
    "answers by age" = AnswerRow;
    "remembered answers" = AnswersRow;
}

#[cfg(not(feature = "next-level"))]
rows! { "namespaces" = NamespaceRow; }

impl Row for RequestRow {
    const NAME: &'static str = "answers";

    /// Words are not what an answer means.
    fn to_canonical(&self, _level: FeatureLevel) -> Vec<u8> {
        let kind = |error: &Error| error.kind();
        let results = |written: &Written| -> Vec<Result<Done, ErrorKind>> {
            written.results.iter().map(|result| result.as_ref().copied().map_err(kind)).collect()
        };
        let answer = self.answer.as_ref().map(|written| (written.seq, results(written))).map_err(kind);
        proto::encode_plain(&(self.fingerprint, answer))
    }
}

/// A key that is none of its table's.
pub fn bad_key<T: Row>() -> Halt {
    damaged::<T>("its key cannot be read")
}

/// A row as every replica at this level has it.
pub fn canonical_of(key: &[u8], value: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt> {
    let own = key.strip_prefix(&PARTITION[..]).and_then(|table| table.first().copied());
    let canonical = match own.or(key::split(key).map(|(_, table, _)| table)) {
        Some(table::NAMESPACE) => canonical::<NamespaceRow>,
        Some(table::NAME) => canonical::<NamespaceId>,
        Some(table::DIRENT) => canonical::<DirentRow>,
        Some(table::INODE) => canonical::<InodeRow>,
        Some(table::VERSION) => canonical::<VersionRow>,
        Some(table::JOURNAL) => canonical::<Record>,
        Some(table::TRASH) => canonical::<RemovedRow>,
        Some(table::TRASH_PATH) => canonical::<Pointer>,
        Some(table::REQUEST) => canonical::<RequestRow>,
        Some(table::ANSWER) => canonical::<AnswerRow>,
        Some(table::ANSWERS) => canonical::<AnswersRow>,
        Some(table::INODE_COUNT | table::NAMESPACE_COUNT) => canonical::<u64>,
        _ => return Err(unknown_table(key)),
    };
    canonical(value, level)
}
