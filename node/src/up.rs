//! The embedded default: a cluster of one process, created the first time it is started.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use env::Env;
use types::Result;

use crate::config::NodeConfig;
use crate::home::Home;
use crate::platform::Platform;
use crate::setup::init;

/// A cluster of one node that can be started.
#[derive(Debug)]
pub struct Embedded {
    /// For [`crate::Node::start`].
    pub config: NodeConfig,
    /// True when this call created the cluster, false when it existed.
    pub created: bool,
}

/// Prepares the cluster in `data` with `disk_count` disks, to listen on `listen` and the port after it, and to show its
/// health to this machine on the one after that. Creates it when there is none; a data directory that another process uses is `Exists`.
pub fn prepare_embedded(
    env: &Env,
    platform: &dyn Platform,
    data: &Path,
    disk_count: usize,
    listen: SocketAddr,
) -> Result<Embedded> {
    let config = NodeConfig {
        data: data.to_owned(),
        native: listen,
        control: neighbour(listen, 1),
        admin: Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), neighbour(listen, 2).port())),
        disks: (1..=disk_count).map(|n| data.join(format!("disk{n}"))).collect(),
        ..NodeConfig::default()
    };
    // The lock is released in between; a second `up` that slips in finds the node prepared and the other running.
    let created = !Home::lock(env, data)?.is_prepared();
    if created {
        init(env, platform, &config)?;
    }
    Ok(Embedded { config, created })
}

/// The address some ports after `address`, or before it at the end of all ports.
fn neighbour(address: SocketAddr, distance: u16) -> SocketAddr {
    let port = address.port();
    SocketAddr::new(address.ip(), port.checked_add(distance).unwrap_or_else(|| port - distance))
}
