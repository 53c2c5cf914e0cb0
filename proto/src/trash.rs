//! Messages about what was removed.

use serde::{Deserialize, Serialize};
use types::{Millis, Path, Seq};

use crate::entry::{Contents, Entry};
use crate::namespace::View;

/// Asks for what is in the trash, the last removed first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListTrash {
    /// Which state.
    pub view: View,
    /// Only what was removed from below this path; `/` for everything.
    pub under: Path,
    /// Continue with what was removed before this; `None` to begin.
    pub before: Option<Seq>,
    /// Entries that are looked at for the page, 1 to `TRASH_PAGE_COUNT_MAX`; clamped.
    pub limit: u32,
}

/// An entry in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Position at which it was removed: its name in the trash.
    pub seq: Seq,
    /// The path it had.
    pub path: String,
    /// As it was.
    pub entry: Entry,
    /// When, by the leader's clock.
    pub time: Millis,
    /// Who removed it.
    pub author: String,
    /// What a directory has.
    pub contents: Option<Contents>,
}

/// Answer to [`ListTrash`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashPage {
    /// The state it was read from.
    pub seq: Seq,
    /// The last removed first.
    pub removed: Vec<Removed>,
    /// Where to go on; `None` after the last.
    pub next: Option<Seq>,
}
