//! Namespaces: directory trees with versions and a journal.
//!
//! A commit touches an entry, its inode, a version and a journal record in one atomic batch. Directory ids are unique in
//! the cluster and rows do not carry the namespace, so a subtree moves by one entry whatever its size.

mod machine;
mod read;
mod row;
mod tree;

#[cfg(test)]
mod tests;

pub use machine::NamespaceMachine;
pub use read::{fetch_namespace, list_dir, list_versions, open_version, owner, pull_journal, stat};
