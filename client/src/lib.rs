//! The one library that speaks to the cluster: uploads, downloads, namespaces, the map.
//!
//! Owns: who is asked (map, leaders, retries with a deadline), how a file becomes chunks and a commit and comes back,
//! that only what is missing is sent, the credential file, and how healthy a cluster is.
//! Knows nothing of: the servers' insides, terminals, HTTP.

mod batch;
mod blocks;
mod catalog;
mod cluster;
mod credentials;
mod download;
pub mod health;
mod local;
pub mod lost;
mod mirror;
mod namespace;
pub mod testing;
mod tree;
mod under_way;
mod upload;

pub use batch::{BatchLimits, Batcher};
pub use blocks::Blocks;
pub use cluster::{Cluster, Endpoints};
pub use credentials::{ADMIN_FILE, Connection, CredentialFile};
pub use download::{Download, download_file};
pub use mirror::Mirror;
pub use namespace::Namespace;
pub use tree::{LocalEntry, TreeReport, download_tree, list_tree, upload_tree, walk_local};
pub use upload::{FileState, Progress, Uploaded, Uploader};
