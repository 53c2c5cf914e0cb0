//! What one message meets on its way: a choice from plain numbers, drawn from dice.
//!
//! Knows nothing of: who speaks to whom, tasks, waiting.

use std::num::NonZeroU64;

use env::Random;
use env::time::{Duration, Instant};
use types::limits::PEER_STALL_MAX;

use super::event::LinkCounts;

const MILLION: u64 = 1_000_000;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// How messages fare in one direction between two machines, each for itself. The default is a perfect link.
///
/// Nothing arrives when [`super::Switchboard::cut_one_way`] says so. The clock of a simulation ticks in milliseconds:
/// an arrival is rounded up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFaults {
    /// The least that every message takes.
    pub delay: Duration,
    /// What comes on top, drawn for each message.
    pub jitter: Jitter,
    /// In how many of a million messages nothing arrives.
    pub loss_per_million: u32,
    /// How many of a million messages are held back on the way: later ones overtake them.
    pub late_per_million: u32,
    /// For how long.
    pub late_by: Duration,
    /// How many of a million requests arrive a second time, after a way of their own. The answer to the copy is dropped.
    pub duplicate_per_million: u32,
    /// Messages go one after the other at this speed; `None` when they do not wait for each other. What would wait
    /// longer than [`PEER_STALL_MAX`] for its turn is lost.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// How long a message takes on top of a link's delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// Every message takes the same.
    #[default]
    None,
    /// Anything up to this, all equally likely.
    Uniform(Duration),
    /// Two of three messages take at most `usual`. Ten times as long is about ten times as rare, up to `most`.
    HeavyTail {
        /// Where the tail begins.
        usual: Duration,
        /// Where the tail ends.
        most: Duration,
    },
}

/// What one direction of a link remembers between messages.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// When the last bytes have left.
    free_at: Option<Instant>,
    latest_arrival: Option<Instant>,
}

impl LinkFaults {
    /// When a message of `size` bytes that is sent `now` arrives; `None` when it is lost.
    pub(super) fn pass(
        &self,
        direction: &mut Direction,
        random: &Random,
        counts: &mut LinkCounts,
        now: Instant,
        size: usize,
    ) -> Option<Instant> {
        if strikes(random, self.loss_per_million) {
            counts.dropped += 1;
            return None;
        }
        let Some(wait) = self.transmit(direction, now, size) else {
            counts.crowded += 1;
            return None;
        };
        counts.slowed += u64::from(!wait.is_zero());
        let mut takes = wait + self.delay + self.jitter.draw(random);
        if strikes(random, self.late_per_million) {
            counts.late += 1;
            takes += self.late_by;
        }
        let arrival = now + whole_ms(takes);
        counts.overtaken += u64::from(direction.latest_arrival > Some(arrival));
        direction.latest_arrival = direction.latest_arrival.max(Some(arrival));
        Some(arrival)
    }

    /// True when a request arrives twice.
    pub(super) fn is_duplicated(&self, random: &Random) -> bool {
        strikes(random, self.duplicate_per_million)
    }

    /// Until when a message waits for its last byte to leave, from `now`; `None` when its turn does not come in time.
    fn transmit(&self, direction: &mut Direction, now: Instant, size: usize) -> Option<Duration> {
        let Some(speed) = self.bytes_per_second else { return Some(Duration::ZERO) };
        let begin = direction.free_at.map_or(now, |free_at| free_at.max(now));
        if begin - now > PEER_STALL_MAX {
            return None;
        }
        // A frame is far below the 16 GB at which this would overflow.
        let end = begin + Duration::from_nanos(size as u64 * NANOS_PER_SECOND / speed);
        direction.free_at = Some(end);
        Some(end - now)
    }
}

impl Jitter {
    fn draw(&self, random: &Random) -> Duration {
        match self {
            Jitter::None => Duration::ZERO,
            Jitter::Uniform(most) => below(random, *most),
            Jitter::HeavyTail { usual, most } => {
                let doublings = random.u64().trailing_zeros().min(u32::BITS - 1);
                below(random, *usual).saturating_mul(1 << doublings).min(*most)
            }
        }
    }
}

/// Draws only where chance decides, so that a link without chance leaves the dice to the others.
fn strikes(random: &Random, per_million: u32) -> bool {
    per_million > 0 && random.below(MILLION) < u64::from(per_million)
}

/// A time up to `most`.
fn below(random: &Random, most: Duration) -> Duration {
    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX - 1);
    Duration::from_nanos(random.below(nanos + 1))
}

fn whole_ms(time: Duration) -> Duration {
    let nanos_per_ms = MILLION.into();
    Duration::from_millis(u64::try_from(time.as_nanos().div_ceil(nanos_per_ms)).unwrap_or(u64::MAX))
}
