//! Namespaces: directory trees with versions and a journal.
//!
//! A commit writes an entry, a version, a journal record, the sums of the directories above and, for a new file, its
//! inode in one atomic batch. Inode ids are unique in the cluster and rows do not carry the namespace, so a subtree moves,
//! or becomes a namespace of its own, by one entry whatever its size.

mod answers;
mod catalog;
mod golden;
mod key;
mod listing;
mod machine;
mod read;
mod row;
mod tree;

#[cfg(test)]
pub mod tests;

pub use catalog::{find_namespace, list_namespaces};
pub use listing::list_dir;
pub use machine::NamespaceMachine;
pub use read::{
    Head, changed, fetch_namespace, head, list_trash, list_versions, open_version, pull_journal, stat,
};
