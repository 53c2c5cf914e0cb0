//! Goal: a command is applied, refused by its reply, skipped, or the group stops before it. Method: a machine whose
//! commands say what becomes of them, alone and as a group of one.

use std::time::Duration;

use env::Env;
use kv::{MemKv, Read};
use types::{NodeId, PartitionId, ReplicaId, Start};

use super::*;
use crate::log::EntryId;
use crate::{GroupStatus, Host, HostConfig, Last, Role, Trouble, skip};

const GROUP: PartitionId = PartitionId(3);

/// Writes each command under its index. A command says what comes after: `halt`, `rot`, `panic`, or nothing. `restored` fails
/// when it is told so.
struct Rows {
    is_damaged: bool,
}

impl StateMachine for Rows {
    fn apply(&self, state: &mut Overlay<'_>, index: u64, command: &[u8]) -> Result<Bytes> {
        state.put(index.to_be_bytes().to_vec(), command.to_vec());
        match command {
            b"halt" => Err(Error::internal("no build can read it")),
            b"rot" => Err(Error::corrupt("a block does not match its checksum")),
            b"panic" => panic!("a broken promise"),
            _ => Ok(Bytes::copy_from_slice(command)),
        }
    }

    fn skipped(&self, index: u64, reason: &str) -> Bytes {
        format!("{index} skipped: {reason}").into()
    }

    fn restored(&self, _state: &dyn Read) -> Result<()> {
        if self.is_damaged { Err(Error::corrupt("a block does not match its checksum")) } else { Ok(()) }
    }
}

#[async_trait::async_trait]
impl crate::Network for Rows {
    async fn send(&self, _: NodeId, _: Bytes, _: Duration) -> Result<Bytes> {
        Err(Error::unavailable("nobody is there"))
    }
}

fn entry(index: u64, commands: &[&'static str]) -> Entry {
    let commands = commands.iter().map(|command| Bytes::from_static(command.as_bytes())).collect();
    Entry { log_id: EntryId { term: 1, index }.into(), payload: EntryPayload::Normal(Commands(commands)) }
}

fn open(kv: &MemKv) -> Machine {
    let store = Arc::new(StateStore::open(Arc::new(kv.clone()), GROUP).unwrap());
    let skipped = skip::load(kv, GROUP).unwrap();
    Machine::new(store, Arc::new(Rows { is_damaged: false }), skipped, watch::channel(0).0, None)
}

fn rows(read: &dyn Read) -> Vec<(u64, String)> {
    let mut rows = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        let index = u64::from_be_bytes(key.try_into().unwrap());
        rows.push((index, String::from_utf8(value.to_vec()).unwrap()));
        std::ops::ControlFlow::Continue(())
    };
    read.scan(b"", b"", kv::Order::Forward, visit).unwrap();
    rows
}

/// Applies entries as one batch: the replies, or why there are none.
fn apply(machine: &Machine, entries: &[Entry]) -> Result<Vec<String>> {
    let replies = machine.apply_batch(entries)?.into_iter().flat_map(|replies| replies.replies);
    Ok(replies.map(|reply| String::from_utf8(reply.to_vec()).unwrap()).collect())
}

#[test]
fn a_halt_leaves_nothing_of_its_batch() {
    for (bad, want) in [("halt", "no build"), ("rot", "checksum"), ("panic", "applying command 3 panics")] {
        let machine = open(&MemKv::new(1));
        assert_eq!(apply(&machine, &[entry(1, &["a"])]), Ok(vec!["a".to_owned()]));
        let error = apply(&machine, &[entry(2, &["b", bad]), entry(3, &["c"])]).unwrap_err();
        assert!(error.message().contains(want), "{error}");
        assert_eq!(rows(&machine.store.read()), [(1, "a".to_owned())]);
        let meta = machine.store.meta();
        assert_eq!((meta.commands, meta.log.map(|id| id.index())), (1, Some(1)));
        assert_eq!(*machine.applied.borrow(), 1);
    }
}

