//! Why a command was not carried out, in two kinds that cannot be taken for each other.
//!
//! What a rule refuses is the same on every replica and is an answer. What this machine cannot read is its own trouble
//! and never an answer. There is no conversion from the plain error, which every read of a row gives, to either of
//! them: whoever reads says which it is, once, in `row.rs`.

use types::{Error, Result};

/// An error of this machine: a disk that cannot be read, bytes that cannot be decoded, a version it does not know. The
/// partition stops here before the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt(Error);

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The command does not fit the state: the answer, on every replica.
    Refused(Error),
    /// This machine cannot tell what the result is.
    Halted(Halt),
}

impl Halt {
    /// A halt because of `error`.
    pub fn new(error: Error) -> Self {
        Self(error)
    }

    /// Says where it happened.
    #[must_use]
    pub fn context(self, what: impl std::fmt::Display) -> Self {
        Self(self.0.context(what))
    }

    /// For those who only read: they pass it on to whoever asked.
    pub fn into_error(self) -> Error {
        self.0
    }
}

impl Failure {
    /// For those who only read: to them it is all the same.
    pub fn into_error(self) -> Error {
        match self {
            Self::Refused(error) | Self::Halted(Halt(error)) => error,
        }
    }
}

impl From<Halt> for Failure {
    fn from(halt: Halt) -> Self {
        Self::Halted(halt)
    }
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Refuses a command.
pub fn refuse<T>(error: Error) -> Result<T, Failure> {
    Err(Failure::Refused(error))
}

/// Takes a refusal for what it is, an answer; a halt goes on.
pub fn answered<T>(result: Result<T, Failure>) -> Result<Result<T>, Halt> {
    match result {
        Ok(done) => Ok(Ok(done)),
        Err(Failure::Refused(error)) => Ok(Err(error)),
        Err(Failure::Halted(halt)) => Err(halt),
    }
}
