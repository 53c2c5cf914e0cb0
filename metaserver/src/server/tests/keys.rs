//! Goal: I-SEAL: what people store inline, the keys and the cluster's own secrets are on no disk in the clear; keys change without
//! a request that fails; what was destroyed is named. Method: everything a node has stored is searched.

use std::ops::ControlFlow;

use chunk::manifest::Content;
use futures::future::join_all;
use kv::{Order, Read};
use proto::keys::{DestroyKeys, FetchKeys, KeyState, Keys, ListKeys, RotateKeys, Unlock, UnlockKey};
use proto::map::Role;
use proto::namespace::{Expect, Mode, NewContent, Op, OpenVersion};
use types::{ErrorKind, KeyId, Result, TenantId, VersionId};

use super::words::{SECRET, UNLOCK, admin, ann, newest, node, p, refused, save};
use super::world::World;

const PLAIN: &str = "The quick brown fox jumps over the lazy dog, again and again and again and again.";

impl World {
    async fn open(&self, path: &str, version: Option<VersionId>) -> Result<String> {
        let opened = self.ask(1, &ann(), &OpenVersion { view: newest(), path: p(path), version }).await?;
        let Content::Inline(bytes) = opened.manifest.content else { panic!("clients see no sealed content") };
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn rotate(&self) {
        self.ask(1, &admin(), &RotateKeys {}).await.unwrap();
    }

    async fn fetch_keys(&self, id: u64, stale_ok: bool) -> Result<Keys> {
        self.ask(id, &node(1), &FetchKeys { stale_ok }).await
    }

    /// True when these bytes are in a row or in the log of a node.
    fn has_stored(&self, id: u64, bytes: &[u8]) -> bool {
        let has = |stored: &[u8]| stored.windows(bytes.len()).any(|run| run == bytes);
        let mut found = false;
        let mut visit = |_: &[u8], value: &[u8]| {
            found |= has(value);
            ControlFlow::Continue(())
        };
        self.kv(id).scan(b"", b"", Order::Forward, &mut visit).unwrap();
        found || self.log(id).iter().any(|file| has(file))
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_secret_is_stored_in_the_clear() {
    let world = World::three().await;
    world.write(vec![save("/a name is not sealed", Expect::Absent, PLAIN)]).await;
    world.rotate().await;
    world.write(vec![save("/g", Expect::Absent, &PLAIN[1..])]).await;
    let keys = world.fetch_keys(1, false).await.unwrap();
    assert_eq!(keys.keys.len(), 2);
    for id in [1, 2, 3] {
        assert!(world.has_stored(id, b"a name is not sealed"), "what is stored is looked through");
        for run in PLAIN.as_bytes().windows(16) {
            assert!(!world.has_stored(id, run), "plain bytes on node {id}");
        }
        for secret in [&b"PRIVATE KEY"[..], &SECRET.bytes[..16], &UNLOCK.0[..16]] {
            assert!(!world.has_stored(id, secret), "a secret on node {id}");
        }
        for key in &keys.keys {
            assert!(!world.has_stored(id, &key.secret[..16]), "a key on node {id}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn old_and_new_keys_open_what_they_sealed() {
    let world = World::one().await;
    let first = world.write(vec![save("/f", Expect::Absent, PLAIN)]).await;
    let version = first.results[0].clone().unwrap().version.unwrap();
    world.rotate().await;
    world.write(vec![save("/f", Expect::Any, "new"), save("/empty", Expect::Absent, "")]).await;
    world.stop(1).await;
    world.start(1).await;
    for (path, version, want) in [("/f", None, "new"), ("/f", Some(version), PLAIN), ("/empty", None, "")] {
        assert_eq!(world.open(path, version).await.unwrap(), want);
    }
    // What is restored stays sealed with the key that it has.
    world.write(vec![Op::RestoreVersion { path: p("/f"), expect: Expect::Any, version }]).await;
    assert_eq!(world.open("/f", None).await.unwrap(), PLAIN);
    let list = world.ask(1, &admin(), &ListKeys {}).await.unwrap();
    let states: Vec<_> = list.keys.iter().map(|key| (key.id.0, key.tenant.0, key.state)).collect();
    assert_eq!(states, [(2, 1, KeyState::Old), (3, 0, KeyState::Current), (4, 1, KeyState::Current)]);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_fails_no_request_under_way() {
    let world = World::three().await;
    let names: Vec<String> = (0..60).map(|n| format!("/f{n}")).collect();
    let write = |name: &String| world.batch(Mode::Atomic, vec![save(name, Expect::Absent, name)]);
    let writes: Vec<_> = names.iter().map(write).collect();
    let all = join_all(writes.iter().map(async |write| world.ask(1, &ann(), write).await));
    let rotations = async {
        for _ in 0..5 {
            world.rotate().await;
        }
    };
    let (answers, ()) = futures::future::join(all, rotations).await;
    world.rotate().await;
    for ((name, write), answer) in names.iter().zip(&writes).zip(answers) {
        let answer = answer.unwrap();
        assert!(answer.results.iter().all(Result::is_ok), "{answer:?}");
        assert_eq!(world.ask(1, &ann(), write).await, Ok(answer), "a repeat is the same request");
        assert_eq!(world.open(name, None).await.unwrap(), *name);
    }
    assert_eq!(world.fetch_keys(1, false).await.unwrap().keys.len(), 7);
}

/// Two administrators: one of them is told to do it again.
#[tokio::test(start_paused = true)]
async fn rotations_at_once_lose_no_key() {
    let world = World::one().await;
    world.write(vec![save("/f", Expect::Absent, PLAIN)]).await;
    let done = join_all((0..5).map(async |_| world.ask(1, &admin(), &RotateKeys {}).await)).await;
    let conflicts = done.iter().filter(|done| done.is_err()).inspect(|done| {
        assert_eq!(done.as_ref().unwrap_err().kind(), ErrorKind::Conflict);
    });
    let conflicts = conflicts.count();
    assert!(conflicts < 5);
    assert_eq!(world.fetch_keys(1, false).await.unwrap().keys.len(), 6 - conflicts);
    assert_eq!(world.open("/f", None).await.unwrap(), PLAIN);
}

#[tokio::test(start_paused = true)]
async fn what_was_destroyed_is_named() {
    let world = World::one().await;
    world.write(vec![save("/f", Expect::Absent, PLAIN)]).await;
    let destroy = |tenant, dry_run| DestroyKeys { tenant: TenantId(tenant), dry_run };
    let plan = world.ask(1, &admin(), &destroy(1, true)).await.unwrap();
    assert_eq!(plan.keys, [KeyId(2)]);
    assert_eq!(world.open("/f", None).await.unwrap(), PLAIN, "a plan does nothing");
    refused(world.ask(1, &admin(), &destroy(7, false)).await, ErrorKind::NotFound, "tenant 7 has no key");

    assert_eq!(world.ask(1, &admin(), &destroy(1, false)).await, Ok(plan));
    refused(world.open("/f", None).await, ErrorKind::NotFound, "key 2 of tenant 1 was destroyed");
    let write = world.batch(Mode::Atomic, vec![save("/g", Expect::Absent, PLAIN)]);
    refused(world.ask(1, &ann(), &write).await, ErrorKind::NotFound, "tenant 1 has no key");
    let keys = world.fetch_keys(1, false).await.unwrap();
    assert_eq!((keys.keys.len(), keys.destroyed), (0, vec![(KeyId(2), TenantId(1))]));
    // It does not come back.
    world.rotate().await;
    refused(world.open("/f", None).await, ErrorKind::NotFound, "key 2 of tenant 1 was destroyed");
}

#[tokio::test(start_paused = true)]
async fn a_node_with_another_unlock_key_says_so_and_does_not_serve() {
    let mut world = World::one().await;
    world.write(vec![save("/f", Expect::Absent, PLAIN)]).await;
    let started = world.restart_with(1, UnlockKey([7; 32])).await;
    refused(started, ErrorKind::Denied, "keys/cluster.key");
}

#[tokio::test(start_paused = true)]
async fn nodes_get_the_keys_that_they_need() {
    let mut world = World::one().await;
    let meta = world.join(2, &[Role::Meta]).await;
    assert_eq!(meta.unlock, Some(Unlock::File(UNLOCK)));
    assert_eq!(world.join(3, &[Role::Block]).await.unlock, None);
    world.add(2, meta.map).await;
    world.until("two voters or one, with all applied", || world.map(1).nodes.len() == 3).await;
    refused(
        world.ask(1, &node(2), &FetchKeys { stale_ok: true }).await,
        ErrorKind::Denied,
        "node 2 holds no disks",
    );
    let keys = world.ask(1, &node(3), &FetchKeys { stale_ok: false }).await.unwrap();
    assert_eq!((keys.version, keys.keys.len()), (1, 1));
    assert_eq!(world.fetch_keys(1, true).await, Ok(keys));
}

/// Without a quorum what is stored can still be read.
#[tokio::test(start_paused = true)]
async fn any_replica_knows_the_keys() {
    let world = World::three().await;
    world.rotate().await;
    let newest = world.fetch_keys(1, false).await.unwrap();
    refused(world.fetch_keys(2, false).await, ErrorKind::StaleEpoch, "");
    world
        .until("node 2 to follow", || {
            world.group(2, proto::map::ROOT).read(|state| tree::root::key_ring(state)).unwrap().version == 2
        })
        .await;
    assert_eq!(world.fetch_keys(2, true).await, Ok(newest));
}

/// No client can say what a metaserver would.
#[tokio::test(start_paused = true)]
async fn sealed_content_from_a_client_is_refused() {
    let world = World::one().await;
    let Op::CommitVersion { path, expect, content, attributes } = save("/f", Expect::Absent, "x") else {
        panic!("it is one")
    };
    let key = world.fetch_keys(1, false).await.unwrap().keys.remove(0);
    let NewContent::File { manifest, receipts } = content else { panic!("it is a file") };
    let content = NewContent::File { manifest: manifest.sealed(&key), receipts };
    let op = Op::CommitVersion { path, expect, content, attributes };
    let write = world.batch(Mode::Atomic, vec![op]);
    refused(world.ask(1, &ann(), &write).await, ErrorKind::Invalid, "send them as they are");
}
