//! Keeps the disks of a node: looks at their directories, does what `judge` says, and tells the cluster.
//!
//! Owns: what runs at the same time, and what is remembered when. A disk that hangs keeps nobody but itself.
//! Knows nothing of: why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};

use blockserver::{Disks, report_of};
use client::Cluster;
use env::Env;
use env::task::JoinSet;
use env::time::Duration;
use proto::cluster::DiskReport;
use proto::map::DiskState;
use segments::{DiskConfig, DiskStore, is_slow};
use tokio::sync::Notify;
use tracing::{info, warn};
use types::limits::{DISK_LOOK_PATIENCE, DISK_LOOK_PERIOD, DISK_OPEN_PATIENCE};
use types::{DiskId, DiskUuid, Error, Result};

use super::judge::{Away, Facts, Finding, Judgement, judge};
use super::record::Record;
use super::spot::{Spot, Stage};
use crate::home::{Home, Membership};
use crate::platform::Platform;

/// What a keeper needs.
#[derive(Clone)]
pub struct Duties {
    /// Files and randomness.
    pub env: Env,
    /// Opens the indexes of disks.
    pub platform: Arc<dyn Platform>,
    /// Where it remembers.
    pub home: Arc<Home>,
    /// Whose disks these are.
    pub membership: Membership,
    /// Gives out ids, and says what was removed.
    pub cluster: Arc<Cluster>,
    /// The directories of the configuration.
    pub configured: Vec<PathBuf>,
}

/// An open disk; its id and what it says of itself, when it has an id.
type Opened = (Arc<DiskStore>, Option<(DiskId, DiskReport)>);

/// Keeps the disks of a node.
pub struct DiskKeeper {
    pub(super) duties: Duties,
    pub(super) disks: Arc<Disks>,
    pub(super) state: Mutex<State>,
    /// One writes the record at a time, so that the newest one stays.
    saving: tokio::sync::Mutex<()>,
    /// Somebody wants a look before it is due.
    pub(super) wanted: Notify,
    /// New disks are being named.
    pub(super) is_naming: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) record: Record,
    pub(super) spots: BTreeMap<PathBuf, Spot>,
    /// What was said last, for the log and for heartbeats.
    problems: Vec<String>,
    away: BTreeMap<DiskId, Away>,
}

impl State {
    /// What was said of a directory last, beside what was said of its disk.
    pub(super) fn problem_in(&self, path: &Path) -> Option<String> {
        let start = format!("{}: ", path.display());
        self.problems.iter().find(|problem| problem.starts_with(&start)).cloned()
    }
}

impl std::fmt::Debug for DiskKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskKeeper").field("disks", &self.disks.open().keys()).finish()
    }
}

impl DiskKeeper {
    /// Remembers the disks of a node.
    pub async fn new(duties: Duties) -> Result<Arc<Self>> {
        let home = duties.home.clone();
        let record = env::task::blocking(move || Record::load(&home)).await?;
        let state = Mutex::new(State { record, ..State::default() });
        let (disks, saving, wanted, is_naming) = Default::default();
        Ok(Arc::new(Self { duties, disks, state, saving, wanted, is_naming }))
    }

    /// The disks that are open, and what is said of the others.
    pub fn disks(&self) -> &Arc<Disks> {
        &self.disks
    }

    /// What is wrong beside what is said of each disk.
    pub fn problems(&self) -> Vec<String> {
        self.state().problems.clone()
    }

