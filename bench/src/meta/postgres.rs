//! PostgreSQL: a primary that waits for one of two synchronous replicas, the scenario's tables, one transaction per file.
//!
//! Owns: making the three servers, their settings, the statements.
//! Knows nothing of: what is measured.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use env::Env;
use tokio_postgres::{NoTls, Statement};
use types::{Error, Result};

use super::ports::{free_ports, wait_until_free};
use super::server::{Servers, wait_until};
use super::system::{Client, System};
use crate::context::Bench;
use crate::data::noise;

/// Where Debian puts the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The server refuses to run as root; Debian's package makes this user.
const USER: &str = "postgres";
const SERVERS: usize = 3;
const SCHEMA: &str = include_str!("postgres/schema.sql");
const COMMIT: &str = include_str!("postgres/commit.sql");
const LIST: &str = include_str!("postgres/list.sql");
/// As many files as a batch of CloudSync may have.
const BATCH_SIZE: usize = 512;
/// Bytes of a content id, and of what says where the content is.
const CONTENT_SIZE: usize = 32;
const MANIFEST_SIZE: usize = 200;

/// The servers; the first is the primary.
pub struct Postgres {
    env: Env,
    programs: PathBuf,
    dir: PathBuf,
    ports: Vec<u16>,
    servers: Servers,
}

impl Postgres {
    /// Where its programs are, if it is installed: the newest version.
    pub fn programs(bench: &Bench) -> Option<PathBuf> {
        let versions = bench.env.disk.read_dir(Path::new(VERSIONS)).ok()?;
        let newest = versions.into_iter().max_by_key(|version| version.to_str()?.parse::<u32>().ok())?;
        Some(Path::new(VERSIONS).join(newest).join("bin"))
    }

    /// Makes a primary and two replicas of it.
    pub async fn start_new(bench: &Bench, programs: PathBuf) -> Result<Self> {
        let (env, dir) = (bench.env.clone(), bench.scratch.join("postgres"));
        env.disk.create_dir_all(&dir)?;
        let (ports, servers) = (free_ports(&env, SERVERS)?, Servers::default());
        let mut postgres = Self { env, programs, dir, ports, servers };
        postgres.run("/usr/bin/chown", &[USER.into(), postgres.dir.display().to_string()]).await?;
        let data = postgres.data(0).display().to_string();
        let init = ["-D", &data, "-U", USER, "--auth=trust", "--no-locale", "-E", "UTF8"].map(str::to_owned);
        postgres.run_as_user("initdb", &init).await?;
        postgres.start_one(0)?;
        let admin = wait_until("PostgreSQL answers", async || postgres.open().await).await?;
        admin.batch_execute(SCHEMA).await.map_err(broken)?;
        let primary = postgres.ports[0].to_string();
        for index in 1..SERVERS {
            let target = postgres.data(index).display().to_string();
            let copy = [
                "-D",
                &target,
                "-h",
                "127.0.0.1",
                "-p",
                &primary,
                "-U",
                USER,
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
            ];
            postgres.run_as_user("pg_basebackup", &copy.map(str::to_owned)).await?;
            postgres.start_one(index)?;
        }
        admin
            .batch_execute("alter system set synchronous_standby_names = 'ANY 1 (s1, s2)'")
            .await
            .map_err(broken)?;
        admin.batch_execute("select pg_reload_conf()").await.map_err(broken)?;
        wait_until("both replicas are synchronous", async || {
            let found = "select count(*) from pg_stat_replication where sync_state = 'quorum'";
            let count: i64 = admin.query_one(found, &[]).await.map_err(broken)?.get(0);
            if count == 2 { Ok(()) } else { Err(Error::unavailable(format!("{count} are"))) }
        })
        .await?;
        Ok(postgres)
    }

    fn data(&self, index: usize) -> PathBuf {
        self.dir.join(format!("s{index}"))
    }

