//! What a node is told: a TOML file, and `CLOUDSYNC_*` variables over it.
//!
//! Owns: the keys, their defaults and what each accepts. A configuration that was loaded is complete and consistent.
//! Knows nothing of: what a node does with it.

mod keys;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use env::Disk;
use proto::map::Role;
use types::limits::NODE_DISK_COUNT_MAX;
use types::{Error, Result};

pub use keys::role_name;
use keys::{Given, KEYS, Key};
pub use settings::{ClusterConfig, NATIVE_PORT, NodeConfig};

/// Variables that override a key begin with this.
const VARIABLE_PREFIX: &str = "CLOUDSYNC_";
/// Variables with that prefix that are not keys: they belong to commands, logging, and the build.
const OTHER_VARIABLES: [&str; 5] = [
    "CLOUDSYNC_CREDENTIALS",
    "CLOUDSYNC_LOG",
    "CLOUDSYNC_CACHE",
    "CLOUDSYNC_BIN",
    env::disk::FAULTS_VARIABLE,
];
/// Directory below `data` of the only disk when none is named.
const DISK_DEFAULT: &str = "disk1";

impl NodeConfig {
    /// Reads a file, then the variables. Relative paths in the file start at its directory, so that it does not matter
    /// where the node is started. `Invalid` names the key or variable, `NotFound` the file.
    pub fn load(disk: &dyn Disk, path: &Path, variables: &[(String, String)]) -> Result<Self> {
        let context = |e: Error| e.context(format!("configuration {}", path.display()));
        let bytes = disk.read(path).map_err(|e| context(e.into()))?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| context(Error::invalid("it is not UTF-8 text")))?;
        let mut config = Self::default();
        config.read_file(text).map_err(context)?;
        config.begin_paths_at(path.parent().unwrap_or(Path::new("")));
        config.read_variables(variables)?;
        config.complete().map_err(context)
    }

    /// The text of a file that says this.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut table = "";
        for key in KEYS {
            let (in_table, name) = key.name.split_once('.').unwrap_or(("", key.name));
            if in_table != table {
                let _ = write!(text, "\n[{in_table}]\n"); // Writing to a string cannot fail.
                table = in_table;
            }
            let _ = writeln!(text, "{name} = {}", (key.show)(self));
        }
        text
    }

    fn read_file(&mut self, text: &str) -> Result<()> {
        let file: toml::Table = toml::from_str(text).map_err(|e| {
            let line = text[..e.span().map_or(0, |span| span.start)].matches('\n').count() + 1;
            Error::invalid(format!("line {line}: {}", e.message()))
        })?;
        for (name, value) in &file {
            match value {
                toml::Value::Table(inner) => {
                    for (below, value) in inner {
                        self.set(&format!("{name}.{below}"), &Given::Value(value))?;
                    }
                }
                value => self.set(name, &Given::Value(value))?,
            }
        }
        Ok(())
    }

    /// `CLOUDSYNC_ZONE` is `zone`, `CLOUDSYNC_CLUSTER__PROFILE` is `cluster.profile`.
    fn read_variables(&mut self, variables: &[(String, String)]) -> Result<()> {
        for (name, text) in variables {
            let Some(key) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
            if OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let key = key.to_lowercase().replace("__", ".");
            self.set(&key, &Given::Text(text)).map_err(|e| e.context(format!("variable {name}")))?;
        }
        Ok(())
    }

    fn set(&mut self, name: &str, given: &Given<'_>) -> Result<()> {
        let key = Key::find(name)?;
        (key.set)(self, given).ok_or_else(|| {
            Error::invalid(format!("key `{name}` cannot be {given}: it must be {}", key.allowed))
        })
    }

    fn begin_paths_at(&mut self, dir: &Path) {
        self.data = dir.join(&self.data);
        for path in self.disks.iter_mut().chain(&mut self.cluster.passphrase_file) {
            *path = dir.join(&*path);
        }
    }

    /// Fills in what follows from the rest, and refuses what does not fit together.
    fn complete(mut self) -> Result<Self> {
        let is_block = self.roles.contains(&Role::Block);
        if is_block && self.disks.is_empty() {
            self.disks = vec![self.data.join(DISK_DEFAULT)];
        }
        if !is_block && !self.disks.is_empty() {
            return Err(Error::invalid(
                "key `disks` names disks, but key `roles` has no \"block\": add it, or drop the disks",
            ));
        }
        if self.disks.len() > NODE_DISK_COUNT_MAX {
            return Err(Error::invalid(format!(
                "key `disks` names {} disks; a node can have at most {NODE_DISK_COUNT_MAX}",
                self.disks.len()
            )));
        }
        let different: BTreeSet<&PathBuf> = self.disks.iter().collect();
        if different.len() < self.disks.len() {
            return Err(Error::invalid("key `disks` names a directory twice: each disk needs its own"));
        }
        if self.native == self.control && self.native.port() != 0 {
            return Err(Error::invalid(format!(
                "keys `native` and `control` are both {}: give them different ports",
                self.native
            )));
        }
        if let Some(admin) = self.admin.filter(|admin| admin.port() != 0)
            && (admin == self.native || admin == self.control)
        {
            return Err(Error::invalid(format!(
                "key `admin` is {admin}, which another key uses: give it a port of its own"
            )));
        }
        Ok(self)
    }
}

/// Names of set variables that would override a key.
pub fn overriding_variables(variables: &[(String, String)]) -> Vec<&str> {
    let names = variables.iter().map(|(name, _)| name.as_str());
    names.filter(|name| name.starts_with(VARIABLE_PREFIX) && !OTHER_VARIABLES.contains(name)).collect()
}

/// The variables of this process. One that is not UTF-8 cannot be meant for us.
pub fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
        .collect()
}
