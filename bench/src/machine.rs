//! What the numbers were measured on.

use std::path::Path;

use env::{Disk, Env, OpenMode};
use types::limits::GIB;

/// One line: processor, memory, kernel, file system, how busy it was, and when.
pub fn describe(env: &Env, place: &Path) -> String {
    let read = |path: &str| read_proc(&*env.disk, path).unwrap_or_default();
    let cores = env::process::core_count();
    let processor =
        after(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory_kib: f64 = after(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0);
    let load = read("/proc/loadavg").split_whitespace().next().unwrap_or("unknown").to_owned();
    format!(
        "{processor}, {cores} cores, {:.0} GiB memory, Linux {}, {}; load before the run {load}; {}",
        memory_kib * 1024.0 / GIB as f64,
        read("/proc/sys/kernel/osrelease").trim(),
        file_system(&read("/proc/mounts"), place),
        date(env)
    )
}

/// The file system that holds `place`: the mount point that is its longest prefix.
fn file_system(mounts: &str, place: &Path) -> String {
    let place = std::path::absolute(place).unwrap_or_else(|_| place.to_owned());
    let fields = mounts.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields
        .filter(|fields| fields.len() > 2 && place.starts_with(fields[1]))
        .max_by_key(|fields| fields[1].len())
        .map_or_else(|| "unknown file system".to_owned(), |fields| format!("{} on {}", fields[2], fields[0]))
}

/// The value of the first `key : value` line.
fn after(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The beginning of a file in /proc, which does not tell its length.
pub fn read_proc(disk: &dyn Disk, path: &str) -> Option<String> {
    let file = disk.open(Path::new(path), OpenMode::Read).ok()?;
    let mut bytes = vec![0; 4096];
    let len = file.read_at(&mut bytes, 0).ok()?;
    Some(String::from_utf8_lossy(&bytes[..len]).into_owned())
}

fn date(env: &Env) -> String {
    let seconds = i64::try_from(env.clock.wall().0 / 1000).unwrap_or(0);
    time::OffsetDateTime::from_unix_timestamp(seconds).map_or_else(
        |_| "unknown date".to_owned(),
        |now| format!("{} {:02}:{:02} UTC", now.date(), now.hour(), now.minute()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_holds_a_place() {
        let mounts = "/dev/a / ext4 rw 0 0\nnone /tmp tmpfs rw 0 0\n/dev/b /tmp/x xfs rw 0 0\nbroken\n";
        for (place, want) in
            [("/home", "ext4 on /dev/a"), ("/tmp/y", "tmpfs on none"), ("/tmp/x/y", "xfs on /dev/b")]
        {
            assert_eq!(file_system(mounts, Path::new(place)), want);
        }
        assert_eq!(file_system("", Path::new("/")), "unknown file system");
    }

    #[test]
    fn lines_with_a_key() {
        assert_eq!(after("a : 1\nmodel name\t: X 9\n", "model name").as_deref(), Some("X 9"));
        assert_eq!(after("a : 1\n", "b"), None);
    }

    #[test]
    fn simulated_time_has_a_date() {
        assert_eq!(date(&Env::simulated(0)), "2026-01-01 00:00 UTC");
    }
}
