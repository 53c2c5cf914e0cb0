//! The embedded default: a cluster of one process, created the first time it is started.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use client::{ADMIN_FILE, CredentialFile};
use env::Env;
use types::limits::NODE_DISK_COUNT_MAX;
use types::{Error, Identity, Result};

use crate::config::NodeConfig;
use crate::disks::Record;
use crate::home::Home;
use crate::platform::Platform;
use crate::repair::StoppedMeta;
use crate::setup::{ADMIN, init};

/// Disks of a new cluster: enough for the profile of one.
const DISK_COUNT_DEFAULT: usize = 6;

/// A cluster of one node that can be started.
#[derive(Debug)]
pub struct Embedded {
    /// For [`crate::Node::start`].
    pub config: NodeConfig,
    /// True when this call created the cluster, false when it existed.
    pub created: bool,
}

/// Prepares the cluster in `data`, to listen on `listen` and the port after it, and to show its health to this machine on
/// the one after that. Creates it when there is none; a data directory that another process uses is `Exists`. It has as many
/// disks as `disk_count` says, but never fewer than before: that is `Invalid`.
pub fn prepare_embedded(
    env: &Env,
    platform: &dyn Platform,
    data: &Path,
    disk_count: Option<usize>,
    listen: SocketAddr,
) -> Result<Embedded> {
    // The disks are remembered by their paths, whatever the working directory of the next start is.
    let data = std::path::absolute(data).map_err(|e| Error::from(e).context(data.display()))?;
    let mut config = NodeConfig {
        native: listen,
        control: neighbour(listen, 1),
        admin: Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), neighbour(listen, 2).port())),
        ..NodeConfig::default()
    };
    config.data.clone_from(&data);
    // The lock is released in between; a second `up` that slips in finds the node prepared and the other running.
    let home = Home::lock(env, &data)?;
    let created = !home.is_prepared();
    let count = match (disk_count, known_disk_count(env, &home)?) {
        (None, 0) => DISK_COUNT_DEFAULT,
        (given, known) if given.is_none_or(|given| given >= known) => given.unwrap_or(known),
        (_, known) => {
            return Err(Error::invalid(format!(
                "this cluster has {known} disks: leave --disks out; one that is gone for good is taken out with \
                 `cloudsync admin disk remove-lost`"
            )));
        }
    };
    config.disks = (1..=count).map(|number| disk_path(&data, number)).collect();
    if created {
        // Whatever comes between: the cluster has as many disks as its founder wanted.
        let places = config.disks.iter().cloned().collect();
        Record { places, ..Record::load(&home)? }.save(&home)?;
    }
    drop(home);
    match created {
        true => init(env, platform, &config)?,
        false => revive(env, platform, &config)?,
    }
    Ok(Embedded { config, created })
}

fn disk_path(data: &Path, number: usize) -> PathBuf {
    data.join(format!("disk{number}"))
}

/// The highest number of a disk that was in the data directory, or is.
fn known_disk_count(env: &Env, home: &Home) -> Result<usize> {
    let record = Record::load(home)?.places(&[]);
    let there = env.disk.read_dir(&home.join(""))?.into_iter().map(|name| home.join(name));
    let is_disk = |number: &usize, path: &PathBuf| *path == disk_path(&home.join(""), *number);
    let all: BTreeSet<PathBuf> = record.into_iter().chain(there).collect();
    let numbers = (1..=NODE_DISK_COUNT_MAX).filter(|number| all.iter().any(|path| is_disk(number, path)));
    Ok(numbers.max().unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What was remembered and what is there; how many disks that are.
    #[track_caller]
    fn check(remembered: &[&str], there: &[&str], want: usize) {
        let (env, data) = (Env::simulated(1), Path::new("/data"));
        let home = Home::lock(&env, data).unwrap();
        let places = remembered.iter().map(PathBuf::from).collect();
        Record { places, ..Record::default() }.save(&home).unwrap();
        there.iter().for_each(|name| env.disk.create_dir_durably(&data.join(name)).unwrap());
        assert_eq!(known_disk_count(&env, &home), Ok(want));
    }

    #[test]
    fn disks_that_were_there_are_counted() {
        check(&[], &[], 0);
        check(&["/data/disk1", "/data/disk12", "/mnt/a"], &["disk1"], 12);
        check(&[], &["disk1", "disk3", "meta"], 3);
        check(&["/old/disk1", "/old/disk7"], &["disk1", "disk2"], 2);
        check(&[], &["disk999", "diskette", "disk", "disk0"], 0);
    }
}
