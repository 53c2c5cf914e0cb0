//! Server processes of others: started, and ended by their pids, whatever happens.

use std::path::Path;
use std::time::Duration;

use types::{Error, Result};

use crate::usage;

/// How long a system may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(120);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_PERIOD: Duration = Duration::from_millis(10);

/// Running processes; they end when this is dropped.
#[derive(Default)]
pub struct Servers(Vec<u32>);

impl Servers {
    /// Starts one more.
    pub fn start(&mut self, program: &Path, args: &[String], log: &Path) -> Result<()> {
        let started = env::process::start_detached(program, args, log);
        self.0.push(started.map_err(|e| Error::from(e).context(program.display()))?);
        Ok(())
    }

    /// Those that run.
    pub fn pids(&self) -> Vec<u32> {
        self.0.iter().copied().filter(|pid| env::process::is_running(*pid)).collect()
    }

    /// `kill -9`, also for the processes that they started; on return all are gone.
    pub fn kill(&self) {
        let disk = env::Env::real().disk;
        env::process::kill_all(&usage::with_descendants(&*disk, &self.pids()));
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Tries again until it works. Gives up after two minutes, with the last error.
pub async fn wait_until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = env::time::now() + START_TIMEOUT;
    loop {
        // A server without a quorum may take a question and never answer.
        let done = env::time::timeout(ATTEMPT_TIMEOUT, attempt()).await;
        match done.unwrap_or_else(|_| Err(Error::unavailable("no answer"))) {
            Ok(value) => return Ok(value),
            Err(e) if env::time::now() >= deadline => return Err(e.context(format!("waiting until {what}"))),
            Err(_) => env::time::sleep(LOOK_PERIOD).await,
        }
    }
}
