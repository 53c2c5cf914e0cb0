//! Sealing segments in the background: their footers are not on the way of anybody who waits.
//!
//! Owns: which segments still need a footer. A crash may leave any of them without: where their records end stands in
//! the header of the next segment, so nothing depends on it.
//! Knows nothing of: who runs it.

use std::io;

use env::OpenMode;
use env::disk::Cause;
use tracing::warn;

use crate::segment::{self, Opening, SEGMENT_HEADER_SIZE, footer, walk};
use crate::shared::Shared;

/// Why a segment has no footer yet.
struct Failure {
    error: io::Error,
    /// What the medium does to a write is final; whoever reads finds out for himself.
    is_write: bool,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { error, is_write: false }
    }
}

/// Seals what waits. Stops at a failure: what is left is tried again with the next one, or by the next process.
pub(crate) fn seal_all(shared: &Shared) {
    if shared.is_read_only() {
        return;
    }
    let sealed = look_for_old(shared).and_then(|()| {
        loop {
            let Some(next) = shared.unsealed().waiting.pop_front() else { return Ok(()) };
            if let Err(failure) = seal(shared, next.number, next.end, next.headers.as_deref()) {
                shared.unsealed().waiting.push_front(next);
                return Err(failure);
            }
        }
    });
    let Err(Failure { error, is_write }) = sealed else { return };
    shared.unsealed().rests = true;
    if is_write && matches!(Cause::of(&error), Cause::Medium | Cause::Device) {
        shared.fail("a segment could not be sealed", &error.into());
    } else {
        warn!("disk {}: a segment is sealed later: {error}", shared.root.display());
    }
}

/// Seals what earlier processes left, as far as the next segment says where it ends.
fn look_for_old(shared: &Shared) -> Result<(), Failure> {
    let until = std::mem::take(&mut shared.unsealed().look_until);
    if until == 0 {
        return Ok(());
    }
    let numbers = segment::list(&*shared.disk, &shared.root)?;
    let from = shared.ask(|tables| tables.sealed_before()).unwrap_or(0);
    for pair in numbers.windows(2).filter(|pair| (from..until).contains(&pair[0]) && pair[0] + 1 == pair[1]) {
        let number = pair[0];
        let place = shared.place(number);
        if footer::read(&*shared.files.get(number)?, place)?.is_some() {
            continue;
        }
        let next = segment::opening(&*shared.files.get(pair[1])?, shared.superblock().uuid, pair[1])?;
        if let Opening::Good(Some(ended)) = next
            && ended.segment == number
        {
            seal(shared, number, ended.end.into(), None)?;
        }
    }
    // Without that the next start looks at all of them again, no more.
    let _ = shared.ask(|tables| tables.set_sealed_before(until));
    Ok(())
}

/// Writes the footer of one segment. One with a header that is not good stays without: its footer would not say what
/// is missing.
fn seal(shared: &Shared, number: u32, end: u64, headers: Option<&[u8]>) -> Result<(), Failure> {
    let file = shared.disk.open(&segment::path(&shared.root, number), OpenMode::ReadWrite)?;
    let place = shared.place(number);
    let read = match headers {
        Some(_) => None,
        None => match walk::headers(&*file, place, SEGMENT_HEADER_SIZE, end)? {
            Some(headers) => Some(headers),
            None => return Ok(()),
        },
    };
    let headers = headers.or(read.as_deref()).expect("one of the two");
    footer::write(&*file, place, end, headers).map_err(|error| Failure { error, is_write: true })
}
