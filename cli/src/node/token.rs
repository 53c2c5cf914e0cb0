//! What an administrator hands to a new node: where the cluster is, whom to trust there, and a secret to show.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use types::{Error, Result};

/// Tells a token from any other text, and its version.
const PREFIX: &str = "csjoin1_";

/// A join token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Control addresses of meta nodes.
    pub addresses: Vec<SocketAddr>,
    /// Certificate of the cluster's authority, PEM.
    pub trust: String,
    /// What the cluster knows the hash of.
    pub secret: [u8; 32],
}

impl Token {
    /// One line of text.
    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(proto::encode(self)))
    }

    /// Reads [`Token::to_text`].
    pub fn from_text(text: &str) -> Result<Self> {
        let bad = || Error::invalid("this is not a join token: make one with `cloudsync admin token create`");
        let body = text.trim().strip_prefix(PREFIX).ok_or_else(bad)?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| bad())?;
        proto::decode(&bytes).map_err(|e| e.context("the join token"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_being_pasted() {
        let token = Token {
            addresses: vec!["127.0.0.1:7401".parse().unwrap()],
            trust: "-----BEGIN CERTIFICATE-----".into(),
            secret: [7; 32],
        };
        assert_eq!(Token::from_text(&format!(" {}\n", token.to_text())), Ok(token));
        for bad in ["", "csjoin1_", "csjoin1_%%%", "csjoin2_AQAA", "hello"] {
            assert!(Token::from_text(bad).is_err(), "{bad:?}");
        }
    }
}
