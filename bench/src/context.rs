//! What every measurement needs: the machine, the plan, a place for files, and a way to tell what is going on.

use env::Env;
use types::{Name, Path, Result};

use crate::data::Scratch;
use crate::plan::Plan;

/// What every measurement needs.
pub struct Bench {
    /// What a measurement asks of the machine it runs on.
    pub env: Env,
    /// What is measured, how often and with how much.
    pub plan: Plan,
    /// A directory of its own, removed at the end.
    pub scratch: Scratch,
}

/// Tells whoever is waiting what is going on.
pub fn say(text: impl std::fmt::Display) {
    eprintln!("bench: {text}");
}

/// A path of the namespace made of names that are valid.
pub fn path(names: &[&str]) -> Result<Path> {
    Path::try_from(names.iter().map(|name| Name::parse(name)).collect::<Result<Vec<Name>>>()?)
}
