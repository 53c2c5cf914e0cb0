//! The metadata of a node: opens its store, and opens it again, or a new one, when it cannot go on with it.
//!
//! What a replica has promised stands in its log. A log that is not what the node left, or that others know more of
//! than it does, must not vote: the node registers a new store, which the others fill. States are only what follows
//! from the log: damaged ones are begun anew, and what the log has no more of them comes from the others.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use client::Cluster;
use env::Env;
use env::task::JoinHandle;
use env::time::sleep;
use metaserver::{Metaserver, Signer, Unlocking};
use proto::cluster::RegisterStore;
use proto::command::LEVEL_NEWEST;
use proto::map::ClusterMap;
use raft::{Host, HostConfig, LogTail, OpenError, Trouble};
use tokio::sync::watch;
use tracing::{error, info, warn};
use types::limits::{LEADER_STAY, STORE_MARK_PERIOD, STORE_REOPEN_PAUSE};
use types::{Error, ErrorKind, ReplicaId, Result, StoreUuid};

use crate::config::NodeConfig;
use crate::home::{Home, Membership};
use crate::links::RaftLinks;
use crate::platform::Platform;
use crate::service::NodeService;
use crate::store::{Remedy, StoreRecord, replace};

/// Keeps a node's metaserver running.
pub struct MetaKeeper {
    pub env: Env,
    pub platform: Arc<dyn Platform>,
    pub home: Arc<Home>,
    pub config: NodeConfig,
    pub membership: Membership,
    pub unlocking: Unlocking,
    /// Where requests find the metaserver.
    pub service: Arc<NodeService>,
    /// To register a store, and for Raft's messages.
    pub cluster: Arc<Cluster>,
    pub map: watch::Sender<Arc<ClusterMap>>,
    /// Held while a store is open: whoever stops the node waits for it.
    pub open: tokio::sync::Mutex<()>,
    pub record: Mutex<StoreRecord>,
    pub keeping: OnceLock<JoinHandle<()>>,
}

/// Why a store was not opened.
enum Failure {
    /// Another one, or the same in another way, may do.
    Store(OpenError),
    /// The same may do later.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Failure::Other(e)
    }
}

impl MetaKeeper {
    /// Opens the store for the first time. Returns when the metaserver runs, or when it is known that its store must be
    /// replaced, which goes on in the background.
    pub async fn start(self: Arc<Self>) -> Result<()> {
        if self.record().number.is_some() {
            match self.open().await {
                Ok(()) => {}
                Err(Failure::Other(e)) => return Err(e),
                Err(Failure::Store(e)) => self.remedy(&e)?,
            }
        }
        let keeping = env::task::spawn(self.clone().keep());
        let _ = self.keeping.set(keeping);
        Ok(())
    }

    /// Ends it: closes the store, if it is open, so that the next start has little to repeat.
    pub async fn stop(&self) -> Result<()> {
        let _open = self.open.lock().await;
        // Not while it opens a store: the lock is ours.
        self.keeping.get().into_iter().for_each(JoinHandle::abort);
        if let Some(server) = self.service.meta() {
            server.shutdown().await;
            self.remember(server.stamp().mark);
        }
        Ok(())
    }

    /// Runs until the node stops.
    async fn keep(self: Arc<Self>) {
        loop {
            if let Some(server) = self.service.meta() {
                let trouble = self.watch(&server).await;
                self.close(server, trouble.error()).await;
                let remedied = match &trouble {
                    Trouble::Refused(e) => self.remedy(&OpenError::Log(e.clone())),
                    Trouble::Log(e) if e.kind() == ErrorKind::Corrupt => {
                        self.remedy(&OpenError::Log(e.clone()))
                    }
                    Trouble::Log(_) => Ok(()),
                    Trouble::State(e) => self.remedy(&OpenError::State(e.clone())),
                };
                if let Err(e) = remedied {
                    return self.give_up(e);
                }
            }
            sleep(STORE_REOPEN_PAUSE).await;
            match self.open().await {
                Ok(()) => {}
                Err(Failure::Other(e)) => self.say("cannot be opened, trying again", &e),
                Err(Failure::Store(e)) => {
                    if let Err(e) = self.remedy(&e) {
                        return self.give_up(e);
                    }
                }
            }
        }
    }

    /// Returns when the store cannot go on. Meanwhile the node remembers how far it has come.
    async fn watch(&self, server: &Metaserver) -> Trouble {
        let mut trouble = server.trouble();
        loop {
            let found = env::time::timeout(STORE_MARK_PERIOD, trouble.wait_for(Option::is_some)).await;
            match found {
                Ok(Ok(found)) => return found.clone().expect("waited for"),
                Ok(Err(_)) => return Trouble::Log(Error::unavailable("its host has ended")),
                Err(_) => self.remember(server.stamp().mark),
            }
        }
    }

