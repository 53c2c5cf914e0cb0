//! Goal: what the plans ask for is done, and nothing is lost between them and the world. Method: uploads and downloads
//! against a cluster of one service in memory, which checks receipts and tickets as the real one does.

mod twin;

use std::path::Path as LocalPath;

use env::Disk;
use env::disk::SimDisk;
use futures::{StreamExt, TryStreamExt};
use types::limits::MIB;
use types::{ErrorKind, Path};

use super::*;
use crate::{Download, FileState, download_file};
use twin::{Twin, noise};

const SOURCE: &str = "/source";
const TARGET: &str = "/target";

fn chunk_count(bytes: &[u8]) -> usize {
    SplitRule::for_size(bytes.len() as u64).split(bytes.to_vec().into()).count()
}

/// Stores and fetches a file of these bytes; returns how many chunks and nodes were sent.
async fn round_trip(bytes: &[u8]) -> usize {
    let twin = Twin::start().await;
    let path = Path::parse("/f").unwrap();
    twin.write(SOURCE, bytes);
    let stored = twin.uploader.upload_file(LocalPath::new(SOURCE), &path, &FileState::Absent).await.unwrap();
    assert_eq!((stored.size, stored.seq.is_some()), (bytes.len() as u64, true));
    assert_eq!(twin.bytes_done(), bytes.len() as u64);
    let sent = twin.sent();

    let seen = FileState::of(&path, twin.namespace.stat(&path).await.unwrap()).unwrap();
    let again = twin.uploader.upload_file(LocalPath::new(SOURCE), &path, &seen).await.unwrap();
    assert_eq!((again.version, again.seq), (stored.version, None));
    assert_eq!(twin.sent(), sent, "nothing is sent again");
    assert_eq!(twin.progress.files_done.load(Ordering::Relaxed), 2);
    assert_eq!(twin.progress.files_unchanged.load(Ordering::Relaxed), 1);

    twin.write(TARGET, b"what was there before, and longer than some");
    let size = twin.download(&path, TARGET).await.unwrap();
    assert_eq!(size, bytes.len() as u64);
    assert!(twin.disk.read(LocalPath::new(TARGET)).unwrap() == bytes, "other bytes came back");
    assert!(!twin.disk.exists(LocalPath::new("/target.cloudsync-partial")));
    assert_eq!(twin.bytes_done(), 3 * bytes.len() as u64);
    sent
}

#[tokio::test]
async fn small_files_travel_in_their_commit() {
    for size in [0, 1, 4096] {
        assert_eq!(round_trip(&noise(size)).await, 0, "{size} bytes");
    }
}

#[tokio::test]
async fn files_of_few_chunks() {
    assert_eq!(round_trip(&noise(4097)).await, 1);
    let bytes = noise(3 * MIB);
    assert_eq!(round_trip(&bytes).await, chunk_count(&bytes));
}

#[tokio::test]
async fn a_file_larger_than_the_window_becomes_a_tree() {
    let sent = round_trip(&noise(40 * MIB)).await;
    assert!(sent > 65, "{sent} chunks and nodes");
}

#[tokio::test]
async fn chunks_that_are_there_are_not_sent() {
    let twin = Twin::start().await;
    let (short, long) = (noise(3 * MIB), noise(5 * MIB));
    twin.write(SOURCE, &short);
    twin.put("/a").await.unwrap();
    assert_eq!(twin.sent(), chunk_count(&short));
    twin.write(SOURCE, &long);
    twin.put("/b").await.unwrap();
    assert_eq!(twin.sent(), chunk_count(&long) + 1, "all but the last chunk of the short file were there");
}

/// What one of them sends all have.
#[tokio::test]
async fn equal_files_at_the_same_time_are_sent_once() {
    let twin = Twin::start().await;
    let bytes = noise(MIB);
    twin.write(SOURCE, &bytes);
    let paths: Vec<String> = (0..64).map(|n| format!("/{n}")).collect();
    futures::future::try_join_all(paths.iter().map(|path| twin.put(path))).await.unwrap();
    assert_eq!(twin.sent(), chunk_count(&bytes));
}

#[tokio::test]
async fn ranges_come_back_as_they_were_cut_out() {
    let twin = Twin::start().await;
    let bytes = noise(2 * MIB);
    twin.write(SOURCE, &bytes);
    twin.put("/f").await.unwrap();
    let opened = twin.namespace.open_version(&Path::parse("/f").unwrap(), None).await.unwrap();
    let open = async |range| Download::open(twin.blocks.clone(), opened.clone(), range).await.unwrap();
    assert_eq!(open(0..1).await.size(), bytes.len() as u64);
    let few: Vec<Bytes> = open(100..200).await.read(0..u64::MAX).try_collect().await.unwrap();
    assert!(few.concat() == bytes[100..200], "no more than was opened");
    for (start, end) in
        [(0, 1), (500_000, 500_001), (7, 1_500_000), (0, u64::MAX), (2 << 20, u64::MAX), (9, 9)]
    {
        let parts: Vec<Bytes> = open(start..end).await.read(start..end).try_collect().await.unwrap();
        let end = (end as usize).min(bytes.len());
        assert!(parts.concat() == bytes[start as usize..end], "{start}..{end}");
        assert!(parts.iter().all(|part| !part.is_empty()));
    }
}

