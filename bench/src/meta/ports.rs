//! Ports on loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use env::Env;
use types::{Error, Result};

/// Below those that the kernel gives to connections: while a server is killed, a connection must not take its port.
const FIRST: u64 = 10_000;
const COUNT: u64 = 22_000;
/// Ports to try for each that is found.
const TRIES: usize = 100;
/// How long a killed server may hold its ports, and how often we look.
const FREE_TIMEOUT: Duration = Duration::from_secs(20);
const LOOK_PERIOD: Duration = Duration::from_millis(10);

/// Ports that nobody uses, all different.
pub fn free_ports(env: &Env, count: usize) -> Result<Vec<u16>> {
    // Held until all are found.
    let mut held: Vec<(u16, TcpListener)> = Vec::new();
    for _ in 0..count * TRIES {
        if held.len() == count {
            break;
        }
        let port = u16::try_from(FIRST + env.random.u64() % COUNT).expect("the range ends below 2^16");
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
    }
    if held.len() < count {
        return Err(Error::unavailable("too few free ports on loopback"));
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

/// Waits until ports can be taken again: a process that was killed may be gone while its last threads still hold them.
pub async fn wait_until_free(ports: &[u16]) -> Result<()> {
    let deadline = env::time::now() + FREE_TIMEOUT;
    for port in ports {
        while TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_err() {
            if env::time::now() >= deadline {
                return Err(Error::unavailable(format!("port {port} of a killed server is still taken")));
            }
            env::time::sleep(LOOK_PERIOD).await;
        }
    }
    Ok(())
}
