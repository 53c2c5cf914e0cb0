//! Whole directories: walked, uploaded, listed, downloaded.

use std::collections::BTreeMap;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;

use env::Disk;
use futures::stream::{self, StreamExt, TryStreamExt};
use proto::namespace::{Attributes, Entry, Kind, Mode, Op};
use types::limits::BATCH_OP_COUNT_MAX;
use types::{Error, ErrorKind, Name, Path, Result};

use crate::blocks::Blocks;
use crate::download::download_file;
use crate::local::local;
use crate::namespace::Namespace;
use crate::upload::{FileState, Progress, Uploader};

/// Files that are under way at once. Small files wait for group commits, not for the processor.
const FILES_IN_FLIGHT: usize = 256;
/// Directories that are listed at once.
const DIRS_IN_FLIGHT: usize = 32;

/// A local file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalEntry {
    /// Path on this machine.
    pub source: PathBuf,
    /// Path in the namespace.
    pub target: Path,
    /// Bytes of a file; `None` for a directory.
    pub size: Option<u64>,
}

/// What became of a tree.
#[derive(Debug, Default)]
pub struct TreeReport {
    /// Files stored, fetched, or found unchanged.
    pub files: u64,
    /// Directories, created or found.
    pub dirs: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// What was left out, by local path, and why.
    pub failures: Vec<(PathBuf, Error)>,
}

/// Lists a local tree, directories before what is in them. What cannot be stored (a bad name, a link, a device) is a
/// failure of its own and does not stop the rest.
pub async fn walk_local(
    disk: Arc<dyn Disk>,
    source: &LocalPath,
    target: &Path,
) -> Result<(Vec<LocalEntry>, TreeReport)> {
    let (source, target) = (source.to_owned(), target.clone());
    disk.submit(move |disk| {
        let mut entries = vec![LocalEntry { source: source.clone(), target: target.clone(), size: None }];
        let mut report = TreeReport::default();
        let mut dirs = vec![(source, target)];
        while let Some((dir, at)) = dirs.pop() {
            let names = disk.read_dir(&dir).map_err(|e| local(e, &dir))?;
            for name in names {
                let source = dir.join(&name);
                match look(disk, &source, &at, &name) {
                    Ok(entry) => {
                        if entry.size.is_none() {
                            dirs.push((source, entry.target.clone()));
                        }
                        entries.push(entry);
                    }
                    Err(e) => report.failures.push((source, e)),
                }
            }
        }
        Ok((entries, report))
    })
    .await
}

fn look(disk: &dyn Disk, source: &LocalPath, at: &Path, name: &std::ffi::OsStr) -> Result<LocalEntry> {
    let target = at.join(Name::parse_os(name)?)?;
    let metadata = disk.metadata(source)?;
    if !metadata.is_file && !metadata.is_dir {
        return Err(Error::invalid(
            "it is neither a file nor a directory (links and devices are not stored)",
        ));
    }
    Ok(LocalEntry { source: source.to_owned(), target, size: metadata.is_file.then_some(metadata.size) })
}

/// Stores a local tree that was walked. Files that are already there with the same content stay as they are. An error
/// that is transient ends it all; any other leaves out one file.
pub async fn upload_tree(
    uploader: &Uploader,
    namespace: &Namespace,
    entries: Vec<LocalEntry>,
    mut report: TreeReport,
) -> Result<TreeReport> {
    let target =
        entries.first().map(|e| e.target.clone()).ok_or_else(|| Error::invalid("nothing to store"))?;
    let present = list_tree(namespace, &target).await?;
    let (files, dirs): (Vec<LocalEntry>, Vec<LocalEntry>) =
        entries.into_iter().partition(|e| e.size.is_some());
    make_dirs(namespace, dirs.iter().map(|d| &d.target), &present).await?;
    report.dirs = dirs.len() as u64;
    let count = files.len() + report.failures.len();
    let mut uploads = stream::iter(files)
        .map(|file| {
            let state = FileState::of(&file.target, present.get(&file.target).cloned());
            async move {
                let done = match state {
                    Ok(state) => uploader.upload_file(&file.source, &file.target, &state).await,
                    Err(e) => Err(e),
                };
                (file.source, done)
            }
        })
        .buffer_unordered(FILES_IN_FLIGHT);
    while let Some((source, done)) = uploads.next().await {
        match done {
            Ok(uploaded) => {
                report.files += 1;
                report.bytes += uploaded.size;
            }
            // A cluster that does not answer will not answer for the next file either.
            Err(e) if e.is_transient() => return Err(e.context(source.display())),
            Err(e) => report.failures.push((source, e)),
        }
    }
    assert_eq!(report.files as usize + report.failures.len(), count, "the report tells of every file");
    Ok(report)
}

