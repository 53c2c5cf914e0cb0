//! Bytes of today's messages, frozen: whoever changes a shape sees here that old logs and old peers will not read it.
#![cfg(test)]

use std::fmt::Write;

use bytes::Bytes;
use chunk::manifest::{ChunkRef, Content, Manifest, SealedForm};
use chunk::sealed::SealKey;
use expect_test::expect;
use proptest::prelude::*;
use serde::Serialize;
use types::{
    ChunkId, DiskId, Epoch, FeatureLevel, GcEpoch, Generation, Identity, InodeId, KeyId, Millis, Name,
    NamespaceId, NamespaceName, Nanos, NodeId, Path, PgId, Possession, RequestId, Scope, Seq, Serial,
    TenantId, TokenId, VersionId,
};

use crate::block::{ChunkKind, GetShard, Layout, PutChunk, PutShard, ShardKey, ShardMeta};
use crate::certificates::{Grant, RenewCertificate, Revoked, Which};
use crate::cluster::FilledSlot;
use crate::command::{
    ChangeMap, Command, IndexCommand, Logged, MapChange, NamespaceCommand, NewNode, RootCommand, Stamped,
    ToCertify,
};
use crate::index::{Amendment, Exception, Holder, Locator, News, Sizes, StoredChunk};
use crate::keys::{FetchKeys, KeyMatter, KeyRing, Keys, RingKey, TenantKey};
use crate::map::Role;
use crate::namespace::{
    Attributes, Change, DirRef, Entry, Expect, Freshness, Kind, ListDir, Mode, NewContent, Op, OrderBy,
    PageToken, Place, Record, View, WriteNamespace,
};
use crate::seal::ClusterSecret;
use crate::{decode, encode};

const CHUNK: ChunkId = ChunkId([0xaa; 32]);
const SCOPE: Scope = Scope::FIRST;
const POSSESSION: Possession = Possession([0xbb; 16]);

fn hex<T: Serialize>(name: &str, message: &T) -> String {
    line(name, &encode(message))
}

fn command<C: Command>(name: &str, command: C) -> String {
    line(name, &Stamped { time: Millis(1), command }.encode())
}

fn line(name: &str, bytes: &[u8]) -> String {
    let mut line = format!("{name} ");
    for byte in bytes {
        let _ = write!(line, "{byte:02x}");
    }
    line.replace(&"aa".repeat(32), "(chunk)") + "\n"
}

fn attributes() -> Attributes {
    Attributes {
        modified: Nanos(-5),
        mode: Some(0o640),
        executable: true,
        media_type: "a/b".into(),
        xattrs: [("user.x".to_owned(), Bytes::from_static(b"y"))].into(),
    }
}

fn entry() -> Entry {
    Entry {
        name: "n".into(),
        inode: InodeId(6),
        kind: Kind::File,
        size: 300,
        changed: Millis(7),
        version: VersionId(2),
        content_root: CHUNK,
        target: String::new(),
        attributes: attributes(),
        flags: 0,
    }
}

fn record(change: Change) -> Record {
    Record { seq: Seq(1), time: Millis(2), author: "a".into(), inode: InodeId(6), path: "/n".into(), change }
}

fn write() -> WriteNamespace {
    let secret = ClusterSecret::first([7; 32]);
    let receipt = secret.receipt(&CHUNK.within(SCOPE), Generation(3), GcEpoch(1), 300);
    let chunks = vec![ChunkRef { id: CHUNK, size: 300 }];
    let manifest = Manifest { size: 300, rule: 1, content: Content::Chunks(chunks) };
    let path = Path::parse("/a/b").unwrap();
    WriteNamespace {
        namespace: NamespaceId(1),
        request: RequestId([1; 16]),
        mode: Mode::PerItem,
        ops: vec![
            Op::Mkdir { path: path.clone(), parents: true, attributes: attributes() },
            Op::CommitVersion {
                path: path.clone(),
                expect: Expect::Version(InodeId(8), VersionId(9)),
                content: NewContent::File { manifest, receipts: vec![receipt] },
                attributes: attributes(),
            },
            Op::CommitVersion {
                path: path.clone(),
                expect: Expect::Absent,
                content: NewContent::Symlink { target: "t".into() },
                attributes: Attributes::default(),
            },
            Op::SetAttributes { path: path.clone(), expect: Expect::Any, attributes: Attributes::default() },
            Op::Rename {
                source: path.clone(),
                expect: Expect::Inode(InodeId(8)),
                target: path.clone(),
                replace: Expect::Absent,
            },
            Op::Copy { source: path.clone(), version: None, target: path.clone(), expect: Expect::Any },
            Op::Remove { path: path.clone(), expect: Expect::Any, recursive: true },
            Op::RestoreVersion { path: path.clone(), expect: Expect::Any, version: VersionId(2) },
            Op::Undelete { path: path.clone() },
            Op::RestoreRemoved { removed: Seq(3), target: Some(path.clone()) },
            Op::Split { path, expect: Expect::Any },
        ],
    }
}

