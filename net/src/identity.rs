//! Who a certificate says its holder is.

use std::fmt;

use types::{ClusterId, Error, NodeId, Result};

/// Who a peer is, as its certificate proves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A process of the cluster. Only nodes can serve.
    Node(NodeId),
    /// A person or program that administers the cluster.
    Admin(String),
    /// An account.
    User(String),
    /// Nobody in particular: a node that wants to join.
    Anonymous,
}

/// Longest name of an admin or user: what fits in a certificate's common name.
const NAME_SIZE_MAX: usize = 64;
const SCHEME: &str = "cloudsync://";

impl Identity {
    /// Checks that the identity can stand in a certificate.
    pub fn check(&self) -> Result<()> {
        match self {
            Identity::Node(_) => Ok(()),
            Identity::Anonymous => {
                Err(Error::invalid("an anonymous caller has no certificate; name a node, admin or user"))
            }
            Identity::Admin(name) | Identity::User(name) => {
                let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.@+".contains(&b);
                if name.is_empty() || name.len() > NAME_SIZE_MAX || !name.bytes().all(allowed) {
                    return Err(Error::invalid(format!(
                        "name {name:?} cannot stand in a certificate; use 1 to {NAME_SIZE_MAX} of a-z A-Z 0-9 - _ . @ +"
                    )));
                }
                Ok(())
            }
        }
    }

    /// The form in a certificate: `cloudsync://<cluster id>/node/3`.
    pub(crate) fn to_uri(&self, cluster: ClusterId) -> String {
        format!("{SCHEME}{cluster}/{self}")
    }

    /// Reads what [`Identity::to_uri`] wrote.
    pub(crate) fn parse_uri(uri: &str) -> Result<(ClusterId, Self)> {
        let bad = || Error::invalid(format!("{uri:?} is not {SCHEME}<cluster id>/node|admin|user/<name>"));
        let (cluster, identity) =
            uri.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).ok_or_else(bad)?;
        let (role, name) = identity.split_once('/').ok_or_else(bad)?;
        let identity = match role {
            "node" => Identity::Node(NodeId(name.parse().map_err(|_| bad())?)),
            "admin" => Identity::Admin(name.to_owned()),
            "user" => Identity::User(name.to_owned()),
            _ => return Err(bad()),
        };
        identity.check()?;
        Ok((ClusterId::parse(cluster)?, identity))
    }
}

/// The form of a cluster in the certificate of its authority.
pub(crate) fn cluster_uri(cluster: ClusterId) -> String {
    format!("{SCHEME}{cluster}")
}

/// Reads what [`cluster_uri`] wrote.
pub(crate) fn parse_cluster_uri(uri: &str) -> Result<ClusterId> {
    let bad = || Error::invalid(format!("{uri:?} is not {SCHEME}<cluster id>"));
    ClusterId::parse(uri.strip_prefix(SCHEME).ok_or_else(bad)?)
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

    const CLUSTER: ClusterId = ClusterId([0xc1; 16]);

    #[test]
    fn identities_round_trip() {
        for identity in [
            Identity::Node(NodeId(3)),
            Identity::Admin("root".into()),
            Identity::User("anna@example.org".into()),
        ] {
            assert_eq!(Identity::parse_uri(&identity.to_uri(CLUSTER)), Ok((CLUSTER, identity)));
        }
        assert_eq!(parse_cluster_uri(&cluster_uri(CLUSTER)), Ok(CLUSTER));
    }

    #[test]
    fn bad_identities_are_refused() {
        let cluster = CLUSTER.to_string();
        for rest in ["", "node", "node/x", "node/-1", "root/x", "user/", "user/a/b", "user/a b", "anonymous"]
        {
            assert!(Identity::parse_uri(&format!("{SCHEME}{cluster}/{rest}")).is_err(), "{rest}");
        }
        for uri in [format!("https://{cluster}/node/1"), format!("{SCHEME}abc/node/1"), String::new()] {
            assert!(Identity::parse_uri(&uri).is_err(), "{uri}");
        }
        assert!(Identity::Anonymous.check().is_err());
    }
}
