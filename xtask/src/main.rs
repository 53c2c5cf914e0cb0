//! Checks of the house that no compiler makes: `cargo xtask tidy`.
fn main() {}
