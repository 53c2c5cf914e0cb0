//! What a process shows to others, and whom it turns away, while both change.
//!
//! Owns: the credentials in use, which are replaced by newer ones, and the list of certificates that are revoked.
//! Knows nothing of: when to renew, who revokes.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, RwLock};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use types::{Error, Identity, Result, Serial};

use crate::{Credentials, Trust};

/// Credentials in use and revoked certificates, for the server and the clients of one process. Clones are the same:
/// what changes counts for every connection that is opened from then on, and ends those of who is revoked.
#[derive(Clone)]
pub struct Passport {
    trust: Trust,
    held: Arc<RwLock<Option<Credentials>>>,
    revoked: watch::Sender<Arc<BTreeSet<Serial>>>,
}

impl From<&Credentials> for Passport {
    /// The passport of a process that shows these and turns nobody away.
    fn from(own: &Credentials) -> Self {
        let held = Arc::new(RwLock::new(Some(own.clone())));
        Self { trust: own.trust().clone(), held, revoked: watch::Sender::default() }
    }
}

impl From<&Passport> for Passport {
    fn from(same: &Passport) -> Self {
        same.clone()
    }
}

impl Passport {
    /// The passport of who shows nothing.
    pub fn anonymous(trust: &Trust) -> Self {
        Self { trust: trust.clone(), held: Arc::default(), revoked: watch::Sender::default() }
    }

    /// What peers are checked with.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// What is shown now; `None` when nothing is.
    pub fn credentials(&self) -> Option<Credentials> {
        self.held.read().expect("no panic while it is held").clone()
    }

    /// Shows `own` from now on. `Invalid` when it is somebody else's.
    pub fn renew(&self, own: &Credentials) -> Result<()> {
        let mut held = self.held.write().expect("no panic while it is held");
        let same = held.as_ref().is_some_and(|held| held.identity() == own.identity());
        if !same || *own.trust() != self.trust {
            return Err(Error::invalid(format!("{own:?} does not renew {:?}", held.as_ref())));
        }
        *held = Some(own.clone());
        Ok(())
    }

    /// Turns away whoever shows one of these certificates from now on, and whoever has come in with one.
    pub fn refuse(&self, revoked: BTreeSet<Serial>) {
        self.revoked.send_replace(Arc::new(revoked));
    }

    pub(crate) fn is_revoked(&self, serial: Serial) -> bool {
        self.revoked.borrow().contains(&serial)
    }

    /// What tells that a peer with this certificate must go.
    pub(crate) fn ouster(&self, serial: Option<Serial>) -> Ouster {
        Ouster { serial, revoked: self.revoked.subscribe() }
    }

    fn certified(&self) -> Option<Arc<CertifiedKey>> {
        self.held.read().expect("no panic while it is held").as_ref().map(Credentials::certified)
    }
}

impl fmt::Debug for Passport {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = self.credentials().map_or(Identity::Anonymous, |own| own.identity().clone());
        write!(f, "Passport({identity} of {})", self.trust.cluster())
    }
}

impl ResolvesServerCert for Passport {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }
}

impl ResolvesClientCert for Passport {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }

    fn has_certs(&self) -> bool {
        self.certified().is_some()
    }
}

/// Tells when the certificate of a peer is revoked.
#[derive(Clone)]
pub(crate) struct Ouster {
    serial: Option<Serial>,
    revoked: watch::Receiver<Arc<BTreeSet<Serial>>>,
}

impl Ouster {
    /// Returns when the peer must go; never, for one that has no certificate.
    pub(crate) async fn wait(mut self) {
        let Some(serial) = self.serial else { return std::future::pending().await };
        if self.revoked.wait_for(|revoked| revoked.contains(&serial)).await.is_err() {
            std::future::pending().await // Nobody can revoke any more: the server has ended.
        }
    }
}
