//! Groups of three nodes against crashes, cut links and lost disks, on a simulated clock.
#![allow(clippy::unwrap_used)] // All of this file is a test; helpers of tests fail loudly, too.

mod harness;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use harness::{A, Cluster, GROUPS, commands, eventually, kind, replica};
use raft::{Role, Trouble};
use types::{ErrorKind, ReplicaId};

#[tokio::test(start_paused = true)]
async fn three_groups_elect_and_apply() {
    let cluster = Cluster::with_leaders(1, 3).await;
    for group in GROUPS {
        let leader = cluster.leader(group).await;
        for count in 1..=20 {
            let command = format!("{group}:{count}");
            let applied = leader.propose(Bytes::from(command.clone())).await.unwrap();
            assert_eq!((applied.index, applied.reply), (count, Bytes::from(format!("did {command}"))));
        }
        assert_eq!(leader.linearize().await.unwrap(), 20);
        assert!(leader.still_leader());
        let want: Vec<String> = (1..=20).map(|count| format!("{group}:{count}")).collect();
        for node in cluster.nodes.keys() {
            assert_eq!(cluster.caught_up(*node, group).await, want);
        }
        let status = leader.status();
        assert_eq!((status.role, status.applied, status.voters.len()), (Role::Leader, 20, 3));
    }
    // Initializing again is refused; a follower names the leader.
    let leader = cluster.leader(A).await;
    let again = cluster.group(replica(1), A).initialize(BTreeSet::from([replica(1)])).await;
    assert_eq!(kind(again), ErrorKind::Exists);
    let follower =
        cluster.nodes.keys().map(|id| cluster.group(*id, A)).find(|group| !group.is_leader()).unwrap();
    let refused = follower.propose(Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StaleEpoch);
    assert!(
        refused.message().ends_with(&format!("ask node {}", leader.leader().unwrap().node())),
        "{refused}"
    );
    assert_eq!(kind(follower.linearize().await), ErrorKind::StaleEpoch);
    assert!(!follower.still_leader());
}

/// Commands that are proposed together share entries and still get their own index and reply.
#[tokio::test(start_paused = true)]
async fn commands_are_packed() {
    let cluster = Cluster::with_leaders(2, 3).await;
    let leader = cluster.leader(A).await;
    let before = leader.status().log_last;
    let propose = |count: usize| {
        let leader = leader.clone();
        async move { leader.propose(Bytes::from(count.to_string())).await.unwrap() }
    };
    let all = futures::future::join_all((0..2000).map(propose)).await;
    let indexes: BTreeSet<u64> = all.iter().map(|applied| applied.index).collect();
    assert_eq!(indexes, (1..=2000).collect());
    assert!(all.iter().enumerate().all(|(count, applied)| applied.reply == format!("did {count}")));
    let entries = leader.status().log_last - before;
    assert!(entries <= 10, "2000 commands in {entries} entries");
    // More than the queue holds is refused at once, not queued without end.
    let many = futures::future::join_all((0..20_000).map(|_| leader.propose(Bytes::from_static(b"x")))).await;
    assert!(many.iter().any(|result| result.as_ref().is_err_and(|e| e.kind() == ErrorKind::Busy)));
    assert_eq!(kind(leader.propose(vec![0; (4 << 20) + 1].into()).await), ErrorKind::Invalid);
}

/// An isolated leader acknowledges nothing, another one is elected within seconds, and the old one finds out.
#[tokio::test(start_paused = true)]
async fn an_isolated_leader_is_replaced() {
    let cluster = Cluster::with_leaders(3, 3).await;
    cluster.propose(A, "before").await;
    let old = cluster.leader(A).await;
    let old_id = old.leader().unwrap();
    cluster.isolate(old_id, true);
    let cut_at = env::time::now();
    let lost = env::task::spawn({
        let old = old.clone();
        async move { old.propose(Bytes::from_static(b"lost")).await }
    });
    let new = cluster.leader_except(A, old_id).await;
    assert!(env::time::now() - cut_at < Duration::from_secs(5), "took {:?}", env::time::now() - cut_at);
    assert_eq!(new.propose(Bytes::from_static(b"after")).await.unwrap().index, 2);
    assert!(!old.still_leader(), "its lease is over");
    assert!(old.linearize().await.is_err(), "no read may miss `after`");
    assert_eq!(kind(lost.await.unwrap()), ErrorKind::Unavailable, "never acknowledged");

    cluster.isolate(old_id, false);
    let rejoined = cluster.caught_up(old_id, A).await;
    assert_eq!(rejoined, ["before", "after"]);
    assert_ne!(cluster.leader(A).await.leader().unwrap(), old_id, "coming back disturbs nobody");
}

