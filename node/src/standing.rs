//! What a node is to others: its certificate, which it renews long before the end, and whom it turns away.
//!
//! Owns: when to renew, and in which order a new certificate is stored and shown.
//! Knows nothing of: who signs it, how connections show it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use client::Cluster;
use env::Env;
use proto::certificates::{RenewCertificate, Revoked};
use tracing::{info, warn};
use types::limits::{
    CERTIFICATE_JITTER_PART, CERTIFICATE_LOOK_PERIOD, CERTIFICATE_RENEW_THIRDS, CERTIFICATE_RETRY_PAUSE_MAX,
    CERTIFICATE_RETRY_PAUSE_MIN,
};
use types::{Error, Millis, NodeId, Result};

use crate::home::Home;
use crate::platform::{Platform, Presence, Standing};

/// File in the data directory: who was turned away when the node ran last.
pub(crate) const REVOKED: &str = "revoked";

/// `Denied` when nobody accepts the node any more: it says what helps, which a failing handshake could not.
pub fn check(node: NodeId, standing: &Standing, now: Millis) -> Result<()> {
    if now < standing.expires {
        return Ok(());
    }
    let days = now.since(standing.expires) / (24 * 3600 * 1000);
    Err(Error::denied(format!(
        "the certificate of node {node} ran out {days} days ago, by the clock of this machine: have an administrator create a \
         token with `cloudsync admin token create --renew {node}`, and here run `cloudsync renew --config FILE --token TOKEN`; \
         on a node with a copy of the root partition it needs no token"
    )))
}

/// How long to wait before the certificate is to be renewed, or looked at again; `None` when it is time. `chance` spreads
/// nodes that have joined together.
fn wait(now: Millis, standing: &Standing, chance: u64) -> Option<Duration> {
    if !standing.serial.is_counted() {
        return None; // The cluster cannot revoke what it does not know.
    }
    let life = standing.expires.since(standing.issued);
    let jitter = chance % (life / CERTIFICATE_JITTER_PART).max(1);
    let due = standing.issued.plus(life / 3 * CERTIFICATE_RENEW_THIRDS + jitter);
    let left = Duration::from_millis(due.since(now));
    (!left.is_zero()).then(|| left.min(CERTIFICATE_LOOK_PERIOD))
}

/// How long to wait after an attempt that has failed: there is time for many more.
fn pause(now: Millis, standing: &Standing) -> Duration {
    let left = Duration::from_millis(standing.expires.since(now));
    (left / 100).clamp(CERTIFICATE_RETRY_PAUSE_MIN, CERTIFICATE_RETRY_PAUSE_MAX)
}

/// Renews the certificate of a node for as long as that runs.
pub struct Renewal {
    pub env: Env,
    pub node: NodeId,
    pub platform: Arc<dyn Platform>,
    pub presence: Arc<dyn Presence>,
    pub home: Arc<Home>,
    pub cluster: Arc<Cluster>,
}

impl Renewal {
    /// Runs until it is aborted.
    pub async fn run(self) {
        let chance = self.env.random.u64();
        // The same until it is certified: a request whose answer was lost gets the same answer.
        let mut asked = None;
        loop {
            let standing = self.presence.standing();
            let now = self.env.clock.wall();
            if let Some(time) = wait(now, &standing, chance) {
                env::time::sleep(time).await;
                continue;
            }
            match self.renew(&mut asked).await {
                Ok(()) => {
                    asked = None;
                    info!(serial = %self.presence.standing().serial, "the certificate of this node was renewed");
                }
                Err(e) => {
                    let hours = standing.expires.since(now) / 3_600_000;
                    warn!(
                        "the certificate of this node could not be renewed, it runs out in {hours} hours: {e}"
                    );
                    env::time::sleep(pause(now, &standing)).await;
                }
            }
        }
    }

    /// Gets a certificate for a new key, stores both, and shows it: in this order, so that a crash finds one that others
    /// accept.
    async fn renew(&self, asked: &mut Option<(String, String)>) -> Result<()> {
        let (key, request) = match asked.take() {
            Some(before) => before,
            None => self.platform.request()?,
        };
        *asked = Some((key.clone(), request.clone()));
        let question = RenewCertificate { node: self.node, request, secret: None };
        let certificate = self.cluster.ask_root(&question).await?.certificate;
        let credentials = self.platform.credentials(&key, &certificate)?;
        let (home, stored) = (self.home.clone(), credentials.clone());
        env::task::blocking(move || home.renew(stored)).await?;
        self.presence.renew(&credentials)
    }
}

