//! The embedded default: a cluster of one process, created the first time it is started.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use client::{ADMIN_FILE, CredentialFile};
use env::Env;
use types::{Error, Identity, Result};

use crate::config::NodeConfig;
use crate::home::Home;
use crate::platform::Platform;
use crate::repair::StoppedMeta;
use crate::setup::{ADMIN, init};

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
    match created {
        true => init(env, platform, &config)?,
        false => revive(env, platform, &config)?,
    }
    Ok(Embedded { config, created })
}

/// Signs again what has run out while the cluster was off: nobody else is there who could. Once it runs, the cluster
/// issues lasting ones.
fn revive(env: &Env, platform: &dyn Platform, config: &NodeConfig) -> Result<()> {
    let now = env.clock.wall();
    let ends = |credentials: &str| Ok::<_, Error>(platform.appear(config, credentials)?.standing().expires);
    let membership = Home::lock(env, &config.data)?.membership()?;
    if ends(&membership.credentials)? <= now {
        StoppedMeta::open(env, platform, config)?.renew(platform, config)?;
    }
    let path = config.data.join(ADMIN_FILE);
    if !env.disk.exists(&path) {
        return Ok(()); // Moved to where it is safe.
    }
    let file = CredentialFile::load(&*env.disk, &path)?;
    if ends(&file.identity)? <= now {
        let admin = Identity::Admin(ADMIN.to_owned());
        let identity = StoppedMeta::open(env, platform, config)?.issue(platform, config, &admin)?;
        CredentialFile { identity, ..file }.save(&*env.disk, &path)?;
    }
    Ok(())
}

/// The address some ports after `address`, or before it at the end of all ports.
fn neighbour(address: SocketAddr, distance: u16) -> SocketAddr {
    let port = address.port();
    SocketAddr::new(address.ip(), port.checked_add(distance).unwrap_or_else(|| port - distance))
}