    /// Keeps them for as long as the node runs.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.round().await;
            tokio::select! {
                () = env::time::sleep(DISK_LOOK_PERIOD) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    /// Waits until every disk that is there is open, but not for long: the others serve without those that take their time.
    pub async fn wait_a_while(&self) {
        let deadline = env::time::now() + DISK_OPEN_PATIENCE;
        while env::time::now() < deadline && !self.is_settled() {
            env::time::sleep(DISK_LOOK_PATIENCE / 20).await;
        }
    }

    fn is_settled(&self) -> bool {
        let (state, now) = (self.state(), env::time::now());
        let places = state.record.places(&self.duties.configured);
        let is_done = |path| match state.spots.get(path) {
            Some(spot) => {
                spot.finding(now).is_some() && !matches!(spot.stage, Stage::Opening | Stage::New(_))
            }
            None => false,
        };
        // What is found is judged before anything is said of it.
        places.iter().all(is_done) && self.judge(&state).is_idle()
    }

    async fn round(self: &Arc<Self>) {
        self.look().await;
        self.compare();
        let judgement = {
            // Nobody opens or closes a disk between the judgement and what is said.
            let mut state = self.state();
            let mut judgement = self.judge(&state);
            for path in std::mem::take(&mut judgement.close) {
                self.close(&mut state, &path);
            }
            self.say_silent(&state);
            self.tell(&mut state, &judgement);
            judgement
        };
        self.perform(judgement).await;
    }

    /// Which of the open disks are much slower than the others.
    fn compare(&self) {
        let reports = self.disks.reports();
        for (id, store) in self.disks.open() {
            let Some(own) = reports.get(&id) else { continue };
            let peers = reports.iter().filter(|(peer, report)| **peer != id && report.read_micros > 0);
            let peers: Vec<u64> = peers.map(|(_, report)| report.read_micros).collect();
            store.set_slow(is_slow(own.read_micros, &peers));
        }
    }

    fn judge(&self, state: &State) -> Judgement {
        let now = env::time::now();
        let finding = |(path, spot): (&PathBuf, &Spot)| Some((path.clone(), spot.finding(now)?));
        let used = |(path, spot): (&PathBuf, &Spot)| Some((path.clone(), spot.used(now)?));
        judge(&Facts {
            cluster: self.duties.membership.cluster,
            node: self.duties.membership.node,
            record: &state.record,
            findings: &state.spots.iter().filter_map(finding).collect(),
            uses: &state.spots.iter().filter_map(used).collect(),
            map: &self.duties.cluster.map(),
        })
    }

    /// Looks at all directories at once. Those that do not answer soon are not waited for.
    async fn look(self: &Arc<Self>) {
        let mut looks = JoinSet::new();
        for (path, number) in self.begin_looks() {
            let keeper = self.clone();
            looks.spawn(async move { keeper.look_at(path, number).await });
        }
        let all = async { while looks.join_next().await.is_some() {} };
        let _ = env::time::timeout(DISK_LOOK_PATIENCE, all).await;
        // Dropping the set would abort them, and nobody would look at these directories again.
        env::task::spawn(async move { while looks.join_next().await.is_some() {} });
    }

    fn begin_looks(&self) -> Vec<(PathBuf, u64)> {
        let (mut state, now) = (self.state(), env::time::now());
        let places = state.record.places(&self.duties.configured);
        let State { spots, .. } = &mut *state;
        spots.retain(|path, spot| {
            places.contains(path) || !matches!(spot.stage, Stage::Idle | Stage::Failed { .. })
        });
        let mut begin = |path: PathBuf| {
            let number = spots.entry(path.clone()).or_default().begin_look(now)?;
            Some((path, number))
        };
        places.into_iter().filter_map(&mut begin).collect()
    }

    async fn look_at(&self, path: PathBuf, number: u64) {
        let open = match self.state().spots.get(&path).map(|spot| &spot.stage) {
            Some(Stage::Open(store, id)) => Some((store.clone(), *id)),
            _ => None,
        };
        let at = path.clone();
        let (store, id) = open.unzip();
        let looked = self.duties.env.disk.submit(move |disk| {
            let report = store.map(|store| report_of(&store, at.display().to_string()));
            Ok((find(disk, &at), report))
        });
        let (finding, report) = match looked.await {
            Ok(looked) => looked,
            Err(e) => (Finding::Unusable(e.message().to_owned()), None),
        };
        report.zip(id).into_iter().for_each(|(report, id)| self.disks.set_report(id, report));
        if let Some(spot) = self.state().spots.get_mut(&path) {
            spot.end_look(number, finding);
        }
    }

    async fn perform(self: &Arc<Self>, judgement: Judgement) {
        let Judgement { open, format, take, forget, .. } = judgement;
        if !forget.is_empty() {
            forget.iter().for_each(|uuid| self.forget(uuid));
            self.save().await;
        }
        let open = open.into_iter().map(|(path, uuid)| (path, Some(uuid)));
        for (path, uuid) in open.chain(format.into_iter().map(|path| (path, None))) {
            let pause = self.begin_open(&path);
            env::task::spawn(self.clone().open(path, uuid, pause));
        }
        for (path, identity) in take {
            let pause = self.begin_open(&path);
            env::task::spawn(self.clone().take(path, identity, pause));
        }
        self.begin_naming();
    }

    fn forget(&self, uuid: &DiskUuid) {
        let known = self.state().record.disks.remove(uuid);
        if let Some((id, _)) = known.and_then(|known| known.id) {
            info!(disk = %id, "the cluster has removed this disk, or given it to another node: it is forgotten");
            drop_later(self.disks.forget(id));
        }
    }

    fn begin_open(&self, path: &Path) -> Duration {
        self.state().spots.entry(path.to_owned()).or_default().begin_open()
    }

    /// What is said of disks that are away, and of the rest; the log gets what is new.
    fn tell(&self, said: &mut State, judgement: &Judgement) {
        let Judgement { away, problems, .. } = judgement;
        for (id, Away { state, why, path }) in away {
            drop_later(self.disks.set_away(*id, *state, why.clone(), path.display().to_string()));
        }
        for (id, Away { state, why, path }) in
            away.iter().filter(|(id, away)| said.away.get(id) != Some(away))
        {
            warn!(disk = %id, path = %path.display(), "{}: {why}", state.name());
        }
        for problem in problems.iter().filter(|problem| !said.problems.contains(problem)) {
            warn!("{problem}");
        }
        (said.away, said.problems) = (away.clone(), problems.clone());
    }

    /// Disks that are open and do not answer: whether anything is left of them nobody knows.
    fn say_silent(&self, state: &State) {
        let now = env::time::now();
        let mut reports = self.disks.reports();
        for (path, spot) in state.spots.iter().filter(|(_, spot)| spot.is_silent(now)) {
            let Stage::Open(_, id) = &spot.stage else { continue };
            let Some(report) = reports.remove(id) else { continue };
            let (problem, path) = ("does not answer".to_owned(), path.display().to_string());
            self.disks.set_report(*id, DiskReport { state: DiskState::Failed, problem, path, ..report });
        }
    }

    /// Closes the disk in a directory. Requests that use it end as they end.
    fn close(&self, state: &mut State, path: &Path) {
        let stage = state.spots.get_mut(path).map(|spot| std::mem::take(&mut spot.stage));
        if let Some(Stage::Open(store, id)) = stage {
            warn!(disk = %id, path = %path.display(), "closed: it is not there any more");
            let (why, path) = ("is not there any more".to_owned(), path.display().to_string());
            drop_later(self.disks.set_away(id, DiskState::Missing, why, path));
            drop_later(Some(store));
        }
    }

    /// Opens the disk in a directory, or formats that, and lets it serve once it has an id.
    async fn open(self: Arc<Self>, path: PathBuf, uuid: Option<DiskUuid>, pause: Duration) {
        let opened = self.try_open(&path, uuid).await;
        let mut state = self.state();
        match opened {
            Ok((store, Some((id, report)))) => self.serve(&mut state, &path, store, id, report),
            Ok((store, None)) => state.spots.entry(path).or_default().enter(Stage::New(store)),
            Err(e) => {
                warn!(path = %path.display(), "the disk cannot be opened: {e}");
                state.spots.entry(path).or_default().fail(env::time::now(), e.message().to_owned(), pause);
            }
        }
        self.wanted.notify_one();
    }

    async fn try_open(&self, path: &Path, uuid: Option<DiskUuid>) -> Result<Opened> {
        let Duties { env, platform, membership, .. } = self.duties.clone();
        let config = DiskConfig::new(path, membership.cluster, membership.node, uuid);
        let at = path.display().to_string();
        let open = move || {
            let store = DiskStore::open(&env, config, move |path| platform.open_kv(path))?;
            let named = store.id().map(|id| (id, report_of(&store, at)));
            Ok((store, named))
        };
        let (store, named) = env::task::blocking(open).await?;
        {
            let mut state = self.state();
            state.record.see(store.uuid(), path);
            if let Some((id, _)) = &named {
                state.record.name(store.uuid(), *id, self.duties.cluster.map().epoch);
            }
        }
        self.save().await;
        Ok((store, named))
    }

    /// A disk serves from now on.
    pub(super) fn serve(
        &self,
        state: &mut State,
        path: &Path,
        store: Arc<DiskStore>,
        id: DiskId,
        report: DiskReport,
    ) {
        info!(disk = %id, path = %path.display(), "open");
        self.disks.insert(id, store.clone(), report);
        state.spots.entry(path.to_owned()).or_default().enter(Stage::Open(store, id));
    }

    /// Writes down what is remembered. A failure is told and otherwise borne: the disks say themselves who they are.
    pub(super) async fn save(&self) {
        let _alone = self.saving.lock().await;
        let (home, record) = (self.duties.home.clone(), self.state().record.clone());
        if let Err(e) = env::task::blocking(move || record.save(&home)).await {
            warn!("it could not be written down which disks this node has: {e}");
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it is held")
    }
}

impl Judgement {
    /// Nothing is to be done.
    fn is_idle(&self) -> bool {
        self.open.is_empty() && self.format.is_empty() && self.take.is_empty() && self.close.is_empty()
    }
}

/// What is in a directory.
pub(super) fn find(disk: &dyn env::Disk, path: &Path) -> Finding {
    match disk.metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Finding::Absent,
        Err(e) => return Finding::Unusable(Error::from(e).message().to_owned()),
        Ok(_) => {}
    }
    match segments::identify(disk, path) {
        Ok(Some(identity)) => Finding::Disk(identity),
        Ok(None) => Finding::Empty,
        Err(e) => Finding::Unusable(e.message().to_owned()),
    }
}

/// Dropping a disk waits for what it is doing, which may take as long as it hangs.
fn drop_later(store: Option<Arc<DiskStore>>) {
    if let Some(store) = store {
        env::task::spawn(async move {
            let _ = env::task::blocking(move || {
                drop(store);
                Ok(())
            })
            .await;
        });
    }
}
