//! Goal: the whole proof finds what it is for, and nothing else: workload, history, survey and checkers together.
//! Method: a cluster in memory with the real state machine, on a paused clock; once as it should be, from several seeds,
//! and once with each of its bugs.

mod twin;

use std::time::Duration;

use client::{Cluster, Endpoints};
use env::task::run_simulated;
use env::{Env, Random};
use net::Transport;
use tokio::sync::watch;
use types::{NamespaceName, Result};

use crate::*;
use twin::{Bug, Twin};

const CLIENT_COUNT: u64 = 4;

async fn session(twin: &std::sync::Arc<Twin>, seed: u64, timeout: Duration) -> Session {
    let env = Session::env(&Env::simulated(seed));
    let endpoints = Endpoints { addresses: Twin::addresses(), transport: Transport::Quic };
    let cluster = Cluster::connect(env, twin.clone(), endpoints, timeout).await.unwrap();
    Session::new(cluster, &NamespaceName::parse("home").unwrap()).await.unwrap()
}

/// A run of so many seconds, and what was found.
async fn work(bug: Bug, seed: u64, mix: Mix, seconds: u64) -> (History, Result<Survey>) {
    let twin = Twin::new(seed, bug);
    let mut sessions = Vec::new();
    for client in 0..CLIENT_COUNT {
        // Every other client gives up before an answer that was lost is asked for again.
        let timeout = Duration::from_millis(if client % 2 == 0 { 20_000 } else { 1_500 });
        sessions.push(session(&twin, seed + client, timeout).await);
    }
    env::time::sleep(Duration::from_secs(1)).await; // Until all nodes have the namespace.
    twin.set_rough(true);
    let (stop, stopped) = watch::channel(false);
    let stopper = env::task::spawn(async move {
        env::time::sleep(Duration::from_secs(seconds)).await;
        let _ = stop.send(true);
        env::time::sleep(Duration::from_secs(3_600)).await;
    });
    let workload = Workload { mix, ..Workload::default() };
    let started = env::time::now();
    let history = run(sessions, &workload, &Random::seeded(seed), started, stopped).await.unwrap();
    stopper.abort();
    twin.set_rough(false);
    let survey = survey(&session(&twin, 99, Duration::from_secs(20)).await, 8 << 20).await;
    (history, survey)
}

/// Much in little time, and nothing large.
fn mix() -> Mix {
    Mix {
        sizes: Sizes { inline: 70, replica: 20, stripe: 5, chunks: 5, tree: 0 },
        file_count_max: 20,
        pause_ms: 5..40,
        ..Mix::default()
    }
}

#[test]
fn a_good_cluster_is_green_and_everything_is_exercised() {
    for seed in 1..=6 {
        let (history, survey) = run_simulated(seed, work(Bug::None, seed, mix(), 20));
        for verdict in check(&history, &survey) {
            assert_eq!(
                (verdict.color(), &verdict.violations[..]),
                (Color::Green, &[][..]),
                "{seed}: {verdict:?}"
            );
        }
        let unknown = history.operations.iter().filter(|o| matches!(o.outcome, Outcome::Unknown)).count();
        let refused = history.operations.iter().filter(|o| matches!(o.outcome, Outcome::Refused(..))).count();
        assert!(unknown > 3 && refused > 30, "{unknown} {refused} of {}", history.operations.len());
    }
}

/// Runs a cluster with a bug; `invariant` must be found broken.
fn find(bug: Bug, invariant: Invariant) {
    let (swap, seconds) = if bug == Bug::DoesHalves { (20, 60) } else { (mix().swap, 20) };
    let (history, survey) = run_simulated(1, work(bug, 1, Mix { swap, ..mix() }, seconds));
    let verdicts = check(&history, &survey);
    let broken: Vec<_> = verdicts.iter().filter(|verdict| verdict.color() == Color::Red).collect();
    assert!(broken.iter().any(|verdict| verdict.invariant == invariant), "{bug:?}: {broken:#?}");
    for verdict in broken {
        println!("{bug:?}: {} {}: {}", verdict.invariant, verdict.claim, verdict.violations[0]);
    }
}

#[test]
fn bugs_are_found() {
    for (bug, invariant) in [
        (Bug::LosesWrites, Invariant::Ack),
        (Bug::DoesTwice, Invariant::Lin),
        (Bug::IgnoresBase, Invariant::Cas),
        (Bug::AnswersBehind, Invariant::Lin),
        (Bug::LeadsBehind, Invariant::Lin),
        (Bug::ShowsAhead, Invariant::Lin),
        (Bug::DoesHalves, Invariant::Tree),
        (Bug::BeginsAgain, Invariant::Ack),
        (Bug::LosesChunks, Invariant::Ack),
        (Bug::SwapsContents, Invariant::Read),
        (Bug::SkipsRecords, Invariant::Jrn),
        (Bug::Diverges, Invariant::Det),
        (Bug::Hangs, Invariant::Bound),
        (Bug::LosesVoter, Invariant::Heal),
    ] {
        find(bug, invariant);
    }
}

#[test]
fn a_seed_replays() {
    let replay = |seed| {
        let (history, _) = run_simulated(seed, work(Bug::None, seed, mix(), 10));
        assert!(history.operations.len() > 500, "{}", history.operations.len());
        format!("{history:?}")
    };
    let (first, second, other) = (replay(5), replay(5), replay(6));
    assert!(first == second, "the same seed, another history");
    assert!(first != other, "another seed, the same history");
}

#[test]
fn long_files_are_read_back_piece_by_piece() {
    let sizes = Sizes { inline: 0, replica: 1, stripe: 1, chunks: 2, tree: 1 };
    let (put, overwrite, read, read_range) = (5, 1, 3, 3);
    let none = Mix { race: 0, copy: 2, shared_percent: 0, sizes, put, overwrite, read, read_range, ..mix() };
    let (history, survey) = run_simulated(3, work(Bug::None, 3, none, 4));
    let verdicts = check(&history, &survey);
    assert!(verdicts.iter().all(|verdict| verdict.color() != Color::Red), "{verdicts:#?}");
    let is_long = |operation: &&Operation| match operation.steps() {
        [Step::Commit { content, .. }] => operation.is_done() && content.recipe.size >= 22 << 20,
        _ => false,
    };
    let long = history.operations.iter().filter(is_long).count();
    let served = survey.unwrap().served;
    assert!(long > 0 && served.len() > 20, "{long} {}", served.len());
}
