//! Remembered answers: a request that is repeated is answered as before and not carried out again.
//!
//! The oldest is forgotten first, in the order of the log: no clock decides. One row says where the oldest and the newest
//! are, so nothing is ever looked for.

use chunk::manifest::{Content, Manifest, SealedForm};
use proto::namespace::{NewContent, Op, WriteNamespace, Written};
use types::limits::{ANSWER_COUNT_MAX, ANSWER_MESSAGE_SIZE_MAX, ANSWER_SIZE_MAX};
use types::{Error, Result};

use super::key;
use super::row::{AnswerRow, AnswersRow, RequestRow};
use crate::draft::Draft;
use crate::failure::{Failure, Halt, refuse};
use crate::row::load;

/// What each answer and each of its results counts for beside its key and messages.
const RESULT_SIZE: usize = 64;

/// How much a partition remembers.
#[derive(Clone, Copy, Debug)]
pub struct AnswerLimits {
    /// Answers at once.
    pub count_max: u64,
    /// Sum of their sizes.
    pub size_max: u64,
}

impl Default for AnswerLimits {
    fn default() -> Self {
        Self { count_max: ANSWER_COUNT_MAX, size_max: ANSWER_SIZE_MAX }
    }
}

/// A request, as it is known again.
#[derive(Debug)]
pub struct Asked {
    key: Vec<u8>,
    fingerprint: [u8; 16],
}

impl Asked {
    /// What `author` has asked for. Receipts are not part of it: they only prove that it may be done. Nor is how content
    /// is sealed: a repeat may be proposed with a newer key.
    pub fn new(author: &str, write: &mut WriteNamespace) -> Self {
        for op in &mut write.ops {
            if let Op::CommitVersion { content: NewContent::File { receipts, .. }, .. } = op {
                receipts.clear();
            }
        }
        let taken: Vec<SealedForm> = forms(write).map(std::mem::take).collect();
        let hash = blake3::hash(&proto::encode_plain(write));
        forms(write).zip(taken).for_each(|(form, taken)| *form = taken);
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hash.as_bytes()[..16]);
        Self { key: key::of_request(write.namespace, write.request, author), fingerprint }
    }

    /// The answer that was given before; refused when something else was asked for under the same id.
    pub fn look_up(&self, draft: &Draft<'_>) -> Result<Option<Result<Written>>, Failure> {
        match load::<RequestRow>(draft, &self.key)? {
            Some(known) if known.fingerprint != self.fingerprint => refuse(Error::invalid(
                "the request's id was used for another request: give each request an id of its own",
            )),
            known => Ok(known.map(|known| known.answer)),
        }
    }

    /// Keeps an answer, and forgets the oldest ones that are too many then. Each was kept once, so that a command forgets
    /// one on average.
    pub fn remember(
        self,
        draft: &mut Draft<'_>,
        limits: AnswerLimits,
        answer: &Result<Written>,
    ) -> Result<(), Halt> {
        let mut answers: AnswersRow = load(draft, &key::of_answers())?.unwrap_or_default();
        let Self { key, fingerprint } = self;
        let size = size_of(&key, answer);
        draft.put(key.clone(), &RequestRow { fingerprint, answer: shortened(answer) });
        draft.put(key::of_answer(answers.next), &AnswerRow { key, size });
        answers.next += 1;
        answers.size += size;
        while answers.next - answers.first > limits.count_max || answers.size > limits.size_max {
            let oldest_key = key::of_answer(answers.first);
            // A number without a row would be one that was never given.
            let oldest: AnswerRow = load(draft, &oldest_key)?.ok_or_else(missing)?;
            draft.delete(oldest.key);
            draft.delete(oldest_key);
            answers.first += 1;
            answers.size = answers.size.checked_sub(oldest.size).ok_or_else(missing)?;
        }
        draft.put(key::of_answers(), &answers);
        Ok(())
    }
}

/// How the inline content of a write is sealed.
fn forms(write: &mut WriteNamespace) -> impl Iterator<Item = &mut SealedForm> {
    write.ops.iter_mut().filter_map(|op| match op {
        Op::CommitVersion {
            content: NewContent::File { manifest: Manifest { content: Content::Sealed { form, .. }, .. }, .. },
            ..
        } => {
            Some(form)
        }
        _ => None,
    })
}

fn missing() -> Halt {
    crate::row::damaged::<AnswersRow>("it counts answers that are not there")
}

/// The same on every build, whatever its messages say.
fn size_of(key: &[u8], answer: &Result<Written>) -> u64 {
    let results = answer.as_ref().map_or(&[][..], |written| &written.results);
    let refusals = results.iter().filter(|result| result.is_err()).count() + usize::from(answer.is_err());
    let size = 2 * key.len() + (1 + results.len()) * RESULT_SIZE + refusals * ANSWER_MESSAGE_SIZE_MAX;
    size as u64
}

/// An answer as it is remembered.
fn shortened(answer: &Result<Written>) -> Result<Written> {
    let mut answer = answer.clone().map_err(short);
    if let Ok(written) = &mut answer {
        for result in &mut written.results {
            *result = std::mem::replace(result, Err(Error::internal(""))).map_err(short);
        }
    }
    answer
}

fn short(error: Error) -> Error {
    let message = error.message();
    if message.len() <= ANSWER_MESSAGE_SIZE_MAX {
        return error;
    }
    let ends = message.char_indices().map(|(start, _)| start);
    let end = ends.take_while(|end| *end <= ANSWER_MESSAGE_SIZE_MAX).last().unwrap_or(0);
    Error::new(error.kind(), &message[..end])
}

#[cfg(test)]
mod tests;
