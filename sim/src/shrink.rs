//! A smaller run that still breaks a promise.

use sim::plan::Plan;
use types::{Error, Result};

use crate::batch::{each, replay};
use crate::say::{print, say};
use crate::what::What;

/// Leaves out faults, clients and time as long as the run still fails. True: it is found whether or not it got smaller.
pub fn shrink(seed: u64, what: &What) -> Result<bool> {
    let mut what = what.clone();
    let fails = |what: &What| -> Result<Option<String>> {
        let mut first = None;
        each(&[seed], what, "", |outcome| {
            first = (!outcome.is_good).then(|| outcome.problems.first().cloned().unwrap_or_default());
        })?;
        Ok(first)
    };
    let Some(mut problem) = fails(&what)? else {
        return Err(Error::invalid(format!("seed {seed} does not fail: there is nothing to shrink")));
    };
    // Halves first, then one by one: each step must fail like the one before it.
    let count = Plan::draw(seed, &what.options()?).strikes.len() + what.without.len();
    let mut size = count.div_ceil(2);
    while size > 0 {
        for start in (0..count).step_by(size) {
            let mut smaller = what.clone();
            smaller.without.extend((start..(start + size).min(count)).filter(|n| !what.without.contains(n)));
            smaller.without.sort_unstable();
            if smaller.without.len() > what.without.len()
                && let Some(found) = fails(&smaller)?
            {
                say(format_args!("fails without {:?}: {found}", smaller.without));
                (what, problem) = (smaller, found);
            }
        }
        size /= 2;
    }
    for (clients, seconds) in [(1, what.seconds), (2, what.seconds), (what.clients, what.seconds / 2)] {
        let smaller = What { clients: clients.min(what.clients), seconds: seconds.max(1), ..what.clone() };
        if smaller.words() != what.words()
            && let Some(found) = fails(&smaller)?
        {
            (what, problem) = (smaller, found);
        }
    }
    say(format_args!("{problem}"));
    print(replay(seed, &what));
    Ok(true)
}