    fn start_one(&mut self, index: usize) -> Result<()> {
        let (program, data) = (self.programs.join("postgres"), self.data(index).display().to_string());
        let mut args = as_user(&program);
        args.extend(["-D".to_owned(), data]);
        let settings = [
            ("port", self.ports[index].to_string()),
            ("listen_addresses", "127.0.0.1".to_owned()),
            // A killed server that nobody has waited for would keep its socket's lock.
            ("unix_socket_directories", String::new()),
            // The name that a replica has for its primary.
            ("cluster_name", format!("s{index}")),
            ("fsync", "on".to_owned()),
            ("synchronous_commit", "on".to_owned()),
            ("max_connections", "400".to_owned()),
            ("shared_buffers", "512MB".to_owned()),
            ("max_wal_size", "2GB".to_owned()),
            ("hot_standby", "on".to_owned()),
        ];
        args.extend(settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]));
        self.servers.start(Path::new("/usr/bin/setpriv"), &args, &self.dir.join(format!("log{index}")))
    }

    async fn run_as_user(&self, program: &str, args: &[String]) -> Result<()> {
        let mut all = as_user(&self.programs.join(program));
        all.extend_from_slice(args);
        self.run("/usr/bin/setpriv", &all).await
    }

    /// Runs a program to its end. What it said is an error's to tell: whether it worked shows in what comes next.
    async fn run(&self, program: &str, args: &[String]) -> Result<()> {
        let said = env::process::run_detached(Path::new(program), args, &self.dir.join("log")).await?;
        let is_bad = said.lines().any(|line| line.contains("error:") || line.contains("FATAL"));
        if is_bad { Err(Error::internal(format!("{program} {}: {said}", args.join(" ")))) } else { Ok(()) }
    }

    async fn open(&self) -> Result<tokio_postgres::Client> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.ports[0]).user(USER).dbname("postgres");
        let (client, connection) = config.connect(NoTls).await.map_err(broken)?;
        // Its end shows in the queries.
        drop(env::task::spawn(async move { drop(connection.await) }));
        Ok(client)
    }
}

/// Arguments of `setpriv`, which becomes the program: its pid is the server's.
fn as_user(program: &Path) -> Vec<String> {
    let mut args = ["--reuid", USER, "--regid", USER, "--init-groups", "--"].map(str::to_owned).to_vec();
    args.push(program.display().to_string());
    args
}

#[async_trait]
impl System for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn pids(&self) -> Vec<u32> {
        self.servers.pids()
    }

    async fn connect(&self) -> Result<Box<dyn Client>> {
        let client = self.open().await?;
        let commit = client.prepare(COMMIT).await.map_err(broken)?;
        let list = client.prepare(LIST).await.map_err(broken)?;
        let content = noise("postgres content", CONTENT_SIZE);
        let manifest = noise("postgres manifest", MANIFEST_SIZE);
        Ok(Box::new(PostgresClient { client, commit, list, content, manifest, dir: None }))
    }

    fn batch_size(&self) -> usize {
        BATCH_SIZE
    }

    async fn settle(&self) -> Result<()> {
        self.open().await?.batch_execute("vacuum analyze").await.map_err(broken)
    }

    async fn kill(&self) -> Result<()> {
        self.servers.kill();
        wait_until_free(&self.ports).await
    }

    async fn start(&mut self) -> Result<()> {
        for index in 0..SERVERS {
            // What a killed server leaves; its process is gone.
            drop(self.env.disk.remove_file(&self.data(index).join("postmaster.pid")));
            self.start_one(index)?;
        }
        Ok(())
    }
}

struct PostgresClient {
    client: tokio_postgres::Client,
    commit: Statement,
    list: Statement,
    content: Bytes,
    manifest: Bytes,
    /// The directory that was used last.
    dir: Option<(String, i64)>,
}

impl PostgresClient {
    /// A client knows the id of the directory that it works in.
    async fn dir(&mut self, dir: &str) -> Result<i64> {
        if let Some((name, id)) = &self.dir
            && name == dir
        {
            return Ok(*id);
        }
        let found =
            self.client.query_one("select id from files where parent = 0 and name = $1", &[&dir]).await;
        let id = found.map_err(broken)?.get(0);
        self.dir = Some((dir.to_owned(), id));
        Ok(id)
    }
}

#[async_trait]
impl Client for PostgresClient {
    async fn make_dir(&mut self, dir: &str) -> Result<()> {
        let make = "insert into files (parent, name, kind, size, modified_ns, mode, version) values (0, $1, 0, 0, 0, 0, 0)";
        self.client.execute(make, &[&dir]).await.map_err(broken).map(drop)
    }

    async fn commit(&mut self, dir: &str, names: &[String]) -> Result<()> {
        let dir = self.dir(dir).await?;
        let (content, manifest): (&[u8], &[u8]) = (&self.content, &self.manifest);
        self.client
            .execute(&self.commit, &[&dir, &names, &content, &manifest])
            .await
            .map_err(broken)
            .map(drop)
    }

    async fn list(&mut self, dir: &str, limit: Option<usize>) -> Result<usize> {
        let dir = self.dir(dir).await?;
        let limit = limit.map(|limit| limit as i64);
        Ok(self.client.query(&self.list, &[&dir, &limit]).await.map_err(broken)?.len())
    }
}

fn broken(error: tokio_postgres::Error) -> Error {
    let more = error.as_db_error().map(|e| format!(": {}", e.message())).unwrap_or_default();
    Error::unavailable(format!("PostgreSQL: {error}{more}"))
}
