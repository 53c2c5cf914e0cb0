//! Things from outside come through one door each: the machine through `env`, RocksDB through `kv`, openraft through
//! `raft`, the network's libraries through `net` (docs/decisions/0002).
//!
//! clippy refuses single functions by name; this rule refuses whole modules and libraries, in tests as well.

use crate::finding::Finding;
use crate::metadata::Room;
use crate::rust::{self, CodePath};
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "doors";

/// What is outside, who may touch it, and what the others do instead. `xtask` checks the tree and may do anything.
const DOORS: &[(&[&str], &[&str], &str)] = &[
    (&["std::fs", "std::os::unix::fs", "tokio::fs"], &["env"], "use Env::disk"),
    (&["std::time::Instant", "tokio::time"], &["env"], "use env::time"),
    (&["std::time::SystemTime", "std::time::UNIX_EPOCH"], &["env"], "use Env::clock"),
    (
        &["std::thread::spawn", "std::thread::scope", "std::thread::Builder", "std::thread::sleep"],
        &["env"],
        "use env::task::thread and env::time",
    ),
    (&["std::process::Command", "tokio::process"], &["env"], "use env::process"),
    (
        &["tokio::spawn", "tokio::task::spawn", "tokio::task::spawn_blocking", "tokio::task::spawn_local"],
        &["env"],
        "use env::task",
    ),
    (&["tokio::task::JoinSet", "tokio::task::Builder"], &["env"], "use env::task"),
    (
        &["tokio::main", "tokio::runtime::Builder", "tokio::runtime::Runtime"],
        &["env", "cli", "chaos", "bench"],
        "take the runtime you are called on; tests use #[tokio::test]",
    ),
];

/// Calls that hold a thread while they wait, who may make them, and what the others do instead: in a simulation there is
/// one thread, and it must not wait. Tests may.
const WAITING: &[(&[&str], &[&str], &str)] = &[
    (
        &[".blocking_recv(", ".blocking_send(", "Condvar"],
        &["env"],
        "use env::task::blocking, Disk::submit or DiskQueue",
    ),
    // openraft's runtime has both.
    (&["block_in_place", ".block_on("], &["env", "raft"], "use env::task::blocking or Disk::submit"),
];

/// Libraries that one room wraps for all others, by package name.
const LIBRARIES: &[(&[&str], &str)] = &[
    (&["rand", "getrandom", "fastrand", "tempfile"], "env"),
    (&["rocksdb", "librocksdb-sys"], "kv"),
    (&["openraft"], "raft"),
    (&["quinn", "tonic", "hyper-util", "rustls", "tokio-rustls", "rcgen", "x509-parser"], "net"),
];

/// Looks at all Rust code and at what the manifests import.
pub fn check(files: &[SourceFile], rooms: &[Room]) -> Vec<Finding> {
    let code = files.iter().filter(|file| file.is_rust()).flat_map(check_code);
    let waiting = files.iter().filter(|file| file.is_rust()).flat_map(check_waiting);
    rooms.iter().flat_map(check_manifest).chain(code).chain(waiting).collect()
}

fn check_manifest(room: &Room) -> Vec<Finding> {
    let manifest = format!("{}/Cargo.toml", room.name);
    let refused = |package: &str| owner(package).filter(|owner| *owner != room.name);
    let packages = room.dependencies.iter().map(|dependency| dependency.package.as_str());
    packages
        .filter_map(|package| Some((package, refused(package)?)))
        .map(|(package, owner)| {
            Finding::new(
                RULE,
                &manifest,
                1,
                format!("only {owner} imports {package}: use what {owner} offers"),
            )
        })
        .collect()
}

fn owner(package: &str) -> Option<&'static str> {
    LIBRARIES.iter().find(|(packages, _)| packages.contains(&package)).map(|(_, owner)| *owner)
}

fn check_waiting(file: &SourceFile) -> Vec<Finding> {
    let room = file.room();
    if room == "xtask" {
        return Vec::new();
    }
    let code = file.product_code();
    let lines = code.lines().enumerate();
    let refused = |line: &str| {
        let mut doors = WAITING.iter().filter(|(_, rooms, _)| !rooms.contains(&room));
        doors.find_map(|(calls, _, advice)| Some((calls.iter().find(|call| line.contains(**call))?, *advice)))
    };
    lines
        .filter_map(|(index, line)| {
            let (call, advice) = refused(line)?;
            let call = call.trim_matches(['.', '(']);
            Some(Finding::new(RULE, &file.path, index + 1, format!("{call} holds a thread: {advice}")))
        })
        .collect()
}

fn check_code(file: &SourceFile) -> Vec<Finding> {
    let room = file.room();
    if room == "xtask" {
        return Vec::new();
    }
    let paths = rust::paths(&file.code);
    let refused_imports: Vec<&CodePath> =
        paths.iter().filter(|path| path.alias.is_some() && refusal(room, path).is_some()).collect();
    // One import is one finding, not one more for each use of the name.
    let is_reported = |path: &CodePath| {
        path.alias.is_none()
            && refused_imports.iter().any(|import| path.segments.starts_with(&import.segments))
    };
    paths
        .iter()
        .filter(|path| !is_reported(path))
        .filter_map(|path| {
            let advice = format!("{} is not for {room}: {}", path.segments.join("::"), refusal(room, path)?);
            Some(Finding::new(RULE, &file.path, path.line, advice))
        })
        .collect()
}

