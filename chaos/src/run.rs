//! One run: a cluster, clients, faults, and the verdicts at the end.

use std::path::Path;
use std::time::Duration;

use client::CredentialFile;
use env::task::JoinHandle;
use env::time::Instant;
use env::{Env, Random};
use net::ClientConfig;
use oracle::{History, Invariant, Session, Verdict, Workload};
use tokio::sync::watch;
use types::{Error, NamespaceName, Result};

use crate::cluster::Victim;
use crate::fault::{self, Planned};
use crate::inject::{Injection, Injector};
use crate::report::Report;

/// Clients at the same time.
const CLIENT_COUNT: usize = 6;
/// Where they work.
const NAMESPACE: &str = "home";
/// How long requests of most clients may take: longer than an election, shorter than the patience of a person.
const PATIENT: Duration = Duration::from_secs(20);
/// Others give up before there is a new leader: only they see outcomes that are unknown.
const IMPATIENT: Duration = Duration::from_millis(1_500);
/// What an operation may take beyond the deadlines of its requests, on a machine that is busy with everything else.
const GRACE: Duration = Duration::from_secs(10);
/// Quiet at the end: what is written here must survive as well.
const LAST_CALM: Duration = Duration::from_secs(2);
/// Bytes of chunks that are asked of all nodes at the end.
const SERVED_BYTES_MAX: u64 = 256 << 20;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides the workload and the faults.
    pub seed: u64,
    /// Nodes of the cluster.
    pub node_count: u16,
    /// When to stop breaking things.
    pub until: Until,
}

/// How long a run is.
#[derive(Clone, Debug)]
pub enum Until {
    /// Random faults for this long.
    Time(Duration),
    /// Exactly these faults, in this order.
    Faults(Vec<Planned>),
}

/// Runs a plan with its files in `dir`.
pub async fn run(env: &Env, plan: &Plan, dir: &Path) -> Result<Report> {
    crate::say::say(format_args!("seed {}: starting {} nodes", plan.seed, plan.node_count));
    let cluster = Victim::start(env, dir, plan.node_count).await?;
    let started = env::time::now();
    let mut sessions = Vec::new();
    for number in 0..CLIENT_COUNT {
        sessions.push(open(env, &cluster, if number % 3 == 2 { IMPATIENT } else { PATIENT }).await?);
    }
    let injector = Injector {
        cluster: &cluster,
        view: open(env, &cluster, PATIENT).await?.cluster,
        random: Random::seeded(plan.seed),
        whole: cluster.layout()?.complement(),
        started,
    };
    let clients = Clients::start(sessions, plan.seed, started);
    let (injections, broken) = inject_all(&injector, plan).await;
    env::time::sleep(LAST_CALM).await;
    let history = clients.end().await?;
    crate::say::say(format_args!("{} ms: clients stopped, looking at everything", injector.now_ms()));
    let survey = oracle::survey(&open(env, &cluster, PATIENT).await?, SERVED_BYTES_MAX).await;
    let mut verdicts = oracle::check(&history, &survey);
    let mut healed = Verdict::new(Invariant::Heal, "the cluster is whole after every fault");
    healed.exercised = (injections.len() + broken.len()) as u64;
    healed.violations = broken;
    let mut processes = Verdict::new(Invariant::Processes, "no process ended or panicked on its own");
    processes.exercised = plan.node_count.into();
    processes.violations = [cluster.ended()?, cluster.panics()?].concat();
    verdicts.extend([healed, processes]);
    verdicts.sort_by_key(|verdict| verdict.invariant);
    Ok(Report::new(plan.seed, verdicts, injections, &history))
}

/// A client with connections of its own, like the command line.
async fn open(env: &Env, cluster: &Victim, timeout: Duration) -> Result<Session> {
    let file = CredentialFile::load(&*env.disk, &cluster.credentials())?;
    let config = ClientConfig { quic_connections: 1, tcp_connections: 1 };
    let view = file.connect(&Session::env(env), config, timeout).await?.cluster;
    Session::new(view, &NamespaceName::parse(NAMESPACE)?).await
}

/// The clients while they work. They stop when this is dropped.
struct Clients {
    work: JoinHandle<Result<History>>,
    stop: watch::Sender<bool>,
}

impl Clients {
    fn start(sessions: Vec<Session>, seed: u64, started: Instant) -> Self {
        let (stop, stopped) = watch::channel(false);
        let work = async move {
            let workload = Workload { grace: GRACE, ..Workload::default() };
            oracle::run(sessions, &workload, &Random::seeded(seed), started, stopped).await
        };
        Self { work: env::task::spawn(work), stop }
    }

    async fn end(self) -> Result<History> {
        let _ = self.stop.send(true); // If they are gone already, the next line says why.
        self.work.await.map_err(|e| Error::internal(format!("the clients failed: {e}")))?
    }
}

/// Performs the faults of the plan; stops at the first that does not heal, because later effects could not be told from
/// its own.
async fn inject_all(injector: &Injector<'_>, plan: &Plan) -> (Vec<Injection>, Vec<String>) {
    let mut injections = Vec::new();
    let mut drawn = 0;
    loop {
        let next = match &plan.until {
            Until::Faults(faults) => faults.get(drawn).copied(),
            Until::Time(time) => (injector.started.elapsed() < *time).then(|| fault::draw(&injector.random)),
        };
        let Some(planned) = next else { return (injections, Vec::new()) };
        drawn += 1;
        match injector.inject(planned).await {
            Ok(injection) => injections.push(injection),
            Err(e) => return (injections, vec![e.to_string()]),
        }
    }
}
