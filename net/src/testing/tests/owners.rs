//! Goal: a call is work of the node that answers it, and of nobody else: killed, paused and restarted with it.
//! Method: one owner that serves, one that calls, both of a paused runtime.

use env::task::JoinHandle;

use super::*;
use crate::Allowance;

/// A caller and a server with owners.
struct Owned {
    network: Switchboard,
    caller: Owner,
    server: Owner,
    service: Arc<TestService>,
}

fn owner(name: &str) -> Owner {
    Owner::new(name, Random::seeded(1))
}

/// Attaches `service` at address 2 as `server`.
async fn attach(network: &Switchboard, server: &Owner, service: Arc<dyn Service>, load: Load) {
    let network = network.clone();
    server.spawn(async move { network.attach_with_load(address(2), service, load) }).await.unwrap();
}

impl Owned {
    /// Messages take 10 ms.
    async fn new() -> Self {
        let (network, service) = (Switchboard::new(), TestService::new());
        network.set_default(link(ms(10)));
        let server = owner("server");
        attach(&network, &server, service.clone(), Load::default()).await;
        Self { network, caller: owner("caller"), server, service }
    }

    /// Calls as `caller`.
    fn call(&self, method: u16, timeout: Duration) -> JoinHandle<Result<Reply>> {
        let dial = self.network.dialer(address(1), Identity::Anonymous);
        self.caller.spawn(async move { call(&dial, address(2), request(method, b"x", ""), timeout).await })
    }

    fn finished(&self) -> usize {
        self.service.finished.load(SeqCst)
    }

    #[track_caller]
    fn check_nothing_left(&self) {
        assert_eq!(self.network.open_calls(), BTreeMap::new());
        assert_eq!((self.caller.task_count(), self.server.task_count()), (0, 0));
    }
}

