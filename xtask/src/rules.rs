//! The rules. Each takes the tree as plain values and returns what it finds.

pub mod arrows;
pub mod bounds;
pub mod circles;
pub mod docs;
pub mod doors;
pub mod formats;
pub mod headers;
pub mod identity;
pub mod invariants;
pub mod limits;
pub mod nouns;
pub mod proofs;
pub mod sizes;
pub mod unsafety;
pub mod verbs;
pub mod words;
