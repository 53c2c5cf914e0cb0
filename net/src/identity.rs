//! How a certificate names its cluster and its holder: `cloudsync://<cluster id>/node/3`.

use types::{ClusterId, Error, Identity, Result};

const SCHEME: &str = "cloudsync://";

/// The form of a holder in its certificate.
pub(crate) fn identity_uri(cluster: ClusterId, identity: &Identity) -> String {
    format!("{SCHEME}{cluster}/{identity}")
}

/// Reads what [`identity_uri`] wrote.
pub(crate) fn parse_identity_uri(uri: &str) -> Result<(ClusterId, Identity)> {
    let bad = || Error::invalid(format!("{uri:?} is not {SCHEME}<cluster id>/node|admin|user/<name>"));
    let (cluster, identity) =
        uri.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).ok_or_else(bad)?;
    Ok((ClusterId::parse(cluster)?, Identity::parse(identity)?))
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

#[cfg(test)]
mod tests {
    use types::NodeId;

    use super::*;

    const CLUSTER: ClusterId = ClusterId([0xc1; 16]);

    #[test]
    fn names_in_certificates_round_trip() {
        let identity = Identity::User("anna@example.org".into());
        assert_eq!(parse_identity_uri(&identity_uri(CLUSTER, &identity)), Ok((CLUSTER, identity)));
        assert_eq!(parse_cluster_uri(&cluster_uri(CLUSTER)), Ok(CLUSTER));
        assert_eq!(
            identity_uri(CLUSTER, &Identity::Node(NodeId(1))),
            format!("cloudsync://{CLUSTER}/node/1")
        );
    }

    #[test]
    fn bad_names_are_refused() {
        for uri in [format!("https://{CLUSTER}/node/1"), format!("{SCHEME}abc/node/1"), String::new()] {
            assert!(parse_identity_uri(&uri).is_err(), "{uri}");
        }
        assert!(parse_identity_uri(&format!("{SCHEME}{CLUSTER}/anonymous")).is_err());
    }
}
