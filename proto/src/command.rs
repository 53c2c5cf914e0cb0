//! Commands: what is written to the Raft logs of the partitions and applied by the metaserver's state machines.
//!
//! A persisted format (`docs/formats/command.md`): variants are only appended, each with the feature level that it came
//! with. The proposer stamps time and chance and does what needs computing; `apply` has none of it (I-DET).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use placement::Table;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use types::{
    ChunkKey, ClusterId, DiskId, DiskUuid, Epoch, Error, FeatureLevel, Identity, Millis, NamespaceId,
    NamespaceName, NodeId, PartitionId, Possession, Profile, Result, Serial, StoreUuid, TenantId, TokenId,
};

use crate::certificates::{Grant, Issued, Which};
use crate::cluster::FilledSlot;
use crate::encode;
use crate::index::{Amendment, Exception, StoredChunk};
use crate::keys::KeyRing;
use crate::map::{DiskState, Role};
use crate::namespace::WriteNamespace;

/// The newest feature level that this build knows.
pub const LEVEL_NEWEST: FeatureLevel = FeatureLevel(if cfg!(feature = "next-level") { 2 } else { 1 });

/// What the partitions of a kind are told to do.
pub trait Command: Serialize + DeserializeOwned {
    /// The feature level that a partition must have reached before this may be proposed to it.
    fn level(&self) -> FeatureLevel;
}

/// A command with what its proposer knew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped<C> {
    /// The proposer's wall clock.
    pub time: Millis,
    /// What to do.
    pub command: C,
}

impl<C: Command> Stamped<C> {
    /// As it stands in a log.
    pub fn encode(&self) -> Bytes {
        logged(COMMAND, self.command.level(), &encode(self))
    }
}

/// What a log holds, read as far as every build can read it, whatever its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged<'a> {
    /// From here on the partition is at this level, unless it is at a higher one.
    SetLevel(FeatureLevel),
    /// A command of the partition's kind.
    Command {
        /// The level that it needs.
        level: FeatureLevel,
        /// A [`Stamped`] in its envelope: only who knows the level can read it.
        body: &'a [u8],
    },
}

const VERSION: u8 = 1;
const SET_LEVEL: u8 = 0;
const COMMAND: u8 = 1;

impl Logged<'_> {
    /// The command that raises the level of a partition, of any kind.
    pub fn set_level(level: FeatureLevel) -> Bytes {
        logged(SET_LEVEL, level, &[])
    }

    /// Reads what stands in a log; `Invalid` when it was not written by any build.
    pub fn read(bytes: &[u8]) -> Result<Logged<'_>> {
        let bad = |what: String| Err(Error::invalid(format!("command cannot be read: {what}")));
        let Some((&[version, what, level @ ..], body)) = bytes.split_first_chunk::<6>() else {
            return bad(format!("it has {} bytes", bytes.len()));
        };
        let level = FeatureLevel(u32::from_le_bytes(level));
        match (version, what) {
            (VERSION, SET_LEVEL) if body.is_empty() => Ok(Logged::SetLevel(level)),
            (VERSION, COMMAND) => Ok(Logged::Command { level, body }),
            (VERSION, _) => bad(format!("unknown content {what}")),
            _ => bad(format!("its version is {version}, this program knows {VERSION}")),
        }
    }
}

fn logged(what: u8, level: FeatureLevel, body: &[u8]) -> Bytes {
    [&[VERSION, what], &level.0.to_le_bytes()[..], body].concat().into()
}

/// What a new node says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewNode {
    /// Its failure domain.
    pub zone: String,
    /// What it does.
    pub roles: Vec<Role>,
    /// Where it listens.
    pub native: SocketAddr,
    /// Where it listens for gRPC.
    pub control: SocketAddr,
    /// Its metadata store, on a meta node.
    pub store: Option<StoreUuid>,
}