async fn make_dirs<'a>(
    namespace: &Namespace,
    dirs: impl Iterator<Item = &'a Path>,
    present: &BTreeMap<Path, Entry>,
) -> Result<()> {
    let missing: Vec<Op> = dirs
        .filter(|path| present.get(path).is_none_or(|entry| entry.kind != Kind::Dir) && !path.is_root())
        .map(|path| Op::Mkdir { path: path.clone(), parents: true, attributes: Attributes::default() })
        .collect();
    for batch in missing.chunks(BATCH_OP_COUNT_MAX) {
        for done in namespace.apply_all(Mode::PerItem, batch.to_vec()).await? {
            done?;
        }
    }
    Ok(())
}

/// All entries below a path, the path itself included; empty when it does not exist.
pub async fn list_tree(namespace: &Namespace, top: &Path) -> Result<BTreeMap<Path, Entry>> {
    let mut found = BTreeMap::new();
    let Some(entry) = namespace.stat(top).await? else { return Ok(found) };
    let is_dir = entry.kind == Kind::Dir;
    found.insert(top.clone(), entry);
    let mut level = if is_dir { vec![top.clone()] } else { Vec::new() };
    while !level.is_empty() {
        let listed: Vec<(Path, Vec<Entry>)> = stream::iter(level)
            .map(|dir| async move {
                match namespace.list_whole_dir(&dir).await {
                    Ok(entries) => Ok((dir, entries)),
                    // Removed since its parent was listed.
                    Err(e) if e.kind() == ErrorKind::NotFound => Ok((dir, Vec::new())),
                    Err(e) => Err(e),
                }
            })
            .buffer_unordered(DIRS_IN_FLIGHT)
            .try_collect()
            .await?;
        level = Vec::new();
        for (dir, entries) in listed {
            for entry in entries {
                let path = dir.join(Name::parse(&entry.name)?)?;
                if entry.kind == Kind::Dir {
                    level.push(path.clone());
                }
                found.insert(path, entry);
            }
        }
    }
    Ok(found)
}

/// Fetches a tree into a local directory, which is created if it is missing.
pub async fn download_tree(
    disk: Arc<dyn Disk>,
    blocks: Arc<Blocks>,
    namespace: &Namespace,
    entries: BTreeMap<Path, Entry>,
    top: &Path,
    target: &LocalPath,
    progress: &Progress,
) -> Result<TreeReport> {
    let mut report = TreeReport::default();
    let place = |path: &Path| {
        assert!(path.is_within(top), "{path} is not below {top}: it would be written somewhere else");
        let below = &path.names()[top.names().len()..];
        below.iter().fold(target.to_owned(), |place, name| place.join(name.as_str()))
    };
    let (dirs, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(_, entry)| entry.kind == Kind::Dir);
    for (path, _) in &dirs {
        let place = place(path);
        disk.submit(move |disk| disk.create_dir_all(&place).map_err(|e| local(e, &place))).await?;
    }
    report.dirs = dirs.len() as u64;
    let count = files.len();
    let mut downloads = stream::iter(files)
        .map(|(path, entry)| {
            let (disk, blocks, place) = (disk.clone(), blocks.clone(), place(&path));
            async move {
                let fetched = async {
                    if entry.kind == Kind::Symlink {
                        let target = &entry.target;
                        return Err(Error::invalid(format!(
                            "it is a symbolic link to {target}: not fetched"
                        )));
                    }
                    let opened = namespace.open_version(&path, Some(entry.version)).await?;
                    download_file(disk, blocks, opened, &place, progress).await
                };
                (place.clone(), fetched.await)
            }
        })
        .buffer_unordered(FILES_IN_FLIGHT / 4);
    while let Some((place, done)) = downloads.next().await {
        match done {
            Ok(size) => {
                report.files += 1;
                report.bytes += size;
            }
            Err(e) => report.failures.push((place, e)),
        }
    }
    assert_eq!(report.files as usize + report.failures.len(), count, "the report tells of every file");
    Ok(report)
}
