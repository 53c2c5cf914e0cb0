//! Applies commands to a tree partition.

use bytes::Bytes;
use proto::command::NamespaceCommand;
use proto::namespace::{Done, Mode, WriteNamespace, Written};
use types::limits::BATCH_OP_COUNT_MAX;
use types::{Error, FeatureLevel, Result};

use super::answers::{AnswerLimits, Asked};
use super::read::namespace_row;
use super::tree::Tree;
use super::{catalog, row};
use crate::answer;
use crate::draft::Draft;
use crate::failure::{Failure, Halt, answered, refuse};
use crate::replica::Machine;

/// The state machine of one tree partition.
#[derive(Debug, Default)]
pub struct NamespaceMachine {
    limits: AnswerLimits,
}

impl NamespaceMachine {
    /// The same with other limits.
    #[cfg(test)]
    pub fn with_limits(mut self, limits: AnswerLimits) -> Self {
        self.limits = limits;
        self
    }

    fn write(&self, draft: &mut Draft<'_>, author: &str, mut write: WriteNamespace) -> Result<Bytes, Halt> {
        let asked = Asked::new(author, &mut write);
        match answered(asked.look_up(draft))? {
            Ok(None) => {}
            Ok(Some(before)) => return Ok(answer::encode(&before)),
            Err(e) => return Ok(answer::encode::<Written>(&Err(e))),
        }
        let count = write.ops.len();
        let written = answered(self.write_new(draft, author, write))?;
        assert!(
            written.as_ref().map_or(true, |written| written.results.len() == count),
            "a batch has one answer per change"
        );
        asked.remember(draft, self.limits, &written)?;
        Ok(answer::encode(&written))
    }

    fn write_new(
        &self,
        draft: &mut Draft<'_>,
        author: &str,
        write: WriteNamespace,
    ) -> Result<Written, Failure> {
        let count = write.ops.len();
        if count > BATCH_OP_COUNT_MAX {
            return refuse(Error::invalid(format!(
                "a batch of {count} changes is over the limit of {BATCH_OP_COUNT_MAX}: send it in parts"
            )));
        }
        match write.mode {
            Mode::PerItem => {
                let mut tree = Tree::open(draft, write.namespace, author)?;
                let results: Result<Vec<Result<Done>>, Halt> =
                    write.ops.into_iter().map(|op| answered(tree.apply(op))).collect();
                Ok(Written { results: results?, seq: tree.close()? })
            }
            Mode::Atomic => {
                let mut attempt = draft.attempt();
                let mut tree = Tree::open(&mut attempt, write.namespace, author)?;
                let mut done = Vec::with_capacity(count);
                for op in write.ops {
                    match answered(tree.apply(op))? {
                        Ok(one) => done.push(Ok(one)),
                        Err(error) => {
                            let seq = namespace_row(draft, write.namespace)?.seq;
                            return Ok(Written { seq, results: refused(count, done.len(), error) });
                        }
                    }
                }
                let seq = tree.close()?;
                let changes = attempt.into_changes();
                draft.absorb(changes);
                Ok(Written { seq, results: done })
            }
        }
    }
}

impl Machine for NamespaceMachine {
    type Command = NamespaceCommand;

    fn carry_out(&self, draft: &mut Draft<'_>, command: NamespaceCommand) -> Result<Bytes, Halt> {
        match command {
            NamespaceCommand::Create { name, owner, tenant } => {
                answer::of(catalog::create(draft, &name, owner, tenant))
            }
            NamespaceCommand::SetOwner { namespace, owner } => {
                answer::of(catalog::set_owner(draft, namespace, owner))
            }
            NamespaceCommand::Delete { namespace, force } => {
                answer::of(catalog::delete(draft, namespace, force))
            }
            NamespaceCommand::Write { author, write } => self.write(draft, &author, write),
            #[cfg(feature = "next-level")]
            NamespaceCommand::Mark { namespace } => {
                let marked = Tree::open(draft, namespace, "").and_then(|tree| Ok(tree.close()?));
                answer::of(marked.map(|_| ()))
            }
        }
    }

    fn canonical(key: &[u8], value: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt> {
        row::canonical_of(key, value, level)
    }
}

/// The answers to a batch of which nothing was done because the change at index `failed` was refused.
fn refused(count: usize, failed: usize, error: Error) -> Vec<Result<Done>> {
    assert!(failed < count, "change {failed} of a batch of {count}");
    let other = Error::conflict(format!("not done, because change {} of the batch was refused", failed + 1));
    (0..count).map(|i| Err(if i == failed { error.clone() } else { other.clone() })).collect()
}