/// The first command of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// Redundancy of every chunk.
    pub profile: Profile,
    /// Number of placement groups, a power of two.
    pub pg_count: u16,
    /// Number of partitions for trees.
    pub tree_partitions: u32,
    /// Number of partitions for the chunk index.
    pub index_partitions: u32,
    /// Its authority and the secret of its nodes, sealed by the unlock key.
    pub secrets: Bytes,
    /// Its first keys, sealed.
    pub keys: KeyRing,
    /// The first node, which becomes node 1.
    pub node: NewNode,
    /// The certificates that were issued before there was a cluster: the first node's and the first administrator's.
    /// Their serials count from 1.
    pub certificates: Vec<FirstCertificate>,
}

/// A certificate that is as old as the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstCertificate {
    /// Who its holder is.
    pub identity: Identity,
    /// When it was issued.
    pub issued: Millis,
    /// When it ends.
    pub expires: Millis,
}

/// What is asked to be certified, by whoever has the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToCertify {
    /// BLAKE3 of the certificate signing request. Repeated, it gets the certificate that it has.
    #[serde(with = "serde_bytes")]
    pub request: [u8; 32],
    /// When the certificate ends.
    pub expires: Millis,
}

/// Commands of the root partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootCommand {
    /// Creates the cluster. Repeated, it changes nothing.
    Bootstrap(Box<Bootstrap>),
    /// Changes the map.
    ChangeMap(Box<ChangeMap>),
    /// Adds a token.
    AddToken {
        /// BLAKE3 of what its holder must show.
        hash: [u8; 32],
        /// What it is good for.
        grant: Grant,
        /// How often it can be used.
        uses: u32,
        /// Not valid after this time.
        expires: Millis,
    },
    /// Replaces the key ring by the one that was made from it; `Conflict` when another was made meanwhile.
    ChangeKeys(Box<KeyRing>),
    /// Forgets a token.
    RevokeToken {
        /// Which one.
        id: TokenId,
    },
    /// Counts a certificate; what signs it is not here.
    IssueCertificate {
        /// Who its holder will be.
        identity: Identity,
        /// For which key, and for how long.
        asked: ToCertify,
        /// BLAKE3 of the token that is used up for it, if one is.
        token_hash: Option<[u8; 32]>,
    },
    /// Has everybody turn certificates away.
    RevokeCertificates {
        /// Which ones.
        which: Which,
        /// `Conflict` when this one is among them.
        own: Option<Serial>,
        /// Also the last one of an administrator.
        force: bool,
    },
    /// Forgets tokens and certificates that have run out.
    ForgetExpired,
}

/// A change of the map with what follows from it, as computed by the proposer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeMap {
    /// The map that the proposer had; `Conflict` when it has been replaced.
    pub base: Epoch,
    /// What to change.
    pub change: MapChange,
    /// The placement table that goes with it; `None` when it stays as the change leaves it.
    pub placed: Option<Placed>,
}

/// A placement table that was computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Which disk holds which slot.
    pub table: Table,
    /// Placement groups in it that break a placement rule.
    pub relaxed_count: u32,
}

/// One change of the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapChange {
    /// Gives a new node its id.
    AddNode {
        /// What it says about itself.
        node: NewNode,
        /// BLAKE3 of the token it showed.
        token_hash: [u8; 32],
        /// What its certificate is to be for.
        asked: ToCertify,
        /// The newest feature level that its build knows; refused below that of the root partition.
        level: FeatureLevel,
    },
    /// Nodes went down or came back, listen elsewhere, or their disks can do more or less than before.
    SetNodes {
        /// Those that changed.
        changes: Vec<NodeChange>,
    },
    /// Gives new disks their ids and remembers capacities.
    RegisterDisks {
        /// Where they are.
        node: NodeId,
        /// Disk and capacity in bytes.
        disks: Vec<(DiskUuid, u64)>,
    },
    /// Slots' new holders have everything.
    FinishSync {
        /// Each complete on its disk.
        slots: Vec<FilledSlot>,
    },
    /// Sets who votes in partitions.
    SetVoters {
        /// Each with all of its voters, the one that should lead first.
        partitions: Vec<(PartitionId, Vec<NodeId>)>,
    },
    /// A node knows that it has joined.
    ConfirmNode {
        /// Who has said so.
        node: NodeId,
    },
    /// A node has a new metadata store in place of one that was lost. Repeated, it changes nothing.
    RegisterStore {
        /// Whose store it is.
        node: NodeId,
        /// Its new store.
        store: StoreUuid,
    },
    /// Forgets a node and its disks.
    RemoveNode {
        /// The node, which must be down.
        node: NodeId,
        /// Also when its disks still count for the redundancy of what is stored.
        force: bool,
    },
    /// Gives the slots of disks to others, or back to disks that have returned.
    SetOut {
        /// Disk, and whether it is out from now on.
        disks: Vec<(DiskId, bool)>,
    },
    /// Forgets a disk that is lost.
    RemoveDisk {
        /// The disk, which must not be readable.
        disk: DiskId,
        /// Also when what it held may be the last there is of something.
        force: bool,
    },
}

