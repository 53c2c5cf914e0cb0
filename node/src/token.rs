//! The join token: the one line that a new node needs to become part of a cluster, or an old one to come back.
//!
//! Owns: the form of the line. It holds a secret that is valid for a while, and says whom to trust and where to ask, so
//! that the new node gives the secret to nobody else.
//! Knows nothing of: how joining is done.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::{Cluster, CredentialFile};
use proto::certificates::{CreateToken, TokenCreated};
use proto::map::{ClusterMap, ROOT, Role};
use serde::{Deserialize, Serialize};
use types::{Error, Result, TokenId};

/// What every token begins with: makes it recognisable, and lets its form change.
const PREFIX: &str = "cloudsync-join-1-";
/// Bytes of the checksum: enough to notice a token that was cut off or mistyped.
const SUM_SIZE: usize = 4;

/// What a token says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// What the new node shows to the cluster.
    pub secret: [u8; 32],
    /// Control addresses of nodes that can admit others.
    pub control: Vec<SocketAddr>,
    /// The certificate of the cluster's authority, PEM.
    pub authority: String,
}

impl std::fmt::Debug for JoinToken {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinToken").field("control", &self.control).finish_non_exhaustive()
    }
}

impl JoinToken {
    /// Asks the cluster for a token; returns what it is listed by, too.
    pub async fn create(
        cluster: &Cluster,
        credentials: &CredentialFile,
        question: &CreateToken,
    ) -> Result<(Self, TokenId)> {
        let TokenCreated { secret, id } = cluster.ask_root(question).await?;
        let authority = credentials.credentials()?.trust().to_pem();
        Ok((Self { secret, control: admitting(&cluster.map()), authority }, id))
    }

    /// The token as one line of text.
    pub fn to_text(&self) -> String {
        let mut bytes = postcard::to_allocvec(self).expect("a token has nothing that cannot be written");
        bytes.extend_from_slice(&sum(&bytes));
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads what [`JoinToken::to_text`] wrote. `Invalid` when it is cut off or damaged.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::invalid(format!(
                "the join token {why}: copy all of it, or create a new one with `cloudsync admin token create`"
            ))
        };
        let encoded = text.trim().strip_prefix(PREFIX).ok_or_else(|| bad("does not begin like one"))?;
        let bytes =
            URL_SAFE_NO_PAD.decode(encoded).map_err(|_| bad("has characters that do not belong there"))?;
        let (body, found) = bytes.split_last_chunk::<SUM_SIZE>().ok_or_else(|| bad("is too short"))?;
        if *found != sum(body) {
            return Err(bad("is damaged"));
        }
        postcard::from_bytes(body).map_err(|_| bad("is damaged"))
    }
}

/// Control addresses of the nodes that can admit others: voters of the root first, because one of them leads it.
fn admitting(map: &ClusterMap) -> Vec<SocketAddr> {
    let ids = map.voters(ROOT);
    let voters = ids.iter().filter_map(|id| map.nodes.get(id));
    let others = map.nodes.iter().filter(|(id, node)| !ids.contains(id) && node.roles.contains(&Role::Meta));
    voters.chain(others.map(|(_, node)| node)).map(|node| node.control).collect()
}

fn sum(bytes: &[u8]) -> [u8; SUM_SIZE] {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("a hash is longer than the sum")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use types::{ErrorKind, NodeId};

    use super::*;

    fn token() -> JoinToken {
        let control = vec!["127.0.0.1:7401".parse().unwrap(), "[::1]:7403".parse().unwrap()];
        JoinToken { secret: [7; 32], control, authority: "-----BEGIN CERTIFICATE-----".to_owned() }
    }

    #[test]
    fn a_token_comes_back() {
        assert_eq!(JoinToken::parse(&token().to_text()), Ok(token()));
        assert_eq!(JoinToken::parse(&format!(" {}\n", token().to_text())), Ok(token()));
    }

    #[test]
    fn the_text_is_frozen() {
        expect!["cloudsync-join-1-BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcCAH8AAAHpOQEAAAAAAAAAAAAAAAAAAAAB6zkbLS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tElkUVQ"].assert_eq(&token().to_text());
    }

    #[track_caller]
    fn is_refused(text: &str) -> bool {
        let found = JoinToken::parse(text);
        found.is_err_and(|e| {
            assert_eq!(e.kind(), ErrorKind::Invalid, "{e}");
            true
        })
    }

    proptest! {
        #[test]
        fn a_damaged_token_is_refused(at: Index, text in "[A-Za-z0-9_-]{0,40}|.{0,20}") {
            let good = token().to_text();
            let (before, after) = good.split_at(at.index(good.len()));
            let over = after.get(text.len()..).unwrap_or_default();
            for bad in [text.clone(), format!("{PREFIX}{text}"), format!("{before}{text}"), format!("{before}{text}{over}"), format!("{before}{text}{after}")] {
                prop_assert!(bad.trim() == good || is_refused(&bad), "{}", bad);
            }
        }

        /// The sum says that nothing was lost, not that it makes sense.
        #[test]
        fn a_token_that_makes_no_sense_does_no_harm(at: Index, rubbish in vec(any::<u8>(), 0..80)) {
            let good = postcard::to_allocvec(&token()).unwrap();
            let (before, _) = good.split_at(at.index(good.len()));
            for body in [&rubbish[..], &[before, &rubbish].concat()] {
                let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([body, &sum(body)].concat()));
                if let Ok(found) = JoinToken::parse(&text) {
                    prop_assert_eq!(JoinToken::parse(&found.to_text()), Ok(found));
                }
            }
        }
    }

    #[test]
    fn damage_is_noticed() {
        let text = token().to_text();
        let swapped = format!("{}A{}", &text[..30], &text[31..]);
        assert_ne!(swapped, text);
        for bad in
            ["", "x", PREFIX, &text[1..], &text[..text.len() - 1], &text[..30], &format!("{text}ä"), &swapped]
        {
            let error = JoinToken::parse(bad).unwrap_err();
            assert!(error.message().contains("admin token create"), "{error}");
        }
    }

    #[test]
    fn the_secret_is_not_in_logs() {
        assert_eq!(format!("{:?}", token()), "JoinToken { control: [127.0.0.1:7401, [::1]:7403], .. }");
    }

    #[test]
    fn tokens_name_the_nodes_that_can_admit() {
        let mut map = client::testing::status(3).map;
        map.partitions[0].voters = vec![NodeId(2)];
        map.nodes.get_mut(&NodeId(1)).unwrap().roles = vec![Role::Block];
        let ports: Vec<u16> = admitting(&map).iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [7404, 7406]);
    }
}
