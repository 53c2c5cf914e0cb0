//! The command line. What is read here is valid: bad paths, names and numbers are refused before anything is sent.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use types::{Error, NamespaceName, Path, Profile, Result, VersionId};

use crate::output::Format;

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
    /// Namespace in which paths are
    #[arg(long, global = true, value_name = "NAME", default_value = "home", value_parser = namespace)]
    pub namespace: NamespaceName,
    /// Who you are and where the cluster is
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "CLOUDSYNC_CREDENTIALS",
        default_value = "./cloudsync-data/admin.cred"
    )]
    pub credentials: PathBuf,
    /// Seconds after which a request that gets no answer fails
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

/// All commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a whole cluster in this process, with disks as directories
    Up {
        /// Where everything is kept
        #[arg(long, value_name = "DIR", default_value = "./cloudsync-data")]
        data: PathBuf,
        /// Number of disks
        #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(2..=128))]
        disks: u16,
        /// Where to listen; administration is at the next port
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400")]
        listen: SocketAddr,
    },
    /// Run one node of a cluster
    Node {
        /// Its configuration, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Make a new cluster, of which this is the first node
    Init {
        /// The node's configuration, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Make this node a part of a cluster
    Join {
        /// The node's configuration, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// What `cloudsync admin token create` printed
        #[arg(long)]
        token: String,
    },
    /// Clusters of real processes on this machine, for development
    #[command(subcommand)]
    Dev(Dev),
    /// Store a file or a directory
    Put {
        /// What to store
        #[arg(value_name = "FILE|DIR")]
        source: PathBuf,
        /// Where; a file goes into a directory that exists or is written with a '/' at the end
        #[arg(value_parser = remote())]
        path: Remote,
    },
    /// Fetch a file or a directory
    Get {
        /// What to fetch
        #[arg(value_parser = remote())]
        path: Remote,
        /// Where to put it; a file goes into a directory that exists
        dest: PathBuf,
    },
    /// List a directory
    Ls {
        /// With size, time and version
        #[arg(short = 'l')]
        long: bool,
        /// With everything below
        #[arg(short = 'R')]
        recursive: bool,
        /// Which
        #[arg(value_parser = remote(), default_value = "/")]
        path: Remote,
    },
    /// Show what is known about a file or directory
    Stat {
        /// Which
        #[arg(value_parser = remote())]
        path: Remote,
    },
    /// Print the content of a file
    Cat {
        /// Only these bytes: first-last, counted from 0; 'first-' means to the end
        #[arg(long, value_name = "A-B", value_parser = byte_range)]
        range: Option<ByteRange>,
        /// Which
        #[arg(value_parser = remote())]
        path: Remote,
    },
    /// Make a directory
    Mkdir {
        /// With the directories above it; no error if it exists
        #[arg(short = 'p')]
        parents: bool,
        /// Where
        #[arg(value_parser = remote())]
        path: Remote,
    },
    /// Move or rename a file or directory
    Mv {
        /// From
        #[arg(value_name = "SRC", value_parser = remote())]
        source: Remote,
        /// To; into it, if it is a directory that exists
        #[arg(value_name = "DST", value_parser = remote())]
        target: Remote,
    },
    /// Remove a file or directory; `restore` brings it back
    Rm {
        /// A directory with all that is in it
        #[arg(short = 'r')]
        recursive: bool,
        /// Which
        #[arg(value_parser = remote())]
        path: Remote,
    },
    /// List the versions of a file, newest first
    History {
        /// Which
        #[arg(value_parser = remote())]
        path: Remote,
    },
    /// Bring back what was removed, or an old version of a file
    Restore {
        /// The version to make the newest again; without it, what was removed from this path comes back
        #[arg(long, value_name = "V", value_parser = version)]
        version: Option<VersionId>,
        /// Where it is, or was
        #[arg(value_parser = remote())]
        path: Remote,
    },
    /// Show how much is stored
    Du {
        /// Below which directory
        #[arg(value_parser = remote(), default_value = "/")]
        path: Remote,
    },
    /// Administer the cluster
    #[command(subcommand)]
    Admin(Admin),
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
    /// Start it; makes it first when there is none
    Up {
        /// Number of nodes
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
        nodes: u16,
        /// Number of zones
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
        zones: u16,
        /// Redundancy
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
        /// Their numbers
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<u64>,
    },
    /// Start nodes again, stopping those that run
    Restart {
        /// Their numbers
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<u64>,
    },
    /// Stop all nodes; `up` starts them again
    Down,
}

/// Commands of `admin`.
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// The cluster as a whole
    #[command(subcommand)]
    Cluster(AdminCluster),
    /// Its nodes
    #[command(subcommand)]
    Node(AdminNode),
    /// Its disks
    #[command(subcommand)]
    Disk(AdminDisk),
    /// Tokens that let nodes join
    #[command(subcommand)]
    Token(AdminToken),
    /// Namespaces
    #[command(subcommand)]
    Namespace(AdminNamespace),
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
    /// List them; exit code 3 when one is not well
    List,
}

/// Commands of `admin disk`.
#[derive(Debug, Subcommand)]
pub enum AdminDisk {
    /// List them; exit code 3 when one is not well
    List,
}

/// Commands of `admin token`.
#[derive(Debug, Subcommand)]
pub enum AdminToken {
    /// Make one
    Create {
        /// How long it is good for: 90s, 30m, 1h, 2d
        #[arg(long, default_value = "1h", value_parser = duration)]
        valid: Duration,
    },
}

/// Commands of `admin namespace`.
#[derive(Debug, Subcommand)]
pub enum AdminNamespace {
    /// Make one
    Create {
        /// Its name
        #[arg(value_parser = namespace)]
        name: NamespaceName,
    },
}

/// A path in a namespace as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The path.
    pub path: Path,
    /// It ended with '/': it is meant to be a directory.
    pub is_dir: bool,
}

/// Bytes of a file, first and last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first.
    pub first: u64,
    /// The last; `None` for the end of the file.
    pub last: Option<u64>,
}

/// Reads paths, which need not be UTF-8 when they come.
fn remote() -> impl TypedValueParser<Value = Remote> {
    OsStringValueParser::new().try_map(|text: OsString| parse_remote(&text).map_err(message))
}

fn parse_remote(text: &OsStr) -> Result<Remote> {
    let text = text.to_str().ok_or_else(|| Error::invalid(format!("path {text:?} is not UTF-8")))?;
    Ok(Remote { path: Path::parse(text)?, is_dir: text.ends_with('/') })
}

fn namespace(text: &str) -> std::result::Result<NamespaceName, String> {
    NamespaceName::parse(text).map_err(message)
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

fn duration(text: &str) -> std::result::Result<Duration, String> {
    let bad = || "a duration is a number and one of s m h d, such as 30m, at most 365d".to_owned();
    let unit = match text.chars().last().ok_or_else(bad)? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(bad()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| bad())?;
    let seconds = count.checked_mul(unit).filter(|s| (1..=365 * 24 * 3600).contains(s)).ok_or_else(bad)?;
    Ok(Duration::from_secs(seconds))
}

/// Without the kind: the parser says already that the value is invalid.
fn message(error: Error) -> String {
    error.message().to_owned()
}
