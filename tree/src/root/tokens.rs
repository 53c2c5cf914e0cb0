//! Tokens: what lets somebody in who has no certificate. Used up by the command that lets them in, so that two who come
//! at once with the same one are two uses of it.

use kv::{Order, Read};
use proto::certificates::{Grant, TokenInfo, TokenList, token_id};
use types::limits::{TOKEN_COUNT_MAX, TOKEN_USE_COUNT_MAX};
use types::{Error, Millis, NodeId, Result, Serial, TokenId};

use super::certificates::is_over;
use super::row::{self, TokenRow, TokenUse};
use crate::draft::Draft;
use crate::failure::{Failure, Halt, refuse};
use crate::row::{decode, load, scan_page};

/// All tokens that have not expired at `now`.
pub fn list_tokens(state: &dyn Read, now: Millis) -> Result<TokenList> {
    let all = all(state, row::TOKENS).map_err(Halt::into_error)?;
    let valid = all.into_iter().filter(|(_, token)| now <= token.expires);
    let info = |(key, token): (Vec<u8>, TokenRow)| TokenInfo {
        id: token_id(&row::hash_of(&key)),
        grant: token.grant,
        uses: token.uses,
        used_by: token.used.iter().map(|used| used.node).collect(),
        expires: token.expires,
    };
    Ok(TokenList { tokens: valid.map(info).collect() })
}

/// Adds a token.
pub fn add(draft: &mut Draft<'_>, hash: &[u8; 32], new: TokenRow) -> Result<(), Failure> {
    if !(1..=TOKEN_USE_COUNT_MAX).contains(&new.uses) {
        return refuse(Error::invalid(format!("a token can be used 1 to {TOKEN_USE_COUNT_MAX} times")));
    }
    if all(draft, row::TOKENS)?.len() >= TOKEN_COUNT_MAX {
        return refuse(Error::invalid(format!(
            "there are {TOKEN_COUNT_MAX} tokens: revoke some with `cloudsync admin token revoke`"
        )));
    }
    draft.put(row::token_key(hash), &new);
    Ok(())
}

/// Forgets a token. What was done with it stays.
pub fn revoke(draft: &mut Draft<'_>, id: TokenId) -> Result<(), Failure> {
    let found = all(draft, &[row::TOKENS, &id.0].concat())?;
    if found.is_empty() {
        return refuse(Error::not_found(format!(
            "there is no token {id}: `cloudsync admin token list` shows all"
        )));
    }
    found.into_iter().for_each(|(key, _)| draft.delete(key));
    Ok(())
}

/// What becomes of somebody who shows a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It can be used.
    Valid(Grant),
    /// The same request has used it before.
    UsedBySame(TokenUse),
}

/// `Denied` unless the token with this hash is valid at `now` for who comes with this request.
pub fn show(state: &dyn Read, hash: &[u8; 32], request: &[u8; 32], now: Millis) -> Result<Shown, Failure> {
    let Some(token) = load::<TokenRow>(state, &row::token_key(hash))? else {
        return denied("is not one of this cluster's, has expired, or was revoked");
    };
    if now > token.expires {
        return denied("has expired");
    }
    match token.used.iter().find(|used| used.request == *request) {
        Some(used) => Ok(Shown::UsedBySame(used.clone())),
        None if token.used.len() >= token.uses as usize => denied("was used already"),
        None => Ok(Shown::Valid(token.grant)),
    }
}

/// Takes note that a token was used, after [`show`] has found it valid.
pub fn use_up(
    draft: &mut Draft<'_>,
    hash: &[u8; 32],
    request: [u8; 32],
    node: NodeId,
    certificate: Serial,
) -> Result<(), Failure> {
    let key = row::token_key(hash);
    let token = load::<TokenRow>(draft, &key)?;
    let mut token = token.expect("it was shown in the same command");
    token.used.push(TokenUse { request, node, certificate });
    draft.put(key, &token);
    Ok(())
}

fn denied<T>(why: &str) -> Result<T, Failure> {
    refuse(Error::denied(format!(
        "the token {why}: have an administrator create another with `cloudsync admin token create`"
    )))
}

/// True when [`forget`] would forget something.
pub fn has_expired(state: &dyn Read, now: Millis) -> Result<bool, Halt> {
    Ok(all(state, row::TOKENS)?.iter().any(|(_, token)| is_over(token.expires, now)))
}

/// Forgets tokens that have expired.
pub fn forget(draft: &mut Draft<'_>) -> Result<(), Failure> {
    let now = draft.at.time;
    let expired = all(draft, row::TOKENS)?.into_iter().filter(|(_, token)| is_over(token.expires, now));
    expired.collect::<Vec<_>>().into_iter().for_each(|(key, _)| draft.delete(key));
    Ok(())
}

fn all(state: &dyn Read, prefix: &[u8]) -> Result<Vec<(Vec<u8>, TokenRow)>, Halt> {
    let mut rows = Vec::new();
    scan_page(state, (prefix, &kv::prefix_end(prefix), Order::Forward), usize::MAX, |key, value| {
        rows.push((key.to_vec(), decode(value)?));
        Ok(())
    })?;
    Ok(rows)
}
