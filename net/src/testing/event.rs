//! What happens on the network, message by message: for traces, pictures and the count of what was exercised.

use std::fmt;
use std::net::SocketAddr;

use env::time::Duration;
use proto::Method;

use crate::Request;
use crate::frame::{Frame, PREFIX_SIZE};

/// One message, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Counts the calls of the network from 1. A request, its copy and its answer have the same number.
    pub number: u64,
    /// Who sent it.
    pub from: SocketAddr,
    /// Who is to get it.
    pub to: SocketAddr,
    /// The verb of the request, for its answer as well; see [`Method::from_number`].
    pub method: u16,
    /// Bytes of the encoded message.
    pub header_size: usize,
    /// Raw bytes that go with it.
    pub body_size: usize,
    /// True on the way back.
    pub is_answer: bool,
}

/// Something that happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    /// Simulated time since the network was made.
    pub at: Duration,
    /// What happened.
    pub kind: LinkEventKind,
    /// To which message.
    pub letter: Letter,
}

/// What can happen to a message. Every call begins with `Sent` and ends, unless its caller is killed or gives up, with
/// one of `Returned`, `Refused`, `Closed` and `TimedOut`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkEventKind {
    /// A request left its caller.
    Sent,
    /// A second copy of it is on its way.
    Duplicated,
    /// A request, or its copy, reached the service.
    Delivered,
    /// A request, or its copy, got lost.
    Lost,
    /// The service's answer left. One that is too late, or belongs to a copy, is dropped without another event.
    Answered,
    /// The answer got lost, or the word that there will be none.
    AnswerLost,
    /// The answer reached its caller.
    Returned,
    /// The caller learned that nobody answers at that address.
    Refused,
    /// The caller learned that the service was killed while it had the request.
    Closed,
    /// The caller waits no longer: its time is up, or the other side was silent for too long.
    TimedOut,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// How often each thing happened on a network since it was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct LinkCounts { $($(#[$doc])* pub $name: u64),* }

        impl LinkCounts {
            /// All counts with their names, in a fixed order.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counts! {
    /// [`LinkEventKind::Sent`].
    sent,
    /// [`LinkEventKind::Duplicated`].
    duplicated,
    /// [`LinkEventKind::Delivered`].
    delivered,
    /// [`LinkEventKind::Lost`].
    lost,
    /// [`LinkEventKind::Answered`].
    answered,
    /// [`LinkEventKind::AnswerLost`].
    answers_lost,
    /// [`LinkEventKind::Returned`].
    returned,
    /// [`LinkEventKind::Refused`].
    refused,
    /// [`LinkEventKind::Closed`].
    closed,
    /// [`LinkEventKind::TimedOut`].
    timed_out,
    /// Messages of both directions that were lost by chance.
    dropped,
    /// Messages that were lost because of a cut.
    cut,
    /// Messages that were lost because a slow link had too many waiting.
    crowded,
    /// Messages that waited for a slow link.
    slowed,
    /// Messages that were held back.
    late,
    /// Messages that arrived before an earlier one of the same direction.
    overtaken,
}

impl Letter {
    pub(super) fn request(number: u64, from: SocketAddr, to: SocketAddr, request: &Request) -> Self {
        let (header_size, body_size) = (request.header.len(), request.body.len());
        Self { number, from, to, method: request.method, header_size, body_size, is_answer: false }
    }

    /// The message that brings `frame` back.
    pub(super) fn answer(&self, frame: &Frame) -> Self {
        let (header_size, body_size) = (frame.prefix.header_size, frame.prefix.body_size);
        Self { header_size, body_size, ..self.notice() }
    }

    /// The message by which the other machine, not the service, says that there will be no answer.
    pub(super) fn notice(&self) -> Self {
        Self { from: self.to, to: self.from, header_size: 0, body_size: 0, is_answer: true, ..*self }
    }

    /// Bytes on the wire.
    pub(super) fn size(&self) -> usize {
        PREFIX_SIZE + self.header_size + self.body_size
    }

    pub(super) fn loss(&self) -> LinkEventKind {
        if self.is_answer { LinkEventKind::AnswerLost } else { LinkEventKind::Lost }
    }
}

impl LinkCounts {
    pub(super) fn of(&mut self, kind: LinkEventKind) -> &mut u64 {
        match kind {
            LinkEventKind::Sent => &mut self.sent,
            LinkEventKind::Duplicated => &mut self.duplicated,
            LinkEventKind::Delivered => &mut self.delivered,
            LinkEventKind::Lost => &mut self.lost,
            LinkEventKind::Answered => &mut self.answered,
            LinkEventKind::AnswerLost => &mut self.answers_lost,
            LinkEventKind::Returned => &mut self.returned,
            LinkEventKind::Refused => &mut self.refused,
            LinkEventKind::Closed => &mut self.closed,
            LinkEventKind::TimedOut => &mut self.timed_out,
        }
    }
}

/// One line of a trace: `0.150 #7 Delivered Stat 10.0.0.1:1 > 10.0.0.2:1 12+0`.
impl fmt::Display for LinkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, kind, letter } = self;
        write!(f, "{}.{:03} #{} {kind:?} ", at.as_secs(), at.subsec_millis(), letter.number)?;
        match Method::from_number(letter.method) {
            Some(method) => write!(f, "{method:?}")?,
            None => write!(f, "method {}", letter.method)?,
        }
        write!(f, " {} > {} {}+{}", letter.from, letter.to, letter.header_size, letter.body_size)
    }
}
