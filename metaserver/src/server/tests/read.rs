//! What a namespace's readers see.

use bytes::Bytes;
use chunk::manifest::{ChunkRef, Content, Manifest};
use proto::namespace::{
    Expect, FetchNamespace, Kind, ListVersions, NamespaceStats, NewContent, Op, OpenVersion, Opened,
    PullJournal, Stat,
};
use proto::seal::ClusterSecret;
use types::limits::{
    BATCH_OP_COUNT_MAX, HISTORY_PAGE_COUNT_MAX, JOURNAL_PAGE_COUNT_MAX, LIST_PAGE_COUNT_MAX,
};
use types::{ChunkId, ErrorKind, GcEpoch, Generation, Identity, Result, Scope, Seq, VersionId};

use super::words::{ANNS, SECRET, admin, ann, bob, list, mkdir, mv, newest, p, refused, save};
use super::world::World;

/// `/d` holds files a to e, `/f` has three versions.
async fn world() -> World {
    let world = World::one().await;
    let files = ["a", "b", "c", "d", "e"].map(|name| save(&format!("/d/{name}"), Expect::Absent, name));
    world.write([vec![mkdir("/d")], files.to_vec()].concat()).await;
    for content in ["1", "22", "333"] {
        world.write(vec![save("/f", Expect::Any, content)]).await;
    }
    world
}

#[tokio::test(start_paused = true)]
async fn stat_finds_files_and_directories() {
    let world = world().await;
    let stat = async |path| world.ask(1, &ann(), &Stat { view: newest(), path: p(path) }).await;
    for (path, name, kind, size) in [
        ("/", "", Kind::Dir, 0),
        ("/d", "d", Kind::Dir, 0),
        ("/d/a", "a", Kind::File, 1),
        ("/f", "f", Kind::File, 3),
    ] {
        let found = stat(path).await.unwrap();
        let entry = &found.entry;
        assert_eq!((entry.name.as_str(), entry.kind, entry.size), (name, kind, size));
        assert_eq!(found.seq, Seq(9));
    }
    refused(stat("/nope").await, ErrorKind::NotFound, "/nope does not exist");
    refused(stat("/nope/deeper").await, ErrorKind::NotFound, "does not exist");
    refused(stat("/f/x").await, ErrorKind::Invalid, "a file, not a directory");
}

#[tokio::test(start_paused = true)]
async fn listings_come_in_pages() {
    let world = world().await;
    let list = async |path, after: Option<&str>, limit| {
        world.ask(1, &ann(), &list(newest(), path, after, limit)).await
    };
    for (after, limit, want, more) in [
        (None, 5, "abcde", false),
        (None, 2, "ab", true),
        (Some("b"), 2, "cd", true),
        (Some("d"), 2, "e", false),
        (Some("bb"), 9, "cde", false),
        (Some("e"), 2, "", false),
        (None, 0, "a", true),
    ] {
        let page = list("/d", after, limit).await.unwrap();
        let names: String = page.entries.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(
            (names.as_str(), page.next.is_some(), page.seq),
            (want, more, Seq(9)),
            "{after:?} {limit}"
        );
    }
    refused(list("/f", None, 1).await, ErrorKind::Invalid, "is a file");
    refused(list("/x", None, 1).await, ErrorKind::NotFound, "does not exist");
}

#[tokio::test(start_paused = true)]
async fn versions_come_in_pages_newest_first() {
    let world = world().await;
    let list = async |path, before, limit| {
        world.ask(1, &ann(), &ListVersions { view: newest(), path: p(path), before, limit }).await
    };
    let all = list("/f", None, 9).await.unwrap();
    let [third, second, first] = [0, 1, 2].map(|i| all.versions[i].id);
    for (before, limit, want, more) in [
        (None, 9, vec![third, second, first], false),
        (None, 1, vec![third], true),
        (Some(third), 1, vec![second], true),
        (Some(third), 2, vec![second, first], false),
        (Some(first), 2, vec![], false),
        (Some(VersionId(0)), 2, vec![], false),
        (None, 0, vec![third], true),
    ] {
        let page = list("/f", before, limit).await.unwrap();
        let ids: Vec<VersionId> = page.versions.iter().map(|v| v.id).collect();
        assert_eq!((ids, page.more, page.seq), (want, more, Seq(9)), "{before:?} {limit}");
    }
    assert_eq!((all.versions[0].base, all.versions[2].base), (Some(second), None));
    assert_eq!((all.versions[0].size, all.versions[0].author.as_str()), (3, "user/ann"));
    refused(list("/d", None, 1).await, ErrorKind::Invalid, "is a directory");
    refused(list("/x", None, 1).await, ErrorKind::NotFound, "does not exist");
}

async fn open(world: &World, who: &Identity, path: &str, version: Option<VersionId>) -> Result<Opened> {
    world.ask(1, who, &OpenVersion { view: newest(), path: p(path), version }).await
}

#[tokio::test(start_paused = true)]
async fn every_version_can_be_opened() {
    let world = world().await;
    let page = ListVersions { view: newest(), path: p("/f"), before: None, limit: 9 };
    let versions = world.ask(1, &ann(), &page).await.unwrap().versions;
    for (version, text) in versions.iter().zip(["333", "22", "1"]) {
        let opened = open(&world, &ann(), "/f", Some(version.id)).await.unwrap();
        assert_eq!(opened.manifest, Manifest::inline(Bytes::from(text)));
        assert_eq!((&opened.version, opened.seq, opened.tickets.len()), (version, Seq(9), 0));
    }
    assert_eq!(open(&world, &ann(), "/f", None).await.unwrap().version, versions[0]);
    refused(open(&world, &ann(), "/f", Some(VersionId(99))).await, ErrorKind::NotFound, "no version 99");
    refused(open(&world, &ann(), "/d", None).await, ErrorKind::Invalid, "is a directory");
    refused(open(&world, &ann(), "/x", None).await, ErrorKind::NotFound, "does not exist");
}