/// What to do instead of naming `path` in `room`; `None` when it may.
fn refusal(room: &str, path: &CodePath) -> Option<String> {
    let door = DOORS.iter().find(|(outside, rooms, _)| {
        !rooms.contains(&room) && outside.iter().any(|outside| touches(&path.segments, outside))
    });
    let library = path.segments.first().and_then(|first| owner(&first.replace('_', "-")));
    match (door, library) {
        (Some((_, _, advice)), _) => Some((*advice).to_owned()),
        (None, Some(owner)) if owner != room => Some(format!("use what {owner} offers")),
        _ => None,
    }
}

/// True when the path names `outside`, something in it, or imports everything around it.
fn touches(path: &[String], outside: &str) -> bool {
    let outside: Vec<&str> = outside.split("::").collect();
    let named = path.iter().map(String::as_str);
    match path.split_last() {
        Some((last, around)) if last == "*" && around.len() < outside.len() => {
            around.iter().map(String::as_str).eq(outside[..around.len()].iter().copied())
        }
        _ => path.len() >= outside.len() && named.take(outside.len()).eq(outside.iter().copied()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::expect;
    use crate::metadata::Dependency;

    #[track_caller]
    fn check_in(path: &str, code: &str, want: &[&str]) {
        expect(&check(&[SourceFile::new(path, code)], &[]), want);
    }

    #[test]
    fn the_machine_is_behind_env() {
        for (code, want) in [
            ("std::fs::read(p)", "std::fs::read is not for kv: use Env::disk"),
            ("use std::{fs, io};", "std::fs is not for kv"),
            ("use std::time::{Duration, Instant};", "std::time::Instant is not for kv: use env::time"),
            ("use std::time; fn f() { time::Instant::now() }", "std::time::Instant::now"),
            ("use std::time::*;", "std::time::*"),
            ("use tokio::time::sleep;", "tokio::time::sleep"),
            ("use tokio::time::Duration;", "tokio::time::Duration"),
            ("use tokio::task; fn f() { task::spawn_blocking(g) }", "tokio::task::spawn_blocking"),
            ("#[cfg(test)] mod tests { fn t() { std::thread::spawn(f); } }", "std::thread::spawn"),
            ("std::process::Command::new(x)", "use env::process"),
            ("rand::random()", "use what env offers"),
            ("use tempfile::tempdir; fn f() { tempdir() }", "tempfile::tempdir"),
            ("#[tokio::main] async fn main() {}", "tokio::main"),
        ] {
            check_in("kv/src/real.rs", code, &[want]);
            check_in("kv/tests/real.rs", code, &[want]);
        }
    }

    #[test]
    fn nobody_holds_a_thread() {
        check_in(
            "segments/src/a.rs",
            "\nqueue.blocking_recv()",
            &["a.rs:2 blocking_recv holds a thread: use env::task"],
        );
        check_in("client/src/a.rs", "sender.blocking_send(x)", &["blocking_send holds"]);
        check_in("client/src/a.rs", "handle.block_on(f)", &["block_on holds"]);
        check_in("kv/src/a.rs", "use std::sync::Condvar;", &["Condvar holds"]);
        check_in("node/src/a.rs", "tokio::task::block_in_place(f)", &["block_in_place holds"]);
        check_in("raft/src/blocking.rs", "tokio::task::block_in_place(f)", &[]);
        check_in("env/src/task.rs", "runtime.block_on(f)", &[]);
        check_in("kv/src/a.rs", "// .block_on(\nlet a = \".block_on(\";", &[]);
    }

    #[test]
    fn what_is_harmless_is_allowed() {
        for code in [
            "use std::time::Duration;",
            "use env::time; fn f() { time::sleep(d) }",
            "use std::thread::JoinHandle;",
            "// std::fs::read\nlet a = \"std::fs::read\";",
            "#[tokio::test] async fn t() { tokio::task::yield_now().await }",
            "std::process::exit(1)",
            "use rocksdb::DB;",
            "self.rand::<u8>()",
        ] {
            check_in("kv/src/real.rs", code, &[]);
        }
        check_in("env/src/disk/real.rs", "use std::fs; fn f() { fs::read(p); rand::rng(); }", &[]);
        check_in("cli/src/main.rs", "#[tokio::main] async fn main() {}", &[]);
        check_in("xtask/src/tree.rs", "std::fs::read(p)", &[]);
    }

    #[test]
    fn an_import_is_reported_once() {
        check_in(
            "chunk/src/a.rs",
            "use std::fs;\nfn f() { fs::read(a); fs::read(b); }",
            &["chunk/src/a.rs:1"],
        );
    }

    #[test]
    fn libraries_have_one_room() {
        check_in("raft/src/log.rs", "use rocksdb::DB;", &["use what kv offers"]);
        check_in("metaserver/src/a.rs", "openraft::Raft::new()", &["use what raft offers"]);
        check_in("client/src/a.rs", "use tokio_rustls::TlsConnector;", &["use what net offers"]);
        let dependency = |package: &str, is_dev| Dependency { package: package.into(), room: None, is_dev };
        let room = |name: &str, package: &str, is_dev| Room {
            name: name.into(),
            dependencies: vec![dependency(package, is_dev), dependency("serde", false)],
        };
        let rooms =
            [room("kv", "rocksdb", false), room("raft", "rocksdb", false), room("chunk", "rand", true)];
        expect(&check(&[], &rooms), &["raft/Cargo.toml:1 only kv", "chunk/Cargo.toml:1 only env"]);
    }
}
