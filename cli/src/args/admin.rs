//! The command line of `cloudsync admin`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use proto::certificates::Which;
use types::{Identity, NamespaceName, TokenId};

use super::values::{Remote, duration, holder, namespace, remote, token_id, which};

/// Commands of `admin`.
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// The cluster as a whole
    #[command(subcommand)]
    Cluster(AdminCluster),
    /// Nodes of the cluster
    #[command(subcommand)]
    Node(AdminNode),
    /// Copies of the metadata: whether they are equal, and what helps on a node that is stopped
    #[command(subcommand)]
    Meta(AdminMeta),
    /// Disks of the cluster
    #[command(subcommand)]
    Disk(AdminDisk),
    /// How redundancy comes back
    #[command(subcommand)]
    Heal(AdminHeal),
    /// What cannot be read any more
    #[command(subcommand)]
    Lost(AdminLost),
    /// Tokens that let nodes join, or come back
    #[command(subcommand)]
    Token(AdminToken),
    /// Certificates of nodes and people
    #[command(subcommand)]
    Cert(AdminCert),
    /// Namespaces of the cluster
    #[command(subcommand)]
    Namespace(AdminNamespace),
    /// Keys that everything stored is encrypted with
    #[command(subcommand)]
    Key(AdminKey),
}

/// Commands of `admin cluster`.
#[derive(Debug, Subcommand)]
pub enum AdminCluster {
    /// Show its health; exit code 3 when it is degraded
    Status,
}

/// Commands of `admin node`.
#[derive(Debug, Subcommand)]
pub enum AdminNode {
    /// List nodes; exit code 3 when one is not healthy
    List,
    /// Take a node that is down out of the cluster for ever, with its disks
    Remove {
        /// Number of the node
        node: u64,
        /// Also when its disks still count for the redundancy of what is stored
        #[arg(long)]
        force: bool,
        /// Do it; without this, only show what would happen
        #[arg(long)]
        yes: bool,
    },
    /// Tell a stopped node where others listen now, when so many addresses changed that they do not find each other
    Readdress {
        /// Configuration file of the stopped node, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Where nodes listen now, such as 2=10.0.0.7:7400
        #[arg(required = true, value_name = "NODE=ADDR", value_parser = address)]
        addresses: Vec<(u64, SocketAddr)>,
    },
}

/// Commands of `admin meta`.
#[derive(Debug, Subcommand)]
pub enum AdminMeta {
    /// Compare all copies of every partition; exit code 3 when two differ or one cannot be asked
    Compare {
        /// Only this partition
        partition: Option<u32>,
    },
    /// Go on with the metadata of this node alone, when most voters are lost for good
    Recover {
        /// Configuration file of the stopped node, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Nodes that are lost for good; all others unless told
        #[arg(long, value_name = "NODE", value_delimiter = ',')]
        lost: Vec<u64>,
        /// Do it; without this, only show what this node has and what may be lost
        #[arg(long)]
        yes: bool,
    },
    /// Leave out a command that no build can apply; do the same on every voter
    Skip {
        /// Configuration file of the stopped node, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Partition that has stopped
        partition: u32,
        /// The command, as the status names it
        index: u64,
        /// Why, for whoever looks at it later
        #[arg(long)]
        reason: String,
        /// Do it; without this, only show what it means
        #[arg(long)]
        yes: bool,
    },
}

/// Commands of `admin disk`.
#[derive(Debug, Subcommand)]
pub enum AdminDisk {
    /// List disks; exit code 3 when one is not healthy
    List,
    /// Give a node that runs a directory: an empty one, a disk that was away, or one of a node that is down or gone
    Adopt {
        /// The directory, on the machine of the node
        path: PathBuf,
        /// Number of the node; may be left out when the cluster has only one with disks
        #[arg(long, value_name = "N")]
        node: Option<u64>,
    },
    /// Verify what lies on disks: say how far that is, or have it done at once, paused or resumed
    Scrub {
        /// What to do
        #[arg(value_enum, default_value = "status")]
        order: ScrubOrder,
        /// Number of the disk; all without it
        disk: Option<u32>,
    },
    /// Take a disk that does not come back out of the cluster for ever
    RemoveLost {
        /// Number of the disk
        disk: u32,
        /// Also when it still counts for the redundancy of what is stored
        #[arg(long)]
        force: bool,
        /// Do it; without this, only show what would happen
        #[arg(long)]
        yes: bool,
    },
}

/// Commands of `admin heal`.
#[derive(Debug, Subcommand)]
pub enum AdminHeal {
    /// Say of each disk what is to be repaired, how far that is and what holds it up; exit code 3 when there is anything
    Status,
}