/// Everything acknowledged survives the power loss of all nodes at once, again and again.
#[tokio::test(start_paused = true)]
async fn a_crash_of_all_nodes_loses_nothing() {
    for seed in 0..10 {
        let mut cluster = Cluster::with_leaders(100 + seed, 3).await;
        let mut acknowledged = Vec::new();
        for round in 0..3 {
            for count in 0..30 {
                let command = format!("{round}.{count}");
                let applied = cluster.propose(A, &command).await;
                acknowledged.push((applied.index, command));
            }
            if round == 1 {
                kv::Kv::flush(&cluster.nodes[&replica(2)].kv).unwrap();
            }
            for id in 1..=3 {
                cluster.crash(replica(id)).await;
            }
            for id in 1..=3 {
                cluster.open(replica(id)).await;
            }
            for id in 1..=3 {
                let found = cluster.caught_up(replica(id), A).await;
                for (index, command) in &acknowledged {
                    assert_eq!(&found[usize::try_from(index - 1).unwrap()], command, "seed {seed} node {id}");
                }
                assert!(cluster.nodes[&replica(id)].machines[&A].restored.lock().unwrap().is_some());
            }
        }
    }
}

/// Nodes crash one after the other while commands keep coming; all copies end up equal.
#[tokio::test(start_paused = true)]
async fn rolling_crashes() {
    for seed in 0..5 {
        let mut cluster = Cluster::with_leaders(200 + seed, 3).await;
        let mut acknowledged = BTreeSet::new();
        for round in 0..9u64 {
            let down = replica(round % 3 + 1);
            cluster.crash(down).await;
            for count in 0..5 {
                let command = format!("{round}.{count}");
                cluster.propose(A, &command).await;
                acknowledged.insert(command);
            }
            cluster.open(down).await;
        }
        let first = cluster.caught_up(replica(1), A).await;
        assert!(acknowledged.iter().all(|command| first.contains(command)), "seed {seed}");
        for id in 2..=3 {
            assert_eq!(cluster.caught_up(replica(id), A).await, first, "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_voter_becomes_three_and_one_again() {
    let cluster = Cluster::start(5, 3).await;
    let first = cluster.group(replica(1), A);
    first.initialize(BTreeSet::from([replica(1)])).await.unwrap();
    cluster.propose(A, "alone").await;
    assert!(first.linearize().await.is_ok() && first.still_leader(), "a majority of one");

    let three: BTreeSet<ReplicaId> = (1..=3).map(replica).collect();
    first.set_voters(three.clone()).await.unwrap();
    cluster.propose(A, "three").await;
    for id in 1..=3 {
        assert_eq!(cluster.caught_up(replica(id), A).await, ["alone", "three"]);
        assert_eq!(cluster.group(replica(id), A).voters(), three);
    }
    first.add_learner(replica(2)).await.unwrap();
    assert_eq!(first.voters(), three, "a voter stays one");

    first.transfer_leader(replica(2)).await.unwrap();
    let second = cluster.group(replica(2), A);
    eventually("new leader", async || second.is_leader().then_some(())).await;
    cluster.propose(A, "second").await;
    second.set_voters(BTreeSet::from([replica(2)])).await.unwrap();
    cluster.isolate(replica(2), true);
    let applied = second.propose(Bytes::from_static(b"alone again")).await.unwrap();
    assert_eq!(applied.index, 4);
    let follower = cluster.group(replica(3), A);
    assert_eq!(kind(follower.wait_applied(4, Duration::from_secs(1)).await), ErrorKind::Busy);
}

/// A voter that cannot be reached is not made one: the group would stand still until it is.
#[tokio::test(start_paused = true)]
async fn an_unreachable_node_gets_no_vote() {
    let cluster = Cluster::start(8, 3).await;
    let first = cluster.group(replica(1), A);
    first.initialize(BTreeSet::from([replica(1)])).await.unwrap();
    cluster.isolate(replica(3), true);
    let three: BTreeSet<ReplicaId> = (1..=3).map(replica).collect();
    let change = env::task::spawn({
        let (first, three) = (first.clone(), three.clone());
        async move { first.set_voters(three).await }
    });
    env::time::sleep(Duration::from_secs(60)).await;
    cluster.propose(A, "not held up").await;
    let refused = change.await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert_eq!(first.voters(), BTreeSet::from([replica(1)]));
    cluster.isolate(replica(3), false);
    first.set_voters(three.clone()).await.unwrap();
    assert_eq!(first.voters(), three);
}

/// The only voter leads as soon as it is started.
#[tokio::test(start_paused = true)]
async fn a_lone_voter_does_not_wait() {
    let mut cluster = Cluster::with_leaders(9, 1).await;
    cluster.propose(A, "first").await;
    cluster.crash(replica(1)).await;
    let start = env::time::now();
    cluster.open(replica(1)).await;
    assert_eq!(cluster.propose(A, "second").await.index, 2);
    assert!(env::time::now() - start < Duration::from_millis(100), "{:?}", env::time::now() - start);
}

/// A leader whose disk fails acknowledges nothing more, and the others go on without it.
#[tokio::test(start_paused = true)]
async fn a_broken_disk_costs_the_leadership() {
    let cluster = Cluster::with_leaders(6, 3).await;
    cluster.propose(A, "before").await;
    let old = cluster.leader(A).await;
    let old_id = old.leader().unwrap();
    let node = &cluster.nodes[&old_id];
    for name in node.env.disk.read_dir(std::path::Path::new("/log")).unwrap() {
        node.disk.fail_syncs(&std::path::Path::new("/log").join(name));
    }
    // The others may still commit it: then its fate is unknown to the caller, never a success.
    assert_eq!(kind(old.propose(Bytes::from_static(b"unsure")).await), ErrorKind::Unavailable);
    let new = cluster.leader_except(A, old_id).await;
    new.propose(Bytes::from_static(b"after")).await.unwrap();
    assert_eq!(kind(old.propose(Bytes::from_static(b"never")).await), ErrorKind::Unavailable);
    assert_eq!(old.status().role, Role::Stopped);
    let mut trouble = node.host.as_ref().unwrap().trouble();
    let trouble = trouble.wait_for(Option::is_some).await.unwrap().clone();
    assert!(matches!(trouble, Some(Trouble::Log(_))), "{trouble:?}");
    assert!(commands(&new).iter().all(|command| command != "never"));
}

/// Messages for unknown groups and nonsense are answered with errors.
#[tokio::test(start_paused = true)]
async fn strange_messages_are_refused() {
    let cluster = Cluster::with_leaders(7, 1).await;
    let host = cluster.nodes[&replica(1)].host.clone().unwrap();
    for bad in [&b""[..], b"\x01", b"\x02\x00\x00", &[1; 300]] {
        assert!(host.handle(replica(1).node(), Bytes::copy_from_slice(bad)).await.is_err(), "{bad:?}");
    }
    let mut unknown = vec![1u8, 99, 1, 3];
    unknown.extend([0; 8]);
    assert!(host.handle(replica(1).node(), unknown.into()).await.is_err());
    assert_eq!(host.groups().len(), 3);
}

/// The same seed gives the same history, to the millisecond; another seed gives another.
#[tokio::test(start_paused = true)]
async fn a_seed_replays() {
    async fn history(seed: u64) -> Vec<String> {
        let start = env::time::now();
        let mut cluster = Cluster::with_leaders(seed, 3).await;
        let mut history = Vec::new();
        for round in 0..4 {
            let leader = cluster.leader(A).await;
            let id = leader.leader().unwrap();
            let applied = cluster.propose(A, &round.to_string()).await;
            let status = leader.status();
            history.push(format!(
                "{:?} {id} {} {} {}",
                env::time::now() - start,
                status.term,
                status.log_last,
                applied.index
            ));
            cluster.crash(id).await;
            cluster.propose(A, "meanwhile").await;
            cluster.open(id).await;
        }
        history
    }
    let first = history(1).await;
    assert_eq!(history(1).await, first);
    assert_ne!(history(2).await, first);
}
