//! Goal: who is answered again, and that the table stays flat. Method: the machine over `MemKv` with small limits, and a
//! store that counts reads.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use chunk::sealed::SealKey;
use kv::{Durability, Kv, MemKv, Order, Overlay, Read, Visit};
use proto::command::{NamespaceCommand, Stamped};
use proto::namespace::{Attributes, Expect, Mode, NewContent, Op};
use types::{
    ErrorKind, KeyId, Millis, NamespaceId, NamespaceName, PartitionId, Path, RequestId, Seq, TenantId,
};

use super::*;
use crate::draft::At;
use crate::namespace::NamespaceMachine;
use crate::{Replica, decode_answer};

/// The namespaces `ns` and `other`.
const NS: NamespaceId = NamespaceId(0x3d9b_0000_0000_0001);
const OTHER: NamespaceId = NamespaceId(0x0fde_0000_0000_0001);

/// A partition that remembers this many answers.
struct Bench {
    kv: MemKv,
    replica: Replica<NamespaceMachine>,
    index: u64,
}

impl Bench {
    fn new(count_max: u64) -> Self {
        let limits = AnswerLimits { count_max, size_max: u64::MAX };
        let machine = NamespaceMachine::default().with_limits(limits);
        let mut bench = Self { kv: MemKv::new(0), replica: Replica::new(PartitionId(1), machine), index: 0 };
        for (name, id) in [("ns", NS), ("other", OTHER)] {
            let name = NamespaceName::parse(name).unwrap();
            let reply = bench.apply(
                NamespaceCommand::Create { name, owner: "user/ann".into(), tenant: TenantId::FIRST },
                1,
            );
            assert_eq!(decode_answer::<NamespaceId>(&reply), Ok(id));
        }
        bench
    }

    fn apply(&mut self, command: NamespaceCommand, time: u64) -> Bytes {
        self.index += 1;
        let mut overlay = Overlay::new(&self.kv);
        let bytes = Stamped { time: Millis(time), command }.encode();
        let reply = self.replica.apply(&mut overlay, self.index, &bytes).unwrap();
        self.kv.write(overlay.into_batch(), Durability::Buffered).unwrap();
        reply
    }

    /// Has Ann save a small file, sealed with a key, under a request id.
    fn save(&mut self, id: u8, content: &'static str, key: u32) -> Result<Written> {
        let key = SealKey { tenant: TenantId::FIRST, id: KeyId(key), secret: [key as u8; 32] };
        let manifest = Manifest::inline(Bytes::from_static(content.as_bytes())).sealed(&key);
        let (path, attributes) = (Path::parse("/f").unwrap(), Attributes::default());
        let content = NewContent::File { manifest, receipts: vec![] };
        let ops = vec![Op::CommitVersion { path, expect: Expect::Absent, content, attributes }];
        let write = WriteNamespace { namespace: NS, request: RequestId([id; 16]), mode: Mode::PerItem, ops };
        decode_answer(&self.apply(NamespaceCommand::Write { author: "user/ann".into(), write }, 1))
    }

    /// Has an author make a directory under a request id.
    fn mkdir(
        &mut self,
        author: &str,
        namespace: NamespaceId,
        id: u8,
        path: &str,
        time: u64,
    ) -> Result<Written> {
        let ops = vec![Op::Mkdir {
            path: Path::parse(path).unwrap(),
            parents: false,
            attributes: Attributes::default(),
        }];
        let write = WriteNamespace { namespace, request: RequestId([id; 16]), mode: Mode::PerItem, ops };
        decode_answer(&self.apply(NamespaceCommand::Write { author: author.into(), write }, time))
    }
}

#[test]
fn a_request_is_its_authors_in_its_namespace() {
    let mut bench = Bench::new(100);
    let first = bench.mkdir("user/ann", NS, 1, "/a", 1).unwrap();
    assert!(first.results[0].is_ok());
    assert_eq!(bench.mkdir("user/ann", NS, 1, "/a", 2).unwrap(), first, "the same again");
    let bobs = bench.mkdir("user/bob", NS, 1, "/a", 2).unwrap();
    assert!(bobs.results[0].as_ref().is_err_and(|e| e.kind() == ErrorKind::Exists), "not Ann's answer");
    let other = bench.mkdir("user/ann", OTHER, 1, "/a", 2).unwrap();
    assert_eq!((other.seq, other.results[0].is_ok()), (Seq(1), true), "not the other namespace's answer");
    assert_eq!(bench.mkdir("user/ann", NS, 1, "/a", 3).unwrap(), first);
}

#[test]
fn an_id_that_was_used_for_something_else_is_refused() {
    let mut bench = Bench::new(100);
    bench.mkdir("user/ann", NS, 1, "/a", 1).unwrap();
    let error = bench.mkdir("user/ann", NS, 1, "/b", 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("used for another request"), "{error}");
    let again = bench.mkdir("user/ann", NS, 2, "/b", 1).unwrap();
    assert_eq!(again.seq, Seq(2), "it was not done under the wrong id");
}

