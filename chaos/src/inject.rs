//! Performs faults, undoes them, and waits until the cluster is whole again (I-HEAL).

use std::sync::Arc;
use std::time::Duration;

use client::health::{Complement, missing};
use env::Random;
use env::process::Signal;
use types::{Error, NodeId, Result};

use crate::cluster::Victim;
use crate::fault::{self, Fault, Planned};
use crate::session::Session;
use crate::worker::Shared;

/// A cluster that is not whole after this time does not heal: rebuilding takes seconds, on a busy machine a minute.
const HEALTHY_TIMEOUT: Duration = Duration::from_secs(150);
/// How often we ask.
const HEALTHY_PERIOD: Duration = Duration::from_millis(300);
/// So many answers in a row must say that all is well: a table that is balanced again is filled once more.
const HEALTHY_COUNT: usize = 3;

/// A fault that happened.
#[derive(Clone, Debug)]
pub struct Injection {
    /// What.
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
    /// Asks how it is.
    pub session: Arc<Session>,
    /// Chooses victims.
    pub random: Random,
    /// What a whole cluster has.
    pub whole: Complement,
    /// The clock of the run.
    pub shared: Arc<Shared>,
}

impl Injector<'_> {
    /// Performs a fault and waits until all is well again. An error means that it is not.
    pub async fn inject(&self, planned: Planned) -> Result<Injection> {
        env::time::sleep(Duration::from_millis(planned.calm_ms)).await;
        let status = self.session.cluster.fetch_status().await?;
        let victims = fault::victims(planned.fault, &status, &self.random);
        if victims.is_empty() {
            return Err(Error::unavailable(format!(
                "nobody to {}: a partition has no leader",
                planned.fault
            )));
        }
        let at_ms = self.shared.now_ms();
        crate::say::say(format_args!("{at_ms} ms: {} {victims:?} for {} ms", planned.fault, planned.away_ms));
        self.perform(planned, &victims).await?;
        let undone_ms = self.shared.now_ms();
        let context = |e: Error| e.context(format!("after {} {victims:?} at {at_ms} ms", planned.fault));
        self.wait_until_whole().await.map_err(context)?;
        let heal_ms = self.shared.now_ms() - undone_ms;
        crate::say::say(format_args!(
            "{} ms: whole again, {heal_ms} ms after the end of the fault",
            self.shared.now_ms()
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
            let missing = match self.session.cluster.fetch_status().await {
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
