//! New credentials for a person: a key made here, certified by the cluster.

use std::net::SocketAddr;
use std::time::Duration;

use client::{Cluster, CredentialFile};
use net::{Credentials, KeyPair};
use proto::certificates::IssueCertificate;
use types::{Identity, Result};

/// Has the cluster certify a new key of ours.
pub async fn issue(
    cluster: &Cluster,
    endpoints: Vec<SocketAddr>,
    identity: Identity,
    life: Duration,
) -> Result<CredentialFile> {
    let key = KeyPair::create()?;
    let question = IssueCertificate { identity, request: key.request()?, valid_ms: life.as_millis() as u64 };
    let answer = cluster.ask_root(&question).await?;
    let identity = Credentials::from_parts(&answer.certificate, &key)?.to_pem();
    Ok(CredentialFile { endpoints, identity })
}
