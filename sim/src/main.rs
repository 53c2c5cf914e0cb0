//! `make sim`: runs seeds.
//!
//! Owns: the command line.
//! Knows nothing of: being imported.

use sim::world::{Shape, World};
use types::{NamespaceName, Profile};

fn main() {
    let seed = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(1);
    let start = std::time::Instant::now();
    env::task::run_simulated(seed, async move {
        let shape = Shape { nodes: 8, meta: 3, profile: Profile { k: 4, m: 2 }, pg_count: 64 };
        let mut world = World::new(seed, shape);
        let begin = env::time::now();
        world.found().await.expect("a cluster");
        eprintln!("founded after {:?}", begin.elapsed());
        let cluster = world.client(1).await.expect("a client");
        loop {
            let status = cluster.fetch_status().await.expect("status");
            let whole = client::health::Complement { nodes: 8, disks: 8, voters: 3 };
            let missing = client::health::missing(&status, whole);
            eprintln!("{:?} {missing:?}", begin.elapsed());
            if missing.is_empty() {
                break;
            }
            env::time::sleep(env::time::Duration::from_secs(1)).await;
        }
        let ns = client::Namespace::open(cluster.clone(), &NamespaceName::parse("home").unwrap())
            .await
            .expect("ns");
        eprintln!("{:?} {:?}", begin.elapsed(), ns.fetch_namespace().await);
        env::time::sleep(env::time::Duration::from_secs(60)).await;
        eprintln!("{:?}", begin.elapsed());
    });
    eprintln!("real {:?}", start.elapsed());
}