/// A small file as it stands in a log.
fn sealed_write() -> WriteNamespace {
    let form = SealedForm { key: KeyId(4), compressed: true, bytes: Bytes::from_static(b"s") };
    let op = Op::CommitVersion {
        path: Path::parse("/a").unwrap(),
        expect: Expect::Absent,
        content: NewContent::File {
            manifest: Manifest { size: 9, rule: 1, content: Content::Sealed { root: CHUNK, form } },
            receipts: vec![],
        },
        attributes: Attributes::default(),
    };
    WriteNamespace { ops: vec![op], ..write() }
}

fn add_node() -> ChangeMap {
    let address = "10.0.0.1:7".parse().unwrap();
    let roles = vec![Role::Block];
    let node = NewNode { zone: "z".into(), roles, native: address, control: address, store: None };
    let asked = ToCertify { request: [0xaa; 32], expires: Millis(5) };
    let change = MapChange::AddNode { node, token_hash: [0xaa; 32], asked, level: FeatureLevel(1) };
    ChangeMap { base: Epoch(4), change, placed: None }
}

fn add_token(grant: Grant) -> RootCommand {
    RootCommand::AddToken { hash: [0xaa; 32], grant, uses: 2, expires: Millis(5) }
}

fn issue() -> RootCommand {
    let asked = ToCertify { request: [0xaa; 32], expires: Millis(5) };
    RootCommand::IssueCertificate { identity: Identity::Node(NodeId(3)), asked, token_hash: Some([0xaa; 32]) }
}

fn revoke(which: Which) -> RootCommand {
    RootCommand::RevokeCertificates { which, own: Some(Serial(2)), force: true }
}

