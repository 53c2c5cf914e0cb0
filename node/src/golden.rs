//! The files of a data directory that only its node reads: frozen, and read when they are damaged.
#![cfg(test)]

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use env::Env;
use expect_test::expect;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proto::certificates::Revoked;
use proto::command::{Bootstrap, FirstCertificate, NewNode};
use proto::keys::{Derivation, KeyMatter, KeyRing, RingKey, TenantKey, Unlock};
use proto::map::{ClusterMap, Role};
use proto::seal::ClusterSecret;
use serde::Serialize;
use types::{
    ClusterId, DiskId, DiskUuid, Epoch, ErrorKind, Identity, KeyId, Millis, NodeId, Profile, ReplicaId,
    Result, Serial, StoreUuid, TenantId,
};

use crate::disks::Record;
use crate::home::{Home, Membership};
use crate::repair::{self, Moved};
use crate::setup::{JOINING, Joining};
use crate::standing::REVOKED;
use crate::store::StoreRecord;
use crate::unlock::{self, DERIVATION};

/// A file, and how it is read: what comes back is its content as it would be written again.
struct Kept {
    name: &'static str,
    read: fn(&Home) -> Result<Vec<u8>>,
}

const KEPT: [Kept; 8] = [
    Kept { name: "identity", read: |home| use_membership(&home.membership()?) },
    Kept { name: "map", read: |home| use_map(&home.map()?) },
    Kept { name: JOINING, read: |home| plain(&home.load::<Joining>(JOINING)?) },
    Kept { name: REVOKED, read: |home| plain(&home.load::<Revoked>(REVOKED)?) },
    Kept { name: "store", read: |home| use_record(StoreRecord::load(home)?) },
    Kept { name: repair::MOVED, read: |home| plain(&repair::moved(home)?) },
    Kept { name: "disks", read: |home| use_disks(Record::load(home)?) },
    Kept { name: DERIVATION, read: |home| plain(&home.load::<Derivation>(DERIVATION)?) },
];

fn plain<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    Ok(proto::encode_plain(value))
}

fn use_membership(membership: &Membership) -> Result<Vec<u8>> {
    let _ = ReplicaId::new(membership.node, 1);
    plain(membership)
}

fn use_map(map: &ClusterMap) -> Result<Vec<u8>> {
    let replicas = map.nodes.keys().filter_map(|node| map.replica(*node)).count();
    let voters = map.partitions.iter().flat_map(|partition| &partition.voters);
    let voters = Vec::from_iter(voters.map(|node| ReplicaId::new(*node, 0)));
    assert!(replicas <= map.nodes.len() && !voters.is_empty());
    plain(map)
}

/// It is read where a node starts: the next start, store and directory of states follow from it.
fn use_record(record: StoreRecord) -> Result<Vec<u8>> {
    let _ = (record.next_start(1), record.states + 1, record.replica(NodeId(1)));
    plain(&record)
}

fn use_disks(record: Record) -> Result<Vec<u8>> {
    let mut used = record.clone();
    for path in record.places(&[PathBuf::from("/a")]) {
        used.see(DiskUuid([1; 16]), &path);
        used.name(DiskUuid([1; 16]), DiskId(9), Epoch(9));
    }
    plain(&record)
}

fn bootstrap() -> Bootstrap {
    let sealed = Bytes::from_static(b"sealed");
    let (created, tenant) = (Millis(300), TenantId(1));
    let matter = KeyMatter::Sealed(sealed.clone());
    let certificate =
        FirstCertificate { identity: Identity::Node(NodeId(1)), issued: Millis(1), expires: created };
    Bootstrap {
        cluster: ClusterId([0xbb; 16]),
        profile: Profile { k: 1, m: 1 },
        pg_count: 2,
        tree_partitions: 1,
        index_partitions: 2,
        secrets: sealed.clone(),
        keys: KeyRing {
            version: 1,
            key_count: 2,
            ring_key: RingKey { id: KeyId(1), created, sealed },
            tenant_keys: vec![TenantKey { id: KeyId(2), tenant, created, matter }],
        },
        node: NewNode {
            zone: "z".into(),
            roles: vec![Role::Meta, Role::Block],
            native: "127.0.0.1:300".parse().unwrap(),
            control: "[::1]:301".parse().unwrap(),
            store: Some(StoreUuid([0xcc; 16])),
        },
        certificates: vec![certificate],
    }
}

