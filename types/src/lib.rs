//! The words of the system as types: ids, sizes, times, names, limits and error kinds.
//!
//! Owns: conversion, comparison and checking of plain values. A value that has one of these types is valid.
//! Knows nothing of: I/O, wire formats, clocks.

mod error;
mod id;
mod identity;
pub mod limits;
mod name;
mod profile;
mod slot;
mod stamp;
mod text;
mod time;

pub use error::{Advice, Error, ErrorKind, Result};
pub use id::{
    ChunkId, ChunkKey, ClusterId, DiskId, DiskUuid, Epoch, FeatureLevel, GcEpoch, Generation, InodeId, KeyId,
    NamespaceId, NodeId, PartitionId, PgId, Possession, ReplicaId, RequestId, Scope, SecretId, Seq, Serial,
    StoreUuid, TenantId, TokenId, VersionId,
};
pub use identity::Identity;
pub use name::{Name, NamespaceName, Path};
pub use profile::Profile;
pub use slot::Slot;
pub use stamp::{Stamp, Start};
pub use text::counted;
pub use time::{Millis, Nanos};