/// The order of the log decides: a leader whose clock is a day ahead makes nobody forget.
#[test]
fn the_oldest_in_the_log_is_forgotten_first_whatever_the_clock_says() {
    const DAY_MS: u64 = 24 * 3600 * 1000;
    let mut bench = Bench::new(3);
    let first = bench.mkdir("user/ann", NS, 1, "/1", 10 * DAY_MS).unwrap();
    for (id, time) in [(2, 30 * DAY_MS), (3, 0)] {
        bench.mkdir("user/ann", NS, id, &format!("/{id}"), time).unwrap();
        assert_eq!(bench.mkdir("user/ann", NS, 1, "/1", 99 * DAY_MS).unwrap(), first);
    }
    bench.mkdir("user/ann", NS, 4, "/4", 1).unwrap();
    let third = bench.mkdir("user/ann", NS, 3, "/3", 1).unwrap();
    assert!(third.results[0].is_ok(), "still known");
    let forgotten = bench.mkdir("user/ann", NS, 1, "/1", 1).unwrap();
    assert!(forgotten.results[0].is_err(), "done before, and not known any more");
}

#[test]
fn long_messages_are_remembered_in_short() {
    let mut bench = Bench::new(100);
    let path = format!("/{}/ä", vec!["x".repeat(255); 4].join("/"));
    let long = bench.mkdir("user/ann", NS, 1, &path, 1).unwrap();
    let short = bench.mkdir("user/ann", NS, 1, &path, 1).unwrap();
    let message = |written: &Written| written.results[0].clone().unwrap_err().message().to_owned();
    assert!(message(&long).len() > ANSWER_MESSAGE_SIZE_MAX);
    assert_eq!(message(&short), message(&long)[..ANSWER_MESSAGE_SIZE_MAX]);
}

/// A store that counts what is read from it.
struct Counting {
    kv: MemKv,
    gets: AtomicUsize,
    visits: AtomicUsize,
}

impl Read for Counting {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.kv.get(key)
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        self.kv.scan(start, end, order, &mut |key, value| {
            self.visits.fetch_add(1, Ordering::Relaxed);
            visit(key, value)
        })
    }
}

/// A million answers through a table of a thousand: every command reads as much as the first that forgets one, also
/// where many are one batch and their deletions are not written yet.
#[test]
fn a_million_answers_leave_the_table_flat() {
    const COUNT: u64 = 1_000_000;
    let limits = AnswerLimits { count_max: 1000, size_max: u64::MAX };
    let store = Counting { kv: MemKv::new(0), gets: AtomicUsize::new(0), visits: AtomicUsize::new(0) };
    let answer = Ok(Written { seq: Seq(1), results: Vec::new() });
    for start in (0..COUNT).step_by(500) {
        let mut overlay = Overlay::new(&store);
        for index in start..start + 500 {
            let mut draft =
                Draft::new(&overlay, At { index, time: Millis(0), level: types::FeatureLevel::FIRST });
            let before = store.gets.load(Ordering::Relaxed);
            let key = key::of_request(NS, RequestId(u128::from(index).to_be_bytes()), "user/ann");
            let asked = Asked { key, fingerprint: [0; 16] };
            assert_eq!(asked.look_up(&draft), Ok(None));
            asked.remember(&mut draft, limits, &answer).unwrap();
            let reads = store.gets.load(Ordering::Relaxed) - before;
            assert!(reads <= 3, "command {index} reads {reads} rows");
            let changes = draft.into_changes();
            overlay.absorb(changes);
        }
        store.kv.write(overlay.into_batch(), Durability::Buffered).unwrap();
    }
    assert_eq!(store.visits.into_inner(), 0, "nothing is ever looked for");
    let mut rows = 0;
    let count = &mut |_: &[u8], _: &[u8]| {
        rows += 1;
        std::ops::ControlFlow::Continue(())
    };
    store.kv.scan(b"", b"", Order::Forward, count).unwrap();
    assert_eq!(rows, 2 * 1000 + 1);
}

#[test]
fn answers_are_bounded_in_bytes() {
    let kv = MemKv::new(0);
    let limits = AnswerLimits { count_max: u64::MAX, size_max: 100_000 };
    let mut overlay = Overlay::new(&kv);
    for index in 0..500u64 {
        let mut draft =
            Draft::new(&overlay, At { index, time: Millis(0), level: types::FeatureLevel::FIRST });
        let refused = vec![Err(Error::exists("there")); (index % 50) as usize];
        let key = key::of_request(NS, RequestId(u128::from(index).to_be_bytes()), "user/ann");
        let answer = Ok(Written { seq: Seq(1), results: refused });
        Asked { key, fingerprint: [0; 16] }.remember(&mut draft, limits, &answer).unwrap();
        let answers: AnswersRow = load(&draft, &key::of_answers()).unwrap().unwrap();
        assert!(answers.size <= limits.size_max && answers.first < answers.next);
        let changes = draft.into_changes();
        overlay.absorb(changes);
    }
}

/// A key may be changed between a request and its repeat.
#[test]
fn a_repeat_that_is_sealed_with_another_key_is_the_same_request() {
    let mut bench = Bench::new(10);
    let first = bench.save(1, "content", 1).unwrap();
    assert!(first.results[0].is_ok());
    assert_eq!(bench.save(1, "content", 2), Ok(first));
    let other = bench.save(1, "another", 2).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Invalid);
    // What is kept is what was proposed first.
    let (_, manifest) =
        crate::namespace::open_version(&bench.kv, NS, &Path::parse("/f").unwrap(), None).unwrap();
    let Content::Sealed { form, .. } = manifest.content else { panic!("it is sealed") };
    assert!(form.key == KeyId(1) && !form.bytes.is_empty());
}
