//! Ports on loopback.

use std::net::{Ipv4Addr, TcpListener};

use types::Result;

/// Ports that nobody uses, all different.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    // Held until all are found.
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<std::io::Result<_>>()?;
    Ok(held.iter().map(|one| one.local_addr().map(|at| at.port())).collect::<std::io::Result<_>>()?)
}
