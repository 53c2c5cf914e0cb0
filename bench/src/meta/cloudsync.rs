//! CloudSync: three nodes with metadata, each client with a connection of its own.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use chunk::manifest::Manifest;
use env::Env;
use proto::namespace::{Attributes, DirRef, Expect, Mode, NewContent, Op, OrderBy};
use types::limits::BATCH_OP_COUNT_MAX;
use types::{Error, Name, Result};

use super::system::{Client, System};
use crate::context::{Bench, path};
use crate::data::noise;
use crate::deployment::{Deployment, Kind};
use crate::session::Session;

/// Content that travels in the commit. With path, attributes and what sealing adds, a commit is about 300 bytes.
const CONTENT_SIZE: usize = 128;

/// Three nodes, each of which has metadata.
pub struct CloudSync {
    env: Env,
    credentials: PathBuf,
    deployment: Deployment,
}

impl CloudSync {
    /// Starts a new cluster.
    pub async fn start_new(bench: &Bench) -> Result<Self> {
        let deployment = Deployment::start(bench, Kind::Meta).await?;
        Ok(Self { env: bench.env.clone(), credentials: deployment.credentials(), deployment })
    }
}

#[async_trait]
impl System for CloudSync {
    fn name(&self) -> &'static str {
        "CloudSync"
    }

    fn pids(&self) -> Vec<u32> {
        self.deployment.pids()
    }

    async fn connect(&self) -> Result<Box<dyn Client>> {
        let session = Session::open_small(&self.env, &self.credentials).await?;
        Ok(Box::new(CloudSyncClient { session, content: noise("cloudsync content", CONTENT_SIZE) }))
    }

    fn batch_size(&self) -> usize {
        BATCH_OP_COUNT_MAX
    }

    async fn kill(&self) -> Result<()> {
        self.deployment.kill_nodes().await
    }

    async fn start(&mut self) -> Result<()> {
        self.deployment.restart_nodes().await
    }
}

struct CloudSyncClient {
    session: Session,
    content: Bytes,
}

#[async_trait]
impl Client for CloudSyncClient {
    async fn make_dir(&mut self, dir: &str) -> Result<()> {
        let op = Op::Mkdir { path: path(&[dir])?, parents: true, attributes: Attributes::default() };
        self.session.namespace.apply(op, dir.len()).await.map(drop)
    }

    async fn commit(&mut self, dir: &str, names: &[String]) -> Result<()> {
        let dir = path(&[dir])?;
        let mut ops = Vec::with_capacity(names.len());
        for name in names {
            ops.push(Op::CommitVersion {
                path: dir.join(Name::parse(name)?)?,
                expect: Expect::Absent,
                content: NewContent::File {
                    manifest: Manifest::inline(self.content.clone()),
                    receipts: Vec::new(),
                },
                attributes: Attributes::default(),
            });
        }
        for done in self.session.namespace.apply_all(Mode::PerItem, ops).await? {
            done?;
        }
        Ok(())
    }

    async fn list(&mut self, dir: &str, limit: Option<usize>) -> Result<usize> {
        let (dir, namespace) = (path(&[dir])?, &self.session.namespace);
        let Some(limit) = limit else { return Ok(namespace.list_whole_dir(&dir).await?.len()) };
        let limit = u32::try_from(limit).map_err(|_| Error::invalid("a page is small"))?;
        Ok(namespace.list(DirRef::Path(dir), (OrderBy::Name, false), None, limit).await?.entries.len())
    }
}