/// A data directory with every file.
fn filled() -> (Env, Home) {
    let env = Env::simulated(1);
    let home = Home::lock(&env, Path::new("/data")).unwrap();
    let membership = Membership {
        cluster: ClusterId([0xbb; 16]),
        node: NodeId(300),
        secret: ClusterSecret::first([0xaa; 32]),
        credentials: "PEM".into(),
        bootstrap: Some(bootstrap()),
    };
    let store = StoreRecord {
        uuid: StoreUuid([0xcc; 16]),
        number: Some(300),
        starts: 4,
        mark: 500,
        states: 6,
        fresh: true,
        founded: false,
    };
    let derivation = Derivation { salt: [0xdd; 16], memory_kib: 65_536, pass_count: 3 };
    home.prepare(&membership, &tree::root::bootstrap_map(&bootstrap()), |home| {
        unlock::save(&env, home, &Unlock::Passphrase(derivation))?;
        store.save(home)
    })
    .unwrap();
    let joining = Joining { key: "KEY".into(), request: "REQUEST".into(), store: StoreUuid([0xcc; 16]) };
    home.save(JOINING, &joining).unwrap();
    let until = BTreeMap::from([(Serial(300), Millis(7))]);
    home.save(REVOKED, &Revoked { version: 2, until }).unwrap();
    let addresses = ("10.0.0.1:300".parse().unwrap(), "[::1]:301".parse().unwrap());
    home.save(repair::MOVED, &Moved::from([(NodeId(2), addresses)])).unwrap();
    let mut disks = Record::default();
    disks.see(DiskUuid([0xee; 16]), Path::new("/d"));
    disks.save(&home).unwrap();
    (env, home)
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let ids = [("aa", 32, "(secret)"), ("bb", 16, "(cluster)"), ("cc", 16, "(store)"), ("dd", 16, "(salt)")];
    ids.iter().fold(digits, |text, (byte, size, name)| text.replace(&byte.repeat(*size), name))
}

#[test]
fn files_of_a_node_are_frozen() {
    let (env, home) = filled();
    let mut lines = String::new();
    for Kept { name, .. } in KEPT {
        let _ = writeln!(lines, "{name} = {}", hex(&env.disk.read(&home.join(name)).unwrap()));
    }
    expect![[r#"
        identity = 43534e462907e00c010010(cluster)ac0201(secret)0350454d0110(cluster)0101020102067365616c6564010201ac02067365616c6564010201ac0200067365616c6564017a020001007f000001ac020100000000000000000000000000000001ad020110(store)01000101ac02
        map = 43534e464b3e9f75010010(cluster)01000101020101017a007f000001ac020100000000000000000000000000000001ad0202000101010110(store)010000000400000101010101010202010103020101010001020002804003
        joining = 43534e465d95e2a80100034b4559075245515545535410(store)
        revoked = 43534e46eab3578501000201ac0207
        store = 43534e4605161dd6010010(store)01ac0204f403060100
        moved = 43534e46d54db53001000102000a000001ac020100000000000000000000000000000001ad02
        disks = 43534e4602f253bd01004353444b020001022f6410eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee00000110eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee022f6400
        keys/passphrase = 43534e46b30e2b030100(salt)80800403
    "#]].assert_eq(&lines);
}

/// What may become of a file that nobody of this node has written.
#[track_caller]
fn refused<T: Debug>(result: Result<T>) -> Option<T> {
    let kinds = [ErrorKind::Corrupt, ErrorKind::Invalid];
    result.map_err(|e| assert!(kinds.contains(&e.kind()), "{e}")).ok()
}

proptest! {
    /// It is refused, or it is what it was: nothing else is ever read from it.
    #[test]
    fn damaged_files_of_a_node_are_refused(file: Index, at: Index, rubbish in vec(any::<u8>(), 0..80)) {
        let (env, home) = filled();
        let Kept { name, read } = file.get(&KEPT);
        let (path, want) = (home.join(name), read(&home));
        let good = env.disk.read(&path).unwrap();
        let (before, after) = good.split_at(at.index(good.len()));
        let over = after.get(rubbish.len()..).unwrap_or_default();
        for bad in [
            rubbish.clone(),
            [before, &rubbish].concat(),
            [before, &rubbish, over].concat(),
            [before, &rubbish, after].concat(),
        ] {
            env.disk.write_atomic(&path, &bad).unwrap();
            let found = read(&home);
            prop_assert!(found == want || refused(found).is_none(), "{}", name);
        }
    }

    /// A checksum says that bytes are as they were written, not that they make sense: what is read can be used.
    #[test]
    fn files_of_a_node_that_make_no_sense_do_no_harm(file: Index, at: Index, rubbish in vec(any::<u8>(), 0..80)) {
        let (_, home) = filled();
        let Kept { name, read } = file.get(&KEPT);
        let good = home.read(name).unwrap();
        let (before, after) = good.split_at(at.index(good.len()));
        let over = after.get(rubbish.len()..).unwrap_or_default();
        for bad in [
            rubbish.clone(),
            [&[1, 0], &rubbish[..]].concat(),
            [before, &rubbish].concat(),
            [before, &rubbish, over].concat(),
            [before, &rubbish, after].concat(),
        ] {
            home.write(name, &bad).unwrap();
            refused(read(&home));
        }
    }

    /// Numbers at the end of what they can be.
    #[test]
    fn what_a_store_cannot_have_come_to_is_refused(
        starts: u64, mark: u64, states: u32, at_the_end in prop::array::uniform3(any::<bool>())
    ) {
        let (_, home) = filled();
        let [starts, mark] = [(starts, at_the_end[0]), (mark, at_the_end[1])].map(|(n, end)| if end { u64::MAX } else { n });
        let states = if at_the_end[2] { u32::MAX } else { states };
        StoreRecord { starts, mark, states, ..StoreRecord::load(&home).unwrap() }.save(&home).unwrap();
        if let Err(e) = StoreRecord::load(&home).and_then(use_record) {
            prop_assert_eq!(e.kind(), ErrorKind::Corrupt);
        }
    }
}
