//! Goal: every fault of a link does what it says, to requests and answers alike.
//! Method: the choice alone with plain numbers, then calls over links with one fault.

use std::num::NonZeroU64;

use super::*;
use crate::testing::cuts::Cuts;
use crate::testing::link::Direction;

/// Passes messages of `size` bytes at the same moment; when each arrives, in ms, and what was counted.
fn pass(faults: LinkFaults, size: usize, count: usize, seed: u64) -> (Vec<Option<u64>>, LinkCounts) {
    let (random, now) = (Random::seeded(seed), time::now());
    let (mut direction, mut counts) = (Direction::default(), LinkCounts::default());
    let mut arrival = || faults.pass(&mut direction, &random, &mut counts, now, size);
    let arrivals = (0..count).map(|_| arrival().map(|at| u64::try_from((at - now).as_millis()).unwrap()));
    (arrivals.collect(), counts)
}

#[test]
fn a_message_takes_what_its_link_says() {
    let per_second = |speed| LinkFaults { bytes_per_second: NonZeroU64::new(speed), ..LinkFaults::default() };
    let late = LinkFaults { late_per_million: 1_000_000, late_by: ms(500), ..link(ms(7)) };
    for (faults, size, want) in [
        (LinkFaults::default(), 1_000_000, [Some(0), Some(0), Some(0)]),
        (link(ms(7)), 0, [Some(7), Some(7), Some(7)]),
        (link(Duration::from_micros(1)), 0, [Some(1), Some(1), Some(1)]),
        (late, 0, [Some(507), Some(507), Some(507)]),
        (lossy(), 0, [None, None, None]),
        (per_second(1000), 1000, [Some(1000), Some(2000), Some(3000)]),
        (per_second(1_000_000), 100, [Some(1), Some(1), Some(1)]),
        (LinkFaults { delay: ms(50), ..per_second(1000) }, 10, [Some(60), Some(70), Some(80)]),
        // The second begins when ten seconds are over, the third would wait longer than that.
        (per_second(100), 1000, [Some(10_000), Some(20_000), None]),
    ] {
        assert_eq!(pass(faults, size, 3, 1).0, want, "{faults:?}");
    }
}

#[test]
fn jitter_spreads_messages_and_lets_them_overtake() {
    let uniform = LinkFaults { jitter: Jitter::Uniform(ms(20)), ..link(ms(10)) };
    let tail = Jitter::HeavyTail { usual: ms(10), most: ms(1000) };
    let tail = LinkFaults { jitter: tail, ..LinkFaults::default() };
    for (faults, min, max) in [(uniform, 10, 30), (tail, 0, 1000)] {
        let (arrivals, counts) = pass(faults, 0, 10_000, 1);
        let mut arrivals: Vec<u64> = arrivals.into_iter().flatten().collect();
        assert_eq!(arrivals.len(), 10_000);
        assert!(counts.overtaken > 5000, "{counts:?}");
        arrivals.sort_unstable();
        assert!(arrivals[0] <= min + 1 && arrivals[0] >= min && arrivals[9999] == max, "{faults:?}");
    }
    let count_over = |least: u64| pass(tail, 0, 10_000, 1).0.iter().filter(|at| **at > Some(least)).count();
    let tail = [count_over(10), count_over(100), count_over(999)];
    assert!((3_200..3_500).contains(&tail[0]), "{tail:?}");
    assert!((300..420).contains(&tail[1]) && tail[2] > 20, "{tail:?}");
}

#[test]
fn chance_is_what_was_asked_for() {
    let faults =
        LinkFaults { loss_per_million: 100_000, late_per_million: 10_000, late_by: ms(9), ..link(ms(1)) };
    let (arrivals, counts) = pass(faults, 0, 100_000, 1);
    assert!((9_500..10_500).contains(&counts.dropped) && (800..1000).contains(&counts.late), "{counts:?}");
    let count = |want| arrivals.iter().filter(|at| **at == want).count() as u64;
    assert_eq!((count(None), count(Some(10))), (counts.dropped, counts.late));
    assert_eq!(pass(faults, 0, 1000, 1), pass(faults, 0, 1000, 1));
    assert_ne!(pass(faults, 0, 1000, 1), pass(faults, 0, 1000, 2));
}