    fn remember(&self, mark: u64) {
        let record = StoreRecord { mark, ..self.record() };
        if record != self.record()
            && let Err(e) = self.save(record)
        {
            warn!("how far the metadata store has come is not saved: {e}");
        }
    }

    async fn close(&self, server: Arc<Metaserver>, why: &Error) {
        let _open = self.open.lock().await;
        self.say("is closed", why);
        self.service.set_meta(None);
        server.retire();
        server.shutdown().await;
    }

    fn say(&self, what: &str, why: &Error) {
        self.service.set_store_problem(format!("{what}: {}", why.message()));
        error!(store = %self.record().uuid, "the metadata store {what}: {why}");
    }

    fn give_up(&self, e: Error) {
        self.say("is lost", &e);
    }

    /// Decides how to go on after a store could not be opened, and writes it down.
    fn remedy(&self, e: &OpenError) -> Result<()> {
        let record = self.record();
        let (why, remedy) = match e {
            OpenError::Other(e) => (e, Remedy::Reopen),
            OpenError::Log(e) => (e, replace(&record, self.has_others(), e)?),
            // The log may have it all; if it does not, only another node has the rest.
            OpenError::State(e) if record.fresh && !self.has_others() => (e, replace(&record, false, e)?),
            OpenError::State(e) => {
                self.say("begins its states anew", e);
                return self.save(StoreRecord { states: record.states + 1, fresh: true, ..record });
            }
        };
        if remedy == Remedy::Replace {
            let new = record.replaced_by(StoreUuid(self.env.random.bytes()));
            self.say(&format!("is given up, the others fill store {}", new.uuid), why);
            self.save(new)?;
        }
        Ok(())
    }

    /// True when others vote, too, wherever this node does.
    fn has_others(&self) -> bool {
        let map = self.map.borrow();
        map.partitions.iter().all(|partition| partition.voters != [self.membership.node])
    }

    /// Opens the store as the node left it and serves with it.
    async fn open(&self) -> Result<(), Failure> {
        let _open = self.open.lock().await;
        let replica = self.registered().await?;
        let record = self.record();
        let start = record.next_start(self.env.random.u64());
        let state = self.platform.open_kv(&record.state_dir(&self.home)).map_err(damaged_state)?;
        let network = Arc::new(RaftLinks::new(self.cluster.clone()));
        let config = HostConfig::new(replica, start, record.last(), record.log_dir(&self.home));
        let config = HostConfig {
            fresh_state: record.fresh,
            has_others: self.has_others(),
            log_tail: LogTail { count: self.config.log_tail_count, ..config.log_tail },
            ..config
        };
        let host = Host::open(self.env.clone(), config, state, network).await.map_err(Failure::Store)?;
        self.save(StoreRecord { starts: start.count, ..record })?;
        let server = self.serve(host).await.map_err(damaged_state)?;
        self.save(StoreRecord { founded: true, fresh: false, ..self.record() })?;
        self.service.set_store_problem(String::new());
        self.service.set_meta(Some(server));
        info!(%replica, start = start.count, "the metadata store is open");
        Ok(())
    }

    async fn serve(&self, host: Host) -> Result<Arc<Metaserver>> {
        let signer = self.platform.clone();
        let config = metaserver::Config {
            host,
            secret: self.membership.secret.clone(),
            unlocking: self.unlocking.clone(),
            bootstrap: self.membership.bootstrap.clone().filter(|_| !self.record().founded),
            signer: Signer(Arc::new(move |authority, request, terms| signer.sign(authority, request, terms))),
            down_out: self.config.meta_down_out,
            leader_stay: LEADER_STAY,
            level: LEVEL_NEWEST,
        };
        Metaserver::start(self.env.clone(), config, self.map.clone()).await
    }

    /// The replica that the store holds, as the cluster counts it.
    async fn registered(&self) -> Result<ReplicaId> {
        let node = self.membership.node;
        if let Some(replica) = self.record().replica(node) {
            return Ok(replica);
        }
        let question = RegisterStore { node, store: self.record().uuid };
        let answer = self.cluster.ask_root(&question).await;
        let answer = answer.map_err(|e| e.context("registering a new metadata store"))?;
        self.cluster.offer_map(answer.map);
        self.save(StoreRecord { number: Some(answer.number), ..self.record() })?;
        Ok(ReplicaId::new(node, answer.number))
    }

    fn record(&self) -> StoreRecord {
        *self.lock()
    }

    fn save(&self, record: StoreRecord) -> Result<()> {
        let mut kept = self.lock();
        record.save(&self.home)?;
        *kept = record;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, StoreRecord> {
        self.record.lock().expect("no panic while it is held")
    }
}

fn damaged_state(e: Error) -> Failure {
    match e.kind() {
        ErrorKind::Corrupt => Failure::Store(OpenError::State(e)),
        _ => Failure::Other(e),
    }
}