/// A file of `content`, with a receipt for every chunk in its row.
fn stored(path: &str, size: u64, content: Content, chunks: &[ChunkId]) -> Op {
    let each = size / chunks.len() as u64;
    let receipt = |chunk: &ChunkId| {
        SECRET.receipt(&chunk.within(Scope::FIRST), Generation::new(GcEpoch(0), 1), GcEpoch(0), each)
    };
    Op::CommitVersion {
        path: p(path),
        expect: Expect::Absent,
        content: NewContent::File {
            manifest: Manifest { size, content, ..Manifest::inline(Bytes::new()) },
            receipts: chunks.iter().map(receipt).collect(),
        },
        attributes: Default::default(),
    }
}

/// I-AUTH: a ticket opens one chunk for the one who opened the version.
#[tokio::test(start_paused = true)]
async fn tickets_are_for_the_chunks_of_the_version_and_its_reader() {
    let world = World::one().await;
    let ids = [1u8, 2, 3].map(|n| chunk::chunk_id(&[n]));
    let list = Content::Chunks(ids.iter().map(|id| ChunkRef { id: *id, size: 1 }).collect());
    let tree = Content::Tree { root: ids[0], height: 1, count: 65 };
    world.write(vec![stored("/list", 3, list, &ids), stored("/tree", 65, tree, &ids[..1])]).await;
    for (who, path, chunks) in
        [(ann(), "/list", &ids[..]), (admin(), "/list", &ids), (ann(), "/tree", &ids[..1])]
    {
        let tickets = open(&world, &who, path, None).await.unwrap().tickets;
        assert_eq!(tickets.len(), chunks.len());
        for (ticket, chunk) in tickets.iter().zip(chunks) {
            let check = |secret: &ClusterSecret, reader: &Identity, chunk: &ChunkId| {
                secret
                    .check_ticket(&reader.to_string(), &chunk.within(Scope::FIRST), ticket, world.now())
                    .map_err(|e| e.kind())
            };
            let denied = Err(ErrorKind::Denied);
            assert_eq!(check(&SECRET, &who, chunk), Ok(()));
            assert_eq!(check(&SECRET, &bob(), chunk), denied);
            assert_eq!(check(&SECRET, &who, &ChunkId([9; 32])), denied);
            assert_eq!(check(&ClusterSecret::first([6; 32]), &who, chunk), denied);
        }
    }
    refused(open(&world, &bob(), "/list", None).await, ErrorKind::Denied, "ask its owner");
}

#[tokio::test(start_paused = true)]
async fn the_totals_follow_every_change() {
    let world = world().await;
    let fetch = async || world.ask(1, &ann(), &FetchNamespace { view: newest() }).await.unwrap();
    let before = fetch().await;
    assert_eq!(before.seq, Seq(9));
    let move_it = |source, target| vec![mv(source, target)];
    world.write(move_it("/f", "/g")).await;
    let moved = fetch().await;
    assert_eq!(moved.seq, Seq(10));
    assert_ne!(moved.totals.digest, before.totals.digest);
    world.write(move_it("/g", "/f")).await;
    let back = fetch().await;
    let counted = |stats: NamespaceStats| (stats.totals.files, stats.totals.dirs, stats.totals.bytes);
    assert_eq!((back.seq, counted(back)), (Seq(11), counted(before)));
}

/// I-BOUND: whoever asks for everything gets a page.
#[tokio::test(start_paused = true)]
async fn no_page_is_longer_than_its_limit() {
    let world = World::one().await;
    world.write(vec![mkdir("/d")]).await;
    let count = LIST_PAGE_COUNT_MAX.max(JOURNAL_PAGE_COUNT_MAX).max(HISTORY_PAGE_COUNT_MAX) + 1;
    let numbers: Vec<usize> = (0..count).collect();
    for part in numbers.chunks(BATCH_OP_COUNT_MAX) {
        world.write(part.iter().map(|n| mkdir(&format!("/d/{n}"))).collect()).await;
        world.write(part.iter().map(|_| save("/f", Expect::Any, "")).collect()).await;
    }
    let (view, limit) = (newest(), u32::MAX);
    let listing = list(view, "/d", None, limit);
    let listing = world.ask(1, &ann(), &listing).await.unwrap();
    assert_eq!((listing.entries.len(), listing.next.is_some()), (LIST_PAGE_COUNT_MAX, true));
    let history = ListVersions { view, path: p("/f"), before: None, limit };
    let history = world.ask(1, &ann(), &history).await.unwrap();
    assert_eq!((history.versions.len(), history.more), (HISTORY_PAGE_COUNT_MAX, true));
    let journal = PullJournal { namespace: ANNS, after: Seq(0), limit, wait_ms: 0 };
    let journal = world.ask(1, &ann(), &journal).await.unwrap();
    assert_eq!((journal.records.len(), journal.head), (JOURNAL_PAGE_COUNT_MAX, Seq(2 * count as u64 + 1)));
}
