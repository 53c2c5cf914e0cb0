//! Who gets in: tokens and certificates.

use std::path::{Path, PathBuf};
use std::time::Duration;

use client::CredentialFile;
use env::Env;
use net::Credentials;
use node::repair::StoppedMeta;
use node::{JoinToken, RealPlatform};
use proto::certificates::{
    CertificateInfo, CreateToken, Grant, ListCertificates, ListTokens, RevokeCertificates, RevokeToken,
    TokenInfo, Which,
};
use proto::map::Role;
use serde_json::{Value, json};
use types::{Error, ErrorKind, Identity, Millis, NodeId, Result, counted};

use crate::args::{AdminCert, AdminToken, TokenRole};
use crate::credentials::issue;
use crate::exit::{self, Exit, Failure};
use crate::output::{Outcome, Table, time};
use crate::serve::load;
use crate::session::Session;

/// Runs a command about tokens.
pub async fn token(session: &Session, command: AdminToken) -> Result<Outcome> {
    match command {
        AdminToken::Create { role, uses, renew, valid } => {
            let grant = match (renew, role) {
                (Some(node), _) => Grant::Renew(NodeId(node)),
                (None, TokenRole::Block) => Grant::Join(Role::Block),
                (None, TokenRole::Meta) => Grant::Join(Role::Meta),
            };
            let question = CreateToken { grant, uses, valid_ms: valid.as_millis() as u64 };
            let (token, id) = JoinToken::create(&session.cluster, &session.credentials, &question).await?;
            let token = token.to_text();
            let json = json!({
                "token": token,
                "id": id.to_string(),
                "for": grant.to_string(),
                "uses": uses,
                "valid_seconds": valid.as_secs(),
            });
            Ok(Outcome::ok(token, json))
        }
        AdminToken::List => Ok(show_tokens(&session.cluster.ask_root(&ListTokens {}).await?.tokens)),
        AdminToken::Revoke { id } => {
            session.cluster.ask_root(&RevokeToken { id }).await?;
            Ok(Outcome::ok(format!("revoked token {id}"), json!({ "revoked": id.to_string() })))
        }
    }
}

/// Runs a command about certificates.
pub async fn cert(session: &Session, command: AdminCert) -> exit::Result<Outcome> {
    match command {
        AdminCert::List => {
            let list = session.cluster.ask_root(&ListCertificates {}).await?;
            Ok(show_certificates(&list.certificates))
        }
        AdminCert::Issue { name, days, out } => {
            let out = out.unwrap_or_else(|| file_of(&name));
            must_be_free(&session.env, &out)?;
            let life = Duration::from_secs(u64::from(days) * 24 * 3600);
            let endpoints = session.credentials.endpoints.clone();
            let file = issue(&session.cluster, endpoints, name, life).await?;
            file.save(&*session.env.disk, &out)?;
            Ok(written(&file, &out)?)
        }
        AdminCert::Revoke { which, force } => revoke(session, which, force).await,
        AdminCert::Recover { .. } => unreachable!("needs no cluster: done without a session"),
    }
}

async fn revoke(session: &Session, which: Which, force: bool) -> exit::Result<Outcome> {
    let own = Some(session.credentials.credentials()?.serial());
    let question = RevokeCertificates { which, own, force };
    let revoked = session.cluster.ask_root(&question).await.map_err(|error| match error.kind() {
        ErrorKind::Conflict => Failure { exit: Exit::Unsafe, error },
        _ => error.into(),
    })?;
    let serials: Vec<u64> = revoked.serials.iter().map(|serial| serial.0).collect();
    let names = serials.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let what = counted(serials.len() as u64, "certificate");
    let text = format!("revoked {what} ({names}); nodes turn them away within a second");
    Ok(Outcome::ok(text, json!({ "revoked": serials })))
}

/// Credentials that a stopped node signs by itself.
pub fn recover(env: &Env, config: &Path, name: &Identity, out: Option<PathBuf>) -> Result<Outcome> {
    let out = out.unwrap_or_else(|| file_of(name));
    must_be_free(env, &out)?;
    if name.is_node() {
        return Err(Error::invalid("a node gets its certificate with `cloudsync renew`"));
    }
    let (config, platform) = (load(env, config)?, RealPlatform(env.clone()));
    let identity = StoppedMeta::open(env, &platform, &config)?.issue(&platform, &config, name)?;
    let file = CredentialFile { endpoints: vec![config.native], identity };
    file.save(&*env.disk, &out)?;
    let mut outcome = written(&file, &out)?;
    outcome
        .text
        .push_str("\nstart the node, and create lasting ones with them: `cloudsync admin cert issue`");
    Ok(outcome)
}

fn file_of(identity: &Identity) -> PathBuf {
    let name = identity.to_string();
    PathBuf::from(format!("{}.cred", name.rsplit('/').next().unwrap_or(&name)))
}

fn must_be_free(env: &Env, path: &Path) -> Result<()> {
    if env.disk.exists(path) {
        return Err(Error::exists(format!(
            "{} is there already: name another file with --out",
            path.display()
        )));
    }
    Ok(())
}

fn written(file: &CredentialFile, path: &Path) -> Result<Outcome> {
    let own = file.credentials()?;
    let text = format!(
        "wrote credentials of {}, serial {}, which end {}, to {}",
        own.identity(),
        own.serial(),
        time(own.expires()),
        path.display()
    );
    let json = json!({
        "identity": own.identity().to_string(),
        "serial": own.serial().0,
        "expires_ms": own.expires().0,
        "file": path.display().to_string(),
    });
    Ok(Outcome::ok(text, json))
}

