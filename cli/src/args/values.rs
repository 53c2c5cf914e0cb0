//! Values that several commands take, as they are typed.

use std::time::Duration;

use types::{Error, NamespaceName};

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

/// Without the kind: the parser already says that the value is invalid.
pub fn message(error: Error) -> String {
    error.message().to_owned()
}
