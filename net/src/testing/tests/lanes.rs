//! Goal: what clients ask never keeps nodes from each other, nor one client all others.
//! Method: a service that keeps everybody waiting but the nodes, and more callers than it has room for.

use futures::future::join_all;
use proto::Method;
use tokio::sync::Semaphore;
use types::NodeId;
use types::limits::NODE_REQUEST_COUNT_MAX;

use super::*;
use crate::step_aside;

/// Clients that follow a journal: more than requests fit.
const POLL_COUNT: usize = 5_000;

/// Answers nodes at once; who reads waits in line, who follows a journal waits aside.
struct Gated {
    reads: Semaphore,
    changes: Semaphore,
}

#[async_trait]
impl Service for Gated {
    async fn call(&self, _caller: &Caller, request: Request, _deadline: Instant) -> Result<Reply> {
        let pass = async |gate: &Semaphore| gate.acquire().await.expect("never closed").forget();
        match Method::from_number(request.method) {
            Some(Method::PullJournal) => step_aside(pass(&self.changes)).await?,
            Some(Method::Stat) => pass(&self.reads).await,
            _ => {}
        }
        Ok(Reply::default())
    }
}

struct World {
    network: Switchboard,
    service: Arc<Gated>,
}

impl World {
    fn new() -> Self {
        let service = Arc::new(Gated { reads: Semaphore::new(0), changes: Semaphore::new(0) });
        let network = Switchboard::new();
        network.attach(address(1), service.clone());
        Self { network, service }
    }

    /// Asks as the client of a number, from a connection of its own.
    async fn ask(&self, client: usize, method: Method) -> Result<Reply> {
        let address = SocketAddr::from(([10, 1, (client >> 8) as u8, client as u8], 1));
        self.ask_as(Identity::User(format!("user{client}")), address, method).await
    }

    async fn ask_as(&self, who: Identity, from: SocketAddr, method: Method) -> Result<Reply> {
        let dial = self.network.dialer(from, who);
        call(&dial, address(1), request(method as u16, b"", ""), Duration::from_secs(60)).await
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_hear_each_other_whatever_clients_do() {
    let world = World::new();
    let polls = join_all((0..POLL_COUNT).map(|client| world.ask(client, Method::PullJournal)));
    // One more than there is room for, while all of the others follow journals.
    let reads = join_all((0..=NODE_REQUEST_COUNT_MAX).map(|client| world.ask(client, Method::Stat)));
    let nodes = async {
        time::sleep(ms(10)).await;
        for id in [2, 3] {
            for method in [Method::Raft, Method::Heartbeat, Method::PutShard] {
                let who = Identity::Node(NodeId(id));
                world.ask_as(who, address(id as u8), method).await.unwrap();
            }
        }
        let admin = Identity::Admin("admin".into());
        world.ask_as(admin, address(9), Method::FetchStatus).await.unwrap();
        let stranger = world.ask_as(Identity::Anonymous, address(9), Method::Raft).await.unwrap_err();
        assert_eq!(stranger.kind(), ErrorKind::Busy, "the verb alone opens no lane");
        world.service.changes.add_permits(1);
        time::sleep(ms(10)).await;
        world.service.reads.add_permits(NODE_REQUEST_COUNT_MAX);
        time::sleep(ms(10)).await;
        world.service.changes.add_permits(POLL_COUNT);
    };
    let (polls, reads, ()) = futures::join!(polls, reads, nodes);
    let busy = |got: &[Result<Reply>]| {
        let refused = got.iter().filter_map(|got| got.as_ref().err());
        refused.inspect(|e| assert!(e.kind() == ErrorKind::Busy, "{e}")).count()
    };
    assert_eq!(busy(&reads), 1);
    assert_eq!(busy(&polls), 1, "who has waited comes back like everybody else: one came too early");
}

/// One caller, however many connections it has, leaves room for others.
#[tokio::test(start_paused = true)]
async fn a_client_that_wants_everything_gets_half() {
    let world = World::new();
    let greedy = |n: usize| {
        let from = SocketAddr::from(([10, 2, (n >> 8) as u8, n as u8], 1));
        world.ask_as(Identity::User("greedy".into()), from, Method::Stat)
    };
    let many = join_all((0..NODE_REQUEST_COUNT_MAX).map(greedy));
    let other = async {
        time::sleep(ms(10)).await;
        world.service.reads.add_permits(NODE_REQUEST_COUNT_MAX);
        world.ask(1, Method::Stat).await.unwrap();
    };
    let (many, ()) = futures::join!(many, other);
    let refused: Vec<_> = many.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), NODE_REQUEST_COUNT_MAX / 2);
    for e in refused {
        assert!(e.message().contains("the rest is for others"), "{e}");
    }
}
