//! How this store stands to the others: what it says of itself, whom it listens to, whether it may speak at all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::time::sleep;
use serde::de::DeserializeOwned;
use tokio::sync::{oneshot, watch};
use types::limits::{HEARTBEAT_GATHER_TIME, HEARTBEAT_TIMEOUT};
use types::{Error, PartitionId, ReplicaId, Result, Stamp};

use crate::config::HostConfig;
use crate::gather::{Beat, Gathering};
use crate::log::Log;
use crate::message::{Answer, Append, Body, Envelope};
use crate::roster::Roster;
use crate::{Network, codec};

/// Why a store cannot take part any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Others know more of it than it does: it was set back, copied or replaced.
    Refused(Error),
    /// Its log cannot be written.
    Log(Error),
    /// Its states are damaged.
    State(Error),
}

impl Trouble {
    /// What is wrong.
    pub fn error(&self) -> &Error {
        match self {
            Trouble::Refused(e) | Trouble::Log(e) | Trouble::State(e) => e,
        }
    }
}

/// This store among the others.
#[derive(Debug)]
pub struct Link {
    pub roster: Roster,
    pub gathering: Gathering,
    stamp: Stamp,
    log: Arc<Log>,
    trouble: watch::Sender<Option<Trouble>>,
}

impl Link {
    pub fn new(config: &HostConfig, log: Arc<Log>, roster: Roster) -> Self {
        let stamp = Stamp { replica: config.replica, start: config.start, mark: 0 };
        Self { roster, gathering: Gathering::default(), stamp, log, trouble: watch::channel(None).0 }
    }

    /// What this store says of itself now.
    pub fn stamp(&self) -> Stamp {
        Stamp { mark: self.log.mark(), ..self.stamp }
    }

    /// Tells of the first trouble; later ones follow from it.
    pub fn report(&self, trouble: Trouble) {
        self.trouble.send_if_modified(|known| {
            let is_first = known.is_none();
            if is_first {
                tracing::error!(replica = %self.stamp.replica, "this store takes no part any more: {}", trouble.error());
                *known = Some(trouble);
            }
            is_first
        });
    }

    /// Another node does not listen to this store.
    pub fn refuse(&self, why: String) {
        self.report(Trouble::Refused(Error::denied(why)));
    }

    /// An error while this store may not speak.
    pub fn check(&self) -> Result<()> {
        match &*self.trouble.borrow() {
            None => Ok(()),
            Some(trouble) => Err(Error::unavailable(format!(
                "the metadata store of node {} takes no part: {}",
                self.stamp.replica.node(),
                trouble.error()
            ))),
        }
    }

    /// Asks another replica. `Denied` when it does not accept this store, or is not the one that is known.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        network: &dyn Network,
        target: ReplicaId,
        body: Body,
        timeout: Duration,
    ) -> Result<T> {
        self.check()?;
        let (source, known) = (self.stamp(), self.roster.newest(target.node()));
        let envelope = Envelope { source, target, known, body };
        let answer = network.send(target.node(), envelope.encode(), timeout).await?;
        match Answer::decode(&answer)? {
            Answer::Given { source, body } => {
                self.check_source(&source, target)?;
                codec::decode(&body)
            }
            Answer::Refused(why) => {
                self.refuse(why.clone());
                Err(Error::denied(why))
            }
        }
    }

    /// Sends a heartbeat of a group, together with those of others.
    pub async fn beat<T: DeserializeOwned>(
        &self,
        network: &dyn Network,
        group: PartitionId,
        target: ReplicaId,
        append: Append,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        if let Some(first) = self.gathering.add(target, Beat { group, append, answer }) {
            sleep(HEARTBEAT_GATHER_TIME).await;
            self.send_gathered(network, target, first.take()).await;
        }
        let body = answered.await.map_err(|_| Error::unavailable("the heartbeats were not sent"))??;
        codec::decode(&body)
    }

    async fn send_gathered(&self, network: &dyn Network, target: ReplicaId, beats: Vec<Beat>) {
        let mut answers = Vec::new();
        let mut appends = Vec::new();
        for Beat { group, append, answer } in beats {
            appends.push((group, append));
            answers.push((group, answer));
        }
        let asked =
            self.ask::<Vec<Option<Bytes>>>(network, target, Body::Heartbeats(appends), HEARTBEAT_TIMEOUT);
        let bodies = asked.await;
        for (at, (group, answer)) in answers.into_iter().enumerate() {
            let body = match &bodies {
                Ok(bodies) => bodies.get(at).cloned().flatten().ok_or_else(|| {
                    Error::unavailable(format!("replica {target} does not follow in partition {group} now"))
                }),
                Err(e) => Err(e.clone()),
            };
            let _ = answer.send(body); // Whoever asked may have given up.
        }
    }

    /// An answer counts only when it comes from the store that was asked.
    fn check_source(&self, source: &Stamp, target: ReplicaId) -> Result<()> {
        let refused = match source.replica == target {
            true => self.roster.meet(source)?,
            false => Some(format!("replica {target} was asked, replica {} has answered", source.replica)),
        };
        refused.map_or(Ok(()), |why| Err(Error::denied(why)))
    }

    /// Tells when there is trouble.
    pub fn trouble(&self) -> watch::Receiver<Option<Trouble>> {
        self.trouble.subscribe()
    }
}
