//! Namespaces as a whole: found by name, created, listed over all partitions, given away, deleted.

use proto::catalog::{
    CreateNamespace, DeleteNamespace, FindNamespace, ListNamespaces, NamespaceInfo, SetOwner, name_slot,
};
use proto::map::PartitionKind;
use types::limits::NAMESPACE_PAGE_COUNT_MAX;
use types::{NamespaceId, NamespaceName, PartitionId, Result};

use crate::cluster::Cluster;

impl Cluster {
    /// The id of a namespace; `NotFound` when there is none of that name.
    pub async fn find_namespace(&self, name: &NamespaceName) -> Result<NamespaceId> {
        let question = FindNamespace { name: name.clone() };
        Ok(self.ask(self.name_partition(name), &question).await?.namespace)
    }

    /// Creates a namespace, or finds the one that the same owner has created before; `None` is the caller.
    pub async fn create_namespace(&self, name: &NamespaceName, owner: Option<String>) -> Result<NamespaceId> {
        let question = CreateNamespace { name: name.clone(), owner };
        Ok(self.ask(self.name_partition(name), &question).await?.namespace)
    }

    /// All namespaces that the caller may see, in order of their names.
    pub async fn list_namespaces(&self) -> Result<Vec<NamespaceInfo>> {
        let partitions: Vec<PartitionId> = self.map().of_kind(PartitionKind::Tree).collect();
        let mut found = Vec::new();
        for partition in partitions {
            let mut after = None;
            loop {
                let limit = NAMESPACE_PAGE_COUNT_MAX as u32;
                let page = self.ask(partition, &ListNamespaces { partition, after, limit }).await?;
                found.extend(page.namespaces);
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        found.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        Ok(found)
    }

    /// Gives a namespace to somebody else.
    pub async fn set_owner(&self, namespace: NamespaceId, owner: String) -> Result<()> {
        let partition = self.map().namespace_partition(namespace);
        self.ask(partition, &SetOwner { namespace, owner }).await
    }

    /// Deletes a namespace; with `force` also one that is not empty.
    pub async fn delete_namespace(&self, namespace: NamespaceId, force: bool) -> Result<()> {
        let partition = self.map().namespace_partition(namespace);
        self.ask(partition, &DeleteNamespace { namespace, force }).await
    }

    fn name_partition(&self, name: &NamespaceName) -> PartitionId {
        self.map().tree_partition(name_slot(name))
    }
}
