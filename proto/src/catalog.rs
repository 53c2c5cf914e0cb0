//! Messages about namespaces as a whole. Their names are spread over the slots by hash, so that no partition has them
//! all.

use serde::{Deserialize, Serialize};
use types::{Millis, NamespaceId, NamespaceName, PartitionId, Slot};

/// The slot in which a namespace of this name is created, and where the name is found ever after.
pub fn name_slot(name: &NamespaceName) -> Slot {
    Slot::of_hash(blake3::hash(name.as_str().as_bytes()).as_bytes())
}

/// Creates a namespace, or finds the one that the same owner has created before. For administrators. `Exists` when
/// somebody else has the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateNamespace {
    /// Its name, unique in the cluster.
    pub name: NamespaceName,
    /// Text of the identity that will own it; `None` for the caller.
    pub owner: Option<String>,
}

/// Looks up a namespace by name; `NotFound` when there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindNamespace {
    /// The name it was created with.
    pub name: NamespaceName,
}

/// Answer to [`CreateNamespace`] and [`FindNamespace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceFound {
    /// By which it is known from now on.
    pub namespace: NamespaceId,
}

/// Gives a namespace to somebody else. For administrators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetOwner {
    /// Which namespace.
    pub namespace: NamespaceId,
    /// Text of the identity that will own it.
    pub owner: String,
}

/// Deletes a namespace: its name is free, and nobody gets at its content any more. For administrators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteNamespace {
    /// Which namespace.
    pub namespace: NamespaceId,
    /// Also when it is not empty; otherwise that is `Conflict`.
    pub force: bool,
}

/// Asks for the namespaces of a partition: all of them for administrators, for others their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListNamespaces {
    /// Which partition.
    pub partition: PartitionId,
    /// Continue after this one; `None` to begin.
    pub after: Option<NamespaceId>,
    /// Namespaces that are looked at for the page, 1 to `NAMESPACE_PAGE_COUNT_MAX`; clamped.
    pub limit: u32,
}

/// One line of a list of namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceInfo {
    /// By which it is known.
    pub id: NamespaceId,
    /// Its name; empty for one that was a directory.
    pub name: String,
    /// Who owns it.
    pub owner: String,
    /// When it was created.
    pub created: Millis,
    /// Files and links in it.
    pub files: u64,
    /// Directories in it, without its root.
    pub dirs: u64,
    /// Bytes of its files.
    pub bytes: u64,
}

/// Answer to [`ListNamespaces`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespacePage {
    /// In order of ids.
    pub namespaces: Vec<NamespaceInfo>,
    /// Where to go on; `None` after the last.
    pub next: Option<NamespaceId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_slots_for_ever() {
        let slot = |name| name_slot(&NamespaceName::parse(name).unwrap()).number();
        assert_eq!([slot("home"), slot("team")], [1220, 9371]);
    }
}
