//! The rules. Each takes the tree as plain values and returns what it finds.

pub mod arrows;
pub mod docs;
pub mod doors;
pub mod headers;
pub mod limits;
pub mod sizes;
pub mod words;
