//! Segments that wait for their footers.

use std::collections::VecDeque;

use types::limits::SEGMENT_UNSEALED_COUNT_MAX;

/// Segments that are not written any more and have no footer yet.
#[derive(Debug, Default)]
pub(crate) struct Unsealed {
    pub(crate) waiting: VecDeque<Waiting>,
    /// Those before it were left by an earlier process, and are looked at one by one.
    pub(crate) look_until: u32,
    /// The last attempt failed: the next one is made when there is one more.
    pub(crate) rests: bool,
}

#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) number: u32,
    pub(crate) end: u64,
    pub(crate) headers: Option<Vec<u8>>,
}

impl Unsealed {
    /// One more; `headers` are those of its records when they are known.
    pub(crate) fn push(&mut self, number: u32, end: u64, headers: Option<Vec<u8>>) {
        self.rests = false;
        let has_room = self.waiting.len() < SEGMENT_UNSEALED_COUNT_MAX;
        self.waiting.push_back(Waiting { number, end, headers: headers.filter(|_| has_room) });
    }

    /// Segments before `number` may have no footer.
    pub(crate) fn look_until(&mut self, number: u32) {
        self.look_until = number;
    }

    /// True when there is something to do.
    pub(crate) fn is_due(&self) -> bool {
        !self.rests && (!self.waiting.is_empty() || self.look_until > 0)
    }
}
