//! The keys of a node's configuration: name, what each accepts, how it is read and written.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use proto::map::Role;
use types::limits::{META_DOWN_OUT_RANGE, PARTITION_COUNT_MAX, PG_COUNT_MAX};
use types::{Error, Profile, Result};

use super::settings::NodeConfig;

/// A zone's name appears in every listing of nodes.
const ZONE_SIZE_MAX: usize = 63; // Like a namespace's name.

/// One key.
pub(super) struct Key {
    /// As errors name it: `cluster.profile` for a key in a table.
    pub(super) name: &'static str,
    /// Completes "it must be …".
    pub(super) allowed: &'static str,
    /// Sets the key; `None` when the value is not allowed.
    pub(super) set: fn(&mut NodeConfig, &Given<'_>) -> Option<()>,
    /// The value as TOML.
    pub(super) show: fn(&NodeConfig) -> toml::Value,
}

/// All keys, those of tables last.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "data",
        allowed: "the path of a directory",
        set: |config, given| store(&mut config.data, given.path()),
        show: |config| text(config.data.display()),
    },
    Key {
        name: "zone",
        allowed: "a name of 1 to 63 characters from a-z A-Z 0-9 - _ .",
        set: |config, given| store(&mut config.zone, given.zone()),
        show: |config| text(&config.zone),
    },
    Key {
        name: "roles",
        allowed: "a list of \"meta\" and \"block\", at least one",
        set: |config, given| store(&mut config.roles, given.roles()),
        show: |config| list(config.roles.iter().map(|role| role_name(*role))),
    },
    Key {
        name: "native",
        allowed: "an address and port such as \"10.0.0.5:7400\"",
        set: |config, given| store(&mut config.native, given.parse()),
        show: |config| text(config.native),
    },
    Key {
        name: "control",
        allowed: "an address and port such as \"10.0.0.5:7401\"",
        set: |config, given| store(&mut config.control, given.parse()),
        show: |config| text(config.control),
    },
    Key {
        name: "admin",
        allowed: "an address and port such as \"127.0.0.1:7402\", or \"off\"",
        set: |config, given| store(&mut config.admin, given.admin()),
        show: |config| config.admin.map_or_else(|| text("off"), text),
    },
    Key {
        name: "disks",
        allowed: "a list of paths of directories",
        set: |config, given| store(&mut config.disks, given.paths()),
        show: |config| list(config.disks.iter().map(|disk| disk.display())),
    },
    Key {
        name: "cluster.profile",
        allowed: "k+m such as \"4+2\"",
        set: |config, given| store(&mut config.cluster.profile, given.profile()),
        show: |config| text(config.cluster.profile),
    },
    Key {
        name: "cluster.pg_count",
        allowed: "a power of two from 1 to 16384",
        set: |config, given| store(&mut config.cluster.pg_count, given.pg_count()),
        show: |config| number(config.cluster.pg_count),
    },
    Key {
        name: "cluster.tree_partitions",
        allowed: "a number from 1 to 256",
        set: |config, given| store(&mut config.cluster.tree_partitions, given.partition_count()),
        show: |config| number(config.cluster.tree_partitions),
    },
    Key {
        name: "cluster.index_partitions",
        allowed: "a number from 1 to 256",
        set: |config, given| store(&mut config.cluster.index_partitions, given.partition_count()),
        show: |config| number(config.cluster.index_partitions),
    },
    Key {
        name: "cluster.passphrase_file",
        allowed: "the path of a file, or \"\" for a key file in the data directory",
        set: |config, given| store(&mut config.cluster.passphrase_file, given.optional_path()),
        show: |config| text(config.cluster.passphrase_file.as_deref().unwrap_or(Path::new("")).display()),
    },
    Key {
        name: "meta.down_out",
        allowed: "a number of seconds from 5 to 86400",
        set: |config, given| store(&mut config.meta_down_out, given.down_out()),
        show: |config| number(config.meta_down_out.as_secs() as i64),
    },
];

