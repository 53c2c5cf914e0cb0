//! A smaller run that breaks the same promise.

use sim::plan::Plan;
use types::{Error, Result};

use crate::say::{print, say};
use crate::seeds::{each, replay};
use crate::what::What;

/// The smallest cluster that holds a profile of 4+2.
const NODE_COUNT_MIN: u64 = 6;

/// Leaves out faults, clients, time and nodes as long as the run still breaks the promise that it broke first. Prints the
/// command of what is left. True: found, whether or not it got smaller.
pub fn shrink(seed: u64, what: &What) -> Result<bool> {
    let Some(problem) = broken(seed, what)? else {
        return Err(Error::invalid(format!("seed {seed} does not fail: there is nothing to shrink")));
    };
    let mut best = Smallest { seed, what: what.clone(), problem };
    best.leave_out_faults()?;
    for change in [
        (|what: &mut What| what.clients = 1) as fn(&mut What),
        |what| what.clients = what.clients.min(2),
        |what| what.seconds = what.seconds.div_ceil(4),
        |what| what.seconds = what.seconds.div_ceil(2),
        |what| what.nodes = NODE_COUNT_MIN,
        |what| what.nodes = what.nodes.min(NODE_COUNT_MIN + 1),
    ] {
        let mut smaller = best.what.clone();
        change(&mut smaller);
        best.try_out(smaller)?;
    }
    // Less time and fewer nodes make another plan, from which more may be left out.
    best.leave_out_faults()?;
    say(&best.problem);
    print(replay(seed, &best.what));
    Ok(true)
}

/// The smallest run so far that breaks the promise.
struct Smallest {
    seed: u64,
    what: What,
    problem: String,
}

impl Smallest {
    /// Halves first, then one by one.
    fn leave_out_faults(&mut self) -> Result<()> {
        let whole = What { without: Vec::new(), ..self.what.clone() };
        let count = Plan::draw(self.seed, &whole.options()?).strikes.len();
        let mut size = count.div_ceil(2);
        while size > 0 {
            for start in (0..count).step_by(size) {
                let mut smaller = self.what.clone();
                smaller.without.extend(start..(start + size).min(count));
                smaller.without.sort_unstable();
                smaller.without.dedup();
                self.try_out(smaller)?;
            }
            size /= 2;
        }
        Ok(())
    }

    fn try_out(&mut self, smaller: What) -> Result<()> {
        if smaller.words() == self.what.words() {
            return Ok(());
        }
        if let Some(problem) = broken(self.seed, &smaller)?
            && promise(&problem) == promise(&self.problem)
        {
            say(format_args!("still broken with {}", smaller.words().join(" ")));
            (self.what, self.problem) = (smaller, problem);
        }
        Ok(())
    }
}

/// How a run breaks a promise, if it does.
fn broken(seed: u64, what: &What) -> Result<Option<String>> {
    let mut first = None;
    each(&[seed], what, "", |outcome| first = outcome.problems.into_iter().next())?;
    Ok(first)
}

fn promise(problem: &str) -> &str {
    problem.split(':').next().unwrap_or_default()
}
