//! What a state machine answers through the log: one encoded `Result`.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::Result;

use crate::failure::{Failure, Halt, answered};

/// Encodes what became of a command, unless this machine cannot tell.
pub fn of<T: Serialize>(result: Result<T, Failure>) -> Result<Bytes, Halt> {
    Ok(encode(&answered(result)?))
}

/// Encodes an answer.
pub fn encode<T: Serialize>(answer: &Result<T>) -> Bytes {
    proto::encode(answer)
}

/// Decodes an answer; the error is the machine's own, unless the bytes cannot be decoded.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    proto::decode::<Result<T>>(bytes)?
}