fn show_tokens(tokens: &[TokenInfo]) -> Outcome {
    let mut table = Table::new(&["token", "good for", ">used", "by", "expires"]);
    for token in tokens {
        let nodes = token.used_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        table.row([
            token.id.to_string(),
            token.grant.to_string(),
            format!("{}/{}", token.used_by.len(), token.uses),
            nodes,
            time(token.expires),
        ]);
    }
    let describe = |token: &TokenInfo| {
        json!({
            "id": token.id.to_string(),
            "for": token.grant.to_string(),
            "uses": token.uses,
            "used_by": token.used_by.iter().map(|node| node.0).collect::<Vec<_>>(),
            "expires_ms": token.expires.0,
        })
    };
    Outcome::ok(table.render(), tokens.iter().map(describe).collect::<Vec<Value>>().into())
}

fn show_certificates(certificates: &[CertificateInfo]) -> Outcome {
    let state = |certificate: &CertificateInfo| if certificate.revoked { "revoked" } else { "valid" };
    let mut table = Table::new(&[">serial", "holder", "issued", "expires", "state"]);
    for certificate in certificates {
        let CertificateInfo { serial, identity, issued, expires, .. } = certificate;
        let state = state(certificate).to_owned();
        table.row([serial.to_string(), identity.to_string(), time(*issued), time(*expires), state]);
    }
    let describe = |certificate: &CertificateInfo| {
        json!({
            "serial": certificate.serial.0,
            "holder": certificate.identity.to_string(),
            "issued_ms": certificate.issued.0,
            "expires_ms": certificate.expires.0,
            "state": state(certificate),
        })
    };
    Outcome::ok(table.render(), certificates.iter().map(describe).collect::<Vec<Value>>().into())
}

/// What to say when the credentials of a command run out soon.
pub fn warning(own: &Credentials, now: Millis, early: Duration) -> Option<String> {
    let left = own.expires().since(now);
    (left < early.as_millis() as u64).then(|| {
        let days = left / (24 * 3600 * 1000);
        format!(
            "the credentials of {} run out in {}: create others with `cloudsync admin cert issue`",
            own.identity(),
            counted(days, "day")
        )
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use net::Authority;
    use types::limits::CREDENTIALS_WARN_BEFORE;
    use types::{ClusterId, Serial, TokenId};

    use super::*;

    #[test]
    fn tokens_are_listed_with_who_has_used_them() {
        let token = |id, grant, used_by: &[u64]| TokenInfo {
            id: TokenId([id; 8]),
            grant,
            uses: 2,
            used_by: used_by.iter().copied().map(NodeId).collect(),
            expires: Millis(1000),
        };
        let tokens = [
            token(1, Grant::Join(Role::Meta), &[2, 3]),
            token(2, Grant::Join(Role::Block), &[]),
            token(3, Grant::Renew(NodeId(9)), &[]),
        ];
        let outcome = show_tokens(&tokens);
        expect![[r#"
            token             good for                            used  by    expires
            0101010101010101  joining as a node with any role      2/2  2, 3  1970-01-01 00:00:01
            0202020202020202  joining as a node with role block    0/2        1970-01-01 00:00:01
            0303030303030303  renewing the certificate of node 9   0/2        1970-01-01 00:00:01
        "#]]
        .assert_eq(&outcome.text);
        assert_eq!(outcome.json[0]["used_by"], json!([2, 3]));
    }

    #[test]
    fn certificates_are_listed_with_their_state() {
        let certificate = |serial, identity, revoked| CertificateInfo {
            serial: Serial(serial),
            identity,
            issued: Millis(0),
            expires: Millis(1000),
            revoked,
        };
        let (node, admin) = (Identity::Node(NodeId(1)), Identity::Admin("admin".into()));
        let outcome = show_certificates(&[certificate(1, node, false), certificate(12, admin, true)]);
        expect![[r#"
            serial  holder       issued               expires              state
                 1  node/1       1970-01-01 00:00:00  1970-01-01 00:00:01  valid
                12  admin/admin  1970-01-01 00:00:00  1970-01-01 00:00:01  revoked
        "#]]
        .assert_eq(&outcome.text);
        assert_eq!(outcome.json[1]["state"], "revoked");
    }

    #[test]
    fn who_runs_out_soon_is_told() {
        let env = Env::real();
        let (now, authority) = (env.clock.wall(), Authority::create(&env, ClusterId([1; 16])).unwrap());
        let own = |days: u64| {
            let life = Duration::from_secs(days * 24 * 3600 + 60);
            authority.issue(&Identity::Admin("ann".into()), life, &env).unwrap()
        };
        assert_eq!(warning(&own(31), now, CREDENTIALS_WARN_BEFORE), None);
        let told = warning(&own(29), now, CREDENTIALS_WARN_BEFORE).unwrap();
        assert!(told.starts_with("the credentials of admin/ann run out in 29 days"), "{told}");
    }

    #[test]
    fn files_are_named_after_their_holder() {
        assert_eq!(file_of(&Identity::User("ann".into())), PathBuf::from("ann.cred"));
        assert_eq!(file_of(&Identity::Admin("bob".into())), PathBuf::from("bob.cred"));
    }
}
