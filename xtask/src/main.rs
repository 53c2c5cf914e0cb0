//! Checks of the house that no compiler makes: `cargo xtask tidy`.
//!
//! Owns: the rules about arrows and circles, doors, headers, sizes, limits, documents, proofs and names, and how they
//! are reported.
//! Knows nothing of: the product; it reads the tree as text and changes nothing.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a tool for the tree, no part of the product"
)]
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod finding;
mod markdown;
mod metadata;
mod rules;
mod rust;
mod tidy;
mod tree;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => root().and_then(|root| tidy::run(&root, None)),
        ["tidy", "--rule", rule] => root().and_then(|root| tidy::run(&root, Some(rule))),
        _ => Err("usage: cargo xtask tidy [--rule NAME]".to_owned()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::from(2)
        }
    }
}

/// The workspace this was started for. Cargo tells it at run time, because one build cache may serve many checkouts.
fn root() -> Result<PathBuf, String> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("start it with `cargo xtask`")?;
    let root = PathBuf::from(package).parent().map(PathBuf::from);
    root.ok_or_else(|| "xtask/ has no directory above it".to_owned())
}
