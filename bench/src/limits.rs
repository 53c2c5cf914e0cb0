//! What the machine could do at best: disk, network and arithmetic, each on its own, without CloudSync.

mod disk;
mod kernel;
mod network;

use types::Result;

use crate::context::{Bench, say};
use crate::figure::{Figure, Goal};

pub use disk::AMPLIFICATION;
pub use kernel::Kernel;

/// What fraction of the slowest limit a put should reach.
const PUT_SHARE: f64 = 0.5;

/// All raw limits of a run.
pub struct Limits {
    /// Six files, 1 MiB and an fdatasync at a time, MB/s.
    pub disk: Figure,
    /// Six files whose writers give their pages back, MB/s. Not a limit: what our way of writing saves must not raise
    /// the goal it should reach.
    pub disk_uncached: Figure,
    /// One file, as `disk`.
    pub disk_single: Figure,
    /// 4 KiB and an fdatasync at a time, per second.
    pub disk_syncs: Figure,
    /// Requests with 1 MiB, MB/s.
    pub quic_in: Figure,
    /// Replies with 1 MiB, MB/s.
    pub quic_out: Figure,
    /// TLS on TCP: what nodes speak to each other, MB/s.
    pub tcp_in: Figure,
    /// Splitting, hashing and encoding one after the other on one core, MB/s.
    pub cpu: Figure,
    /// Seconds of a core per GB, by step.
    pub kernels: Vec<(Kernel, Figure)>,
}

impl Limits {
    /// All figures, in the order of the table.
    pub fn figures(&self) -> Vec<&Figure> {
        vec![
            &self.disk,
            &self.disk_uncached,
            &self.disk_single,
            &self.disk_syncs,
            &self.quic_in,
            &self.quic_out,
            &self.tcp_in,
            &self.cpu,
        ]
    }

    /// The goal of a put, MB/s: half of what the slowest of disk, QUIC and one core would allow.
    pub fn put_goal(&self) -> Goal {
        let disk = self.disk.median() / AMPLIFICATION;
        Goal::AtLeast(PUT_SHARE * disk.min(self.quic_in.median()).min(self.cpu.median()))
    }
}

/// Measures all of them, `runs` times each.
pub async fn measure(bench: &Bench) -> Result<Limits> {
    say("measuring the raw limits: disk, network, arithmetic");
    let disk = disk::measure(bench).await?;
    let network = network::measure(bench).await?;
    let arithmetic = kernel::measure(bench).await?;
    let mut kernels = arithmetic.steps;
    kernels.push((Kernel::Disk, disk.cpu));
    kernels.push((Kernel::Quic, network.quic_cpu));
    kernels.push((Kernel::Tcp, network.tcp_cpu));
    Ok(Limits {
        disk: disk.six,
        disk_uncached: disk.uncached,
        disk_single: disk.single,
        disk_syncs: disk.syncs,
        quic_in: network.quic_in,
        quic_out: network.quic_out,
        tcp_in: network.tcp_in,
        cpu: arithmetic.chain,
        kernels,
    })
}

/// What nodes speak to each other, alone: requests with 1 MiB, MB/s.
pub async fn measure_tcp(bench: &Bench) -> Result<Figure> {
    network::measure_tcp(bench).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(disk: f64, quic: f64, cpu: f64) -> Limits {
        let rate = |value| Figure::new("x", "MB/s", vec![value]);
        Limits {
            disk: rate(disk),
            disk_uncached: rate(1.0),
            disk_single: rate(1.0),
            disk_syncs: rate(1.0),
            quic_in: rate(quic),
            quic_out: rate(1.0),
            tcp_in: rate(1.0),
            cpu: rate(cpu),
            kernels: Vec::new(),
        }
    }

    #[test]
    fn the_slowest_limit_sets_the_goal() {
        assert_eq!(limits(300.0, 900.0, 900.0).put_goal(), Goal::AtLeast(100.0));
        assert_eq!(limits(900.0, 300.0, 900.0).put_goal(), Goal::AtLeast(150.0));
        assert_eq!(limits(900.0, 900.0, 300.0).put_goal(), Goal::AtLeast(150.0));
    }
}