/// What is skipped is counted and answered, and changes nothing; every replica that does so has the same.
#[test]
fn a_skipped_command_is_left_out_everywhere() {
    let log = [entry(1, &["a", "b"]), entry(2, &["halt", "c"]), entry(3, &["d"])];
    let states = [1, 2].map(|seed| {
        let kv = MemKv::new(seed);
        assert!(apply(&open(&kv), &log).is_err());
        skip(&kv, GROUP, 3, "it cannot be read").unwrap();
        let machine = open(&kv);
        let replies = apply(&machine, &log).unwrap();
        assert_eq!(replies, ["a", "b", "3 skipped: it cannot be read", "c", "d"]);
        assert_eq!(machine.store.meta().commands, 5);
        let error = skip(&kv, GROUP, 5, "too late").unwrap_err();
        assert!(error.message().contains("all up to 5"), "{error}");
        rows(&machine.store.read())
    });
    assert_eq!(states[0], [(1, "a"), (2, "b"), (4, "c"), (5, "d")].map(|(at, c)| (at, c.to_owned())));
    assert_eq!(states[0], states[1]);
}

fn replica() -> ReplicaId {
    ReplicaId::new(NodeId(1), 1)
}

async fn host(env: &Env, kv: &MemKv) -> Host {
    let config = HostConfig::new(replica(), Start::default(), Last::default(), "/log".into());
    let network = Arc::new(Rows { is_damaged: false });
    Host::open(env.clone(), config, Arc::new(kv.clone()), network).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_state_cannot_be_read_is_not_opened() {
    let host = host(&Env::simulated(1), &MemKv::new(1)).await;
    let error = host.open_group(GROUP, Arc::new(Rows { is_damaged: true })).await.unwrap_err();
    assert!(error.message().contains("open partition 3: a block does not match"), "{error}");
    assert!(host.groups().is_empty());
}

/// Waits until the group is as wanted.
async fn wait(host: &Host, wanted: impl Fn(&GroupStatus) -> bool) {
    for _ in 0..2_000 {
        if wanted(&host.status(GROUP).unwrap()) {
            return;
        }
        env::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {:?}", host.status(GROUP));
}

/// The proposer is told that nobody knows, the group stops on this node, others go on. It is started again and again, and
/// with the command skipped it goes on, too.
#[tokio::test(start_paused = true)]
async fn a_group_stops_before_a_command_that_it_cannot_apply() {
    let (env, kv) = (Env::simulated(1), MemKv::new(1));
    let host = host(&env, &kv).await;
    let rows = || Arc::new(Rows { is_damaged: false });
    let (group, other) = (
        host.open_group(GROUP, rows()).await.unwrap(),
        host.open_group(PartitionId(4), rows()).await.unwrap(),
    );
    for group in [&group, &other] {
        group.initialize([replica()].into()).await.unwrap();
        group.propose("a".into()).await.unwrap();
    }
    let error = group.propose("halt".into()).await.unwrap_err();
    assert_eq!(error.kind(), types::ErrorKind::Unavailable, "{error}");
    assert_eq!((group.status().role, group.applied()), (Role::Stopped, 1));
    assert_eq!(other.propose("b".into()).await.unwrap().index, 2);
    wait(&host, |status| status.restarts > 2 && status.problem.is_some()).await;
    skip(&kv, GROUP, 2, "it cannot be read").unwrap();
    wait(&host, |status| status.role == Role::Leader).await;
    let group = host.group(GROUP).unwrap();
    group.wait_applied(2, Duration::from_secs(10)).await.unwrap();
    assert_eq!(group.propose("c".into()).await.unwrap().index, 3);
    assert_eq!(
        group.skipped().unwrap().into_iter().collect::<Vec<_>>(),
        [(2, "it cannot be read".to_owned())]
    );
}

/// What is wrong with the state is for whoever opened the store: starting the group again would not help.
#[tokio::test(start_paused = true)]
async fn rot_under_a_group_is_reported() {
    let (env, kv) = (Env::simulated(1), MemKv::new(1));
    let host = host(&env, &kv).await;
    let group = host.open_group(GROUP, Arc::new(Rows { is_damaged: false })).await.unwrap();
    group.initialize([replica()].into()).await.unwrap();
    group.propose("rot".into()).await.unwrap_err();
    let mut trouble = host.trouble();
    let found = env::time::timeout(Duration::from_secs(60), trouble.wait_for(Option::is_some)).await;
    let found = found.expect("it is reported").unwrap().clone();
    assert!(matches!(&found, Some(Trouble::State(e)) if e.message().contains("checksum")), "{found:?}");
    assert_eq!(host.status(GROUP).unwrap().restarts, 0);
}
