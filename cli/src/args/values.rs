//! Values that several commands take, as they are typed.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use proto::certificates::{self, Which};
use types::{Error, Identity, NamespaceId, NamespaceName, Path, TokenId};

/// Reads the name of a namespace.
pub fn namespace(text: &str) -> Result<NamespaceName, String> {
    NamespaceName::parse(text).map_err(message)
}

/// Reads a number of seconds, minutes, hours or days.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || "a duration is a number and one of s m h d, such as 30m, at most 365d".to_owned();
    let unit = match text.chars().last().ok_or_else(bad)? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(bad()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| bad())?;
    let seconds = count.checked_mul(unit).filter(|s| (1..=365 * 24 * 3600).contains(s)).ok_or_else(bad)?;
    Ok(Duration::from_secs(seconds))
}

/// Reads what a token is listed by.
pub fn token_id(text: &str) -> Result<TokenId, String> {
    TokenId::parse(text).map_err(message)
}

/// Reads who is to hold a certificate.
pub fn holder(text: &str) -> Result<Identity, String> {
    certificates::holder(text).map_err(message)
}

/// Reads which certificates are meant.
pub fn which(text: &str) -> Result<Which, String> {
    Which::parse(text).map_err(message)
}

/// Without the kind: the parser already says that the value is invalid.
pub fn message(error: Error) -> String {
    error.message().to_owned()
}

/// A namespace, as it is named on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceRef {
    /// By its name.
    Name(NamespaceName),
    /// By its id: `id:` and a number. One that was a directory has no name.
    Id(NamespaceId),
}

/// Reads the name of a namespace, or its id.
pub fn namespace_ref(text: &str) -> Result<NamespaceRef, String> {
    match text.strip_prefix("id:") {
        Some(id) => {
            let id = id.parse().map_err(|_| "an id is id: and a number, such as id:4711".to_owned())?;
            Ok(NamespaceRef::Id(NamespaceId(id)))
        }
        None => namespace(text).map(NamespaceRef::Name),
    }
}

/// A path in a namespace as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Without a '/' at the end.
    pub path: Path,
    /// True when it ended with '/': it is meant to be a directory.
    pub is_dir: bool,
}

/// Reads paths, which need not be UTF-8 on the command line.
pub fn remote() -> impl TypedValueParser<Value = Remote> {
    OsStringValueParser::new().try_map(|text: OsString| parse_remote(&text).map_err(message))
}

pub fn parse_remote(text: &OsStr) -> types::Result<Remote> {
    let text = text.to_str().ok_or_else(|| Error::invalid(format!("path {text:?} is not UTF-8")))?;
    Ok(Remote { path: Path::parse(text)?, is_dir: text.ends_with('/') })
}