/// Whom a node turns away, as the cluster has last told it; remembered over a restart, so that nobody comes in before the
/// first heartbeat.
pub struct Refusals {
    home: Arc<Home>,
    presence: Arc<dyn Presence>,
    version: AtomicU64,
}

impl Refusals {
    /// Turns away whom the node has turned away before.
    pub fn load(home: &Arc<Home>, presence: &Arc<dyn Presence>) -> Result<Self> {
        let before: Revoked = if home.has(REVOKED) { home.load(REVOKED)? } else { Revoked::default() };
        let refusals = Self { home: home.clone(), presence: presence.clone(), version: AtomicU64::new(0) };
        refusals.show(&before);
        Ok(refusals)
    }

    /// The version of the list that counts here.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Takes over a list that the cluster has told.
    pub async fn hear(&self, list: Revoked) {
        self.show(&list);
        let home = self.home.clone();
        if let Err(e) = env::task::blocking(move || home.save(REVOKED, &list)).await {
            warn!("the list of revoked certificates could not be saved: {e}");
        }
    }

    fn show(&self, list: &Revoked) {
        self.presence.refuse(list.until.keys().copied().collect());
        self.version.store(list.version, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use types::limits::NODE_CERTIFICATE_VALIDITY;
    use types::{ErrorKind, Serial};

    use super::*;

    const DAY_MS: u64 = 24 * 3_600_000;

    fn standing(serial: Serial) -> Standing {
        let issued = Millis(1000);
        let expires = issued.plus(NODE_CERTIFICATE_VALIDITY.as_millis() as u64);
        Standing { serial, issued, expires }
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life_and_not_by_all_at_once() {
        let counted = standing(Serial(7));
        let at = |days_x10: u64, chance| wait(Millis(1000 + days_x10 * DAY_MS / 10), &counted, chance);
        let hour = Some(CERTIFICATE_LOOK_PERIOD);
        assert_eq!([0, 300, 599].map(|day| at(day, 0)), [hour; 3]);
        assert_eq!(wait(Millis(1000 + 60 * DAY_MS - 5000), &counted, 0), Some(Duration::from_secs(5)));
        assert_eq!([600, 700, 899, 2000].map(|day| at(day, 0)), [None; 4]);
        // A twentieth of 90 days later at most.
        let latest = DAY_MS * 45 / 10 - 1;
        assert_eq!([600, 644].map(|day| at(day, latest).is_some()), [true; 2]);
        assert!((0..100).map(|n| n * DAY_MS / 10).all(|chance| at(645, chance).is_none()));
        assert_eq!(
            wait(Millis(1001), &standing(Serial::uncounted(1)), 0),
            None,
            "the cluster does not know it"
        );
    }

    #[test]
    fn attempts_are_made_more_often_towards_the_end() {
        let standing = standing(Serial(7));
        let left = |ms: u64| pause(Millis(standing.expires.0 - ms), &standing);
        assert_eq!(left(30 * DAY_MS), CERTIFICATE_RETRY_PAUSE_MAX);
        assert_eq!(left(1_000_000), Duration::from_secs(10));
        assert_eq!(left(1), CERTIFICATE_RETRY_PAUSE_MIN);
        assert_eq!(pause(Millis(u64::MAX), &standing), CERTIFICATE_RETRY_PAUSE_MIN);
    }

    #[test]
    fn who_comes_too_late_is_told_what_helps() {
        let standing = standing(Serial(7));
        assert_eq!(check(NodeId(5), &standing, Millis(standing.expires.0 - 1)), Ok(()));
        let error = check(NodeId(5), &standing, standing.expires.plus(3 * DAY_MS)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        for words in
            ["ran out 3 days ago", "token create --renew 5`", "`cloudsync renew --config FILE --token TOKEN`"]
        {
            assert!(error.message().contains(words), "{error}");
        }
    }
}
