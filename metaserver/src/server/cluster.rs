//! Requests about the cluster: joining, heartbeats, namespaces by name.

use std::collections::BTreeMap;

use access::{Action, authorize};
use net::Caller;
use proto::cluster::{
    ClusterStatus, CreateNamespace, CreateToken, DisksRegistered, FetchStatus, FindNamespace, FinishSync,
    Heartbeat, HeartbeatSeen, Join, Joined, NamespaceFound, NodeStatus, RegisterDisks, TokenCreated,
};
use proto::command::{NamespaceCommand, NewNode, RootCommand};
use proto::map::{ClusterMap, ROOT};
use raft::State;
use tree::root;
use types::{DiskId, Error, Identity, NodeId, Result};

use super::Metaserver;
use crate::liveness::Liveness;

impl Metaserver {
    /// Admits a node that shows a valid token: the only request that needs no certificate.
    pub(super) async fn join(&self, join: Join) -> Result<Joined> {
        let (token_hash, now) = (*blake3::hash(&join.secret).as_bytes(), self.env.clock.wall());
        let admit = move |state: &State| {
            root::check_token(state, &token_hash, now)?;
            root::secrets(state)
        };
        let secrets = self.read_newest(self.root(), admit).await?;
        let node = NewNode { zone: join.zone, roles: join.roles, native: join.native, control: join.control };
        let id: NodeId = self.propose(ROOT, RootCommand::AddNode { node, token_hash }).await?;
        let certificate = (self.signer.0)(&secrets.authority, &join.request, &Identity::Node(id))?;
        let map = self.current_map()?;
        assert!(map.nodes.contains_key(&id), "a command is applied here before it is answered (I-LIN)");
        Ok(Joined { node: id, cluster: map.cluster, certificate, secret: secrets.secret, map })
    }

    pub(super) async fn heartbeat(&self, caller: &Caller, heartbeat: Heartbeat) -> Result<HeartbeatSeen> {
        authorize(&caller.identity, Action::ActAsNode)?;
        self.must_lead_root()?;
        let have = heartbeat.epoch;
        let mut liveness = self.liveness.lock().expect("no panic while it is held");
        // Read while nobody else can: what was heard is never newer than the next look at it.
        let now_ms = self.now_ms();
        liveness.get_or_insert_with(|| Liveness::new(now_ms)).heard(now_ms, heartbeat);
        let map = self.map.borrow();
        Ok(HeartbeatSeen { map: (map.epoch > have).then(|| ClusterMap::clone(&map)) })
    }

    pub(super) async fn fetch_status(&self, caller: &Caller, _: FetchStatus) -> Result<ClusterStatus> {
        authorize(&caller.identity, Action::ViewCluster)?;
        let map = self.read_newest(self.root(), |state| root::map(state)).await?.ok_or_else(unfounded)?;
        let now_ms = self.now_ms();
        let liveness = self.liveness.lock().expect("no panic while it is held");
        let status = |id: &NodeId| {
            let last = liveness.as_ref().and_then(|l| l.last(*id, now_ms));
            let (silent_ms, last) = last.map(|(ms, heartbeat)| (ms, heartbeat.clone())).unzip();
            (*id, NodeStatus { silent_ms, last })
        };
        let nodes: BTreeMap<NodeId, NodeStatus> = map.nodes.keys().map(status).collect();
        Ok(ClusterStatus { nodes, map })
    }

    pub(super) async fn create_token(&self, caller: &Caller, request: CreateToken) -> Result<TokenCreated> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        let secret: [u8; 32] = self.env.random.bytes();
        let hash = *blake3::hash(&secret).as_bytes();
        let expires = self.env.clock.wall().plus(request.valid_ms);
        let () = self.propose(ROOT, RootCommand::AddToken { hash, expires }).await?;
        Ok(TokenCreated { secret })
    }

    /// Two partitions take part: the root assigns an id to the name, then the namespace is created where it belongs. A
    /// failure in between is repaired by asking again.
    pub(super) async fn create_namespace(
        &self,
        caller: &Caller,
        request: CreateNamespace,
    ) -> Result<NamespaceFound> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        let name = request.name;
        let namespace = self.propose(ROOT, RootCommand::CreateNamespace { name }).await?;
        let owner = caller.identity.to_string();
        let partition = self.map.borrow().namespace_partition(namespace);
        let () = self.propose(partition, NamespaceCommand::Create { namespace, owner }).await?;
        Ok(NamespaceFound { namespace })
    }

    pub(super) async fn find_namespace(
        &self,
        caller: &Caller,
        request: FindNamespace,
    ) -> Result<NamespaceFound> {
        authorize(&caller.identity, Action::ViewCluster)?;
        let group = self.root();
        // A name keeps its id forever: any replica that knows it may say so, even without a leader.
        if let Ok(namespace) = root::find_namespace(&group.read(), &request.name) {
            return Ok(NamespaceFound { namespace });
        }
        let find = move |state: &State| root::find_namespace(state, &request.name);
        Ok(NamespaceFound { namespace: self.read_newest(group, find).await? })
    }

    pub(super) async fn register_disks(
        &self,
        caller: &Caller,
        request: RegisterDisks,
    ) -> Result<DisksRegistered> {
        authorize(&caller.identity, Action::ActFor(request.node))?;
        let RegisterDisks { node, disks } = request;
        let ids: Vec<DiskId> = self.propose(ROOT, RootCommand::RegisterDisks { node, disks }).await?;
        Ok(DisksRegistered { ids })
    }

    pub(super) async fn finish_sync(&self, caller: &Caller, request: FinishSync) -> Result<()> {
        authorize(&caller.identity, Action::ActAsNode)?;
        self.propose(ROOT, RootCommand::FinishSync { slots: request.slots }).await
    }

    fn must_lead_root(&self) -> Result<()> {
        if self.root().is_leader() {
            return Ok(());
        }
        Err(Error::stale_epoch(format!("node {} does not lead the root partition", self.node)))
    }

    fn current_map(&self) -> Result<ClusterMap> {
        root::map(&self.root().read())?.ok_or_else(unfounded)
    }
}

fn unfounded() -> Error {
    Error::unavailable("the cluster is still being initialised")
}
