//! From which state a question about a namespace is answered, and who may see it (I-LIN, I-AUTH).
//!
//! An answer is read from one snapshot: the position it carries is the one it shows, whatever is applied meanwhile.

use std::sync::Arc;
use std::time::Duration;

use access::{Action, authorize};
use env::time::Instant;
use net::Caller;
use proto::namespace::{Freshness, View};
use raft::{Group, State};
use tokio::sync::watch;
use tree::namespace::{self, Head};
use types::limits::READ_CATCH_UP_MS_MAX;
use types::{Error, ErrorKind, Identity, NamespaceId, PartitionId, Result, Seq};

use super::Metaserver;

/// What a look at a state showed.
enum Look<T> {
    /// What the question found, or why the caller may not ask it.
    Answered(Result<T>),
    /// The namespace is not there, or not as far as it has to be; another replica may have more.
    Missing(Error),
}

impl Metaserver {
    /// Asks `question` of a state that is as fresh as `view` says, if this replica has it and the caller may see it.
    /// The state comes with the position it is at.
    pub(super) async fn ask_namespace<T: Send + 'static>(
        &self,
        caller: &Caller,
        view: View,
        question: impl Fn(&State, Seq) -> Result<T> + Send + Sync + 'static,
    ) -> Result<T> {
        let group = self.group(self.partition_of(view.namespace))?;
        let question = Arc::new(question);
        let mut confirmed = view.freshness == Freshness::Linearizable;
        let wanted = match view.freshness {
            Freshness::Linearizable | Freshness::Stale => Seq(0),
            Freshness::AtLeast(seq) => seq,
        };
        if confirmed {
            group.linearize().await?;
        }
        let deadline = env::time::now() + Duration::from_millis(READ_CATCH_UP_MS_MAX);
        let mut applied = group.watch_applied();
        loop {
            applied.borrow_and_update();
            let (who, namespace, question) = (caller.identity.clone(), view.namespace, question.clone());
            let look =
                self.read(&group, move |state| look(state, &who, namespace, wanted, &*question)).await?;
            if confirmed {
                confirm(&group).await?;
            }
            let missing = match look {
                Look::Answered(answer) => return answer,
                Look::Missing(missing) => missing,
            };
            if confirmed {
                return Err(missing);
            }
            // Only a leader that was just confirmed can say that something does not exist.
            if group.is_leader() {
                group.linearize().await?;
                confirmed = true;
            } else if !self.wait_for_change(&mut applied, deadline).await? {
                return Err(Error::stale_epoch(format!("node {} is behind: ask another voter", self.node)));
            }
        }
    }

    /// Has a worker thread read the newest state of a partition; only its leader can.
    pub(super) async fn read_newest<T: Send + 'static>(
        &self,
        group: &Arc<Group>,
        read: impl FnOnce(&State) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        group.linearize().await?;
        let found = self.read(group, |state| answer(read(state))).await?;
        confirm(group).await?;
        found
    }

    /// Has a worker thread read one snapshot of a partition, which is held no longer than that takes.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        group: &Arc<Group>,
        read: impl FnOnce(&State) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let group = group.clone();
        self.readers.run(move || group.read_snapshot(|state, _| read(state))).await
    }

    /// Waits until something more is applied here; false when the time is up before. `StaleEpoch` when this replica has
    /// stopped for good.
    pub(super) async fn wait_for_change(
        &self,
        applied: &mut watch::Receiver<u64>,
        deadline: Instant,
    ) -> Result<bool> {
        match env::time::timeout_at(deadline, applied.changed()).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(_)) => Err(self.stopped()),
            Err(_) => Ok(false),
        }
    }

    /// A replica that applies nothing any more keeps nobody waiting.
    pub(super) fn stopped(&self) -> Error {
        Error::stale_epoch(format!("the replica on node {} has stopped: ask another voter", self.node))
    }

    pub(super) fn partition_of(&self, namespace: NamespaceId) -> PartitionId {
        self.map.borrow().namespace_partition(namespace)
    }
}

/// A leader that read for long, or whose machine was suspended meanwhile, makes sure that it still leads.
async fn confirm(group: &Group) -> Result<()> {
    if group.still_leader() { Ok(()) } else { group.linearize().await.map(|_| ()) }
}

fn look<T>(
    state: &State,
    who: &Identity,
    namespace: NamespaceId,
    wanted: Seq,
    question: &dyn Fn(&State, Seq) -> Result<T>,
) -> Result<Look<T>> {
    let Head { owner, seq, .. } = match answer(namespace::head(state, namespace))? {
        Ok(found) => found,
        Err(e) => return Ok(Look::Missing(e)),
    };
    // Before anything is said about the namespace, its position included (I-AUTH).
    if let Err(denied) = authorize(who, Action::UseNamespace { owner: &owner }) {
        return Ok(Look::Answered(Err(denied)));
    }
    if seq < wanted {
        return Ok(Look::Missing(Error::invalid(format!(
            "position {wanted} is ahead of namespace {namespace}, which is at {seq}"
        ))));
    }
    Ok(Look::Answered(answer(question(state, seq))?))
}

/// What a state says, errors included, unless it is damaged: that is no answer.
fn answer<T>(found: Result<T>) -> Result<Result<T>> {
    match found {
        Err(e) if e.kind() == ErrorKind::Corrupt => Err(e),
        answer => Ok(answer),
    }
}
