//! `make bench`: what this machine could do, what CloudSync makes of it, and where the processor's time goes.
//!
//! Owns: what is measured and how it is reported: medians with their spread, next to the raw limits of the same run and
//! to goals. Clusters are real processes of the `cloudsync` binary, clients are the `client` library in this process.
//! Knows nothing of: being imported; why something is slow.

mod block;
mod context;
mod data;
mod deployment;
mod figure;
mod limits;
mod machine;
mod measure;
mod meta;
mod percentiles;
mod plan;
mod report;
mod session;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use env::Env;
use tokio::signal::unix::{SignalKind, signal};
use types::{Error, Result};

use context::Bench;
use data::Scratch;
use deployment::{Deployment, Kind};
use plan::{Part, Plan};
use report::Report;

/// Where `--write` puts the results.
const PAGE: &str = "docs/benchmarks.md";

/// Measures CloudSync on this machine.
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 100)]
struct Args {
    /// How often everything is measured; medians are reported
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=99))]
    runs: u8,
    /// Measure everything once at a tiny size, only to see that it works
    #[arg(long, conflicts_with_all = ["write", "runs"])]
    smoke: bool,
    /// Only these parts; goals that need the limits are left out without them
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// Files in the store when listing, memory and restart of the metadata are measured
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    meta_files: Option<u32>,
    /// Records of the index that is rebuilt
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    block_records: Option<u32>,
    /// Only open a disk with that many records, and say how many bytes of memory that takes: for this program itself
    #[arg(long, hide = true, requires = "block_records", value_name = "DIR")]
    occupy: Option<PathBuf>,
    /// Where to put the disks; the system's temporary directory unless given
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Put the results into docs/benchmarks.md as well
    #[arg(long)]
    write: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match env::task::run(Box::pin(run(args))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    let env = Env::real();
    if let (Some(root), Some(count)) = (&args.occupy, args.block_records) {
        return print(&block::occupy(&env, root, count.into()).await?.to_string());
    }
    let plan = if args.smoke { Plan::smoke() } else { Plan::full(args.runs.into()) };
    let plan = plan.only(&args.only).with_meta_files(args.meta_files.map(|count| count as usize));
    let plan = plan.with_block_records(args.block_records.map(|count| count as usize));
    let parent = args.dir.unwrap_or_else(std::env::temp_dir);
    let scratch = Scratch::create(&env, &parent, plan.space_needed())?;
    let command = command_line(std::env::args().skip(1));
    let report = Report::new(machine::describe(&env, &parent), command);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Nodes are in sessions of their own: Ctrl-C does not reach them. Dropping the work stops them.
    let report = tokio::select! {
        report = measure_all(Bench { env: env.clone(), plan, scratch }, report) => report?,
        _ = interrupt.recv() => return Err(Error::unavailable("interrupted; nothing was written")),
        _ = terminate.recv() => return Err(Error::unavailable("terminated; nothing was written")),
    };
    report.print()?;
    if args.write {
        report.write_into(&*env.disk, std::path::Path::new(PAGE))?;
    }
    Ok(())
}

async fn measure_all(bench: Bench, mut report: Report) -> Result<Report> {
    let mut raw = None;
    if bench.plan.has(Part::Limits) {
        let measured = limits::measure(&bench).await?;
        report.add_limits(&measured);
        raw = Some(measured);
    }
    for (part, kind) in [(Part::Cluster, Kind::Cluster), (Part::Embedded, Kind::Embedded)] {
        if bench.plan.has(part) {
            let deployment = Deployment::start(&bench, kind).await?;
            let results = measure::all(&bench, &deployment, raw.as_ref()).await?;
            deployment.stop().await;
            report.add_results(kind, results);
        }
    }
    if bench.plan.has(Part::Meta) {
        report.add_meta(meta::measure(&bench).await?);
    }
    if bench.plan.has(Part::Block) {
        report.add_block(block::measure(&bench).await?);
    }
    Ok(report)
}

fn print(text: &str) -> Result<()> {
    use std::io::Write as _;
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

/// What to type to get these results again.
fn command_line(args: impl Iterator<Item = String>) -> String {
    let args: Vec<String> = args.collect();
    if args.is_empty() { "make bench".to_owned() } else { format!("make bench ARGS='{}'", args.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_typed_again() {
        assert_eq!(command_line(std::iter::empty()), "make bench");
        let args = ["--runs", "5"].map(str::to_owned);
        assert_eq!(command_line(args.into_iter()), "make bench ARGS='--runs 5'");
    }

    #[test]
    fn results_of_a_smoke_test_are_never_written_down() {
        assert!(Args::try_parse_from(["bench", "--smoke", "--write"]).is_err());
        assert!(Args::try_parse_from(["bench", "--runs", "0"]).is_err());
        assert!(Args::try_parse_from(["bench", "--only", "limits", "--only", "cluster"]).is_ok());
    }
}
