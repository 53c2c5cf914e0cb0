//! The command line. What is read here is valid: bad paths, names and numbers are refused before anything is sent.

mod admin;
#[cfg(test)]
mod tests;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use types::{Profile, VersionId};

pub use admin::{
    Admin, AdminCert, AdminCluster, AdminDisk, AdminHeal, AdminKey, AdminLost, AdminMeta, AdminNamespace,
    AdminNode, AdminToken, ScrubOrder, TokenRole,
};

use crate::output::Format;
pub use values::{NamespaceRef, Remote};
use values::{message, namespace_ref, remote};

/// Your files on your own disks.
#[derive(Debug, Parser)]
#[command(name = "cloudsync", version, about, max_term_width = 100)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of all commands.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// How to print results
    #[arg(short = 'o', long = "output", global = true, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Namespace that paths belong to
    #[arg(long, global = true, value_name = "NAME", default_value = "home", value_parser = namespace_ref)]
    pub namespace: NamespaceRef,
    /// Credential file: who you are and where the cluster is
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "CLOUDSYNC_CREDENTIALS",
        default_value = "./cloudsync-data/admin.cred"
    )]
    pub credentials: PathBuf,
    /// Seconds to wait for an answer before a request fails
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

/// How old an answer may be, for commands that change nothing.
#[derive(Clone, Copy, Debug, Args)]
pub struct Reading {
    /// When no leader answers, show what a replica has, which may be old, and say so
    #[arg(long)]
    pub stale_ok: bool,
}

/// All commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a whole cluster in this process, with directories as disks
    Up {
        /// Where everything is kept
        #[arg(long, value_name = "DIR", default_value = "./cloudsync-data")]
        data: PathBuf,
        /// Number of disks: 6 in a new cluster, otherwise those that it has
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=128))]
        disks: Option<u16>,
        /// Where to listen; administration uses the next port
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400")]
        listen: SocketAddr,
    },
    /// Run one node of a cluster
    Node {
        /// Configuration file of the node, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Create a cluster with this node as its first
    Init {
        /// Configuration file of the node, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Add this node to a cluster
    Join {
        /// Configuration file of the node, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Token printed by `cloudsync admin token create`
        #[arg(long)]
        token: String,
    },
    /// Give a stopped node a new certificate, when its own has run out or was revoked
    Renew {
        /// Configuration file of the node, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Token printed by `cloudsync admin token create --renew NODE`; a node with a copy of the root partition needs none
        #[arg(long)]
        token: Option<String>,
    },
    /// Clusters of real processes on this machine, for development
    #[command(subcommand)]
    Dev(Dev),
    /// Store a file or a directory
    Put {
        /// What to store
        #[arg(value_name = "FILE|DIR")]
        source: PathBuf,
        /// Where to store it; a file goes into a directory that exists or whose path ends with '/'
        #[arg(value_parser = remote())]
        path: Remote,
    },
    /// Fetch a file or a directory
    Get {
        /// What to fetch
        #[arg(value_parser = remote())]
        path: Remote,
        /// Where to put it; if this is an existing directory, a file goes into it
        dest: PathBuf,
        /// How old it may be.
        #[command(flatten)]
        reading: Reading,
    },
    /// List a directory
    Ls {
        /// Show size, time and version too
        #[arg(short = 'l')]
        long: bool,
        /// List everything below too
        #[arg(short = 'R', conflicts_with = "sort")]
        recursive: bool,
        /// In this order
        #[arg(long, value_enum, default_value_t)]
        sort: SortBy,
        /// The other way round
        #[arg(long)]
        reverse: bool,
        /// Directory to list, or a file
        #[arg(value_parser = remote(), default_value = "/")]
        path: Remote,
        /// How old it may be.
        #[command(flatten)]
        reading: Reading,
    },
    /// Show what is known about a file or directory
    Stat {
        /// File or directory to show
        #[arg(value_parser = remote())]
        path: Remote,
        /// How old it may be.
        #[command(flatten)]
        reading: Reading,
    },
    /// Print the content of a file
    Cat {
        /// Only these bytes: first-last, counted from 0; 'first-' means to the end
        #[arg(long, value_name = "A-B", value_parser = byte_range)]
        range: Option<ByteRange>,
        /// File to print
        #[arg(value_parser = remote())]
        path: Remote,
        /// How old it may be.
        #[command(flatten)]
        reading: Reading,
    },
    /// Create a directory
    Mkdir {
        /// Create missing parents too; no error if it exists
        #[arg(short = 'p')]
        parents: bool,
        /// Directory to create
        #[arg(value_parser = remote())]
        path: Remote,
    },
    /// Move or rename a file or directory
    Mv {
        /// What has the new path goes to the trash, in the same moment; a directory replaces an empty one only
        #[arg(short = 'f')]
        force: bool,
        /// File or directory to move
        #[arg(value_name = "SRC", value_parser = remote())]
        source: Remote,
        /// New path, or an existing directory to move it into
        #[arg(value_name = "DST", value_parser = remote())]
        target: Remote,
    },
    /// Remove a file or directory; `restore` brings it back
    Rm {
        /// Remove a directory with everything in it
        #[arg(short = 'r')]
        recursive: bool,
        /// File or directory to remove
        #[arg(value_parser = remote())]
        path: Remote,
    },
    /// List the versions of a file, newest first
    History {
        /// File whose versions to list
        #[arg(value_parser = remote())]
        path: Remote,
        /// How old it may be.
        #[command(flatten)]
        reading: Reading,
    },
    /// Bring back what was removed, or an old version of a file
    Restore {
        /// The version to make the newest again; without it, what was removed from this path comes back
        #[arg(long, value_name = "V", value_parser = version)]
        version: Option<VersionId>,
        /// Path of the file, or of what was removed
        #[arg(value_parser = remote())]
        path: Remote,
    },
    /// Copy a file; no bytes are moved
    Cp {
        /// The version to copy, the newest if not given
        #[arg(long, value_name = "V", value_parser = version)]
        version: Option<VersionId>,
        /// File to copy
        #[arg(value_name = "SRC", value_parser = remote())]
        source: Remote,
        /// Path of the copy, or an existing directory for it
        #[arg(value_name = "DST", value_parser = remote())]
        target: Remote,
    },
    /// Create a symbolic link
    Ln {
        /// What it points to: any text, nobody looks whether it is there
        #[arg(value_name = "TEXT")]
        text: String,
        /// Path of the link
        #[arg(value_parser = remote())]
        path: Remote,
    },
    /// What was removed
    #[command(subcommand)]
    Trash(Trash),
    /// Print changes as they happen, one per line
    Watch {
        /// Begin after this position: the cursor of a line printed before
        #[arg(long, value_name = "CURSOR")]
        after: Option<u64>,
        /// End when there is nothing new
        #[arg(long)]
        once: bool,
        /// Only what concerns this path
        #[arg(value_parser = remote(), default_value = "/")]
        path: Remote,
    },
    /// Show how much is stored
    Du {
        /// Directory to add up, or a file
        #[arg(value_parser = remote(), default_value = "/")]
        path: Remote,
        /// How old it may be.
        #[command(flatten)]
        reading: Reading,
    },
    /// Administer the cluster
    #[command(subcommand)]
    Admin(Admin),
}

/// The order of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SortBy {
    /// By name
    #[default]
    Name,
    /// By time of the last change
    Time,
    /// By size
    Size,
}

