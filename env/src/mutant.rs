//! Planted bugs, for measuring the checkers: a checker that finds no planted bug proves nothing.
//!
//! Without the feature `mutants` none exists and every question is answered with a constant.

/// A bug that somebody could have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A disk acknowledges a shard without a sync.
    SkippedSync,
    /// A chunk is acknowledged with `k` shards durable, and nothing left over for a loss.
    AckAtK,
    /// Where the parts of a chunk are that are not at home is not written down.
    LostException,
    /// A voter forgets at a restart whom it voted for.
    ForgottenVote,
    /// A leader answers reads without asking whether it still leads.
    StaleRead,
    /// A leader whose machine was suspended reads under the lease it had before.
    LeaseOverSuspend,
    /// A metadata store that was lost or set back goes on under its old name.
    IdentityUnchecked,
    /// A node counts as up once it has joined, before it has ever run.
    EarlyVoter,
    /// The log is trimmed beyond a snapshot that is being sent.
    TrimAhead,
    /// A page of the journal lacks a record.
    JournalGap,
    /// A writer who has not seen the newest version is not refused.
    WrongBase,
    /// A request that is sent again is done again.
    DuplicateApply,
    /// A part counts as being where it belongs when another disk has it, which may forget it the next moment.
    CopyElsewhere,
    /// A slot counts as filled by whoever says so, however long ago it began.
    UnfencedCompletion,
    /// A part that cannot be read stays in the index as if it could.
    LossUnnoticed,
    /// What cannot be read when a disk is opened is taken for a torn tail, and cut.
    ErrorAsTail,
    /// A part that is not there was never acknowledged.
    AbsenceAsProof,
    /// Nobody compares what the index says with what disks have.
    Unreconciled,
    /// Every attempt to store a chunk makes an incarnation of its own.
    DrawnGeneration,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 19] = [
        Mutant::SkippedSync,
        Mutant::AckAtK,
        Mutant::LostException,
        Mutant::ForgottenVote,
        Mutant::StaleRead,
        Mutant::LeaseOverSuspend,
        Mutant::IdentityUnchecked,
        Mutant::EarlyVoter,
        Mutant::TrimAhead,
        Mutant::JournalGap,
        Mutant::WrongBase,
        Mutant::DuplicateApply,
        Mutant::CopyElsewhere,
        Mutant::UnfencedCompletion,
        Mutant::LossUnnoticed,
        Mutant::ErrorAsTail,
        Mutant::AbsenceAsProof,
        Mutant::Unreconciled,
        Mutant::DrawnGeneration,
    ];

    /// What [`MUTANT_VARIABLE`] is set to for it.
    pub fn name(self) -> &'static str {
        match self {
            Mutant::SkippedSync => "skipped-sync",
            Mutant::AckAtK => "ack-at-k",
            Mutant::LostException => "lost-exception",
            Mutant::ForgottenVote => "forgotten-vote",
            Mutant::StaleRead => "stale-read",
            Mutant::LeaseOverSuspend => "lease-over-suspend",
            Mutant::IdentityUnchecked => "identity-unchecked",
            Mutant::EarlyVoter => "early-voter",
            Mutant::TrimAhead => "trim-ahead",
            Mutant::JournalGap => "journal-gap",
            Mutant::WrongBase => "wrong-base",
            Mutant::DuplicateApply => "duplicate-apply",
            Mutant::CopyElsewhere => "copy-elsewhere",
            Mutant::UnfencedCompletion => "unfenced-completion",
            Mutant::LossUnnoticed => "loss-unnoticed",
            Mutant::ErrorAsTail => "error-as-tail",
            Mutant::AbsenceAsProof => "absence-as-proof",
            Mutant::Unreconciled => "unreconciled",
            Mutant::DrawnGeneration => "drawn-generation",
        }
    }

    /// True when this process is to have the bug.
    #[inline]
    pub fn is_planted(self) -> bool {
        ARE_PLANTED && planted() == Some(self)
    }
}

/// Environment variable with the name of the bug that a process is to have.
pub const MUTANT_VARIABLE: &str = "CLOUDSYNC_MUTANT";

/// True when this program was built with the bugs in it.
pub const ARE_PLANTED: bool = cfg!(feature = "mutants");

fn planted() -> Option<Mutant> {
    static PLANTED: std::sync::OnceLock<Option<Mutant>> = std::sync::OnceLock::new();
    *PLANTED.get_or_init(|| {
        let name = std::env::var(MUTANT_VARIABLE).ok()?;
        Mutant::ALL.into_iter().find(|mutant| mutant.name() == name)
    })
}
