//! Performs faults, undoes them, and waits until the cluster is whole again (I-HEAL).

use std::sync::Arc;
use std::time::Duration;

use client::Cluster;
use client::health::{Complement, missing};
use env::Random;
use env::process::Signal;
use env::time::Instant;
use types::{Error, NodeId, Result};

use crate::cluster::Victim;
use crate::fault::{self, Fault, Planned};

/// A cluster that is not whole after this time does not heal: rebuilding takes seconds, or a minute on a busy machine.
const HEALTHY_TIMEOUT: Duration = Duration::from_secs(150);
/// How often we ask.
const HEALTHY_PERIOD: Duration = Duration::from_millis(300);
/// This many answers in a row must say that nothing is missing: a table that is rebalanced is filled once more.
const HEALTHY_COUNT: usize = 3;

/// A fault that happened.
#[derive(Clone, Debug)]
pub struct Injection {
    /// What was done.
    pub fault: Fault,
    /// When, in milliseconds since the start.
    pub at_ms: u64,
    /// How long until it was undone.
    pub away_ms: u64,
    /// How long it then took until the cluster was whole.
    pub heal_ms: u64,
}

/// Performs the faults of one run.
pub struct Injector<'a> {
    /// What is broken.
    pub cluster: &'a Victim,
    /// Asks the cluster how it is.
    pub view: Arc<Cluster>,
    /// Chooses victims.
    pub random: Random,
    /// What the cluster has when it is whole.
    pub whole: Complement,
    /// When the run began.
    pub started: Instant,
}

impl Injector<'_> {
    /// Milliseconds since the run began.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).expect("a run does not last forever")
    }

    /// Performs a fault and waits until the cluster is whole again. An error means that it is not.
    pub async fn inject(&self, planned: Planned) -> Result<Injection> {
        env::time::sleep(Duration::from_millis(planned.calm_ms)).await;
        let status = self.view.fetch_status().await?;
        let victims = fault::victims(planned.fault, &status, &self.random);
        if victims.is_empty() {
            return Err(Error::unavailable(format!("cannot {}: a partition has no leader", planned.fault)));
        }
        let at_ms = self.now_ms();
        crate::say::say(format_args!("{at_ms} ms: {} {victims:?} for {} ms", planned.fault, planned.away_ms));
        self.perform(planned, &victims).await?;
        let undone_ms = self.now_ms();
        let context = |e: Error| e.context(format!("after {} {victims:?} at {at_ms} ms", planned.fault));
        self.wait_until_whole().await.map_err(context)?;
        let heal_ms = self.now_ms() - undone_ms;
        crate::say::say(format_args!(
            "{} ms: whole again, {heal_ms} ms after the end of the fault",
            self.now_ms()
        ));
        Ok(Injection { fault: planned.fault, at_ms, away_ms: undone_ms - at_ms, heal_ms })
    }

    async fn perform(&self, planned: Planned, victims: &[NodeId]) -> Result<()> {
        let numbers: Vec<u64> = victims.iter().map(|node| node.0).collect();
        let is_pause = planned.fault == Fault::Pause;
        if is_pause {
            victims.iter().try_for_each(|node| self.cluster.signal(*node, Signal::Stop))?;
        } else {
            self.cluster.kill(&numbers).await?;
        }
        env::time::sleep(Duration::from_millis(planned.away_ms)).await;
        if is_pause {
            return victims.iter().try_for_each(|node| self.cluster.signal(*node, Signal::Continue));
        }
        self.cluster.restart(&numbers).await
    }

    /// Waits until every node, disk, slot and partition is as it should be.
    pub async fn wait_until_whole(&self) -> Result<()> {
        let deadline = env::time::now() + HEALTHY_TIMEOUT;
        let mut good_count = 0;
        while good_count < HEALTHY_COUNT {
            env::time::sleep(HEALTHY_PERIOD).await;
            if let Some(ended) = self.cluster.ended()?.into_iter().next() {
                return Err(Error::unavailable(ended));
            }
            let missing = match self.view.fetch_status().await {
                Ok(status) => missing(&status, self.whole),
                Err(e) => vec![e.to_string()],
            };
            good_count = if missing.is_empty() { good_count + 1 } else { 0 };
            if env::time::now() >= deadline {
                let error =
                    format!("not whole after {} s: {}", HEALTHY_TIMEOUT.as_secs(), missing.join(", "));
                return Err(Error::unavailable(error));
            }
        }
        Ok(())
    }
}
