//! `make sim`: runs seeds, replays and shrinks those that fail.
//!
//! Owns: the command line, one process per seed, both cores.
//! Knows nothing of: being imported.

mod batch;
mod mutants;
mod one;
mod outcome;
mod say;
mod seeds;
mod shrink;
mod what;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use one::Files;
use what::What;

/// Whole clusters in one process, replayable from a seed.
#[derive(Debug, Parser)]
#[command(name = "sim", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one seed
    Run {
        /// Decides everything
        #[arg(long)]
        seed: u64,
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        files: Files,
        /// One line of JSON instead of a report
        #[arg(long)]
        json: bool,
    },
    /// Run many seeds, each in a process of its own
    Batch {
        /// How many
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// Where to begin
        #[arg(long, default_value_t = 1)]
        first: u64,
        /// Of these, this many are run twice: their traces must be equal
        #[arg(long, default_value_t = 20)]
        twice: u64,
        #[command(flatten)]
        what: What,
    },
    /// Find a smaller run of a seed that still fails
    Shrink {
        /// One that breaks a promise
        #[arg(long)]
        seed: u64,
        #[command(flatten)]
        what: What,
    },
    /// Plant bugs, one at a time, and say which are found
    Mutants {
        /// On how many seeds each
        #[arg(long, default_value_t = 10)]
        seeds: u64,
        #[command(flatten)]
        what: What,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run { seed, what, files, json } => one::run(seed, &what, &files, json),
        Command::Batch { seeds, first, twice, what } => batch::all(first, seeds, twice, &what),
        Command::Shrink { seed, what } => shrink::shrink(seed, &what),
        Command::Mutants { seeds, what } => mutants::all(seeds, &what),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            say::say(e);
            ExitCode::from(2)
        }
    }
}
