//! The directory of a development cluster: one file that lists the nodes, and a directory for each.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use client::health::Complement;
use env::Disk;
use proto::map::Role;
use serde::{Deserialize, Serialize};
use types::{Error, ErrorKind, Profile, Result};

use crate::config::{ClusterConfig, NodeConfig};

/// The file that makes a directory a cluster.
const FILE: &str = "cluster.json";
/// At least this many nodes hold metadata, if there are that many: enough voters to lose one.
const META_COUNT_MIN: usize = 3;
/// Few nodes need few placement groups.
const PG_COUNT: u16 = 1024;

/// What a new cluster is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of nodes, each with one disk.
    pub nodes: u16,
    /// Number of zones, over which the nodes are spread.
    pub zones: u16,
    /// Needs at least `k+m` nodes.
    pub profile: Profile,
}

impl Shape {
    /// Refuses (`Invalid`) a cluster that could never store a file.
    pub fn check(self) -> Result<()> {
        let Profile { k, m } = self.profile;
        if usize::from(self.nodes) < self.profile.n() {
            return Err(Error::invalid(format!(
                "{} nodes with a disk each cannot hold {k}+{m} shards: ask for --nodes {} or a smaller --profile",
                self.nodes,
                self.profile.n()
            )));
        }
        Ok(())
    }
}

/// All nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Redundancy, `k+m`.
    pub profile: String,
    /// By number, from 1.
    pub nodes: Vec<NodePlan>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    /// What `kill` and `restart` call it; also its id in the cluster, because the nodes join in this order.
    pub number: u64,
    /// `zone1`, `zone2`, …: nodes take turns.
    pub zone: String,
    /// True when it holds metadata too, not only chunks.
    pub is_meta: bool,
    /// Where it listens for clients and other nodes.
    pub native: SocketAddr,
    /// Where it listens for administration.
    pub control: SocketAddr,
    /// Where it shows its health and its numbers.
    pub admin: SocketAddr,
    /// True once it is part of the cluster.
    pub joined: bool,
    /// The process of its last start, which may have ended.
    pub pid: Option<u32>,
}

impl Layout {
    /// What the cluster has when it is complete.
    pub fn complement(&self) -> Complement {
        let nodes = self.nodes.len();
        Complement { nodes, disks: nodes, voters: self.voter_count() }
    }

    /// Ports of a node.
    pub const PORT_COUNT: usize = 3;

    /// A new cluster. `ports` has some for each node: native, then control, then admin.
    pub fn plan(shape: Shape, ports: &[u16]) -> Self {
        let (zones, meta_count) = (usize::from(shape.zones), META_COUNT_MIN.max(shape.zones.into()));
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let node = |(index, ports): (usize, &[u16])| NodePlan {
            number: index as u64 + 1,
            zone: format!("zone{}", index % zones + 1),
            is_meta: index < meta_count,
            native: local(ports[0]),
            control: local(ports[1]),
            admin: local(ports[2]),
            joined: false,
            pid: None,
        };
        let nodes =
            ports.chunks_exact(Self::PORT_COUNT).take(shape.nodes.into()).enumerate().map(node).collect();
        Self { profile: shape.profile.to_string(), nodes }
    }

    /// Reads the file. `NotFound` when there is no cluster in `dir`, `Corrupt` when it cannot be decoded.
    pub fn load(disk: &dyn Disk, dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let bytes = disk.read(&path).map_err(|e| no_cluster(e.into(), dir))?;
        serde_json::from_slice(&bytes).map_err(|e| {
            Error::corrupt(format!("{}: {e}; remove {} and start over", path.display(), dir.display()))
        })
    }

    /// True when there is a cluster in `dir`.
    pub fn exists(disk: &dyn Disk, dir: &Path) -> bool {
        disk.exists(&dir.join(FILE))
    }

    /// Writes the file, as a whole or not at all.
    pub fn save(&self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self).map_err(|e| Error::internal(e.to_string()))?;
        disk.write_atomic(&dir.join(FILE), &bytes).map_err(|e| Error::from(e).context(dir.display()))
    }

    /// Refuses (`Invalid`) numbers of nodes that do not exist.
    pub fn check_numbers(&self, numbers: &[u64]) -> Result<()> {
        let unknown = numbers.iter().find(|number| !self.nodes.iter().any(|node| node.number == **number));
        match unknown {
            None => Ok(()),
            Some(number) => Err(Error::invalid(format!(
                "there is no node {number}: nodes are numbered from 1 to {}",
                self.nodes.len()
            ))),
        }
    }

    /// The number of voters the cluster will settle at.
    pub fn voter_count(&self) -> usize {
        let meta_count = self.nodes.iter().filter(|node| node.is_meta).count();
        if meta_count >= META_COUNT_MIN { META_COUNT_MIN } else { 1 }
    }

    /// The configuration of a node when the cluster is in `dir`.
    pub fn config(&self, node: &NodePlan, dir: &Path) -> Result<NodeConfig> {
        let home = node.home(dir);
        Ok(NodeConfig {
            data: home.join("data"),
            zone: node.zone.clone(),
            roles: if node.is_meta { vec![Role::Meta, Role::Block] } else { vec![Role::Block] },
            native: node.native,
            control: node.control,
            admin: Some(node.admin),
            disks: vec![home.join("disk1")],
            cluster: ClusterConfig {
                profile: Profile::parse(&self.profile)?,
                pg_count: PG_COUNT,
                ..ClusterConfig::default()
            },
            ..NodeConfig::default()
        })
    }
}

