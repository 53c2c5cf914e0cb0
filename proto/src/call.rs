//! Every call between processes on one page: verb, number on the wire, question, answer, and who answers.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::map::Role;
use crate::{block, catalog, certificates, cluster, disks, index, keys, namespace};

/// A question that one process asks another.
pub trait Call: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The verb it travels under.
    const METHOD: Method;
    /// What a success brings back.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
}

/// Builds [`Method`] and one [`Call`] per line: `Verb = number, who answers: question => answer`.
macro_rules! calls {
    (
        $(#[$enum_doc:meta])*
        $($verb:ident = $number:literal, $role:expr $(=> $question:path => $answer:ty)?;)*
    ) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        #[allow(missing_docs, reason = "the question of the same line says what a verb is for")]
        pub enum Method { $($verb = $number,)* }

        impl Method {
            /// All verbs, by number.
            pub const ALL: &[Method] = &[$(Method::$verb,)*];

            /// The role a node must have to answer; `None` when every node can.
            pub fn role(self) -> Option<Role> {
                match self { $(Method::$verb => $role,)* }
            }
        }

        $($(impl Call for $question {
            const METHOD: Method = Method::$verb;
            type Answer = $answer;
        })?)*
    };
}

calls! {
    /// What a request asks for. The number is the `method` of a frame and is never used for anything else.
    FetchMap = 1, None => cluster::FetchMap => cluster::MapFetched;
    Heartbeat = 2, META => cluster::Heartbeat => cluster::HeartbeatSeen;
    Join = 3, META => cluster::Join => cluster::Joined;
    FetchStatus = 4, META => cluster::FetchStatus => cluster::ClusterStatus;
    CreateToken = 5, META => certificates::CreateToken => certificates::TokenCreated;
    CreateNamespace = 6, META => catalog::CreateNamespace => catalog::NamespaceFound;
    FindNamespace = 7, META => catalog::FindNamespace => catalog::NamespaceFound;
    RegisterDisks = 8, META => cluster::RegisterDisks => cluster::DisksRegistered;
    FinishSync = 9, META => cluster::FinishSync => ();
    ConfirmJoin = 10, META => cluster::ConfirmJoin => ();
    RegisterStore = 11, META => cluster::RegisterStore => cluster::StoreRegistered;
    RemoveNode = 12, META => cluster::RemoveNode => cluster::NodeRemoved;
    FetchDigest = 15, META => cluster::FetchDigest => cluster::PartitionDigest;
    ListTokens = 16, META => certificates::ListTokens => certificates::TokenList;
    RevokeToken = 17, META => certificates::RevokeToken => ();
    RemoveDisk = 18, META => disks::RemoveDisk => disks::DiskRemoved;
    // Any node that holds disks, also while all of them are away.
    AdoptDisk = 19, None => disks::AdoptDisk => disks::DiskAdopted;
    // Between the Raft hosts of two nodes: opaque bytes in the body, no question.
    Raft = 20, META;
    RenewCertificate = 21, META => certificates::RenewCertificate => certificates::CertificateRenewed;
    IssueCertificate = 22, META => certificates::IssueCertificate => certificates::CertificateIssued;
    ListCertificates = 23, META => certificates::ListCertificates => certificates::CertificateList;
    RevokeCertificates = 24, META => certificates::RevokeCertificates => certificates::CertificatesRevoked;
    WriteNamespace = 30, META => namespace::WriteNamespace => namespace::Written;
    Stat = 31, META => namespace::Stat => namespace::Found;
    ListDir = 32, META => namespace::ListDir => namespace::Listing;
    OpenVersion = 33, META => namespace::OpenVersion => namespace::Opened;
    ListVersions = 34, META => namespace::ListVersions => namespace::Versions;
    PullJournal = 35, META => namespace::PullJournal => namespace::JournalPage;
    FetchNamespace = 36, META => namespace::FetchNamespace => namespace::NamespaceStats;
    ListTrash = 37, META => namespace::ListTrash => namespace::TrashPage;
    RenewTickets = 38, META => namespace::RenewTickets => namespace::TicketsRenewed;
    SetOwner = 40, META => catalog::SetOwner => ();
    DeleteNamespace = 41, META => catalog::DeleteNamespace => ();
    ListNamespaces = 42, META => catalog::ListNamespaces => catalog::NamespacePage;
    Pin = 50, META => index::Pin => index::Pinned;
    Register = 51, META => index::Register => index::Registered;
    FetchIndexStats = 52, META => index::FetchIndexStats => index::IndexStats;
    ListChunks = 53, META => index::ListChunks => index::ChunkList;
    LookUp = 54, META => index::LookUp => index::LookedUp;
    Amend = 55, META => index::Amend => index::Amended;
    ListLost = 56, META => disks::ListLost => disks::LostPage;
    FetchKeys = 60, META => keys::FetchKeys => keys::Keys;
    ListKeys = 61, META => keys::ListKeys => keys::KeyList;
    RotateKeys = 62, META => keys::RotateKeys => keys::KeyList;
    DestroyKeys = 63, META => keys::DestroyKeys => keys::KeysDestroyed;
    PutChunk = 70, BLOCK => block::PutChunk => block::ChunkStored;
    GetChunk = 71, BLOCK => block::GetChunk => block::ChunkRead;
    PutShard = 72, BLOCK => block::PutShard => ();
    GetShard = 73, BLOCK => block::GetShard => block::ShardRead;
    ListShards = 74, BLOCK => block::ListShards => block::ShardList;
    DeleteShard = 75, BLOCK => block::DeleteShard => ();
    DistrustShard = 76, BLOCK => block::DistrustShard => ();
    ControlScrub = 77, BLOCK => disks::ControlScrub => disks::Scrubbed;
    FetchHealing = 78, BLOCK => disks::FetchHealing => disks::Healing;
}

const META: Option<Role> = Some(Role::Meta);
const BLOCK: Option<Role> = Some(Role::Block);

impl Method {
    /// The verb of this number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| *method as u16 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_known() {
        let numbers: Vec<u16> = Method::ALL.iter().map(|method| *method as u16).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        for method in Method::ALL {
            assert_eq!(Method::from_number(*method as u16), Some(*method));
        }
        assert_eq!(Method::from_number(0), None);
        assert_eq!(Method::from_number(u16::MAX), None);
    }

    #[test]
    fn every_question_travels_under_its_verb() {
        assert_eq!(<cluster::FetchMap as Call>::METHOD, Method::FetchMap);
        assert_eq!(<namespace::ListDir as Call>::METHOD as u16, 32);
        assert_eq!(Method::ListDir.role(), Some(Role::Meta));
        assert_eq!(Method::PutShard.role(), Some(Role::Block));
        assert_eq!(Method::FetchMap.role(), None);
    }
}
