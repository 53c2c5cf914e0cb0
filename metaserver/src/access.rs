//! The one permission function: every door asks it (I-AUTH).

use net::Identity;
use types::{Error, Result};

/// What a request is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Reads or changes a namespace that `owner` owns.
    UseNamespace {
        /// Its owner, the text of an identity.
        owner: &'a str,
    },
    /// Asks which chunks exist.
    PinChunks,
    /// Reads the state of the cluster.
    ViewCluster,
    /// Changes the cluster: tokens, namespaces.
    AdministerCluster,
    /// What only nodes do among themselves.
    ActAsNode,
}

/// Allows or denies.
pub fn authorize(identity: &Identity, action: Action<'_>) -> Result<()> {
    let allowed = match (identity, action) {
        (Identity::Node(_), _) => true,
        (Identity::Admin(_), Action::ActAsNode) => false,
        (Identity::Admin(_), _) => true,
        (Identity::User(_), Action::UseNamespace { owner }) => owner == identity.to_string(),
        (Identity::User(_), Action::PinChunks | Action::ViewCluster) => true,
        (Identity::User(_), Action::AdministerCluster | Action::ActAsNode) => false,
        (Identity::Anonymous, _) => false,
    };
    if allowed {
        return Ok(());
    }
    let what = match action {
        Action::UseNamespace { .. } => "use this namespace: ask its owner to share it",
        Action::PinChunks => "store data: present a certificate of this cluster",
        Action::ViewCluster => "look at the cluster: present a certificate of this cluster",
        Action::AdministerCluster => "administer the cluster: use the credentials of an administrator",
        Action::ActAsNode => "act as a node of the cluster: join it first",
    };
    Err(Error::denied(format!("{identity} may not {what}")))
}

#[cfg(test)]
mod tests {
    use types::NodeId;

    use super::*;

    #[test]
    fn who_may_do_what() {
        let node = Identity::Node(NodeId(1));
        let admin = Identity::Admin("root".into());
        let user = Identity::User("ann".into());
        let own = user.to_string();
        let actions = [
            Action::UseNamespace { owner: &own },
            Action::UseNamespace { owner: "user/bob" },
            Action::PinChunks,
            Action::ViewCluster,
            Action::AdministerCluster,
            Action::ActAsNode,
        ];
        let row = |identity: &Identity| actions.map(|a| authorize(identity, a).is_ok());
        assert_eq!(row(&node), [true; 6]);
        assert_eq!(row(&admin), [true, true, true, true, true, false]);
        assert_eq!(row(&user), [true, false, true, true, false, false]);
        assert_eq!(row(&Identity::Anonymous), [false; 6]);
    }
}