impl NodePlan {
    /// Its directory when the cluster is in `dir`.
    pub fn home(&self, dir: &Path) -> PathBuf {
        dir.join(format!("node{}", self.number))
    }

    /// Its configuration file.
    pub fn config_file(&self, dir: &Path) -> PathBuf {
        self.home(dir).join("node.toml")
    }

    /// Where its standard output and standard error go.
    pub fn log_file(&self, dir: &Path) -> PathBuf {
        self.home(dir).join("log")
    }
}

/// Puts an error about the directory into words that help a person.
pub(super) fn no_cluster(error: Error, dir: &Path) -> Error {
    if error.kind() == ErrorKind::NotFound {
        return Error::not_found(format!(
            "there is no cluster in {}: create one with `cloudsync dev cluster up`",
            dir.display()
        ));
    }
    error.context(dir.display())
}

#[cfg(test)]
mod tests {
    use env::disk::SimDisk;

    use super::*;

    fn plan(nodes: u16, zones: u16) -> Layout {
        let ports: Vec<u16> = (1..=3 * nodes).collect();
        Layout::plan(Shape { nodes, zones, profile: Profile { k: 4, m: 2 } }, &ports)
    }

    #[track_caller]
    fn check(nodes: u16, zones: u16, want: &str, voters: usize) {
        let layout = plan(nodes, zones);
        let words =
            layout.nodes.iter().map(|n| format!("{}{}", &n.zone[4..], if n.is_meta { "m" } else { "" }));
        assert_eq!(words.collect::<Vec<_>>().join(" "), want);
        assert_eq!(layout.voter_count(), voters);
    }

    #[test]
    fn zones_take_turns_and_the_first_of_each_is_meta() {
        check(8, 3, "1m 2m 3m 1 2 3 1 2", 3);
        check(4, 1, "1m 1m 1m 1", 3);
        check(2, 2, "1m 2m", 1);
        check(6, 5, "1m 2m 3m 4m 5m 1", 3);
    }

    #[test]
    fn a_layout_comes_back() {
        let (disk, dir) = (SimDisk::new(0), Path::new("/dev"));
        disk.create_dir_all(dir).unwrap();
        assert!(!Layout::exists(&disk, dir));
        let error = Layout::load(&disk, dir).unwrap_err();
        assert!(error.message().contains("dev cluster up"), "{error}");
        let mut layout = plan(3, 3);
        layout.nodes[1].pid = Some(77);
        layout.save(&disk, dir).unwrap();
        assert_eq!(Layout::load(&disk, dir), Ok(layout));
        disk.write_atomic(&dir.join(FILE), b"{").unwrap();
        assert!(Layout::load(&disk, dir).unwrap_err().message().contains("start over"));
    }

    #[test]
    fn configurations_are_readable_and_apart() {
        let layout = plan(3, 3);
        let disk = SimDisk::new(0);
        let configs: Vec<NodeConfig> =
            layout.nodes.iter().map(|node| layout.config(node, Path::new("/dev")).unwrap()).collect();
        for (node, config) in layout.nodes.iter().zip(&configs) {
            let path = node.config_file(Path::new("/dev"));
            disk.create_dir_all(&node.home(Path::new("/dev"))).unwrap();
            disk.write_atomic(&path, config.to_toml().as_bytes()).unwrap();
            assert_eq!(NodeConfig::load(&disk, &path, &[]).as_ref(), Ok(config));
        }
        assert_eq!(configs[0].native.port() + 1, configs[0].control.port());
        assert_ne!(configs[0].data, configs[1].data);
        assert_eq!(configs[0].cluster.pg_count, 1024);
    }

    #[test]
    fn unknown_numbers_are_refused() {
        assert_eq!(plan(3, 1).check_numbers(&[1, 3]), Ok(()));
        assert!(plan(3, 1).check_numbers(&[4]).unwrap_err().message().contains("from 1 to 3"));
    }

    #[test]
    fn too_few_nodes_for_the_profile_are_refused() {
        let profile = Profile { k: 4, m: 2 };
        assert_eq!(Shape { nodes: 6, zones: 3, profile }.check(), Ok(()));
        let error = Shape { nodes: 5, zones: 3, profile }.check().unwrap_err();
        assert!(error.message().contains("--nodes 6"), "{error}");
    }
}
