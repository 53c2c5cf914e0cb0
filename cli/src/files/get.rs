//! `get`: a file or directory of the namespace becomes a local one.

use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;

use client::{Namespace, Progress, TreeReport, download_file, download_tree, list_tree};
use proto::namespace::{Entry, Kind};
use types::{Error, Name, Path, Result};

use super::{entry, is_local_dir, seconds, summary, transferred};
use crate::output::Outcome;
use crate::progress::Bar;
use crate::session::Session;

/// Fetches `path`: a directory is copied to `dest`, a file becomes `dest` or goes into the directory `dest`.
pub async fn get(session: &Session, path: &Path, dest: &LocalPath) -> Result<Outcome> {
    let start = env::time::now();
    let namespace = session.namespace().await?;
    let entry = entry(&namespace, path).await?;
    let report = match entry.kind {
        Kind::Dir => get_dir(session, &namespace, path, dest).await?,
        Kind::Symlink => {
            return Err(Error::invalid(format!("{path} is a symbolic link to {}", entry.target)));
        }
        Kind::File => get_file(session, &namespace, path, &entry, dest).await?,
    };
    Ok(outcome(&report, seconds(start)))
}

async fn get_dir(
    session: &Session,
    namespace: &Namespace,
    path: &Path,
    dest: &LocalPath,
) -> Result<TreeReport> {
    let disk = session.env.disk.clone();
    if disk.exists(dest) && !is_local_dir(&*disk, dest) {
        return Err(Error::exists(format!(
            "{} already exists and is not a directory: move it away",
            dest.display()
        )));
    }
    let entries = list_tree(namespace, path).await?;
    let files = entries.values().filter(|entry| entry.kind == Kind::File);
    let progress = Arc::new(Progress::default());
    let bar = Bar::start(files.clone().map(|entry| entry.size).sum(), files.count() as u64, progress.clone());
    let report = download_tree(disk, session.blocks(), namespace, entries, path, dest, &progress).await;
    bar.finish();
    report
}

async fn get_file(
    session: &Session,
    namespace: &Namespace,
    path: &Path,
    entry: &Entry,
    dest: &LocalPath,
) -> Result<TreeReport> {
    let disk = session.env.disk.clone();
    let name = Name::parse(&entry.name)?;
    let target = file_target(&*disk, &name, dest)?;
    let opened = namespace.open_version(path, None).await?;
    let progress = Arc::new(Progress::default());
    let bar = Bar::start(opened.version.size, 1, progress.clone());
    let fetched = download_file(disk, session.blocks(), opened, &target, &progress).await;
    bar.finish();
    Ok(TreeReport { files: 1, bytes: fetched?, ..TreeReport::default() })
}

/// Where a file goes, if it can go there.
fn file_target(disk: &dyn env::Disk, name: &Name, dest: &LocalPath) -> Result<PathBuf> {
    if is_local_dir(disk, dest) {
        return Ok(dest.join(name.as_str()));
    }
    let parent = match dest.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => LocalPath::new("."),
    };
    let missing = if dest.as_os_str().as_encoded_bytes().ends_with(b"/") { dest } else { parent };
    if !is_local_dir(disk, missing) {
        return Err(Error::not_found(format!(
            "there is no directory {}: create it first",
            missing.display()
        )));
    }
    Ok(dest.to_owned())
}

fn outcome(report: &TreeReport, seconds: f64) -> Outcome {
    let text = format!("{} in {seconds:.1} s", summary("fetched", report));
    transferred("get", report, text, seconds, [])
}

#[cfg(test)]
mod tests {
    use env::disk::SimDisk;
    use env::{Disk, OpenMode};

    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_file_goes_into_a_directory_or_becomes_the_path() {
        let disk = SimDisk::new(0);
        disk.create_dir_all(LocalPath::new("/d")).unwrap();
        disk.open(LocalPath::new("/d/old"), OpenMode::Create).unwrap();
        let name = Name::parse("f").unwrap();
        let target = |dest: &str| file_target(&disk, &name, LocalPath::new(dest));
        assert_eq!(target("/d").unwrap(), LocalPath::new("/d/f"));
        assert_eq!(target("/d/").unwrap(), LocalPath::new("/d/f"));
        assert_eq!(target("/d/new").unwrap(), LocalPath::new("/d/new"));
        assert_eq!(target("/d/old").unwrap(), LocalPath::new("/d/old"));
        for missing in ["/e/new", "/d/new/", "/d/old/x"] {
            assert!(target(missing).unwrap_err().message().contains("create it first"), "{missing}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let failures = vec![(PathBuf::from("d/f"), Error::unavailable("no node answers"))];
        let outcome = outcome(&TreeReport { files: 1, bytes: 7, failures, dirs: 1 }, 0.5);
        assert_eq!(outcome.text, "fetched 1 file, 7 B in 0.5 s; 1 left out");
        assert_eq!(outcome.complaints, ["get d/f: no node answers"]);
        assert_eq!(outcome.exit, Exit::Error);
    }
}
