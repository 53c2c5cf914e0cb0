//! `put`: a local file or directory becomes one of the namespace.

use std::path::Path as LocalPath;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use client::{FileState, LocalEntry, Progress, TreeReport, Uploader, upload_tree, walk_local};
use types::{Error, Name, Result};

use super::{is_local_dir, place, seconds, summary, transferred};
use crate::args::Remote;
use crate::output::{Outcome, size};
use crate::progress::Bar;
use crate::session::Session;

/// Stores `source` at `target`. A file that is already there with the same content is neither sent nor changed.
pub async fn put(session: &Session, source: &LocalPath, target: &Remote) -> Result<Outcome> {
    let start = env::time::now();
    let namespace = session.namespace().await?;
    let blocks = session.blocks();
    let progress = Arc::new(Progress::default());
    let uploader =
        Uploader::new(session.cluster.clone(), namespace.clone(), blocks.clone(), progress.clone());
    let disk = &session.env.disk;
    let report = if is_local_dir(&**disk, source) {
        let (entries, report) = walk_local(disk.clone(), source, &target.path).await?;
        let bar = start_bar(&entries, &progress);
        let report = upload_tree(&uploader, &namespace, entries, report).await;
        bar.finish();
        report?
    } else {
        let name = check_file(&**disk, source)?;
        let path = place(&namespace, target, &name).await?;
        let state = FileState::of(&path, namespace.stat(&path).await?)?;
        let bytes = disk.metadata(source)?.size;
        let bar = Bar::start(bytes, 1, progress.clone());
        let stored = uploader.upload_file(source, &path, &state).await;
        bar.finish();
        TreeReport { files: 1, bytes: stored?.size, ..TreeReport::default() }
    };
    let unchanged = progress.files_unchanged.load(Ordering::Relaxed);
    Ok(outcome(&report, unchanged, session.sent_bytes(), seconds(start)))
}

fn start_bar(entries: &[LocalEntry], progress: &Arc<Progress>) -> Bar {
    let sizes = entries.iter().filter_map(|entry| entry.size);
    Bar::start(sizes.clone().sum(), sizes.count() as u64, progress.clone())
}

/// The name of a file, if it can be stored.
fn check_file(disk: &dyn env::Disk, source: &LocalPath) -> Result<Name> {
    let found = disk.metadata(source).map_err(|e| Error::from(e).context(source.display()))?;
    if !found.is_file {
        return Err(Error::invalid(format!(
            "{} is neither a file nor a directory: name what it points to (links and devices are not stored)",
            source.display()
        )));
    }
    let name =
        source.file_name().ok_or_else(|| Error::invalid(format!("{} has no name", source.display())))?;
    Name::parse_os(name)
}

fn outcome(report: &TreeReport, unchanged: u64, bytes_sent: u64, seconds: f64) -> Outcome {
    let text = format!(
        "{}, {unchanged} unchanged; sent {} in {seconds:.1} s",
        summary("stored", report),
        size(bytes_sent)
    );
    transferred("put", report, text, seconds, [("unchanged", unchanged), ("bytes_sent", bytes_sent)])
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use env::disk::SimDisk;
    use env::{Disk, OpenMode};
    use expect_test::expect;

    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_put_that_left_nothing_out() {
        let report = TreeReport { files: 2, dirs: 1, bytes: 1_500_000, failures: Vec::new() };
        let outcome = outcome(&report, 1, 20_000, 1.25);
        expect!["stored 2 files, 1.5 MB, 1 unchanged; sent 20 kB in 1.2 s"].assert_eq(&outcome.text);
        expect![[r#"{"bytes":1500000,"bytes_sent":20000,"dirs":1,"failures":[],"files":2,"seconds":1.25,"unchanged":1}"#]]
            .assert_eq(&outcome.json.to_string());
        assert_eq!(outcome.exit, Exit::Ok);
    }

    #[test]
    fn every_failure_is_named() {
        let failures = vec![(PathBuf::from("d/link"), Error::invalid("it is a link"))];
        let outcome = outcome(&TreeReport { failures, ..TreeReport::default() }, 0, 0, 0.0);
        assert_eq!(outcome.exit, Exit::Error);
        assert_eq!(outcome.complaints, ["put d/link: it is a link"]);
        assert!(outcome.text.ends_with("; 1 left out"), "{}", outcome.text);
        assert_eq!(outcome.json["failures"][0]["kind"], "invalid");
    }

    #[test]
    fn only_files_are_stored_as_files() {
        let disk = SimDisk::new(0);
        disk.open(LocalPath::new("/a"), OpenMode::Create).unwrap();
        disk.create_dir_all(LocalPath::new("/d")).unwrap();
        assert_eq!(check_file(&disk, LocalPath::new("/a")).unwrap().as_str(), "a");
        assert!(check_file(&disk, LocalPath::new("/b")).unwrap_err().message().starts_with("/b"));
        assert!(check_file(&disk, LocalPath::new("/d")).unwrap_err().message().contains("neither a file"));
    }
}
