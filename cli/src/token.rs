//! The join token: the one line that a new node needs to become part of a cluster.
//!
//! Owns: the line's form. It holds a secret that is good for a while and says whom to trust and where to ask, so that the
//! new node gives its secret to nobody else.
//! Knows nothing of: how joining is done.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use types::{Error, Result};

/// What every token begins with: makes it recognisable, and its form changeable.
const PREFIX: &str = "cloudsync-join-1-";
/// Bytes of the check sum: enough to tell a token that was cut or mistyped.
const SUM_SIZE: usize = 4;

/// What a token says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Shown to the cluster.
    pub secret: [u8; 32],
    /// Control addresses of nodes that can admit.
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
    /// The line.
    pub fn to_text(&self) -> String {
        let mut bytes = postcard::to_allocvec(self).expect("a token has nothing that cannot be written");
        bytes.extend_from_slice(&sum(&bytes));
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads what [`JoinToken::to_text`] wrote.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::invalid(format!(
                "the join token {why}: copy all of it, or make a new one with `cloudsync admin token create`"
            ))
        };
        let encoded = text.trim().strip_prefix(PREFIX).ok_or_else(|| bad("does not begin as one does"))?;
        let bytes =
            URL_SAFE_NO_PAD.decode(encoded).map_err(|_| bad("has characters that do not belong there"))?;
        let (body, found) = bytes.split_last_chunk::<SUM_SIZE>().ok_or_else(|| bad("is too short"))?;
        if *found != sum(body) {
            return Err(bad("is damaged"));
        }
        postcard::from_bytes(body).map_err(|_| bad("is damaged"))
    }
}

fn sum(bytes: &[u8]) -> [u8; SUM_SIZE] {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("a hash is longer than the sum")
}

#[cfg(test)]
mod tests {
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
}