impl Key {
    /// The key of that name, or an error that names the one that is probably meant.
    pub(super) fn find(name: &str) -> Result<&'static Key> {
        if let Some(key) = KEYS.iter().find(|key| key.name == name) {
            return Ok(key);
        }
        let nearest = KEYS.iter().min_by_key(|key| distance(name, key.name)).expect("there are keys");
        Err(Error::invalid(format!("unknown key `{name}`: did you mean `{}`?", nearest.name)))
    }
}

/// A value as it was given.
pub(super) enum Given<'a> {
    /// From the file.
    Value(&'a toml::Value),
    /// From a variable: lists are separated by commas.
    Text(&'a str),
}

impl Given<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Given::Value(value) => value.as_str(),
            Given::Text(text) => Some(text),
        }
    }

    fn parse<T: FromStr>(&self) -> Option<T> {
        self.text()?.parse().ok()
    }

    fn number<T: TryFrom<i64> + FromStr>(&self) -> Option<T> {
        match self {
            Given::Value(value) => T::try_from(value.as_integer()?).ok(),
            Given::Text(text) => text.parse().ok(),
        }
    }

    fn list(&self) -> Option<Vec<&str>> {
        match self {
            Given::Value(value) => value.as_array()?.iter().map(toml::Value::as_str).collect(),
            Given::Text(text) => {
                Some(text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect())
            }
        }
    }

    fn path(&self) -> Option<PathBuf> {
        path(self.text()?)
    }

    fn optional_path(&self) -> Option<Option<PathBuf>> {
        self.text().map(path)
    }

    fn paths(&self) -> Option<Vec<PathBuf>> {
        self.list()?.into_iter().map(path).collect()
    }

    fn profile(&self) -> Option<Profile> {
        Profile::parse(self.text()?).ok()
    }

    fn zone(&self) -> Option<String> {
        let name = self.text()?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let good = !name.is_empty() && name.len() <= ZONE_SIZE_MAX && name.bytes().all(allowed);
        good.then(|| name.to_owned())
    }

    fn roles(&self) -> Option<Vec<Role>> {
        let mut roles: Vec<Role> = self.list()?.into_iter().map(role).collect::<Option<_>>()?;
        roles.sort();
        roles.dedup();
        (!roles.is_empty()).then_some(roles)
    }

    fn pg_count(&self) -> Option<u16> {
        self.number().filter(|count: &u16| count.is_power_of_two() && *count <= PG_COUNT_MAX)
    }

    fn admin(&self) -> Option<Option<SocketAddr>> {
        if self.text() == Some("off") { Some(None) } else { self.parse().map(Some) }
    }

    fn down_out(&self) -> Option<Duration> {
        let seconds = self.number().filter(|seconds: &u32| META_DOWN_OUT_RANGE.contains(seconds))?;
        Some(Duration::from_secs(seconds.into()))
    }

    fn partition_count(&self) -> Option<u32> {
        self.number().filter(|count| (1..=PARTITION_COUNT_MAX).contains(count))
    }
}

impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Given::Value(value) => value.fmt(f),
            Given::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// Puts an allowed value in its place.
fn store<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn role(name: &str) -> Option<Role> {
    [Role::Meta, Role::Block].into_iter().find(|role| role_name(*role) == name)
}

/// A role as configuration files and listings spell it.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Meta => "meta",
        Role::Block => "block",
    }
}

fn text(value: impl fmt::Display) -> toml::Value {
    toml::Value::String(value.to_string())
}

fn list(values: impl Iterator<Item = impl fmt::Display>) -> toml::Value {
    toml::Value::Array(values.map(text).collect())
}

fn number(value: impl Into<i64>) -> toml::Value {
    toml::Value::Integer(value.into())
}

/// How many letters to insert, drop or replace to turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
