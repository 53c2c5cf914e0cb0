//! Namespaces: directory trees with versions and a journal.
//!
//! A commit writes an entry, a version, a journal record and, for a new file, its inode in one atomic batch. Inode ids
//! are unique in the cluster and rows do not carry the namespace, so a subtree moves by one entry whatever its size.

mod answers;
mod machine;
mod read;
mod row;
mod tree;

#[cfg(test)]
pub mod tests;

pub use machine::NamespaceMachine;
pub use read::{changed, fetch_namespace, list_dir, list_versions, open_version, owner, pull_journal, stat};