/// I-LIN rests on it: what failed with `Unavailable` may have been done.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_means_that_the_work_was_done() {
    for (is_answer, runs) in [(false, 0), (true, 1)] {
        for (timeout, part, took) in [(TIMEOUT, "silent", SILENCE), (ms(100), "in time", ms(100))] {
            let two = Two::new();
            let (from, to) = if is_answer { (two.b, two.a) } else { (two.a, two.b) };
            two.network.set_link(from, to, lossy());
            two.service.gate.add_permits(1);
            let started = time::now();
            let error = call(&two.dial, two.b, request(WAIT, b"", ""), timeout).await.unwrap_err();
            assert!(error.message().contains(part) && started.elapsed() == took, "{error}");
            assert_eq!(two.service.finished.load(SeqCst), runs);
            let counts = two.network.counts();
            let want = (1 - runs as u64, runs as u64, 1, 1);
            assert_eq!((counts.lost, counts.answers_lost, counts.dropped, counts.timed_out), want);
            two.check_nothing_left();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicated_request_runs_twice_and_is_answered_once() {
    let two = Two::new();
    let duplicate = LinkFaults { duplicate_per_million: 1_000_000, ..LinkFaults::default() };
    two.network.set_default(duplicate);
    two.service.gate.add_permits(2);
    two.check(WAIT, Ok(()), Duration::ZERO).await;
    time::sleep(ms(1)).await;
    assert_eq!(two.service.finished.load(SeqCst), 2);
    let counts = two.network.counts();
    assert_eq!((counts.sent, counts.duplicated, counts.delivered), (1, 1, 2));
    assert_eq!((counts.answered, counts.returned), (2, 1));
    two.check_nothing_left();

    // A copy whose original is still in progress counts as load, and is no reason to wait.
    two.service.gate.add_permits(1);
    two.check(WAIT, Ok(()), Duration::ZERO).await;
    assert_eq!(two.network.open_calls(), BTreeMap::from([(two.b, OpenCalls { asked: 0, answering: 1 })]));
}

/// Asks ten things at once, in order; what the service saw.
async fn order(seed: u64, faults: LinkFaults) -> (Vec<String>, u64) {
    let (network, service) = (Switchboard::seeded(Random::seeded(seed)), Arc::new(Recorder::default()));
    network.set_link(address(1), address(2), faults);
    network.attach(address(2), service.clone());
    let dial = network.dialer(address(1), Identity::Anonymous);
    let ask = |header: &'static [u8]| call(&dial, address(2), request(ECHO, header, ""), TIMEOUT);
    let headers: [&[u8]; 10] = [b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"];
    for done in futures::future::join_all(headers.map(ask)).await {
        done.unwrap();
    }
    let seen = service.lines().iter().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect();
    (seen, network.counts().overtaken)
}

#[tokio::test(start_paused = true)]
async fn late_requests_are_overtaken() {
    let in_order: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    assert_eq!(order(1, LinkFaults::default()).await, (in_order.clone(), 0));
    let faults = LinkFaults { late_per_million: 300_000, late_by: ms(50), ..link(ms(1)) };
    let (first, overtaken) = order(1, faults).await;
    assert!(first != in_order && overtaken > 0, "{first:?}");
    assert_eq!(order(1, faults).await, (first.clone(), overtaken));
    assert_ne!(order(2, faults).await.0, first);
    let mut sorted = first;
    sorted.sort();
    assert_eq!(sorted, in_order);
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_queues() {
    let two = Two::new();
    let slow = LinkFaults { bytes_per_second: NonZeroU64::new(1024), ..LinkFaults::default() };
    two.network.set_link(two.a, two.b, slow);
    let started = time::now();
    let two = &two;
    let ask = |count: usize| {
        // 24 bytes go before each.
        let request = Request { body: vec![0; 1000].into(), ..request(ECHO, b"", "") };
        async move {
            call(&two.dial, two.b, request, TIMEOUT * 10).await.map(|_| (count, started.elapsed().as_secs()))
        }
    };
    let done = futures::future::join_all((1..=13).map(ask)).await;
    for (count, done) in (1..=11).zip(&done) {
        assert_eq!(done, &Ok((count, count as u64)));
    }
    assert!(done[11].is_err() && done[12].is_err(), "the queue is ten seconds long");
    let counts = two.network.counts();
    assert_eq!((counts.slowed, counts.crowded, counts.lost), (11, 2, 2));
}

#[test]
fn cuts_are_sets_of_pairs() {
    fn hears(cuts: &Cuts) -> String {
        let ids = [1, 2, 3, 4];
        let heard = |to| ids.into_iter().filter(move |from| !cuts.is_cut(address(*from), address(to)));
        ids.map(|to| heard(to).map(|from| from.to_string()).collect::<String>()).join(" ")
    }
    let [a, b, c, d] = [1, 2, 3, 4].map(address);
    type Step<'a> = &'a dyn Fn(&mut Cuts);
    let steps: [(Step<'_>, &str); 13] = [
        (&|_| {}, "1234 1234 1234 1234"),
        (&|cuts| cuts.cut_one_way(a, b), "1234 234 1234 1234"),
        (&|cuts| cuts.cut(c, d), "1234 234 123 124"),
        (&|cuts| cuts.heal(b, a), "1234 1234 123 124"),
        (&|cuts| cuts.heal_all(), "1234 1234 1234 1234"),
        (&|cuts| cuts.partition(&[&[a, b], &[c]]), "124 124 34 1234"),
        (&|cuts| cuts.partition(&[&[a], &[b], &[c, d]]), "1 2 34 34"),
        (&|cuts| cuts.rejoin(a), "1234 12 134 134"),
        (&|cuts| cuts.heal_all(), "1234 1234 1234 1234"),
        (&|cuts| cuts.isolate(a), "1 234 234 234"),
        (&|cuts| cuts.isolate(b), "1 2 34 34"),
        (&|cuts| cuts.heal(a, c), "13 2 134 34"),
        (&|cuts| cuts.rejoin(b), "13 234 1234 234"),
    ];
    let mut cuts = Cuts::default();
    for (index, (step, want)) in steps.into_iter().enumerate() {
        step(&mut cuts);
        assert_eq!(hears(&cuts), want, "after step {index}");
    }
    assert!(cuts.is_cut(a, address(9)) && cuts.is_cut(address(9), a), "who comes later");
}

#[tokio::test(start_paused = true)]
async fn a_partition_separates_its_sides() {
    let network = Switchboard::new();
    let nodes = [1, 2, 3, 4].map(address);
    nodes.iter().for_each(|node| network.attach(*node, Arc::new(Recorder::default())));
    let reached = || async {
        let mut pairs = Vec::new();
        for (from, to) in (0..4).flat_map(|from| (0..4).map(move |to| (from, to))) {
            let dial = network.dialer(nodes[from], Identity::Anonymous);
            if call(&dial, nodes[to], request(ECHO, b"", ""), ms(10)).await.is_ok() {
                pairs.push(format!("{}{}", from + 1, to + 1));
            }
        }
        pairs.join(" ")
    };
    network.partition(&[&nodes[..2], &nodes[2..]]);
    assert_eq!(reached().await, "11 12 21 22 33 34 43 44");
    network.heal_all();
    network.isolate(nodes[3]);
    assert_eq!(reached().await, "11 12 13 21 22 23 31 32 33 44");
    network.rejoin(nodes[3]);
    // A request and its answer need both directions.
    network.cut_one_way(nodes[0], nodes[1]);
    assert_eq!(reached().await, "11 13 14 22 23 24 31 32 33 34 41 42 43 44");
}

#[tokio::test(start_paused = true)]
async fn a_cut_takes_what_is_on_its_way() {
    for (healed_after, delivered) in [(ms(90), 0), (ms(40), 1)] {
        let two = Two::new();
        two.network.set_default(link(ms(60)));
        two.service.gate.add_permits(1);
        let cut = async {
            time::sleep(ms(10)).await;
            two.network.cut(two.a, two.b);
            time::sleep(healed_after - ms(10)).await;
            two.network.heal(two.a, two.b);
        };
        let (got, ()) = tokio::join!(two.call(WAIT), cut);
        assert_eq!((got.is_ok(), two.network.counts().delivered), (delivered == 1, delivered));
        two.check_nothing_left();
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_travels_as_well() {
    let two = Two::new();
    two.network.detach(two.b);
    two.network.set_default(link(ms(30)));
    two.check(ECHO, Err("connection refused"), ms(60)).await;
    two.network.cut_one_way(two.b, two.a);
    two.check(ECHO, Err("silent"), ms(30) + SILENCE).await;
    two.network.heal_all();
    two.network.cut_one_way(two.a, two.b);
    two.check(ECHO, Err("silent"), SILENCE).await;
    let counts = two.network.counts();
    assert_eq!((counts.refused, counts.answers_lost, counts.lost), (1, 1, 1));
    two.check_nothing_left();
}

/// What is said of one port holds for all of its machine.
#[tokio::test(start_paused = true)]
async fn a_machine_always_hears_itself() {
    let two = Two::new();
    let (control, recorder) = (SocketAddr::new(two.b.ip(), 2), Arc::new(Recorder::default()));
    two.network.attach(control, recorder);
    two.network.set_default(LinkFaults { delay: ms(10), ..lossy() });
    two.network.isolate(two.b);
    let dial = two.network.dialer(two.b, Identity::Anonymous);
    for to in [two.b, control] {
        call(&dial, to, request(ECHO, b"", ""), ms(1)).await.unwrap();
    }
    two.network.set_default(LinkFaults::default());
    two.network.heal(two.a, control);
    two.check(ECHO, Ok(()), Duration::ZERO).await;
    two.network.cut(two.a, control);
    two.check(ECHO, Err("silent"), SILENCE).await;
}
