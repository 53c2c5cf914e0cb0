//! Ten kinds of errors, each of which makes a caller do something different. Details belong in the message.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a caller can do about an error. A kind exists only where callers act differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The thing named does not exist.
    NotFound,
    /// The thing to be created already exists.
    Exists,
    /// Somebody else changed it first: read again, then decide.
    Conflict,
    /// The caller may not do this, or has not proven who it is.
    Denied,
    /// The request can never succeed as it stands.
    Invalid,
    /// The caller's view of the cluster is old: refresh the map (or the leader) and try again at once.
    StaleEpoch,
    /// A limit is reached for now: try again after `retry_after_ms`.
    Busy,
    /// A part that is needed does not answer or has no quorum.
    Unavailable,
    /// Bytes do not match their checksum and could not be repaired.
    Corrupt,
    /// A bug of ours.
    Internal,
}

/// What to do next. The kind decides; the message is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Try the same request again after this many milliseconds.
    Retry(u64),
    /// Fetch the cluster map, then try again.
    RefreshMap,
    /// Show the message to a person.
    AskUser,
    /// Report it; trying again does not help.
    GiveUp,
}

impl ErrorKind {
    /// All kinds in wire order.
    pub const ALL: [ErrorKind; 10] = [
        ErrorKind::NotFound,
        ErrorKind::Exists,
        ErrorKind::Conflict,
        ErrorKind::Denied,
        ErrorKind::Invalid,
        ErrorKind::StaleEpoch,
        ErrorKind::Busy,
        ErrorKind::Unavailable,
        ErrorKind::Corrupt,
        ErrorKind::Internal,
    ];
}

/// The one error type that crosses rooms and wires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    retry_after_ms: u32,
}

/// Result with the system's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident),* $(,)?) => {
        impl Error {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self { Self::new(ErrorKind::$kind, message) })*
        }
    };
}

constructors! {
    /// A [`ErrorKind::NotFound`] error.
    not_found => NotFound,
    /// A [`ErrorKind::Exists`] error.
    exists => Exists,
    /// A [`ErrorKind::Conflict`] error.
    conflict => Conflict,
    /// A [`ErrorKind::Denied`] error.
    denied => Denied,
    /// A [`ErrorKind::Invalid`] error.
    invalid => Invalid,
    /// A [`ErrorKind::StaleEpoch`] error.
    stale_epoch => StaleEpoch,
    /// A [`ErrorKind::Unavailable`] error.
    unavailable => Unavailable,
    /// A [`ErrorKind::Corrupt`] error.
    corrupt => Corrupt,
    /// A [`ErrorKind::Internal`] error.
    internal => Internal,
}

impl Error {
    /// An error of `kind`; the message says what happened and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_ms: 0 }
    }

    /// A [`ErrorKind::Busy`] error that asks the caller to come back after `retry_after_ms`.
    pub fn busy(message: impl Into<String>, retry_after_ms: u32) -> Self {
        Self { kind: ErrorKind::Busy, message: message.into(), retry_after_ms }
    }

    /// What a caller decides by; see [`Error::advice`].
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without the kind.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Prefixes the message with what was being done: `put a.txt: no quorum …`.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// What the caller should do.
    pub fn advice(&self) -> Advice {
        match self.kind {
            ErrorKind::Busy => Advice::Retry(u64::from(self.retry_after_ms.max(1))),
            ErrorKind::Unavailable => Advice::Retry(100),
            ErrorKind::StaleEpoch => Advice::RefreshMap,
            ErrorKind::NotFound
            | ErrorKind::Exists
            | ErrorKind::Conflict
            | ErrorKind::Denied
            | ErrorKind::Invalid => Advice::AskUser,
            ErrorKind::Corrupt | ErrorKind::Internal => Advice::GiveUp,
        }
    }

    /// True when the same request may succeed later without a person's help.
    pub fn is_transient(&self) -> bool {
        matches!(self.advice(), Advice::Retry(_) | Advice::RefreshMap)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorKind::NotFound => "not found",
            ErrorKind::Exists => "already exists",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Denied => "denied",
            ErrorKind::Invalid => "invalid",
            ErrorKind::StaleEpoch => "stale epoch",
            ErrorKind::Busy => "busy",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Internal => "internal error",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    /// Disk and socket errors keep their text; the kind says what the caller can do.
    fn from(e: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match e.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists => ErrorKind::Exists,
            Io::PermissionDenied => ErrorKind::Denied,
            Io::InvalidInput | Io::NotADirectory | Io::IsADirectory => ErrorKind::Invalid,
            Io::InvalidData | Io::UnexpectedEof => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_advice_and_text() {
        for kind in ErrorKind::ALL {
            let error = Error::new(kind, "m");
            assert!(error.to_string().ends_with(": m"));
            assert_eq!(
                error.is_transient(),
                matches!(kind, ErrorKind::Busy | ErrorKind::Unavailable | ErrorKind::StaleEpoch)
            );
        }
    }

    #[test]
    fn context_reads_from_the_outside_in() {
        let error = Error::not_found("no such file").context("a.txt").context("put");
        assert_eq!(error.to_string(), "not found: put: a.txt: no such file");
    }
}
