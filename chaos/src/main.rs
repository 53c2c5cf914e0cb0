//! `make chaos`: breaks a cluster of real processes on purpose and checks the promises.
//!
//! Owns: faults on real processes of the `cloudsync` binary, the run and its report. What clients do meanwhile, and what
//! counts as a broken promise, is `oracle`'s.
//! Knows nothing of: being imported; the servers' insides.

mod cluster;
mod fault;
mod inject;
mod report;
mod run;
mod say;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use env::Env;
use tokio::signal::unix::{SignalKind, signal};
use types::{Error, Result};

use report::Report;
use run::{Plan, Until};
use say::say;

/// The seed of the smoke test.
const SMOKE_SEED: u64 = 7;

/// Breaks a cluster on purpose and checks the promises.
#[derive(Debug, Parser)]
#[command(name = "chaos", max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Random faults; the default
    Run {
        /// Decides the workload and the faults; random unless given
        #[arg(long)]
        seed: Option<u64>,
        /// How many minutes to go on breaking things
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
        minutes: u16,
        /// Nodes of the cluster
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(8..=64))]
        nodes: u16,
        /// Where the cluster's files go; the system's temporary directory unless given
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// The same few faults every time; every promise must be exercised
    Smoke {
        /// Where the cluster's files go; the system's temporary directory unless given
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    match env::task::run(Box::pin(run_command(args))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            say(e);
            ExitCode::FAILURE
        }
    }
}

/// True when no promise was broken; for the smoke test also when all were exercised.
async fn run_command(args: Args) -> Result<bool> {
    let env = Env::real();
    let default = Command::Run { seed: None, minutes: 3, nodes: 8, dir: None };
    match args.command.unwrap_or(default) {
        Command::Run { seed, minutes, nodes, dir } => {
            // Short enough to be typed again.
            let seed = seed.unwrap_or_else(|| env.random.below(1_000_000));
            let until = Until::Time(Duration::from_secs(60 * u64::from(minutes)));
            let report = run_in(&env, Plan { seed, node_count: nodes, until }, dir).await?;
            print(&report.to_string())?;
            Ok(report.is_good())
        }
        Command::Smoke { dir } => {
            let until = Until::Faults(fault::SMOKE.to_vec());
            let report = run_in(&env, Plan { seed: SMOKE_SEED, node_count: 8, until }, dir).await?;
            let (passed, failed) = report.counts();
            print(&format!("{report}{passed} passed, {failed} failed\n"))?;
            Ok(failed == 0)
        }
    }
}

/// Runs a plan in a directory, which is removed if the run was good and nobody named it.
async fn run_in(env: &Env, plan: Plan, dir: Option<PathBuf>) -> Result<Report> {
    let named = dir.is_some();
    let dir = dir
        .unwrap_or_else(|| std::env::temp_dir().join(format!("cloudsync-chaos-{:016x}", env.random.u64())));
    let report = unless_interrupted(env, &plan, &dir).await?;
    if report.is_good() && !named {
        env.disk.remove_dir_all(&dir)?;
    } else {
        say(format_args!("the logs are in {}/cluster/node*/log", dir.display()));
    }
    Ok(report)
}

/// Nodes are in sessions of their own: Ctrl-C does not reach them. Dropping the run stops them.
async fn unless_interrupted(env: &Env, plan: &Plan, dir: &Path) -> Result<Report> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        report = Box::pin(run::run(env, plan, dir)) => report,
        _ = interrupt.recv() => Err(Error::unavailable("interrupted")),
        _ = terminate.recv() => Err(Error::unavailable("terminated")),
    }
}

fn print(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
