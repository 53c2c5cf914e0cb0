//! The credential file: which cluster, where it is, and who its holder is there.
//!
//! Owns: the file's form, and connecting with it. It is created readable by its owner only: it holds a private key.
//! Knows nothing of: what certificates say.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use env::{Disk, Env};
use net::{Client, ClientConfig, Counters, Credentials, Transport};
use serde::Deserialize;
use types::{Error, ErrorKind, Result};

use crate::cluster::{Cluster, Endpoints};

/// What the file of a cluster's first administrator is called, in the data directory of its first node.
pub const ADMIN_FILE: &str = "admin.cred";

/// What a credential file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialFile {
    /// Some nodes of the cluster; the others are learned from them.
    pub endpoints: Vec<SocketAddr>,
    /// The text of [`Credentials`].
    pub identity: String,
}

/// A client's own connections to a cluster.
#[derive(Debug)]
pub struct Connection {
    /// The view of the cluster that uses them.
    pub cluster: Arc<Cluster>,
    /// Bytes sent and received over them.
    pub counters: Arc<Counters>,
}

impl CredentialFile {
    /// Reads a file. `NotFound` says what a person without one can do, `Invalid` what is wrong with it.
    pub fn load(disk: &dyn Disk, path: &Path) -> Result<Self> {
        let bytes = disk.read(path).map_err(|e| match Error::from(e) {
            e if e.kind() == ErrorKind::NotFound => Error::not_found(format!(
                "there is no credential file {}: run `cloudsync up` here, or set CLOUDSYNC_CREDENTIALS",
                path.display()
            )),
            e => e.context(format!("credential file {}", path.display())),
        })?;
        Self::parse(&bytes).map_err(|e| e.context(format!("credential file {}", path.display())))
    }

    /// Writes a file, replacing an existing one.
    pub fn save(&self, disk: &dyn Disk, path: &Path) -> Result<()> {
        assert!(!self.endpoints.is_empty(), "a file without endpoints is refused when it is read");
        disk.write_atomic(path, self.to_text().as_bytes())
            .map_err(|e| Error::from(e).context(format!("credential file {}", path.display())))
    }

    /// The identity, checked.
    pub fn credentials(&self) -> Result<Credentials> {
        Credentials::from_pem(&self.identity)
    }

    /// Connects over QUIC as the holder of the file. Every request gives up after `timeout`.
    pub async fn connect(&self, env: &Env, config: ClientConfig, timeout: Duration) -> Result<Connection> {
        let dial = Arc::new(Client::new(env, &self.credentials()?, config)?);
        let counters = dial.counters();
        let endpoints = Endpoints { addresses: self.endpoints.clone(), transport: Transport::Quic };
        let cluster = Cluster::connect(env.clone(), dial, endpoints, timeout).await?;
        Ok(Connection { cluster, counters })
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let bad =
            |why: &str| Error::invalid(format!("{why}; copy the whole file again from where it was created"));
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not text"))?;
        let file: Self = toml::from_str(text).map_err(|e| bad(e.message()))?;
        if file.endpoints.is_empty() {
            return Err(bad("it names no endpoints"));
        }
        Ok(file)
    }

    fn to_text(&self) -> String {
        let endpoints: Vec<String> = self.endpoints.iter().map(|address| format!("\"{address}\"")).collect();
        format!(
            "# Whoever has this file can do in the cluster whatever its owner may. Keep it private.\n\
             endpoints = [{}]\nidentity = \"\"\"\n{}\"\"\"\n",
            endpoints.join(", "),
            self.identity
        )
    }
}

#[cfg(test)]
mod tests {
    use env::disk::SimDisk;
    use expect_test::expect;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    const PATH: &str = "/admin.cred";

