//! Goal: a state is replaced as a whole, and nothing that was applied is forgotten. Method: the store over `MemKv`, which
//! is also crashed.

use kv::MemKv;

use super::*;
use crate::log::EntryId;

const GROUP: PartitionId = PartitionId(5);

fn list(read: &dyn Read) -> String {
    let mut rows = Vec::new();
    read.scan(b"", b"", Order::Forward, &mut |key, value| {
        rows.push(format!("{}={}", key.escape_ascii(), value.escape_ascii()));
        ControlFlow::Continue(())
    })
    .unwrap();
    rows.join(" ")
}

fn put(store: &StateStore, key: &str, value: &str) {
    let state = store.read();
    let mut overlay = Overlay::new(&state);
    overlay.put(key.to_owned(), value.to_owned());
    let meta = store.meta();
    let log = Some(EntryId { term: 1, index: meta.commands }.into());
    store.commit(&overlay, Meta { commands: meta.commands + 1, log, ..meta }).unwrap();
}

/// Readers keep the state they hold, new readers get the new one, and the old rows go with the last reader.
#[test]
fn a_state_is_replaced_as_a_whole() {
    let kv = MemKv::new(1);
    let neighbour = StateStore::open(Arc::new(kv.clone()), PartitionId(6)).unwrap();
    put(&neighbour, "a", "other");
    let store = StateStore::open(Arc::new(kv.clone()), GROUP).unwrap();
    put(&store, "a", "old");
    let (snapshot, meta) = store.snapshot().unwrap();
    let reader = store.read();
    drop(store.stage());

    let staged = store.stage();
    staged.write(&[(b"b", b"new"), (b"c", b"new")]).unwrap();
    assert_eq!(list(&store.read()), "a=old");
    store.adopt(staged, Meta { commands: 9, ..meta.clone() }).unwrap();
    assert_eq!(list(&store.read()), "b=new c=new");
    assert_eq!((list(&reader), list(&snapshot)), ("a=old".into(), "a=old".into()));
    assert_eq!((meta.commands, store.meta().commands), (1, 9));
    drop(reader);
    assert!(list(&kv).contains("=old"), "the snapshot still holds it");
    drop(snapshot);
    assert!(!list(&kv).contains("=old"), "{}", list(&kv));

    kv.crash();
    let store = StateStore::open(Arc::new(kv.clone()), GROUP).unwrap();
    assert_eq!(list(&store.read()), "b=new c=new", "adopt() is durable");
    let staged = store.stage();
    staged.copy(&neighbour.read()).unwrap();
    store.adopt(staged, store.meta()).unwrap();
    assert_eq!(list(&store.read()), "a=other");
}

fn open() -> StateStore {
    StateStore::open(Arc::new(MemKv::new(1)), GROUP).unwrap()
}

#[test]
#[should_panic(expected = "the index of commands only grows")]
fn no_command_is_forgotten() {
    let store = open();
    put(&store, "a", "1");
    let state = store.read();
    let meta = Meta { commands: 0, ..store.meta() };
    let _ = store.commit(&Overlay::new(&state), meta);
}

/// The state was replaced between the reading of what is known of it and the writing of changes.
#[test]
#[should_panic(expected = "only adopt() begins another generation")]
fn changes_of_a_state_that_was_replaced_are_not_written() {
    let store = open();
    let meta = store.meta();
    store.adopt(store.stage(), store.meta()).unwrap();
    let state = store.read();
    let _ = store.commit(&Overlay::new(&state), meta);
}

#[test]
fn a_snapshot_that_forgets_commands_is_refused() {
    let store = open();
    put(&store, "a", "1");
    let error = store.adopt(store.stage(), Meta { commands: 0, ..store.meta() }).unwrap_err();
    assert!(error.message().contains("which has seen 1"), "{error}");
    assert_eq!(list(&store.read()), "a=1");
}

#[test]
#[should_panic(expected = "a group adopts what it has staged itself")]
fn what_another_group_staged_is_not_adopted() {
    let (store, other) = (open(), StateStore::open(Arc::new(MemKv::new(1)), PartitionId(6)).unwrap());
    let _ = store.adopt(other.stage(), store.meta());
}

/// A crash at any time leaves the old or the new state, and the next start removes the remains.
#[test]
fn a_crash_leaves_one_state() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let kv = MemKv::new(seed);
        let store = StateStore::open(Arc::new(kv.clone()), GROUP).unwrap();
        put(&store, "a", "old");
        kv.flush().unwrap();
        let staged = store.stage();
        staged.write(&[(b"b", b"new")]).unwrap();
        staged.write(&[(b"c", b"new")]).unwrap();
        let mut batch = Batch::new();
        batch.put(&meta_key(GROUP), &codec::encode(&Meta { generation: staged.number, ..store.meta() }));
        kv.write(batch, Durability::Buffered).unwrap();
        kv.crash();
        std::mem::forget(staged);
        let store = StateStore::open(Arc::new(kv.clone()), GROUP).unwrap();
        let state = list(&store.read());
        let rows = list(&kv).split(' ').filter(|row| row.starts_with('s')).count();
        assert_eq!(rows, state.split(' ').count(), "remains of the other state: {}", list(&kv));
        seen.insert(state);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["a=old", "b=new c=new"]);
}
