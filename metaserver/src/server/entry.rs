//! Who gets in: tokens, nodes that join, certificates and their renewal, and who is turned away from now on.
//!
//! The state decides who may have which certificate, under which serial (`tree/src/root.rs`); here it is signed, with a key
//! that is opened for it and kept nowhere.

use access::{Action, authorize};
use env::mutant::Mutant;
use net::{Caller, Terms};
use proto::certificates::{
    CertificateIssued, CertificateList, CertificateRenewed, CertificatesRevoked, CreateToken,
    IssueCertificate, Issued, ListCertificates, ListTokens, RenewCertificate, RevokeCertificates,
    RevokeToken, TokenCreated, TokenList, token_id,
};
use proto::cluster::{Join, Joined};
use proto::command::{MapChange, NewNode, NodeChange, RootCommand, ToCertify};
use proto::map::{ROOT, Role};
use raft::State;
use tracing::info;
use tree::root;
use types::limits::{NODE_CERTIFICATE_VALIDITY, PERSON_CERTIFICATE_VALIDITY_MAX, TOKEN_VALIDITY_MAX};
use types::{Error, Identity, Result};

use super::Metaserver;

impl Metaserver {
    pub(super) async fn create_token(&self, caller: &Caller, request: CreateToken) -> Result<TokenCreated> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        let CreateToken { grant, uses, valid_ms } = request;
        if valid_ms > TOKEN_VALIDITY_MAX.as_millis() as u64 {
            let days = TOKEN_VALIDITY_MAX.as_secs() / (24 * 3600);
            return Err(Error::invalid(format!("a token is valid for {days} days at most")));
        }
        let secret: [u8; 32] = self.env.random.bytes();
        let hash = hash(&secret);
        let expires = self.env.clock.wall().plus(valid_ms);
        let () = self.propose(ROOT, RootCommand::AddToken { hash, grant, uses, expires }).await?;
        Ok(TokenCreated { secret, id: token_id(&hash) })
    }

    pub(super) async fn list_tokens(&self, caller: &Caller, _: ListTokens) -> Result<TokenList> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        let now = self.env.clock.wall();
        self.read_newest(&self.root()?, move |state: &State| root::list_tokens(state, now)).await
    }

    pub(super) async fn revoke_token(&self, caller: &Caller, request: RevokeToken) -> Result<()> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        self.propose(ROOT, RootCommand::RevokeToken { id: request.id }).await
    }

    /// Admits a node that shows a valid token.
    pub(super) async fn join(&self, join: Join) -> Result<Joined> {
        let (token_hash, now) = (hash(&join.secret), self.env.clock.wall());
        let asked = to_certify(&join.request, now.plus(NODE_CERTIFICATE_VALIDITY.as_millis() as u64));
        let Join { zone, roles, native, control, store, level, .. } = join;
        let admit = move |state: &State| {
            root::check_token(state, &token_hash, &asked.request, now)?;
            root::check_build(state, level)
        };
        self.read_newest(&self.root()?, admit).await?;
        let secrets = self.secrets().await?;
        self.check_request(&secrets, &join.request)?;
        let unlock = roles.contains(&Role::Meta).then(|| self.keychain.unlocking.how.clone());
        let node = NewNode { zone, roles, native, control, store };
        let added = self.change_map(MapChange::AddNode { node, token_hash, asked, level }).await?;
        let (Some(id), Some(issued)) = (added.node, added.certificate) else {
            return Err(Error::internal("a node was added without an id or a certificate"));
        };
        if Mutant::EarlyVoter.is_planted() {
            let up = NodeChange { node: id, up: true, native, control, disks: Default::default() };
            self.change_map(MapChange::SetNodes { changes: vec![up] }).await?;
        }
        let certificate = self.sign(&secrets, &join.request, Identity::Node(id), issued)?;
        info!(node = %id, serial = %issued.serial, "a node joins");
        let map = self.current_map()?;
        assert!(map.nodes.contains_key(&id), "a command is applied here before it is answered (I-LIN)");
        Ok(Joined { node: id, cluster: map.cluster, certificate, secret: secrets.secret, unlock, map })
    }

    /// Gives a node a new certificate: to itself, or to whoever shows a token for it.
    pub(super) async fn renew_certificate(
        &self,
        caller: &Caller,
        request: RenewCertificate,
    ) -> Result<CertificateRenewed> {
        let RenewCertificate { node, request, secret } = request;
        if secret.is_none() {
            authorize(&caller.identity, Action::ActFor(node))?;
        }
        let (token_hash, now) = (secret.map(|secret| hash(&secret)), self.env.clock.wall());
        let asked = to_certify(&request, now.plus(NODE_CERTIFICATE_VALIDITY.as_millis() as u64));
        if let Some(hash) = token_hash {
            let check = move |state: &State| root::check_token(state, &hash, &asked.request, now);
            self.read_newest(&self.root()?, check).await?;
        }
        let (identity, issued, certificate) =
            self.issue(Identity::Node(node), &request, asked, token_hash).await?;
        info!(%identity, serial = %issued.serial, "a certificate was renewed");
        Ok(CertificateRenewed { certificate })
    }

    pub(super) async fn issue_certificate(
        &self,
        caller: &Caller,
        request: IssueCertificate,
    ) -> Result<CertificateIssued> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        let IssueCertificate { identity, request, valid_ms } = request;
        identity.check()?;
        if identity.is_node() {
            return Err(Error::invalid(
                "nodes get their certificates by joining, and renew them: create a token",
            ));
        }
        let days = PERSON_CERTIFICATE_VALIDITY_MAX.as_secs() / (24 * 3600);
        if valid_ms == 0 || valid_ms > PERSON_CERTIFICATE_VALIDITY_MAX.as_millis() as u64 {
            return Err(Error::invalid(format!("a certificate is valid for 1 to {days} days")));
        }
        let asked = to_certify(&request, self.env.clock.wall().plus(valid_ms));
        let (identity, issued, certificate) = self.issue(identity, &request, asked, None).await?;
        info!(%identity, serial = %issued.serial, by = %caller.identity, "a certificate was issued");
        Ok(CertificateIssued { certificate, issued })
    }

    pub(super) async fn list_certificates(
        &self,
        caller: &Caller,
        _: ListCertificates,
    ) -> Result<CertificateList> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        let now = self.env.clock.wall();
        self.read_newest(&self.root()?, move |state: &State| root::list_certificates(state, now)).await
    }

    pub(super) async fn revoke_certificates(
        &self,
        caller: &Caller,
        request: RevokeCertificates,
    ) -> Result<CertificatesRevoked> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        let RevokeCertificates { which, own, force } = request;
        let command = RootCommand::RevokeCertificates { which, own, force };
        let revoked: CertificatesRevoked = self.propose(ROOT, command).await?;
        info!(serials = ?revoked.serials, by = %caller.identity, "certificates were revoked");
        Ok(revoked)
    }

    /// Forgets tokens and certificates that have run out, if there are any.
    pub(super) async fn forget_expired(&self) -> Result<()> {
        let now = self.env.clock.wall();
        let root = self.root()?;
        if root.read(|state| root::has_expired(state, now))? {
            let () = self.propose(ROOT, RootCommand::ForgetExpired).await?;
        }
        Ok(())
    }

    async fn issue(
        &self,
        identity: Identity,
        request: &str,
        asked: ToCertify,
        token_hash: Option<[u8; 32]>,
    ) -> Result<(Identity, Issued, String)> {
        self.must_lead_root()?;
        let secrets = self.secrets().await?;
        self.check_request(&secrets, request)?;
        let command = RootCommand::IssueCertificate { identity: identity.clone(), asked, token_hash };
        let issued: Issued = self.propose(ROOT, command).await?;
        let certificate = self.sign(&secrets, request, identity.clone(), issued)?;
        Ok((identity, issued, certificate))
    }

    /// The cluster's authority and secret, opened.
    async fn secrets(&self) -> Result<root::Secrets> {
        let sealed = self.read_newest(&self.root()?, |state: &State| root::secrets(state)).await?;
        root::Secrets::open(&sealed, &self.keychain.unlocking.key)
    }

    /// Refuses what could not be signed, before it uses anything up.
    fn check_request(&self, secrets: &root::Secrets, request: &str) -> Result<()> {
        let nobody = Issued { serial: types::Serial::uncounted(0), expires: self.env.clock.wall() };
        self.sign(secrets, request, Identity::Node(self.node), nobody).map(drop)
    }

    fn sign(
        &self,
        secrets: &root::Secrets,
        request: &str,
        identity: Identity,
        issued: Issued,
    ) -> Result<String> {
        let Issued { serial, expires } = issued;
        (self.signer.0)(&secrets.authority, request, &Terms { identity, serial, expires })
    }
}

fn to_certify(request: &str, expires: types::Millis) -> ToCertify {
    ToCertify { request: hash(request.as_bytes()), expires }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}