#[test]
fn messages_are_frozen() {
    let key = ShardKey { chunk: CHUNK.within(SCOPE), generation: Generation(300), slot: 4 };
    let meta = ShardMeta {
        layout: Layout::Shard { k: 4, m: 2 },
        plain_size: 9,
        stored_size: 8,
        compressed: true,
        key: KeyId(6),
    };
    let (disk, chunk, slot) = (DiskId(3), CHUNK.within(SCOPE), Some(1));
    let get_shard = GetShard { disk, chunk, slot, generation: None, range: Some((4, 5)) };
    let view = View { namespace: NamespaceId(1), freshness: Freshness::AtLeast(Seq(7)) };
    let namespace = NamespaceId(1);
    let token = PageToken { value: 1, name: Name::parse("n").unwrap() };
    let order = OrderBy::Modified;
    let list = ListDir {
        view,
        dir: DirRef::Path(Path::root()),
        order,
        descending: true,
        after: Some(token),
        limit: 10,
    };
    let name = NamespaceName::parse("home").unwrap();
    let stored = StoredChunk {
        chunk: CHUNK.within(SCOPE),
        generation: Generation(1),
        kind: ChunkKind::ManifestNode,
        locator: Locator::Slots(Layout::Replica),
        possession: POSSESSION,
        sizes: Sizes { content: 300, plain: 2, stored: 4, disk: 8 },
    };
    let exceptions = vec![Exception { slot: 3, disk: Some(DiskId(9)) }, Exception { slot: 4, disk: None }];
    let moved = News::Moved { slot: 3, was: Holder::Disk(DiskId(9)), now: Holder::Home };
    let amendment = |news| Amendment { chunk: CHUNK.within(SCOPE), generation: Generation(1), news };
    let slots = vec![FilledSlot { pg: PgId(1), slot: 2, disk: DiskId(3), since: Epoch(4) }];
    let finish_sync = ChangeMap { base: Epoch(4), change: MapChange::FinishSync { slots }, placed: None };
    let seal_key = SealKey { tenant: TenantId(1), id: KeyId(4), secret: [0xaa; 32] };
    let ring_key = RingKey { id: KeyId(3), created: Millis(2), sealed: Bytes::from_static(b"r") };
    let matters = [KeyMatter::Destroyed(Millis(5)), KeyMatter::Sealed(Bytes::from_static(b"t"))];
    let tenant_keys = (4..).zip(matters).map(|(id, matter)| TenantKey {
        id: KeyId(id),
        tenant: TenantId(1),
        created: Millis(2),
        matter,
    });
    let ring = KeyRing { version: 3, key_count: 5, ring_key, tenant_keys: tenant_keys.collect() };
    let lines = [
        hex(
            "put_chunk",
            &PutChunk { scope: SCOPE, id: CHUNK, kind: ChunkKind::ManifestNode, receipts: vec![] },
        ),
        hex("put_shard", &PutShard { disk: DiskId(3), key, meta, crc: 0xdead }),
        hex("get_shard", &get_shard),
        hex("list_dir", &list),
        command("write", NamespaceCommand::Write { author: "a".into(), write: write() }),
        command(
            "create",
            NamespaceCommand::Create { name, owner: "admin/admin".into(), tenant: TenantId::FIRST },
        ),
        command("set_owner", NamespaceCommand::SetOwner { namespace, owner: "a".into() }),
        command("delete", NamespaceCommand::Delete { namespace, force: true }),
        command("register", IndexCommand::Register { epoch: Epoch(7), chunks: vec![(stored, exceptions)] }),
        command("pin", IndexCommand::Pin(vec![(CHUNK.within(SCOPE), POSSESSION)])),
        command("fence", IndexCommand::Fence(Epoch(7))),
        command("amend", IndexCommand::Amend([moved, News::Lost, News::Found].map(amendment).to_vec())),
        hex("fetch_keys", &FetchKeys { stale_ok: true }),
        hex("keys", &Keys { version: 3, keys: vec![seal_key], destroyed: vec![(KeyId(2), TenantId(1))] }),
        command("change_keys", RootCommand::ChangeKeys(Box::new(ring))),
        command("sealed", NamespaceCommand::Write { author: "a".into(), write: sealed_write() }),
        command("finish_sync", RootCommand::ChangeMap(Box::new(finish_sync))),
        line("set_level", &Logged::set_level(FeatureLevel(2))),
    ];
    expect![[r#"
        put_chunk 01000120(chunk)0100
        put_shard 01000320(chunk)01ac020400040209080106adbd03
        get_shard 01000320(chunk)01010100010405
        list_dir 0100010107000001010102016e0a
        write 010101000000010001010161011001010101010101010101010101010101010b000201610162010901a0030103612f620106757365722e78017901020161016203080900ac0201010120(chunk)ac02010301ac0201108c56f848b0e5eed1cc9512dc06c18b2b0901a0030103612f620106757365722e78017901020161016201010174000000000002020161016200000000000003020161016202080201610162010402016101620002016101620005020161016200010602016101620002070201610162080301020161016209020161016200
        create 0101010000000100010004686f6d650b61646d696e2f61646d696e01
        set_owner 01010100000001000102010161
        delete 010101000000010001030101
        register 01010100000001000100070120(chunk)010101000110bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbac02020408020301090400
        pin 010101000000010001010120(chunk)0110bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
        fence 0101010000000100010207
        amend 010101000000010001030320(chunk)0101000301090020(chunk)01010120(chunk)010102
        fetch_keys 010001
        keys 01000301010420(chunk)010201
        change_keys 01010100000001000103030503020172020401020105050102000174
        sealed 010101000000010001010161011001010101010101010101010101010101010101010161010009010320(chunk)04010173000000000000
        finish_sync 010101000000010001010403010102030400
        set_level 010002000000
    "#]].assert_eq(&lines.concat());
}

/// Who gets in, and who does not any more.
#[test]
fn messages_about_entry_are_frozen() {
    let lines = [
        command("add_node", RootCommand::ChangeMap(Box::new(add_node()))),
        command("add_token", add_token(Grant::Join(Role::Meta))),
        command("add_renewal", add_token(Grant::Renew(NodeId(9)))),
        command("revoke_token", RootCommand::RevokeToken { id: TokenId([8; 8]) }),
        command("issue", issue()),
        command("revoke", revoke(Which::Serial(Serial(300)))),
        command("revoke_all", revoke(Which::Of(Identity::User("ann".into())))),
        command("forget_expired", RootCommand::ForgetExpired),
        hex("renew", &RenewCertificate { node: NodeId(3), request: "r".into(), secret: Some([0xaa; 32]) }),
        hex("revoked", &Revoked { version: 2, until: [(Serial(1), Millis(5))].into() }),
    ];
    expect![[r#"
        add_node 010101000000010001010400017a0101000a00000107000a0000010700(chunk)20(chunk)050100
        add_token 01010100000001000102(chunk)00000205
        add_renewal 01010100000001000102(chunk)01090205
        revoke_token 01010100000001000104080808080808080808
        issue 01010100000001000105000320(chunk)0501(chunk)
        revoke 0101010000000100010600ac02010201
        revoke_all 01010100000001000106010203616e6e010201
        forget_expired 01010100000001000107
        renew 010003017201(chunk)
        revoked 010002010105
    "#]]
    .assert_eq(&lines.concat());
}

#[test]
fn journal_records_are_frozen() {
    let (dir, namespace) = (InodeId(5), NamespaceId(1));
    let source = Place { dir, name: Name::parse("n").unwrap() };
    let lines = [
        hex("created", &record(Change::Created { dir, entry: entry() })),
        hex("versioned", &record(Change::Versioned { dir, entry: entry(), base: VersionId(1) })),
        hex("attributed", &record(Change::Attributed { dir, entry: entry() })),
        hex(
            "moved",
            &record(Change::Moved {
                source,
                source_path: "/m".into(),
                dir,
                entry: entry(),
                replaced: Some(InodeId(9)),
            }),
        ),
        hex("removed", &record(Change::Removed { dir, entry: entry() })),
        hex("returned", &record(Change::Returned { dir, entry: entry(), removed: Seq(3) })),
        hex("split", &record(Change::Split { dir, entry: entry(), namespace })),
        hex("base", &record(Change::Base { namespace, seq: Seq(3) })),
    ];
    expect![[r#"
        created 01000102016106022f6e0005016e0601ac02070220(chunk)000901a0030103612f620106757365722e78017900
        versioned 01000102016106022f6e0105016e0601ac02070220(chunk)000901a0030103612f620106757365722e7801790001
        attributed 01000102016106022f6e0205016e0601ac02070220(chunk)000901a0030103612f620106757365722e78017900
        moved 01000102016106022f6e0305016e022f6d05016e0601ac02070220(chunk)000901a0030103612f620106757365722e780179000109
        removed 01000102016106022f6e0405016e0601ac02070220(chunk)000901a0030103612f620106757365722e78017900
        returned 01000102016106022f6e0505016e0601ac02070220(chunk)000901a0030103612f620106757365722e7801790003
        split 01000102016106022f6e0605016e0601ac02070220(chunk)000901a0030103612f620106757365722e7801790001
        base 01000102016106022f6e070103
    "#]].assert_eq(&lines.concat());
}

/// Every build tells a command that it does not know from a damaged one.
#[test]
fn commands_say_which_level_they_need() {
    let create = NamespaceCommand::SetOwner { namespace: NamespaceId(1), owner: "a".into() };
    let bytes = Stamped { time: Millis(1), command: create }.encode();
    let body = &bytes[6..];
    assert_eq!(Logged::read(&bytes), Ok(Logged::Command { level: FeatureLevel(1), body }));
    let newer = [&[1, 1, 9, 0, 0, 0], &b"of the future"[..]].concat();
    assert_eq!(Logged::read(&newer), Ok(Logged::Command { level: FeatureLevel(9), body: b"of the future" }));
    let raise = Logged::set_level(FeatureLevel(0x01020304));
    assert_eq!(Logged::read(&raise), Ok(Logged::SetLevel(FeatureLevel(0x01020304))));
    for (bad, want) in [
        (&b""[..], "0 bytes"),
        (&[1, 1, 1, 0, 0], "5 bytes"),
        (&[2, 1, 1, 0, 0, 0], "version is 2"),
        (&[1, 2, 1, 0, 0, 0], "unknown content 2"),
        (&[1, 0, 1, 0, 0, 0, 0], "unknown content 0"),
    ] {
        let error = Logged::read(bad).unwrap_err();
        assert!(error.message().contains(want), "{error}");
    }
}

proptest! {
    /// The fuzz target of all envelopes: rubbish is refused, never a panic, and what is read is written back equal.
    #[test]
    fn rubbish_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600), version in 0u8..3, flags in 0u8..3) {
        let framed = [&[version, flags], &bytes[..]].concat();
        for input in [&bytes[..], &framed[..]] {
            if let Ok(message) = decode::<Stamped<NamespaceCommand>>(input) {
                prop_assert_eq!(decode::<Stamped<NamespaceCommand>>(&encode(&message)), Ok(message));
            }
            if let Ok(Logged::Command { body, .. }) = Logged::read(input) {
                let _ = decode::<Stamped<RootCommand>>(body);
            }
            let _ = decode::<RootCommand>(input);
            let _ = decode::<crate::map::ClusterMap>(input);
            let _ = decode::<PutShard>(input);
        }
    }

    /// A message that was damaged anywhere is refused or reads as another message; it never panics.
    #[test]
    fn damage_does_no_harm(at in 0usize..400, bit in 0u8..8) {
        let mut bytes = encode(&write()).to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let _ = decode::<WriteNamespace>(&bytes);
    }
}