/// Commands of `trash`.
#[derive(Debug, Subcommand)]
pub enum Trash {
    /// List it, the last removed first
    List {
        /// Only what was removed from below this path
        #[arg(value_parser = remote(), default_value = "/")]
        path: Remote,
    },
    /// Bring something back
    Restore {
        /// Number of the removed entry, as listed
        id: u64,
        /// Where to; without it, where it was
        #[arg(value_parser = remote())]
        path: Option<Remote>,
    },
}

/// Commands of `dev`.
#[derive(Debug, Subcommand)]
pub enum Dev {
    /// A cluster on loopback, each node a process with its own ports and directory
    Cluster {
        /// Where everything is kept
        #[arg(long, global = true, value_name = "D", default_value = "./dev-cluster")]
        dir: PathBuf,
        /// What to do
        #[command(subcommand)]
        command: DevCommand,
    },
}

/// Commands of `dev cluster`.
#[derive(Debug, Subcommand)]
pub enum DevCommand {
    /// Start it; create it first if there is none
    Up {
        /// Number of nodes
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
        nodes: u16,
        /// Number of zones
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
        zones: u16,
        /// Redundancy k+m: data and parity shards per chunk
        #[arg(long, default_value = "4+2", value_parser = profile)]
        profile: Profile,
    },
    /// Show its processes and its health
    Status,
    /// Print the variables that point this program at it
    Env,
    /// Print the node that leads the partition of the namespace
    Leader,
    /// Kill nodes with SIGKILL
    Kill {
        /// Numbers of the nodes
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<u64>,
    },
    /// Start nodes again, stopping those that run
    Restart {
        /// Numbers of the nodes
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<u64>,
    },
    /// Stop all nodes; `up` starts them again
    Down,
}

/// Bytes of a file, first and last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Counted from 0.
    pub first: u64,
    /// The last; `None` for the end of the file.
    pub last: Option<u64>,
}

fn profile(text: &str) -> std::result::Result<Profile, String> {
    Profile::parse(text).map_err(message)
}

fn version(text: &str) -> std::result::Result<VersionId, String> {
    text.parse().map(VersionId).map_err(|_| "a version is a number: see `cloudsync history`".to_owned())
}

fn byte_range(text: &str) -> std::result::Result<ByteRange, String> {
    let bad = || "a range is first-last, such as 0-99, or first-, such as 100-".to_owned();
    let (first, last) = text.split_once('-').ok_or_else(bad)?;
    let first = first.parse().map_err(|_| bad())?;
    let last = if last.is_empty() { None } else { Some(last.parse().map_err(|_| bad())?) };
    if last.is_some_and(|last: u64| last < first) {
        return Err(bad());
    }
    Ok(ByteRange { first, last })
}
