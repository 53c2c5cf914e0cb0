//! The verbs of the wire. One number each, never used for anything else.

/// What a request asks for. The number is the `method` of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Method {
    /// [`crate::cluster::FetchMap`].
    FetchMap = 1,
    /// [`crate::cluster::Heartbeat`].
    Heartbeat = 2,
    /// [`crate::cluster::Join`].
    Join = 3,
    /// [`crate::cluster::FetchStatus`].
    FetchStatus = 4,
    /// [`crate::cluster::CreateToken`].
    CreateToken = 5,
    /// [`crate::cluster::CreateNamespace`].
    CreateNamespace = 6,
    /// [`crate::cluster::FindNamespace`].
    FindNamespace = 7,
    /// [`crate::cluster::RegisterDisks`].
    RegisterDisks = 8,
    /// [`crate::cluster::FinishSync`].
    FinishSync = 9,
    /// A message between the Raft hosts of two nodes.
    Raft = 20,
    /// [`crate::namespace::Write`].
    WriteNamespace = 30,
    /// [`crate::namespace::Stat`].
    Stat = 31,
    /// [`crate::namespace::ListDir`].
    ListDir = 32,
    /// [`crate::namespace::OpenVersion`].
    OpenVersion = 33,
    /// [`crate::namespace::History`].
    History = 34,
    /// [`crate::namespace::PullJournal`].
    PullJournal = 35,
    /// [`crate::namespace::FetchNamespace`].
    FetchNamespace = 36,
    /// [`crate::index::Pin`].
    Pin = 50,
    /// [`crate::index::Register`].
    Register = 51,
    /// [`crate::index::FetchIndexStats`].
    FetchIndexStats = 52,
    /// [`crate::block::PutChunk`].
    PutChunk = 70,
    /// [`crate::block::GetChunk`].
    GetChunk = 71,
    /// [`crate::block::PutShard`].
    PutShard = 72,
    /// [`crate::block::GetShard`].
    GetShard = 73,
    /// [`crate::block::ListShards`].
    ListShards = 74,
}

impl Method {
    /// All methods.
    pub const ALL: [Method; 25] = [
        Method::FetchMap,
        Method::Heartbeat,
        Method::Join,
        Method::FetchStatus,
        Method::CreateToken,
        Method::CreateNamespace,
        Method::FindNamespace,
        Method::RegisterDisks,
        Method::FinishSync,
        Method::Raft,
        Method::WriteNamespace,
        Method::Stat,
        Method::ListDir,
        Method::OpenVersion,
        Method::History,
        Method::PullJournal,
        Method::FetchNamespace,
        Method::Pin,
        Method::Register,
        Method::FetchIndexStats,
        Method::PutChunk,
        Method::GetChunk,
        Method::PutShard,
        Method::GetShard,
        Method::ListShards,
    ];

    /// The method of this number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|m| *m as u16 == number)
    }
}
