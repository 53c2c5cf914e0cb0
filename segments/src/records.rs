//! The records of a segment in their order: from its footer, or by a walk where there is none.
//!
//! Owns: the choice between the two, and where the walk ends. Knows nothing of: the index.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use env::File;
use env::disk::Cause;
use types::Result;

use crate::segment::footer::{self, Footer};
use crate::segment::walk::{Step, Walk};
use crate::segment::{self, Opening};
use crate::shared::Shared;

/// Where the records of a segment are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) footer: Option<Footer>,
    /// Where they end at most.
    pub(crate) end: u64,
    /// They end there: all before was durable once, and nothing behind it is a record.
    pub(crate) is_certain: bool,
}

/// Finds out where the records of a segment end that is not written any more. Errors are those that say nothing about
/// the medium.
pub(crate) fn bounds(shared: &Shared, number: u32, file: &dyn File) -> io::Result<Bounds> {
    if let Some(footer) = footer::read(file, shared.place(number))? {
        return Ok(Bounds { end: footer.start, footer: Some(footer), is_certain: true });
    }
    let (len, end) = (file.len()?, end_of(shared, number)?);
    Ok(Bounds { footer: None, end: end.map_or(len, |end| end.min(len)), is_certain: end.is_some() })
}

/// What a visit found out besides the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visited {
    pub(crate) has_footer: bool,
    /// Where the records end at most.
    pub(crate) end: u64,
}

/// Receives each step and says whether to go on.
pub(crate) type Visit<'a> = dyn FnMut(Step) -> Result<ControlFlow<()>> + 'a;

/// Visits all records of a segment from `offset` on.
pub(crate) fn visit(
    shared: &Shared,
    number: u32,
    file: &dyn File,
    offset: u64,
    visit: &mut Visit<'_>,
) -> Result<Visited> {
    let Bounds { footer, end, .. } = bounds(shared, number, file)?;
    let has_footer = footer.is_some();
    if let Some(footer) = footer {
        for header in footer.headers.into_iter().filter(|header| u64::from(header.offset) >= offset) {
            if visit(Step::Record(header))?.is_break() {
                break;
            }
        }
    } else {
        for step in Walk::new(file, shared.place(number), offset, end) {
            if visit(step?)?.is_break() {
                break;
            }
        }
    }
    Ok(Visited { has_footer, end })
}

/// Where the records of a segment end, if the one after it says so.
fn end_of(shared: &Shared, number: u32) -> io::Result<Option<u64>> {
    let next = number + 1;
    let file: Arc<dyn File> = match shared.files.get(next) {
        Err(error) if error.kind() == io::ErrorKind::NotFound || Cause::of(&error) == Cause::Medium => {
            return Ok(None);
        }
        opened => opened?,
    };
    Ok(match segment::opening(&*file, shared.superblock().uuid, next)? {
        Opening::Good(Some(ended)) if ended.segment == number => Some(ended.end.into()),
        _ => None,
    })
}