/// What a change of the map has led to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapChanged {
    /// The map that has the change; the one before when there was nothing to change.
    pub epoch: Epoch,
    /// The id of the node that was added, now or when the same was asked before.
    pub node: Option<NodeId>,
    /// The certificate of the node that was added.
    pub certificate: Option<Issued>,
    /// The ids of the disks that were registered, in the order of the request.
    pub disks: Vec<DiskId>,
}

/// What is new about a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeChange {
    /// The node that changed.
    pub node: NodeId,
    /// It sends heartbeats.
    pub up: bool,
    /// Where it listens.
    pub native: SocketAddr,
    /// Where it listens for gRPC.
    pub control: SocketAddr,
    /// What its disks can do, of those that it has said something of; the others stay as they are.
    pub disks: BTreeMap<DiskId, DiskState>,
}

/// Commands of a tree partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceCommand {
    /// Creates an empty namespace in the slot of its name. Repeated, it changes nothing.
    Create {
        /// Which gives the slot, too.
        name: NamespaceName,
        /// Who owns it.
        owner: String,
        /// Whose data it will hold.
        tenant: TenantId,
    },
    /// Changes a namespace. The proposer checked the receipts; the fence comes with garbage collection (decision 0008).
    Write {
        /// Identity of the caller, as text.
        author: String,
        /// The changes, as the caller sent them.
        write: WriteNamespace,
    },
    /// Gives a namespace to somebody else.
    SetOwner {
        /// Which namespace.
        namespace: NamespaceId,
        /// Who owns it from now on.
        owner: String,
    },
    /// Deletes a namespace.
    Delete {
        /// Which namespace.
        namespace: NamespaceId,
        /// Also when it is not empty.
        force: bool,
    },
    /// Changes nothing: a command that came with the next level.
    #[cfg(feature = "next-level")]
    Mark {
        /// Which namespace.
        namespace: NamespaceId,
    },
}

/// Commands of an index partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexCommand {
    /// Durable chunks.
    Register {
        /// Of the map by which it was seen which parts are not at home.
        epoch: Epoch,
        /// The chunks, each with its exceptions.
        chunks: Vec<(StoredChunk, Vec<Exception>)>,
    },
    /// Chunks that are about to be referenced.
    Pin(Vec<(ChunkKey, Possession)>),
    /// From now on nothing is registered by maps older than this.
    Fence(Epoch),
    /// What nodes have found out about chunks.
    Amend(Vec<Amendment>),
}

impl Command for RootCommand {
    fn level(&self) -> FeatureLevel {
        FeatureLevel::FIRST
    }
}

impl Command for NamespaceCommand {
    fn level(&self) -> FeatureLevel {
        match self {
            Self::Create { .. } | Self::Write { .. } | Self::SetOwner { .. } | Self::Delete { .. } => {
                FeatureLevel::FIRST
            }
            #[cfg(feature = "next-level")]
            Self::Mark { .. } => FeatureLevel(2),
        }
    }
}

impl Command for IndexCommand {
    fn level(&self) -> FeatureLevel {
        FeatureLevel::FIRST
    }
}