#[track_caller]
fn check_error(got: Result<Reply>, part: &str) {
    let error = got.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.message().contains(part), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_server_answers_in_its_own_tasks() {
    let (owned, recorder) = (Owned::new().await, Arc::new(Recorder::default()));
    attach(&owned.network, &owned.server, recorder.clone(), Load::default()).await;
    owned.call(ECHO, TIMEOUT).await.unwrap().unwrap();
    owned.network.attach(address(2), recorder.clone());
    owned.call(ECHO, TIMEOUT).await.unwrap().unwrap();
    assert_eq!(recorder.lines(), ["server x", "10.0.0.2:1 x"]);
    owned.check_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_killed_server_never_answers() {
    let kill: fn(&Owned) = |owned| owned.server.kill();
    let detach: fn(&Owned) = |owned| owned.network.detach(address(2));
    let lose_power: fn(&Owned) = |owned| {
        owned.network.isolate(address(2));
        owned.server.kill();
    };
    // On its way there, in the middle of the work, on its way back.
    for (name, end, killed_after, part, took) in [
        ("kill", kill, 5, "closed", 15),
        ("kill", kill, 15, "closed", 25),
        ("detach", detach, 5, "closed", 15),
        ("detach", detach, 15, "closed", 25),
        ("power", lose_power, 5, "silent", 2505),
        ("power", lose_power, 15, "silent", 2515),
    ] {
        let owned = Owned::new().await;
        let (call, started) = (owned.call(WAIT, TIMEOUT), time::now());
        time::sleep(ms(killed_after)).await;
        end(&owned);
        owned.service.gate.add_permits(1);
        check_error(call.await.unwrap(), part);
        assert_eq!(started.elapsed(), ms(took), "{name} after {killed_after} ms");
        assert_eq!(owned.finished(), 0);
        owned.check_nothing_left();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_arrives_after_the_kill() {
    let owned = Owned::new().await;
    let call = owned.call(ECHO, TIMEOUT);
    time::sleep(ms(15)).await;
    owned.server.kill();
    call.await.unwrap().unwrap();
    // Nobody took it off the network: its address is there, nothing behind it.
    check_error(owned.call(ECHO, TIMEOUT).await.unwrap(), "closed");
    owned.network.detach(address(2));
    check_error(owned.call(ECHO, TIMEOUT).await.unwrap(), "refused");
    owned.check_nothing_left();
}

/// Its clock is behind from then on, but not the network.
#[tokio::test(start_paused = true)]
async fn messages_to_and_from_a_suspended_machine_take_as_long_as_before() {
    let owned = Owned::new().await;
    for machine in [&owned.server, &owned.caller] {
        machine.suspend();
        time::sleep(ms(500)).await;
        machine.resume();
        let started = time::now();
        owned.call(ECHO, TIMEOUT).await.unwrap().unwrap();
        assert_eq!(started.elapsed(), ms(20));
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_server_answers_later() {
    // Paused before the request arrives, and in the middle of the work.
    for paused_after in [5, 15] {
        for (timeout, want) in [(TIMEOUT, Ok(())), (ms(100), Err("in time"))] {
            let owned = Owned::new().await;
            let call = owned.call(WAIT, timeout);
            time::sleep(ms(paused_after)).await;
            owned.server.pause();
            owned.service.gate.add_permits(1);
            time::sleep(ms(500)).await;
            assert_eq!((owned.finished(), call.is_finished()), (0, want.is_err()));
            owned.server.resume();
            let started = time::now();
            match want {
                Ok(()) => drop(call.await.unwrap().unwrap()),
                Err(part) => check_error(call.await.unwrap(), part),
            }
            assert_eq!(started.elapsed(), if want.is_ok() { ms(10) } else { Duration::ZERO });
            time::sleep(ms(1)).await;
            assert_eq!(owned.finished(), 1, "what was received is carried out");
            owned.check_nothing_left();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_caller_finds_its_answer() {
    let owned = Owned::new().await;
    let call = owned.call(ECHO, ms(100));
    time::sleep(ms(5)).await;
    owned.caller.pause();
    time::sleep(ms(500)).await;
    owned.caller.resume();
    call.await.unwrap().unwrap();
}

/// Restarts the server while a call is at each of its stages.
#[tokio::test(start_paused = true)]
async fn one_life_knows_nothing_of_the_calls_of_another() {
    for restarted_after in [0, 5, 10, 15] {
        let owned = Owned::new().await;
        let call = owned.call(WAIT, TIMEOUT);
        time::sleep(ms(restarted_after)).await;
        owned.server.kill();
        let (next, recorder) = (owner("next"), Arc::new(Recorder::default()));
        attach(&owned.network, &next, recorder.clone(), Load::default()).await;
        owned.service.gate.add_permits(1);
        check_error(call.await.unwrap(), "closed");
        assert_eq!((owned.finished(), recorder.lines().len()), (0, 0));
        owned.call(ECHO, TIMEOUT).await.unwrap().unwrap();
        assert_eq!(recorder.lines(), ["next x"]);
        owned.check_nothing_left();
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_caller_leaves_nothing_behind() {
    let one = Load::even(1, Allowance { requests: 1, bytes: 1 });
    // While the request travels, while it is worked on, while the answer travels.
    for (method, killed_after, runs) in [(WAIT, 5, 1), (WAIT, 15, 1), (ECHO, 15, 0)] {
        let owned = Owned::new().await;
        attach(&owned.network, &owned.server, owned.service.clone(), one).await;
        let call = owned.call(method, TIMEOUT);
        time::sleep(ms(killed_after)).await;
        assert_eq!(owned.network.open_calls()[&address(1)].asked, 1);
        owned.caller.kill();
        assert!(call.await.unwrap_err().is_cancelled());
        assert!(!owned.network.open_calls().contains_key(&address(1)));
        owned.service.gate.add_permits(1);
        time::sleep(ms(20)).await;
        assert_eq!(owned.finished(), runs, "what was sent is carried out");
        assert_eq!(owned.network.counts().returned, 0);
        owned.check_nothing_left();

        // The only place is free again.
        let next = Owned { caller: owner("next"), ..owned };
        next.call(ECHO, TIMEOUT).await.unwrap().unwrap();
        next.check_nothing_left();
    }
}

#[tokio::test(start_paused = true)]
async fn full_means_busy_for_one_caller_or_for_all() {
    let load = Load::even(2, Allowance { requests: 3, bytes: 1 << 20 });
    let owned = Owned::new().await;
    attach(&owned.network, &owned.server, owned.service.clone(), load).await;
    let _held = [owned.call(WAIT, TIMEOUT), owned.call(WAIT, TIMEOUT)];
    time::sleep(ms(11)).await;
    let busy = |got: Result<Reply>, part: &str| {
        let error = got.unwrap_err();
        assert!(error.kind() == ErrorKind::Busy && error.message().contains(part), "{error}");
    };
    busy(owned.call(ECHO, TIMEOUT).await.unwrap(), "this connection has 2");
    let other = owned.network.dialer(address(3), Identity::User("other".into()));
    call(&other, address(2), request(ECHO, b"", ""), TIMEOUT).await.unwrap();
    let _third = call(&other, address(2), request(WAIT, b"", ""), ms(50)).await;
    busy(call(&other, address(2), request(ECHO, b"", ""), TIMEOUT).await, "the node has 3");
    owned.server.kill();
    owned.caller.kill();
    time::sleep(ms(1)).await;
    owned.check_nothing_left();
}
