//! `make sim`: runs seeds, replays and shrinks those that fail.
//!
//! Owns: the command line, one process per seed, both cores.
//! Knows nothing of: being imported.

mod batch;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use sim::plan::{FaultKind, Options, Plan};
use sim::run::Report;
use sim::trace::Trace;
use types::{Error, Result};

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
        /// Write every event to this file
        #[arg(long, value_name = "FILE")]
        trace: Option<PathBuf>,
        /// Draw the end of the run as SVG into this file
        #[arg(long, value_name = "FILE")]
        picture: Option<PathBuf>,
        /// One line of JSON instead of a report
        #[arg(long)]
        json: bool,
    },
    /// Run many seeds, each in a process of its own
    Batch {
        /// How many
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// The first
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
        /// The seed
        #[arg(long)]
        seed: u64,
        #[command(flatten)]
        what: What,
    },
    /// Run planted bugs until the checkers find them
    Mutants {
        /// At most this many seeds each
        #[arg(long, default_value_t = 20)]
        seeds: u64,
        #[command(flatten)]
        what: What,
    },
}

#[derive(Args, Clone, Debug)]
struct What {
    /// Nodes of the cluster
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(6..=64))]
    nodes: u64,
    /// Clients that change things
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=16))]
    clients: u64,
    /// Simulated seconds of work
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Only these kinds of faults, for example crash,pause; all unless given, `none` for none
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// Leave out these faults of the plan, counted from 0
    #[arg(long, value_delimiter = ',')]
    without: Vec<usize>,
}

impl What {
    fn options(&self) -> Result<Options> {
        let unknown = |name: &String| {
            let known: Vec<String> = FaultKind::ALL.iter().map(|k| format!("{k:?}").to_lowercase()).collect();
            Error::invalid(format!(
                "there is no kind of fault {name:?}: choose of {}, none",
                known.join(", ")
            ))
        };
        let kinds = match &self.faults[..] {
            [] => FaultKind::ALL.to_vec(),
            [none] if none == "none" => Vec::new(),
            names => names
                .iter()
                .map(|name| FaultKind::parse(name).ok_or_else(|| unknown(name)))
                .collect::<Result<_>>()?,
        };
        let (nodes, clients, seconds) = (self.nodes, self.clients, self.seconds);
        Ok(Options { nodes, clients, seconds, kinds, without: self.without.clone() })
    }

    /// The same as words of a command line.
    fn words(&self) -> Vec<String> {
        let mut words = vec![
            format!("--nodes={}", self.nodes),
            format!("--clients={}", self.clients),
            format!("--seconds={}", self.seconds),
        ];
        if !self.faults.is_empty() {
            words.push(format!("--faults={}", self.faults.join(",")));
        }
        if !self.without.is_empty() {
            let without: Vec<String> = self.without.iter().map(usize::to_string).collect();
            words.push(format!("--without={}", without.join(",")));
        }
        words
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run { seed, what, trace, picture, json } => run_one(seed, &what, trace, picture, json),
        Command::Batch { seeds, first, twice, what } => batch::all(first, seeds, twice, &what),
        Command::Shrink { seed, what } => batch::shrink(seed, &what),
        Command::Mutants { seeds, what } => batch::mutants(seeds, &what),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("sim: {e}");
            ExitCode::from(2)
        }
    }
}

fn run_one(
    seed: u64,
    what: &What,
    trace_file: Option<PathBuf>,
    picture: Option<PathBuf>,
    json: bool,
) -> Result<bool> {
    let plan = Plan::draw(seed, &what.options()?);
    let keep = trace_file.is_some() || picture.is_some();
    let (report, trace) = env::task::run_simulated(seed, async {
        let trace = Trace::new(keep);
        (sim::run::run(&plan, &trace).await, trace)
    });
    let disk = env::Env::real().disk;
    if let Some(path) = trace_file {
        let text: String = trace.lines().iter().map(|line| format!("{line}\n")).collect();
        disk.write_atomic(&path, text.as_bytes())?;
    }
    if let Some(path) = picture {
        let title = format!(
            "seed {seed}: {}",
            report.problems().first().map_or("nothing was broken", String::as_str)
        );
        disk.write_atomic(&path, sim::picture::draw(&trace.lines(), &title).as_bytes())?;
    }
    let (user, system) = env::process::cpu_seconds();
    let text = match json {
        true => batch::Outcome::of(seed, &report, &trace, user + system).to_json(),
        false => describe(&plan, &report, &trace, user + system),
    };
    // A reader that went away needs nothing.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(report.is_good())
}

fn describe(plan: &Plan, report: &Report, trace: &Trace, cpu_seconds: f64) -> String {
    let mut text = format!("seed {}: {} nodes, {} clients\n", plan.seed, plan.shape.nodes, plan.clients);
    for (index, strike) in plan.strikes.iter().enumerate() {
        text.push_str(&format!("  {index:>2}  {strike}\n"));
    }
    let (count, hash) = trace.digest();
    let (operations, done) = report.operations;
    text.push_str(&format!(
        "{operations} operations, {done} acknowledged; {} s simulated, {cpu_seconds:.1} s of a core; trace {hash} of {count} lines\n",
        report.simulated.as_secs()
    ));
    let counts: Vec<String> = report.counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
    text.push_str(&format!("exercised: {}\n", counts.join(", ")));
    for verdict in &report.verdicts {
        text.push_str(&format!(
            "{:<9} {:<6} {:>6} times: {}\n",
            verdict.invariant.to_string(),
            format!("{:?}", verdict.color()).to_lowercase(),
            verdict.exercised,
            verdict.claim
        ));
    }
    for problem in report.problems() {
        text.push_str(&format!("  ! {problem}\n"));
    }
    text.push_str(if report.is_good() { "good" } else { "BROKEN" });
    text
}