/// Commands of `admin lost`.
#[derive(Debug, Subcommand)]
pub enum AdminLost {
    /// List the files that need chunks which are lost; exit code 3 when anything is
    List,
}

/// What `admin disk scrub` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ScrubOrder {
    /// Say how far it is
    Status,
    /// Verify all of it now, as fast as users allow
    Start,
    /// Leave it until the node starts again
    Pause,
    /// A little at a time, as usual
    Resume,
}

/// Commands of `admin token`.
#[derive(Debug, Subcommand)]
pub enum AdminToken {
    /// Create a token
    Create {
        /// What may join with it: block, a node without metadata; meta, any node
        #[arg(long, value_enum, default_value_t = TokenRole::Block)]
        role: TokenRole,
        /// How many nodes may join with it
        #[arg(long, value_name = "N", default_value_t = 1)]
        uses: u32,
        /// Not for joining: for a new certificate of this node, whose own has run out or was revoked
        #[arg(long, value_name = "NODE", conflicts_with_all = ["role", "uses"])]
        renew: Option<u64>,
        /// How long it is valid: 90s, 30m, 1h, 2d
        #[arg(long, default_value = "1h", value_parser = duration)]
        valid: Duration,
    },
    /// List tokens that have not expired, and who has used them
    List,
    /// Make a token useless
    Revoke {
        /// As the list shows it
        #[arg(value_parser = token_id)]
        id: TokenId,
    },
}

/// What a token lets join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TokenRole {
    /// A node with disks only.
    #[value(alias = "storage")]
    Block,
    /// A node with metadata, with disks or without, or one with disks only.
    Meta,
}

/// Commands of `admin cert`.
#[derive(Debug, Subcommand)]
pub enum AdminCert {
    /// List certificates that have not run out
    List,
    /// Create credentials for another administrator, or with user/NAME for somebody who only uses the cluster
    Issue {
        /// Name of an administrator, or user/NAME
        #[arg(value_parser = holder)]
        name: Identity,
        /// For how many days
        #[arg(long, value_name = "N", default_value_t = 365)]
        days: u32,
        /// File to write them to; NAME.cred in the working directory unless told
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Have all nodes turn certificates away, at once
    Revoke {
        /// Serial, such as 17, or everything of a holder: node/3, user/ann, or the name of an administrator
        #[arg(value_name = "SERIAL|HOLDER", value_parser = which)]
        which: Which,
        /// Also your own, or the last one of an administrator
        #[arg(long)]
        force: bool,
    },
    /// On a stopped node with a copy of the root partition: credentials for a day, when no administrator has any left
    Recover {
        /// Configuration file of the stopped node, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Name of the administrator
        #[arg(value_parser = holder, default_value = "admin")]
        name: Identity,
        /// File to write them to; NAME.cred in the working directory unless told
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Commands of `admin namespace`.
#[derive(Debug, Subcommand)]
pub enum AdminNamespace {
    /// Create a namespace
    Create {
        /// Name of the new namespace
        #[arg(value_parser = namespace)]
        name: NamespaceName,
        /// Who will own it, such as user/ann; you if not given
        #[arg(long, value_name = "WHO")]
        owner: Option<String>,
    },
    /// List namespaces, with what is in them
    List,
    /// Give a namespace to somebody else
    Owner {
        /// Name of the namespace
        #[arg(value_parser = namespace)]
        name: NamespaceName,
        /// Who will own it, such as user/ann
        #[arg(value_name = "WHO")]
        owner: String,
    },
    /// Delete a namespace with everything in it
    Delete {
        /// Name of the namespace
        #[arg(value_parser = namespace)]
        name: NamespaceName,
        /// Also when it is not empty
        #[arg(long)]
        yes: bool,
    },
    /// Make a directory, with everything in it, a namespace of its own
    Split {
        /// Directory of the namespace named with --namespace
        #[arg(value_parser = remote())]
        path: Remote,
    },
}

/// Commands of `admin key`.
#[derive(Debug, Subcommand)]
pub enum AdminKey {
    /// List keys: whose they are, when they were made, and what they are good for
    List,
    /// Make a new key for what is stored from now on, and a new ring key that seals all
    Rotate,
    /// Destroy all keys of a tenant: what is stored for it can never be read again
    Destroy {
        /// Number of the tenant; a cluster begins with tenant 1
        tenant: u32,
        /// Do it; without this, only show what would happen
        #[arg(long)]
        yes: bool,
    },
}

fn address(text: &str) -> Result<(u64, SocketAddr), String> {
    let bad = || "it must be a node and where it listens, such as 2=10.0.0.7:7400".to_owned();
    let (node, address) = text.split_once('=').ok_or_else(bad)?;
    Ok((node.parse().map_err(|_| bad())?, address.parse().map_err(|_| bad())?))
}