    fn file() -> CredentialFile {
        let identity = "-----BEGIN CERTIFICATE-----\nMIIB+/x=\n-----END CERTIFICATE-----\n".to_owned();
        let endpoints = vec!["127.0.0.1:7400".parse().unwrap(), "[::1]:7402".parse().unwrap()];
        CredentialFile { endpoints, identity }
    }

    #[test]
    fn a_file_comes_back() {
        let disk = SimDisk::new(0);
        file().save(&disk, Path::new(PATH)).unwrap();
        let found = CredentialFile::load(&disk, Path::new(PATH)).unwrap();
        assert_eq!((found.endpoints, found.identity), (file().endpoints, file().identity));
    }

    #[test]
    fn the_text_is_frozen() {
        expect![[r##"
            # Whoever has this file can do in the cluster whatever its owner may. Keep it private.
            endpoints = ["127.0.0.1:7400", "[::1]:7402"]
            identity = """
            -----BEGIN CERTIFICATE-----
            MIIB+/x=
            -----END CERTIFICATE-----
            """
        "##]]
        .assert_eq(&file().to_text());
    }

    proptest! {
        /// It has no checksum, as people may edit it: a damaged one is refused, here or where its identity is checked, or
        /// names other endpoints.
        #[test]
        fn damage_does_no_harm(at: Index, rubbish in vec(any::<u8>(), 0..60), text in "[ -~\\n]{0,20}") {
            let good = file().to_text();
            let (before, after) = good.as_bytes().split_at(at.index(good.len()));
            for bytes in [&rubbish[..], text.as_bytes()] {
                let over = after.get(bytes.len()..).unwrap_or_default();
                for bad in [bytes, &[before, bytes].concat(), &[before, bytes, over].concat(), &[before, bytes, after].concat()] {
                    match CredentialFile::parse(bad) {
                        Ok(found) => {
                            prop_assert!(!found.endpoints.is_empty());
                            prop_assert_eq!(found.credentials().unwrap_err().kind(), ErrorKind::Invalid);
                        }
                        Err(e) => prop_assert_eq!(e.kind(), ErrorKind::Invalid),
                    }
                }
            }
        }
    }

    #[track_caller]
    fn check(text: &[u8], want: &str) {
        let disk = SimDisk::new(0);
        disk.write_atomic(Path::new(PATH), text).unwrap();
        let error = CredentialFile::load(&disk, Path::new(PATH)).unwrap_err();
        assert!(error.message().starts_with("credential file /admin.cred: "), "{error}");
        assert!(error.message().contains(want), "{error}");
    }

    #[test]
    fn bad_files_say_what_is_wrong() {
        check(b"", "missing field `endpoints`");
        check(b"\xff", "not text");
        check(b"endpoints = []\nidentity = \"x\"", "names no endpoints");
        check(b"endpoints = [\"localhost\"]\nidentity = \"x\"", "invalid socket address");
        check(b"endpoints = [\"127.0.0.1:1\"]", "missing field `identity`");
        check(b"endpoints = [\"127.0.0.1:1\"]\nidentity = \"x\"\nrole = 1", "unknown field `role`");
        check(b"endpoints = [", "copy the whole file again");
    }

    #[test]
    #[should_panic(expected = "a file without endpoints is refused")]
    fn a_file_that_cannot_be_read_is_not_written() {
        let file = CredentialFile { endpoints: Vec::new(), identity: "x".to_owned() };
        let _ = file.save(&SimDisk::new(0), Path::new(PATH));
    }

    #[test]
    fn a_missing_file_says_what_to_do() {
        let error = CredentialFile::load(&SimDisk::new(0), Path::new("/none.cred")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(
            error.message().contains("cloudsync up") && error.message().contains("CLOUDSYNC_CREDENTIALS")
        );
    }

    #[test]
    fn a_text_without_certificates_is_no_identity() {
        let file = CredentialFile { endpoints: Vec::new(), identity: "x".to_owned() };
        assert_eq!(file.credentials().unwrap_err().kind(), ErrorKind::Invalid);
    }
}