#[tokio::test]
async fn a_file_that_changes_once_is_stored_as_it_is_then() {
    let twin = Twin::start().await;
    twin.write(SOURCE, &noise(MIB));
    twin.when_a_chunk_arrives(1, |disk| append(disk, b"one more line"));
    twin.put("/f").await.unwrap();
    twin.download(&Path::parse("/f").unwrap(), TARGET).await.unwrap();
    let stored = twin.disk.read(LocalPath::new(TARGET)).unwrap();
    assert!(stored == twin.disk.read(LocalPath::new(SOURCE)).unwrap());
    assert!(stored.ends_with(b"one more line"));
}

#[tokio::test]
async fn a_file_that_keeps_changing_is_refused() {
    let twin = Twin::start().await;
    twin.write(SOURCE, &noise(10_000));
    twin.when_a_chunk_arrives(usize::MAX, |disk| append(disk, b"."));
    let error = twin.put("/f").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.message().split(':').next(), Some("/source keeps changing while it is read"));
    assert_eq!(twin.sent(), 3);
    assert_eq!(twin.namespace.stat(&Path::parse("/f").unwrap()).await.unwrap(), None);
}

fn append(disk: &SimDisk, bytes: &[u8]) {
    let file = disk.open(LocalPath::new(SOURCE), env::OpenMode::ReadWrite).unwrap();
    file.write_at(&[bytes], file.len().unwrap()).unwrap();
}

#[tokio::test]
async fn errors_end_an_upload_and_name_the_file() {
    let twin = Twin::start().await;
    let error = twin.put("/f").await.unwrap_err();
    assert_eq!((error.kind(), error.message().starts_with("/source: ")), (ErrorKind::NotFound, true));
    twin.write(SOURCE, &noise(40 * MIB));
    twin.disk.fail_reads(LocalPath::new(SOURCE));
    assert!(twin.put("/f").await.unwrap_err().message().starts_with("/source: "));
}

#[tokio::test]
async fn a_store_that_fails_ends_an_upload_whatever_else_is_under_way() {
    let twin = Twin::start().await;
    twin.write(SOURCE, &noise(40 * MIB));
    twin.refuse_chunks_after(20);
    assert_eq!(twin.put("/f").await.unwrap_err().kind(), ErrorKind::Denied);
    twin.refuse_chunks_after(usize::MAX);
    twin.put("/f").await.unwrap();
}

#[tokio::test]
async fn uploads_share_the_window() {
    let twin = Twin::start().await;
    for n in 0..8 {
        twin.write(&format!("/source{n}"), &noise(8 * MIB + n));
    }
    let (uploader, absent) = (&twin.uploader, FileState::Absent);
    futures::stream::iter(0..8)
        .for_each_concurrent(None, |n| {
            let absent = &absent;
            async move {
                let (source, path) = (format!("/source{n}"), Path::parse(&format!("/f{n}")).unwrap());
                uploader.upload_file(LocalPath::new(&source), &path, absent).await.unwrap();
            }
        })
        .await;
    assert_eq!(twin.bytes_done(), 8 * 8 * MIB as u64 + 28);
    assert_eq!(uploader.window.available_permits(), types::limits::UPLOAD_WINDOW_SIZE);
}

#[tokio::test]
async fn transfers_can_run_as_tasks_of_their_own() {
    let twin = std::sync::Arc::new(Twin::start().await);
    twin.write(SOURCE, &noise(MIB));
    let task = env::task::spawn({
        let twin = twin.clone();
        async move {
            twin.put("/f").await?;
            let opened = twin.namespace.open_version(&Path::parse("/f")?, None).await?;
            let download = Download::open(twin.blocks.clone(), opened, 0..u64::MAX).await?;
            let size =
                download.read(0..u64::MAX).try_fold(0, |sum, part| async move { Ok(sum + part.len()) });
            let size = size.await?;
            let opened = twin.namespace.open_version(&Path::parse("/f")?, None).await?;
            let disk = twin.disk.clone();
            let written =
                download_file(disk, twin.blocks.clone(), opened, LocalPath::new(TARGET), &twin.progress);
            Ok::<_, types::Error>((size, written.await?))
        }
    });
    assert_eq!(task.await.unwrap().unwrap(), (MIB, MIB as u64));
}
