//! What processes use, from /proc: processor time and memory, with the processes that they started.

use std::path::Path;

use env::Disk;

use crate::machine::read_proc;

/// Ticks of a second in /proc, on every Linux.
const TICKS: f64 = 100.0;

/// Processor seconds that processes have used, and those that they started: those that run, and those that have ended and
/// were waited for.
pub fn cpu_seconds(disk: &dyn Disk, pids: &[u32]) -> f64 {
    let all = with_descendants(disk, pids);
    all.iter().filter_map(|pid| ticks(&read(disk, *pid, "stat"))).sum::<f64>() / TICKS
}

/// Bytes of memory that they occupy; what several share is counted once.
pub fn memory(disk: &dyn Disk, pids: &[u32]) -> u64 {
    let all = with_descendants(disk, pids);
    all.iter().filter_map(|pid| proportional_kib(&read(disk, *pid, "smaps_rollup"))).sum::<u64>() * 1024
}

/// The processes, and those that they started and that run.
pub fn with_descendants(disk: &dyn Disk, pids: &[u32]) -> Vec<u32> {
    let mut found = pids.to_vec();
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        let children = read(disk, pid, &format!("task/{pid}/children"));
        found.extend(children.split_whitespace().filter_map(|text| text.parse::<u32>().ok()));
        next += 1;
    }
    found
}

fn read(disk: &dyn Disk, pid: u32, file: &str) -> String {
    read_proc(disk, &Path::new("/proc").join(pid.to_string()).join(file).display().to_string())
        .unwrap_or_default()
}

/// User and system time of a process, and of its children that were waited for, from its `stat`.
fn ticks(stat: &str) -> Option<f64> {
    // The name of the program, in brackets, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_whitespace().collect();
    fields.get(11..15)?.iter().map(|text| text.parse::<f64>().ok()).sum()
}

/// The line `Pss` of `smaps_rollup`.
fn proportional_kib(rollup: &str) -> Option<u64> {
    rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_times_count() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 10 20 300 4000 20 0 1 0";
        assert_eq!(ticks(stat), Some(4330.0));
        assert_eq!(ticks("7 (a) S 1"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn the_share_of_what_is_shared() {
        assert_eq!(
            proportional_kib("0-1 ---p [rollup]\nRss:   900 kB\nPss:   312 kB\nPss_Dirty: 1 kB\n"),
            Some(312)
        );
        assert_eq!(proportional_kib(""), None);
    }
}
