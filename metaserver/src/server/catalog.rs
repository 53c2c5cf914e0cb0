//! Requests about namespaces as a whole: each goes to the partition that has the name, or the namespace.

use access::{Action, authorize};
use net::Caller;
use proto::catalog::{
    CreateNamespace, DeleteNamespace, FindNamespace, ListNamespaces, NamespaceFound, NamespacePage, SetOwner,
    name_slot,
};
use proto::command::NamespaceCommand;
use proto::map::PartitionKind;
use raft::State;
use tree::namespace;
use types::{Error, NamespaceId, NamespaceName, PartitionId, Result, TenantId};

use super::Metaserver;

impl Metaserver {
    pub(super) async fn create_namespace(
        &self,
        caller: &Caller,
        request: CreateNamespace,
    ) -> Result<NamespaceFound> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        let CreateNamespace { name, owner } = request;
        let owner = owner.unwrap_or_else(|| caller.identity.to_string());
        Ok(NamespaceFound { namespace: self.put_namespace(name, owner).await? })
    }

    /// Creates a namespace, or finds the one that the same owner has created before.
    pub(super) async fn put_namespace(&self, name: NamespaceName, owner: String) -> Result<NamespaceId> {
        self.propose(
            self.name_partition(&name),
            NamespaceCommand::Create { name, owner, tenant: TenantId::FIRST },
        )
        .await
    }

    pub(super) async fn find_namespace(
        &self,
        caller: &Caller,
        request: FindNamespace,
    ) -> Result<NamespaceFound> {
        authorize(&caller.identity, Action::ViewCluster)?;
        let group = self.group(self.name_partition(&request.name))?;
        // An id is never used again: an old answer leads to what is not there any more. So any replica that knows the
        // name may say so, even without a leader.
        if let Ok(namespace) = group.read(|state| namespace::find_namespace(state, &request.name)) {
            return Ok(NamespaceFound { namespace });
        }
        let find = move |state: &State| namespace::find_namespace(state, &request.name);
        Ok(NamespaceFound { namespace: self.read_newest(&group, find).await? })
    }

    pub(super) async fn set_owner(&self, caller: &Caller, request: SetOwner) -> Result<()> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        let SetOwner { namespace, owner } = request;
        let partition = self.partition_of(namespace);
        self.propose(partition, NamespaceCommand::SetOwner { namespace, owner }).await
    }

    pub(super) async fn delete_namespace(&self, caller: &Caller, request: DeleteNamespace) -> Result<()> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        let DeleteNamespace { namespace, force } = request;
        let partition = self.partition_of(namespace);
        self.propose(partition, NamespaceCommand::Delete { namespace, force }).await
    }

    pub(super) async fn list_namespaces(
        &self,
        caller: &Caller,
        request: ListNamespaces,
    ) -> Result<NamespacePage> {
        let sees_all = authorize(&caller.identity, Action::AdministerCluster).is_ok();
        let owner = (!sees_all).then(|| caller.identity.to_string());
        let ListNamespaces { partition, after, limit } = request;
        let group = self.group(partition)?;
        if self.map.borrow().partition(partition)?.kind != PartitionKind::Tree {
            return Err(Error::invalid(format!("partition {partition} has no namespaces")));
        }
        let list = move |state: &State| namespace::list_namespaces(state, owner.as_deref(), after, limit);
        self.read_newest(&group, list).await
    }

    fn name_partition(&self, name: &NamespaceName) -> PartitionId {
        self.map.borrow().tree_partition(name_slot(name))
    }
}
