//! `mkdir`, `mv` and `rm`: one change of the tree each.

use client::Namespace;
use proto::namespace::{Attributes, Done, Expect, Kind, NewContent, Op};
use serde_json::json;
use types::{Error, Nanos, Path, VersionId};

use super::{entry, place};
use crate::args::Remote;
use crate::exit::{Failure, Result};
use crate::output::Outcome;
use crate::session::Session;

/// Creates a directory.
pub async fn mkdir(session: &Session, path: &Path, parents: bool) -> Result<Outcome> {
    let namespace = session.namespace().await?;
    let op = Op::Mkdir { path: path.clone(), parents, attributes: attributes(session) };
    let done = change(&namespace, op).await?;
    Ok(Outcome::ok("", json!({ "path": path.to_string(), "inode": done.inode.0 })))
}

/// Gives an entry another name, or moves it into a directory that exists.
/// What has that name goes to the trash if `force`, otherwise it is in the way.
pub async fn mv(session: &Session, source: &Path, target: &Remote, force: bool) -> Result<Outcome> {
    let namespace = session.namespace().await?;
    let (_, name) = source
        .split_last()
        .ok_or_else(|| Failure::from(Error::invalid("/ cannot be moved: move what is in it")))?;
    let target = place(&namespace, target, name).await?;
    let replace = if force { Expect::Any } else { Expect::Absent };
    let (source, to) = (source.clone(), target.clone());
    let done = change(&namespace, Op::Rename { source, expect: Expect::Any, target: to, replace }).await?;
    Ok(Outcome::ok("", json!({ "path": target.to_string(), "inode": done.inode.0 })))
}

/// Gives a file or link a second place: a new one with the same content.
pub async fn cp(
    session: &Session,
    source: &Path,
    version: Option<VersionId>,
    target: &Remote,
) -> Result<Outcome> {
    let namespace = session.namespace().await?;
    let (_, name) = source.split_last().ok_or_else(|| Error::invalid("/ cannot be copied"))?;
    let target = place(&namespace, target, name).await?;
    let op = Op::Copy { source: source.clone(), version, target: target.clone(), expect: Expect::Absent };
    let done = change(&namespace, op).await?;
    Ok(Outcome::ok("", json!({ "path": target.to_string(), "inode": done.inode.0 })))
}

/// Creates a symbolic link.
pub async fn ln(session: &Session, text: &str, path: &Path) -> Result<Outcome> {
    let namespace = session.namespace().await?;
    let attributes = attributes(session);
    let content = NewContent::Symlink { target: text.to_owned() };
    let op = Op::CommitVersion { path: path.clone(), expect: Expect::Absent, content, attributes };
    let done = change(&namespace, op).await?;
    Ok(Outcome::ok("", json!({ "path": path.to_string(), "inode": done.inode.0 })))
}

/// Moves an entry to the trash; a directory that is not empty only if `recursive`.
pub async fn rm(session: &Session, path: &Path, recursive: bool) -> Result<Outcome> {
    if path.is_root() {
        return Err(Failure::refused("/ cannot be removed: remove what is in it"));
    }
    let namespace = session.namespace().await?;
    let entry = entry(&namespace, path).await?;
    if entry.kind == Kind::Dir && !recursive && namespace.list_dir(path, None).await?.count > 0 {
        return Err(Failure::refused(format!(
            "{path} is a directory that is not empty: to remove all of it, use -r"
        )));
    }
    let done =
        change(&namespace, Op::Remove { path: path.clone(), expect: Expect::Inode(entry.inode), recursive })
            .await?;
    let text = format!("removed {path}; to bring it back: cloudsync restore {}", quoted(path));
    Ok(Outcome::ok(text, json!({ "path": path.to_string(), "inode": done.inode.0 })))
}

/// Of what is made now.
fn attributes(session: &Session) -> Attributes {
    Attributes::at(Nanos::from(session.env.clock.wall()))
}

/// One change in a request of its own.
pub(super) async fn change(namespace: &Namespace, op: Op) -> types::Result<Done> {
    let size = size_of::<Op>();
    namespace.apply(op, size).await
}

/// A path quoted for a shell.
fn quoted(path: &Path) -> String {
    let text = path.to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_can_be_pasted() {
        let quoted = |text| quoted(&Path::parse(text).unwrap());
        assert_eq!(quoted("/a/b-c.txt"), "/a/b-c.txt");
        assert_eq!(quoted("/a b"), "'/a b'");
        assert_eq!(quoted("/it's"), r"'/it'\''s'");
        assert_eq!(quoted("/$(x)"), "'/$(x)'");
    }
}
