//! The processes of a development cluster: starting, finding, stopping.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::path::Path;

use env::process::{self, Signal};
use env::{Disk, OpenMode, Random};
use types::limits::{DEV_STOP_TIMEOUT, PROCESS_LOOK_PERIOD};
use types::{Error, Result};

use super::DevCluster;
use super::layout::NodePlan;

/// Longer command lines are not ours.
const COMMAND_LINE_SIZE_MAX: usize = 64 * 1024;
/// Linux gives none of these to an outgoing connection on its own: nobody takes a node's port while it is down.
const PORTS: Range<u16> = 10_000..32_768;
/// Lines of a log that say why a node ended.
const LOG_LINES: usize = 5;

impl DevCluster {
    /// The node's process, if its pid has not been given to another since.
    pub fn running(&self, node: &NodePlan) -> Option<u32> {
        let pid = node.pid.filter(|pid| process::is_running(*pid))?;
        let line = command_line(&*self.env.disk, pid)?;
        let config = node.config_file(&self.dir).into_os_string();
        line.split(|b| *b == 0).any(|arg| arg == config.as_encoded_bytes()).then_some(pid)
    }

    /// Starts the node, one of `count` on this machine, if it is not running.
    pub(super) fn start(&self, node: &mut NodePlan, count: usize) -> Result<()> {
        if self.running(node).is_some() {
            return Ok(());
        }
        let config = node.config_file(&self.dir);
        let config =
            config.to_str().ok_or_else(|| Error::invalid(format!("{} is not UTF-8", config.display())))?;
        let args = ["node", "--config", config].map(str::to_owned);
        let mut variables = self.variables.clone();
        // What the user has set is inherited.
        if std::env::var_os(process::THREADS_VARIABLE).is_none() {
            let threads = thread_count(process::core_count(), count);
            variables.push((process::THREADS_VARIABLE, threads.to_string()));
        }
        let pid = process::start_detached_with(&self.program, &args, &variables, &node.log_file(&self.dir))
            .map_err(|e| Error::from(e).context(format!("starting node {}", node.number)))?;
        node.pid = Some(pid);
        Ok(())
    }

    /// Sends a signal, waits for the end, and kills what does not end on its own.
    pub(super) async fn stop(&self, node: &mut NodePlan, signal: Signal) -> Result<()> {
        for signal in [signal, Signal::Kill] {
            let Some(pid) = self.running(node) else { break };
            process::signal(pid, signal);
            let deadline = env::time::now() + DEV_STOP_TIMEOUT;
            while self.running(node).is_some() && env::time::now() < deadline {
                env::time::sleep(PROCESS_LOOK_PERIOD).await;
            }
        }
        if let Some(pid) = self.running(node) {
            return Err(Error::unavailable(format!(
                "node {} (process {pid}) does not end even when killed: its disk may be stuck",
                node.number
            )));
        }
        node.pid = None;
        Ok(())
    }

    /// All that a node has logged so far; empty when it has no log.
    pub fn log(&self, node: &NodePlan) -> String {
        let log = self.env.disk.read(&node.log_file(&self.dir)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The last lines that a node logged: they say why it ended.
    pub fn last_words(&self, node: &NodePlan) -> Vec<String> {
        let log = self.log(node);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| (*line).to_owned()).collect()
    }

    /// The processes last started for all nodes, running or not.
    pub fn pids(&self) -> Vec<u32> {
        let nodes = self.layout().map(|layout| layout.nodes).unwrap_or_default();
        nodes.into_iter().filter_map(|node| node.pid).collect()
    }

    /// Kills all processes at once and waits until they are gone. Blocks: for the end of a program, when nobody else
    /// would stop them.
    pub fn kill_all(&self) {
        process::kill_all(&self.pids());
    }
}

/// Threads of a node's runtime. All nodes share the machine's cores: with a thread per core in each, threads wake and
/// wait for each other instead of working (8 nodes on 2 cores: a get of 1 GiB took a tenth longer).
fn thread_count(cores: usize, nodes: usize) -> usize {
    (cores / nodes).max(1)
}

/// The arguments of a process, each ended by a zero byte. Files in /proc do not tell their length.
fn command_line(disk: &dyn Disk, pid: u32) -> Option<Vec<u8>> {
    let file = disk.open(Path::new(&format!("/proc/{pid}/cmdline")), OpenMode::Read).ok()?;
    let mut line = vec![0; COMMAND_LINE_SIZE_MAX];
    let len = file.read_at(&mut line, 0).ok()?;
    line.truncate(len);
    Some(line)
}

/// Ports on loopback that nobody uses, for TCP and UDP alike. `Unavailable` when there are too few.
pub(super) fn free_ports(random: &Random, count: usize) -> Result<Vec<u16>> {
    // All are held until all are found, so that none is found twice.
    let mut held = Vec::new();
    for _ in PORTS {
        if held.len() == count {
            return Ok(held.into_iter().map(|(port, _, _)| port).collect());
        }
        let port = PORTS.start + random.below(PORTS.len() as u64) as u16;
        let sockets =
            (TcpListener::bind((Ipv4Addr::LOCALHOST, port)), UdpSocket::bind((Ipv4Addr::LOCALHOST, port)));
        if let (Ok(tcp), Ok(udp)) = sockets {
            held.push((port, tcp, udp));
        }
    }
    Err(Error::unavailable(format!(
        "{count} free ports from {PORTS:?} are not to be found: stop what uses them"
    )))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use env::disk::RealDisk;

    use super::*;

    #[test]
    fn ports_are_free_and_different() {
        let ports: BTreeSet<u16> = free_ports(&Random::seeded(1), 16).unwrap().into_iter().collect();
        assert_eq!(ports.len(), 16);
        assert!(ports.iter().all(|port| PORTS.contains(port)));
    }

    #[test]
    fn nodes_share_the_cores_and_each_has_a_thread() {
        assert_eq!(
            [(2, 8), (8, 8), (64, 8), (4, 3)].map(|(cores, nodes)| thread_count(cores, nodes)),
            [1, 1, 8, 1]
        );
    }

    #[test]
    fn a_process_is_known_by_its_command_line() {
        let line = command_line(&RealDisk, std::process::id()).unwrap();
        let first = std::env::args_os().next().unwrap();
        assert!(line.starts_with(first.as_encoded_bytes()));
        assert_eq!(command_line(&RealDisk, u32::MAX), None);
    }
}
