//! One run in this process, and what is said of it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use sim::plan::Plan;
use sim::run::Report;
use sim::trace::Trace;
use types::Result;
use types::limits::SIM_RUN_TIMEOUT;

use crate::outcome::Outcome;
use crate::say::print;
use crate::what::What;

/// Where to leave what was seen.
#[derive(Clone, Debug, clap::Args)]
pub struct Files {
    /// Write every event to this file
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Draw the end of the run as SVG into this file
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

/// Runs a seed and prints what came of it, as a report or as one line of JSON. True when nothing was broken.
pub fn run(seed: u64, what: &What, files: &Files, json: bool) -> Result<bool> {
    let plan = Plan::draw(seed, &what.options()?);
    let keep = files.trace.is_some() || files.picture.is_some();
    env::process::end_after(SIM_RUN_TIMEOUT, "it hangs");
    let panics = catch_panics();
    let (mut report, trace) = env::task::run_simulated(seed, async {
        let trace = Trace::new(keep);
        (sim::run::run(&plan, &trace).await, trace)
    });
    report.judge_panics(&panics.lock().expect("no panic while it is held"));
    let disk = env::Env::real().disk;
    if let Some(path) = &files.trace {
        let text: String = trace.lines().iter().map(|line| format!("{line}\n")).collect();
        disk.write_atomic(path, text.as_bytes())?;
    }
    if let Some(path) = &files.picture {
        let title = format!(
            "seed {seed}: {}",
            report.problems().first().map_or("nothing was broken", String::as_str)
        );
        disk.write_atomic(path, sim::picture::draw(&trace.lines(), &title).as_bytes())?;
    }
    let (user, system) = env::process::cpu_seconds();
    print(match json {
        true => Outcome::of(seed, &report, &trace, user + system).to_json(),
        false => describe(&plan, &report, &trace, user + system),
    });
    Ok(report.is_good())
}

/// From now on every panic is kept, wherever it is caught.
fn catch_panics() -> Arc<Mutex<Vec<String>>> {
    let panics: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = panics.clone();
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        show(panic);
        kept.lock().expect("no panic while it is held").push(panic.to_string().replace('\n', " "));
    }));
    panics
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
