//! One process per seed, as many at once as there are cores.

use env::Env;
use env::mutant::MUTANT_VARIABLE;
use futures::StreamExt;
use futures::stream;
use types::Result;

use crate::outcome::Outcome;
use crate::what::What;

/// Runs seeds in processes of their own, with a planted bug unless its name is empty, and hands over their outcomes in
/// order.
pub fn each(seeds: &[u64], what: &What, mutant: &str, mut take: impl FnMut(Outcome)) -> Result<()> {
    env::task::run(async {
        let env = Env::real();
        let program = env::process::current_exe()?;
        let logs = std::env::temp_dir().join(format!("cloudsync-sim-{:x}", env.random.u64()));
        env.disk.create_dir_all(&logs)?;
        let runs = stream::iter(seeds.iter().enumerate()).map(|(index, seed)| {
            let log = logs.join(index.to_string());
            let mut words = vec!["run".to_owned(), "--json".to_owned(), format!("--seed={seed}")];
            words.extend(what.words());
            let (program, variables) = (program.clone(), [(MUTANT_VARIABLE, mutant.to_owned())]);
            async move {
                let said = env::process::run_detached_with(&program, &words, &variables, &log).await?;
                Result::<Outcome>::Ok(Outcome::read(*seed, &said))
            }
        });
        let mut runs = runs.buffered(env::process::core_count());
        while let Some(outcome) = runs.next().await {
            take(outcome?);
        }
        drop(runs);
        Ok(env.disk.remove_dir_all(&logs)?)
    })
}

/// The command that runs a seed again and shows all of it.
pub fn replay(seed: u64, what: &What) -> String {
    let words = what.words().join(" ");
    format!("make sim-run ARGS='--seed={seed} {words} --trace trace.txt --picture picture.svg'")
}
