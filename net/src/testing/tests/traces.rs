//! Goal: a seed decides all that happens on the network, and a trace shows all of it.
//! Method: calls over a bad network on a simulated runtime, and the list of its events.

use std::collections::BTreeMap;

use super::*;
use crate::testing::LinkEventKind::*;

type Written = Arc<Mutex<Vec<LinkEvent>>>;

/// Writes down every event of `network`.
fn trace(network: &Switchboard) -> Written {
    let written = Written::default();
    let target = written.clone();
    network.on_event(move |event| target.lock().unwrap().push(*event));
    written
}

fn lines(written: &Written) -> Vec<String> {
    written.lock().unwrap().iter().map(LinkEvent::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn a_trace_reads_like_a_log() {
    let two = Two::new();
    let written = trace(&two.network);
    two.network.set_default(link(ms(15)));
    let stat = proto::Method::Stat as u16;
    call(&two.dial, two.b, request(stat, b"head", "body!"), TIMEOUT).await.unwrap_err();
    two.network.cut(two.a, two.b);
    two.call(40_000).await.unwrap_err();
    two.network.heal_all();
    two.network.detach(two.b);
    two.call(ECHO).await.unwrap_err();
    let want = [
        "0.000 #1 Sent Stat 10.0.0.1:1 > 10.0.0.2:1 4+5",
        "0.015 #1 Delivered Stat 10.0.0.1:1 > 10.0.0.2:1 4+5",
        "0.015 #1 Answered Stat 10.0.0.2:1 > 10.0.0.1:1 14+0",
        "0.030 #1 Returned Stat 10.0.0.2:1 > 10.0.0.1:1 14+0",
        "0.030 #2 Sent method 40000 10.0.0.1:1 > 10.0.0.2:1 0+0",
        "0.030 #2 Lost method 40000 10.0.0.1:1 > 10.0.0.2:1 0+0",
        "2.530 #2 TimedOut method 40000 10.0.0.1:1 > 10.0.0.2:1 0+0",
        "2.530 #3 Sent method 1001 10.0.0.1:1 > 10.0.0.2:1 0+0",
        "2.560 #3 Refused method 1001 10.0.0.1:1 > 10.0.0.2:1 0+0",
    ];
    assert_eq!(lines(&written), want);
}

#[tokio::test(start_paused = true)]
async fn a_hook_may_act() {
    let two = Two::new();
    let (network, a, b) = (two.network.clone(), two.a, two.b);
    two.network.on_event(move |event| {
        if event.kind == Delivered {
            network.cut_one_way(b, a);
        }
    });
    two.check(ECHO, Err("silent"), SILENCE).await;

    // Taken away between a request and its copy: neither reaches it.
    let two = Two::new();
    let (network, b) = (two.network.clone(), two.b);
    two.network.set_default(LinkFaults { duplicate_per_million: 1_000_000, ..LinkFaults::default() });
    two.network.on_event(move |event| {
        if event.kind == Duplicated {
            network.detach(b);
        }
    });
    two.check(ECHO, Err("closed"), Duration::ZERO).await;
    assert_eq!(two.network.counts().delivered, 0);
}

#[tokio::test]
#[should_panic(expected = "one hook")]
async fn a_second_hook_is_a_mistake() {
    let network = Switchboard::new();
    network.on_event(|_| {});
    network.on_event(|_| {});
}

#[cfg(tokio_unstable)]
mod seeded {
    use std::collections::BTreeSet;
    use std::num::NonZeroU64;

    use env::task::{self, JoinSet};

    use super::*;

    const NODES: u8 = 5;

    /// A node that answers some calls by asking others, in up to three steps.
    struct Relay {
        dial: Arc<dyn Dial>,
        random: Random,
    }

    #[async_trait]
    impl Service for Relay {
        async fn call(&self, _caller: &Caller, mut request: Request, _deadline: Instant) -> Result<Reply> {
            if request.method > 1 {
                request.method -= 1;
                task::blocking(|| Ok(())).await?;
                let next = address(1 + u8::try_from(self.random.below(NODES.into())).unwrap());
                call(&self.dial, next, request, ms(400)).await?;
            }
            Ok(Reply::default())
        }
    }

    fn bad() -> LinkFaults {
        LinkFaults {
            delay: ms(3),
            jitter: Jitter::HeavyTail { usual: ms(4), most: ms(900) },
            loss_per_million: 40_000,
            late_per_million: 40_000,
            late_by: ms(200),
            duplicate_per_million: 60_000,
            bytes_per_second: NonZeroU64::new(100_000),
        }
    }

    fn start(network: &Switchboard, id: u8, random: &Random) -> Owner {
        let owner = Owner::new(format!("node {id}"), Random::seeded(random.u64()));
        let (network, random) = (network.clone(), Random::seeded(random.u64()));
        owner.spawn(async move {
            let dial = network.dialer(address(id), Identity::Anonymous);
            network.attach(address(id), Arc::new(Relay { dial, random }));
        });
        owner
    }

    /// Kills, pauses and cuts off nodes, then makes all well.
    async fn trouble(network: &Switchboard, random: &Random) -> Vec<Owner> {
        let mut nodes: Vec<Owner> = (1..=NODES).map(|id| start(network, id, random)).collect();
        for _ in 0..40 {
            let id = u8::try_from(random.below(NODES.into())).unwrap();
            let node = &mut nodes[usize::from(id)];
            match random.below(4) {
                0 => {
                    node.kill();
                    network.detach(address(id + 1));
                    time::sleep(ms(20)).await;
                    *node = start(network, id + 1, random);
                }
                1 => {
                    node.pause();
                    time::sleep(ms(60)).await;
                    node.resume();
                }
                2 => network.isolate(address(id + 1)),
                _ => network.heal_all(),
            }
            time::sleep(ms(random.below(50))).await;
        }
        network.heal_all();
        nodes
    }

    async fn live(network: Switchboard, random: Random) {
        let mut clients = JoinSet::new();
        for id in 11..=14 {
            let dial = network.dialer(address(id), Identity::Anonymous);
            let random = Random::seeded(random.u64());
            clients.spawn(async move {
                for _ in 0..150 {
                    let to = address(1 + u8::try_from(random.below(NODES.into())).unwrap());
                    let method = u16::try_from(1 + random.below(3)).unwrap();
                    let body = vec![0; random.below(2000) as usize];
                    let _ = call(&dial, to, request(method, b"", body), ms(800)).await;
                    time::sleep(ms(random.below(10))).await;
                }
            });
        }
        let nodes = trouble(&network, &random).await;
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
        // The latest copy of a request, and what it asks for.
        time::sleep(ms(10_000)).await;
        assert_eq!(network.open_calls(), BTreeMap::new());
        assert_eq!(nodes.iter().map(Owner::task_count).sum::<usize>(), 0);
    }

    /// Runs from `seed`: the trace, if asked for, and the counts.
    fn run(seed: u64, traced: bool) -> (Vec<LinkEvent>, LinkCounts) {
        task::run_simulated(seed, async {
            let random = Random::seeded(seed);
            let network = Switchboard::seeded(Random::seeded(random.u64()));
            network.set_default(bad());
            let written = if traced { trace(&network) } else { Written::default() };
            live(network.clone(), random).await;
            let events = written.lock().unwrap().clone();
            (events, network.counts())
        })
    }

    #[test]
    fn a_seed_replays_to_the_last_event() {
        let (events, counts) = run(1, true);
        assert!(run(1, true) == (events.clone(), counts), "another run of the same seed differs");
        assert_eq!(run(1, false).1, counts, "watching changes nothing");
        assert!(run(2, true).0 != events, "another seed is another run");
    }

    #[test]
    fn the_counts_are_those_of_the_trace_and_everything_was_exercised() {
        let (mut all, mut unseen) = (0, BTreeSet::new());
        for seed in 1..=5 {
            let (events, counts) = run(seed, true);
            let mut seen: BTreeMap<LinkEventKind, u64> = BTreeMap::new();
            events.iter().for_each(|event| *seen.entry(event.kind).or_default() += 1);
            let rows = counts.rows();
            // The first ten rows are those of the events.
            let kinds = [
                Sent, Duplicated, Delivered, Lost, Answered, AnswerLost, Returned, Refused, Closed, TimedOut,
            ];
            for (kind, (name, count)) in kinds.iter().zip(&rows) {
                assert_eq!(seen.get(kind).copied().unwrap_or(0), *count, "{name}");
            }
            if seed == 1 {
                unseen = rows.iter().map(|(name, _)| *name).collect();
            }
            unseen.retain(|unseen| rows.iter().any(|(name, count)| name == unseen && *count == 0));
            assert_eq!(counts.lost + counts.answers_lost, counts.dropped + counts.cut + counts.crowded);
            all += events.len();
        }
        assert!(all > 10_000, "{all}");
        // The queue of a link at this speed never gets ten seconds long.
        assert_eq!(unseen, BTreeSet::from(["crowded"]));
    }

    /// Nobody is told two things, and nobody waits for ever: a call without an end is that of a killed caller.
    #[test]
    fn every_call_has_one_end() {
        let (events, _) = run(3, true);
        let mut ends: BTreeMap<u64, u64> = BTreeMap::new();
        let mut at = Duration::ZERO;
        for event in &events {
            assert!(event.at >= at, "time goes on");
            at = event.at;
            let count = ends.entry(event.letter.number).or_default();
            *count += u64::from(matches!(event.kind, Returned | Refused | Closed | TimedOut));
        }
        assert!(ends.values().all(|count| *count <= 1));
        let is_client = |event: &&LinkEvent| event.kind == Sent && event.letter.from > address(10);
        assert!(events.iter().filter(is_client).all(|event| ends[&event.letter.number] == 1));
    }
}
