//! Who somebody is in a cluster.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::IDENTITY_NAME_SIZE_MAX;
use crate::{Error, NodeId, Result};

/// Who a caller is, as its certificate proves. What it may do is decided in one room, `access`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Identity {
    /// A process of the cluster. Only nodes can serve.
    Node(NodeId),
    /// A person or program that administers the cluster.
    Admin(String),
    /// An account: uses namespaces and stores data, but does not administer.
    User(String),
    /// Nobody in particular: a node that wants to join.
    Anonymous,
}

impl Identity {
    /// True for a process of the cluster: the only kind of identity that can serve.
    pub fn is_node(&self) -> bool {
        matches!(self, Identity::Node(_))
    }

    /// True for an administrator: a cluster that nobody can administer any more is of no use.
    pub fn is_admin(&self) -> bool {
        matches!(self, Identity::Admin(_))
    }

    /// True for the process of this node.
    pub fn is_of(&self, node: NodeId) -> bool {
        *self == Identity::Node(node)
    }

    /// Checks that a certificate can name this identity; `Invalid` if not.
    pub fn check(&self) -> Result<()> {
        match self {
            Identity::Node(_) => Ok(()),
            Identity::Anonymous => {
                Err(Error::invalid("an anonymous caller has no certificate; name a node, admin or user"))
            }
            Identity::Admin(name) | Identity::User(name) => {
                let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.@+".contains(&b);
                if name.is_empty() || name.len() > IDENTITY_NAME_SIZE_MAX || !name.bytes().all(allowed) {
                    return Err(Error::invalid(format!(
                        "name {name:?} cannot be used in a certificate; \
                         use 1 to {IDENTITY_NAME_SIZE_MAX} of a-z A-Z 0-9 - _ . @ +"
                    )));
                }
                Ok(())
            }
        }
    }

    /// Reads the text that [`fmt::Display`] writes, such as `node/3`. Anything else, `anonymous` too, is `Invalid`.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("{text:?} is not node|admin|user/<name>"));
        let (role, name) = text.split_once('/').ok_or_else(bad)?;
        let identity = match role {
            "node" => Identity::Node(NodeId(name.parse().map_err(|_| bad())?)),
            "admin" => Identity::Admin(name.to_owned()),
            "user" => Identity::User(name.to_owned()),
            _ => return Err(bad()),
        };
        identity.check()?;
        Ok(identity)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Node(id) => write!(f, "node/{id}"),
            Identity::Admin(name) => write!(f, "admin/{name}"),
            Identity::User(name) => write!(f, "user/{name}"),
            Identity::Anonymous => f.write_str("anonymous"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_round_trip() {
        for identity in [
            Identity::Node(NodeId(3)),
            Identity::Admin("root".into()),
            Identity::User("anna@example.org".into()),
        ] {
            assert_eq!(Identity::parse(&identity.to_string()), Ok(identity));
        }
    }

    #[test]
    fn bad_identities_are_refused() {
        for text in ["", "node", "node/x", "node/-1", "root/x", "user/", "user/a/b", "user/a b", "anonymous"]
        {
            assert!(Identity::parse(text).is_err(), "{text}");
        }
        let long = "a".repeat(IDENTITY_NAME_SIZE_MAX + 1);
        assert!(Identity::parse(&format!("user/{long}")).is_err());
        assert!(Identity::Anonymous.check().is_err());
    }
}
