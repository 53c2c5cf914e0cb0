//! Where the processor's time goes: what the processes used, and how much of it the known steps explain. Pure.

use std::fmt::Write as _;

use crate::deployment::Kind;
use crate::figure::{Figure, number};
use crate::limits::{AMPLIFICATION, Kernel};
use crate::measure::CpuCost;

/// Processor time per GB of file.
#[derive(Default)]
pub struct Costs {
    /// Cost of one pass of each step over a GB.
    pub kernels: Vec<(Kernel, Figure)>,
    /// Put and get on each deployment.
    pub measured: Vec<(Kind, CpuCost, CpuCost)>,
}

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Put,
    Get,
}

/// Part of a 4+2 stripe that leaves its coordinator when every node has one disk: all shards but its own.
const PUT_REMOTE: f64 = 5.0 / 4.0;
/// The same for the shards that a read needs: three of four.
const GET_REMOTE: f64 = 3.0 / 4.0;

/// How often a step touches each byte of the file.
fn passes(kernel: Kernel, kind: Kind, way: Way) -> f64 {
    let remote = match (kind, way) {
        (Kind::Embedded, _) => 0.0,
        (Kind::Cluster | Kind::Meta, Way::Put) => PUT_REMOTE,
        (Kind::Cluster | Kind::Meta, Way::Get) => GET_REMOTE,
    };
    match (kernel, way) {
        (Kernel::Split | Kernel::Compress | Kernel::Seal | Kernel::Encode, Way::Put) => 1.0,
        (Kernel::Split | Kernel::Compress | Kernel::Seal | Kernel::Encode, Way::Get) => 0.0,
        (Kernel::Open, Way::Put) => 0.0,
        (Kernel::Open, Way::Get) => 1.0,
        // By the client and by the coordinator; by the reader alone.
        (Kernel::Hash, Way::Put) => 2.0,
        (Kernel::Hash, Way::Get) => 1.0,
        // In the record, and at both ends of a connection between nodes.
        (Kernel::Crc, Way::Put) => AMPLIFICATION + 2.0 * remote,
        (Kernel::Crc, Way::Get) => 1.0 + 2.0 * remote,
        (Kernel::Disk, Way::Put) => AMPLIFICATION,
        (Kernel::Disk, Way::Get) => 0.0,
        (Kernel::Quic, _) => 1.0,
        (Kernel::Tcp, _) => remote,
    }
}

impl Costs {
    /// The table; empty when there is nothing to tell.
    pub fn render(&self) -> String {
        let columns: Vec<(Kind, Way, &CpuCost)> = self
            .measured
            .iter()
            .flat_map(|(kind, put, get)| [(*kind, Way::Put, put), (*kind, Way::Get, get)])
            .collect();
        if columns.is_empty() {
            return String::new();
        }
        let mut text = "\n### Processor time, seconds of a core per GB of file\n\n".to_owned();
        row(&mut text, "", columns.iter().map(|(kind, way, _)| title(*kind, *way)));
        row(&mut text, "---", columns.iter().map(|_| "---:".to_owned()));
        row(&mut text, "client process", columns.iter().map(|(_, _, cost)| number(cost.client.median())));
        row(&mut text, "server processes", columns.iter().map(|(_, _, cost)| number(cost.servers.median())));
        for (kernel, figure) in &self.kernels {
            let share = |(kind, way, _): &(Kind, Way, &CpuCost)| match passes(*kernel, *kind, *way) {
                0.0 => String::new(),
                passes => number(passes * figure.median()),
            };
            row(&mut text, &format!("of it: {}", figure.what), columns.iter().map(share));
        }
        if !self.kernels.is_empty() {
            let rest = columns.iter().map(|(kind, way, cost)| number(self.unexplained(*kind, *way, cost)));
            row(&mut text, "of it: not explained by these steps", rest);
        }
        text
    }

    fn unexplained(&self, kind: Kind, way: Way, cost: &CpuCost) -> f64 {
        let steps = self.kernels.iter().map(|(kernel, figure)| passes(*kernel, kind, way) * figure.median());
        cost.client.median() + cost.servers.median() - steps.sum::<f64>()
    }
}

fn title(kind: Kind, way: Way) -> String {
    let kind = match kind {
        Kind::Cluster | Kind::Meta => "cluster",
        Kind::Embedded => "embedded",
    };
    match way {
        Way::Put => format!("put, {kind}"),
        Way::Get => format!("get, {kind}"),
    }
}

fn row(text: &mut String, first: &str, cells: impl Iterator<Item = String>) {
    let _ = writeln!(text, "| {first} | {} |", cells.collect::<Vec<_>>().join(" | "));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(client: f64, servers: f64) -> CpuCost {
        let figure = |value| Figure::new("x", "s/GB", vec![value]);
        CpuCost { client: figure(client), servers: figure(servers) }
    }

    #[test]
    fn steps_are_taken_from_the_sum() {
        let kernels = [(Kernel::Hash, "hash"), (Kernel::Tcp, "tcp")]
            .map(|(kernel, what)| (kernel, Figure::new(what, "s/GB", vec![0.5])));
        let measured = vec![(Kind::Cluster, cost(1.0, 3.0), cost(1.0, 1.0))];
        let want = "\n### Processor time, seconds of a core per GB of file\n\n\
                    |  | put, cluster | get, cluster |\n| --- | ---: | ---: |\n\
                    | client process | 1.00 | 1.00 |\n| server processes | 3.00 | 1.00 |\n\
                    | of it: hash | 1.00 | 0.50 |\n| of it: tcp | 0.62 | 0.38 |\n\
                    | of it: not explained by these steps | 2.38 | 1.12 |\n";
        assert_eq!(Costs { kernels: kernels.into(), measured }.render(), want);
        assert_eq!(Costs::default().render(), "");
    }

    #[test]
    fn nodes_of_one_process_have_no_network_between_them() {
        assert_eq!(passes(Kernel::Tcp, Kind::Embedded, Way::Put), 0.0);
        assert!(passes(Kernel::Tcp, Kind::Cluster, Way::Put) > 1.0);
    }
}
