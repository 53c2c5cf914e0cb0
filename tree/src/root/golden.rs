//! Frozen rows of the root partition.
#![cfg(test)]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use expect_test::expect;
use placement::{PgSlot, SlotState, Table};
use proptest::prelude::*;
use proto::certificates::Grant;
use proto::keys::{KeyMatter, KeyRing, RingKey, TenantKey};
use proto::map::{ClusterMap, DiskInfo, DiskState, NodeInfo, Partition, PartitionKind, Role, StoreInfo};
use proto::slots::SlotMap;
use types::{
    ClusterId, DiskId, DiskUuid, Epoch, GcEpoch, Identity, KeyId, Millis, NodeId, PartitionId, Profile,
    Serial, StoreUuid, TenantId,
};

use super::RootMachine;
use super::row::{self, CertificateRow, RevokedRow, SealedSecrets, TokenRow, TokenUse};
use crate::golden::{self, Frozen, row};

const HASH: [u8; 32] = [0xaa; 32];

/// Two nodes, of which one has a disk and no metadata, and a group that is on its way to another disk.
fn map() -> ClusterMap {
    let node = |zone: &str, port: u16, roles: &[Role], store| NodeInfo {
        zone: zone.into(),
        native: SocketAddr::from(([127, 0, 0, 1], port)),
        control: SocketAddr::from(([0; 16], port + 1)),
        roles: roles.to_vec(),
        up: true,
        confirmed: false,
        store,
    };
    let store = StoreInfo { uuid: StoreUuid([0xbb; 16]), number: 3 };
    let disk = DiskInfo {
        node: NodeId(2),
        uuid: DiskUuid([0xbb; 16]),
        capacity: 300,
        state: DiskState::ReadOnly,
        is_out: true,
    };
    let moving = PgSlot {
        disk: DiskId(2),
        state: SlotState::Syncing,
        previous: Some(DiskId(1)),
        returns: true,
        since: Epoch(4),
    };
    let kinds = [PartitionKind::Root, PartitionKind::Tree, PartitionKind::Index, PartitionKind::Index];
    let partition = |(id, kind)| Partition { id: PartitionId(id), kind, voters: vec![NodeId(1)] };
    ClusterMap {
        cluster: ClusterId([0xbb; 16]),
        epoch: Epoch(300),
        gc_epoch: GcEpoch(4),
        profile: Profile { k: 1, m: 1 },
        pg_count: 1,
        nodes: BTreeMap::from([
            (NodeId(1), node("a", 1, &[Role::Meta, Role::Block], Some(store))),
            (NodeId(2), node("b", 3, &[Role::Block], None)),
        ]),
        disks: BTreeMap::from([(DiskId(1), disk)]),
        table: Some(Table { pgs: vec![vec![PgSlot::serving(DiskId(1)), moving]] }),
        relaxed_count: 5,
        partitions: (0..).zip(kinds).map(partition).collect(),
        tree: SlotMap::shared_out(&[PartitionId(1)]),
        index: SlotMap::shared_out(&[PartitionId(2), PartitionId(3)]),
    }
}

fn ring() -> KeyRing {
    let key = |id, matter| TenantKey { id: KeyId(id), tenant: TenantId(7), created: Millis(8), matter };
    KeyRing {
        version: 300,
        key_count: 3,
        ring_key: RingKey { id: KeyId(1), created: Millis(9), sealed: Bytes::from_static(b"ring") },
        tenant_keys: vec![
            key(2, KeyMatter::Destroyed(Millis(10))),
            key(3, KeyMatter::Sealed(Bytes::from_static(b"key"))),
        ],
    }
}

fn rows() -> Vec<Frozen> {
    let token = TokenRow {
        grant: Grant::Join(Role::Block),
        uses: 300,
        expires: Millis(5),
        used: vec![TokenUse { request: HASH, node: NodeId(6), certificate: Serial(7) }],
    };
    let renew = TokenRow { grant: Grant::Renew(NodeId(300)), used: Vec::new(), ..token.clone() };
    let certificate =
        |identity| CertificateRow { identity, request: HASH, issued: Millis(300), expires: Millis(7) };
    let certificate_key = row::certificate_key(Serial(0x0102));
    vec![
        row("map", row::MAP, &map()),
        row("map without disks", row::MAP, &ClusterMap { table: None, disks: BTreeMap::new(), ..map() }),
        row("secrets", row::SECRETS, &SealedSecrets(Bytes::from_static(b"sealed"))),
        row("key ring", row::KEY_RING, &ring()),
        row("token to join", row::token_key(&HASH), &token),
        row("token to renew", row::token_key(&HASH), &renew),
        row("node", certificate_key.clone(), &certificate(Identity::Node(NodeId(300)))),
        row("admin", certificate_key.clone(), &certificate(Identity::Admin("a".into()))),
        row("user", certificate_key.clone(), &certificate(Identity::User("b".into()))),
        row("nobody", certificate_key, &certificate(Identity::Anonymous)),
        row("revoked", row::REVOKED, &RevokedRow(BTreeMap::from([(Serial(300), Millis(7))]))),
        row("nodes", row::NODE_COUNT, &300u64),
        row("disks", row::DISK_COUNT, &2u64),
        row("certificates", row::CERTIFICATE_COUNT, &3u64),
        row("changes of revoked", row::REVOKED_VERSION, &4u64),
    ]
}

#[test]
fn rows_of_the_root_are_frozen() {
    golden::check::<RootMachine>(
        &rows(),
        expect![[r#"
        map: 6d = 01010010(id)ac020401010102010161007f0000010101000000000000000000000000000000000202000101000110(id)03020162007f00000103010000000000000000000000000000000004010101000001010210(id)ac0204010101020100000000020101010104050400000101010101010202010103020101010001020002804003
        map without disks: 6d = 01010010(id)ac020401010102010161007f0000010101000000000000000000000000000000000202000101000110(id)03020162007f0000010301000000000000000000000000000000000401010100000000050400000101010101010202010103020101010001020002804003
        secrets: 62 = 010100067365616c6564
        key ring: 6b = 010100ac020301090472696e6702020708010a03070800036b6579
        token to join: 74(hash) = 0101000001ac020501(hash)0607
        token to renew: 74(hash) = 01010001ac02ac020500
        node: 690000000000000102 = 01010000ac02(hash)ac0207
        admin: 690000000000000102 = 010100010161(hash)ac0207
        user: 690000000000000102 = 010100020162(hash)ac0207
        nobody: 690000000000000102 = 01010003(hash)ac0207
        revoked: 72 = 01010001ac0207
        nodes: 636e = 010100ac02
        disks: 6364 = 01010002
        certificates: 6369 = 01010003
        changes of revoked: 6372 = 01010004
    "#]],
    );
}

proptest! {
    #[test]
    fn damaged_rows_of_the_root_do_no_harm(damage in golden::damage()) {
        golden::survive::<RootMachine>(&rows(), &damage);
    }
}
