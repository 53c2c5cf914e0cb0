//! The rooms and what they import, from `cargo metadata`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// One member of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Its directory, which is its name in the picture (the package may be called otherwise).
    pub name: String,
    /// What it imports.
    pub dependencies: Vec<Dependency>,
}

/// One line of `[dependencies]`, `[build-dependencies]` or `[dev-dependencies]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Name of the package.
    pub package: String,
    /// The room, when it is a member of this workspace.
    pub room: Option<String>,
    /// True when only tests use it.
    pub is_dev: bool,
}

/// Asks cargo. Works without network.
pub fn load(root: &Path) -> Result<Vec<Room>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("cannot start cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// Reads the answer of `cargo metadata`.
pub fn parse(json: &str) -> Result<Vec<Room>, String> {
    let value: Value = serde_json::from_str(json).map_err(|e| format!("cargo metadata is not JSON: {e}"))?;
    let root = value["workspace_root"].as_str().ok_or("cargo metadata names no workspace_root")?;
    let packages = value["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    packages.iter().map(|package| room(root, package)).collect()
}

fn room(root: &str, package: &Value) -> Result<Room, String> {
    let manifest = package["manifest_path"].as_str().ok_or("a package without manifest_path")?;
    let directory = manifest.strip_suffix("/Cargo.toml").unwrap_or(manifest);
    let dependencies = package["dependencies"].as_array().ok_or("a package without dependencies")?;
    Ok(Room {
        name: below(root, directory).ok_or_else(|| format!("{directory} lies outside of the workspace"))?,
        dependencies: dependencies.iter().map(|value| dependency(root, value)).collect(),
    })
}

fn dependency(root: &str, value: &Value) -> Dependency {
    Dependency {
        package: value["name"].as_str().unwrap_or_default().to_owned(),
        room: value["path"].as_str().and_then(|path| below(root, path)),
        is_dev: value["kind"] == "dev",
    }
}

fn below(root: &str, path: &str) -> Option<String> {
    Some(path.strip_prefix(root)?.trim_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_named_by_their_directory() {
        let rooms = parse(
            r#"{"workspace_root": "/w", "packages": [{"name": "cloudsync", "manifest_path": "/w/cli/Cargo.toml",
                "dependencies": [{"name": "client", "path": "/w/client", "kind": null},
                                 {"name": "serde", "kind": "dev"}]}]}"#,
        );
        let dependency = |package: &str, room: Option<&str>, is_dev| Dependency {
            package: package.into(),
            room: room.map(Into::into),
            is_dev,
        };
        let dependencies = vec![dependency("client", Some("client"), false), dependency("serde", None, true)];
        assert_eq!(rooms, Ok(vec![Room { name: "cli".into(), dependencies }]));
    }

    #[test]
    fn an_answer_of_another_shape_is_an_error() {
        for bad in ["", "{}", r#"{"workspace_root": "/w"}"#, r#"{"workspace_root": "/w", "packages": [{}]}"#]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
