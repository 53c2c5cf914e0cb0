//! How a command ends: exit codes, and errors said in words or in JSON.

use serde_json::json;
use types::{Error, ErrorKind};

/// What a script can tell from the exit code alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All of it was done.
    #[default]
    Ok = 0,
    /// It failed, or a part of it.
    Error = 1,
    /// The command line is wrong; nothing was sent anywhere.
    Usage = 2,
    /// The cluster is less protected than it should be, or has no quorum.
    Degraded = 3,
    /// Not done because it could destroy something.
    Unsafe = 4,
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Never [`Exit::Ok`].
    pub exit: Exit,
    /// What happened.
    pub error: Error,
}

/// Result of a command.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// The command line asks for something that can never work.
    pub fn usage(error: Error) -> Self {
        Self { exit: Exit::Usage, error }
    }

    /// Refused, because it could destroy something.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { exit: Exit::Unsafe, error: Error::invalid(message) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { exit: Exit::Error, error }
    }
}

/// The error as a line for a person: `cloudsync: what: why and what to do`.
pub fn as_line(error: &Error) -> String {
    format!("cloudsync: {}", error.message())
}

/// The error as a line for a program.
pub fn as_json(error: &Error) -> String {
    json!({ "error": { "kind": kind_name(error.kind()), "message": error.message() } }).to_string()
}

/// The kind as programs see it: it never changes.
pub fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not_found",
        ErrorKind::Exists => "exists",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Denied => "denied",
        ErrorKind::Invalid => "invalid",
        ErrorKind::StaleEpoch => "stale_epoch",
        ErrorKind::Busy => "busy",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Internal => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_fixed() {
        let codes = [Exit::Ok, Exit::Error, Exit::Usage, Exit::Degraded, Exit::Unsafe].map(|exit| exit as u8);
        assert_eq!(codes, [0, 1, 2, 3, 4]);
        assert_eq!(Failure::from(Error::invalid("x")).exit, Exit::Error);
        assert_eq!(Failure::usage(Error::invalid("x")).exit, Exit::Usage);
        assert_eq!(Failure::refused("x").exit, Exit::Unsafe);
    }

    #[test]
    fn errors_read_well() {
        let error = Error::not_found("/a does not exist").context("stat");
        assert_eq!(as_line(&error), "cloudsync: stat: /a does not exist");
        assert_eq!(as_json(&error), r#"{"error":{"kind":"not_found","message":"stat: /a does not exist"}}"#);
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> = ErrorKind::ALL.into_iter().map(kind_name).collect();
        assert_eq!(names.len(), ErrorKind::ALL.len());
    }
}
