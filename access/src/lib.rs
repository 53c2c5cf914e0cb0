//! The one permission function: every door asks it (I-AUTH).
//!
//! Owns: what each kind of identity may do, and the words of a refusal.
//! Knows nothing of: how an identity was proven, what a request does once it is allowed. Pure.

use types::{Error, Identity, NodeId, Result, Scope};

/// What a request is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Reads or changes a namespace.
    UseNamespace {
        /// Its owner, as the text of an identity.
        owner: &'a str,
    },
    /// Asks which chunks exist in a scope, or stores one.
    StoreChunks(Scope),
    /// Reads a chunk without a ticket for it.
    ReadAnyChunk,
    /// Reads the map or the state of the cluster.
    ViewCluster,
    /// Changes the cluster: tokens, namespaces.
    AdministerCluster,
    /// What only nodes do among themselves.
    ActAsNode,
    /// What only one node may say: things about itself.
    ActFor(NodeId),
}

/// Allows the action, or answers `Denied` and what the caller can do about it.
pub fn authorize(identity: &Identity, action: Action<'_>) -> Result<()> {
    let allowed = match (identity, action) {
        (Identity::Node(id), Action::ActFor(node)) => *id == node,
        (Identity::Node(_), Action::AdministerCluster) => false,
        (Identity::Node(_), _) => true,
        (Identity::Admin(_), Action::ActAsNode | Action::ActFor(_) | Action::ReadAnyChunk) => false,
        (Identity::Admin(_), _) => true,
        (Identity::User(_), Action::UseNamespace { owner }) => owner == identity.to_string(),
        // Until accounts say whose they are, users are of the first tenant. Others' chunks are none of their business.
        (Identity::User(_), Action::StoreChunks(scope)) => scope == Scope::FIRST,
        (Identity::User(_), Action::ViewCluster) => true,
        (Identity::User(_), _) => false,
        (Identity::Anonymous, _) => false,
    };
    if allowed { Ok(()) } else { Err(Error::denied(refusal(identity, action))) }
}

/// The node that acts; `Denied` for anybody else.
pub fn acting_node(identity: &Identity) -> Result<NodeId> {
    match identity {
        Identity::Node(node) => Ok(*node),
        _ => Err(Error::denied(refusal(identity, Action::ActAsNode))),
    }
}

fn refusal(identity: &Identity, action: Action<'_>) -> String {
    let what = match action {
        Action::UseNamespace { .. } => "use this namespace: ask its owner to share it".to_owned(),
        Action::StoreChunks(scope) => {
            format!("store data in scope {scope}: present a certificate of its tenant")
        }
        Action::ReadAnyChunk => "read a chunk without a ticket: open the version it belongs to".to_owned(),
        Action::ViewCluster => "look at the cluster: present a certificate of this cluster".to_owned(),
        Action::AdministerCluster => {
            "administer the cluster: use the credentials of an administrator".to_owned()
        }
        Action::ActAsNode => "act as a node of the cluster: join it first".to_owned(),
        Action::ActFor(node) => format!("act for node {node}: only that node may"),
    };
    format!("{identity} may not {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter per action that is allowed, a dot per one that is not.
    #[track_caller]
    fn check(identity: Identity, want: &str) {
        let own = identity.to_string();
        let actions = [
            ('o', Action::UseNamespace { owner: &own }),
            ('n', Action::UseNamespace { owner: "user/bob" }),
            ('s', Action::StoreChunks(Scope::FIRST)),
            ('t', Action::StoreChunks(Scope(2))),
            ('r', Action::ReadAnyChunk),
            ('v', Action::ViewCluster),
            ('a', Action::AdministerCluster),
            ('c', Action::ActAsNode),
            ('1', Action::ActFor(NodeId(1))),
            ('2', Action::ActFor(NodeId(2))),
        ];
        let allowed =
            actions.map(|(letter, action)| if authorize(&identity, action).is_ok() { letter } else { '.' });
        assert_eq!(allowed.iter().collect::<String>(), want, "{identity}");
    }

    /// I-AUTH, I-ACL: the whole table of who may do what.
    #[test]
    fn who_may_do_what() {
        check(Identity::Node(NodeId(1)), "onstrv.c1.");
        check(Identity::Admin("root".into()), "onst.va...");
        check(Identity::User("ann".into()), "o.s..v....");
        check(Identity::Anonymous, "..........");
    }

    #[test]
    fn an_administrator_named_like_a_user_is_another_identity() {
        let owner = Identity::User("ann".into()).to_string();
        assert_ne!(owner, Identity::Admin("ann".into()).to_string());
        let eve = Identity::User("user/ann".into());
        assert!(authorize(&eve, Action::UseNamespace { owner: &owner }).is_err());
    }

    #[test]
    fn a_refusal_says_who_what_and_what_to_do() {
        let error = authorize(&Identity::Anonymous, Action::StoreChunks(Scope(2))).unwrap_err();
        assert_eq!(
            error.message(),
            "anonymous may not store data in scope 2: present a certificate of its tenant"
        );
        let error = authorize(&Identity::Node(NodeId(2)), Action::ActFor(NodeId(1))).unwrap_err();
        assert_eq!(error.message(), "node/2 may not act for node 1: only that node may");
    }
}
