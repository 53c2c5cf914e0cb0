//! Child processes and signals: what `cloudsync dev cluster` and the chaos harness need.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use types::limits::PROCESS_LOOK_PERIOD;

/// Environment variable with the number of threads that run a program's tasks; without it, one per core.
pub const THREADS_VARIABLE: &str = "TOKIO_WORKER_THREADS";

/// Starts `program` detached from this terminal (its own session) with its output appended to `log`; returns its pid.
pub fn start_detached(program: &Path, args: &[String], log: &Path) -> io::Result<u32> {
    start_detached_with(program, args, &[], log)
}

/// [`start_detached`] with environment variables added to this process's own.
pub fn start_detached_with(
    program: &Path,
    args: &[String],
    variables: &[(&str, String)],
    log: &Path,
) -> io::Result<u32> {
    use std::os::unix::process::CommandExt;
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = Command::new(program);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.args(args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // SAFETY: setsid is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        });
    }
    Ok(command.spawn()?.id())
}

/// Runs `program` to its end as [`start_detached`] does, and returns what `log` then holds. If the caller gives up, the
/// program still runs to its end, which blocks: otherwise what it starts would be left behind unnoticed.
pub async fn run_detached(program: &Path, args: &[String], log: &Path) -> io::Result<String> {
    run_detached_with(program, args, &[], log).await
}

/// [`run_detached`] with variables that are added to this process's own.
pub async fn run_detached_with(
    program: &Path,
    args: &[String],
    variables: &[(&str, String)],
    log: &Path,
) -> io::Result<String> {
    let running = Running(start_detached_with(program, args, variables, log)?);
    while is_running(running.0) {
        crate::time::sleep(PROCESS_LOOK_PERIOD).await;
    }
    Ok(String::from_utf8_lossy(&std::fs::read(log)?).trim().to_owned())
}

/// Ends this process with a message and exit code 3 if it still runs after `time` of real time, whatever its threads do.
/// `why` says what that means.
pub fn end_after(time: std::time::Duration, why: &'static str) {
    std::thread::spawn(move || {
        std::thread::sleep(time);
        eprintln!("not done after {} s: {why}", time.as_secs());
        std::process::exit(3);
    });
}

/// A process whose end is waited for, at the latest when this is dropped.
struct Running(u32);

impl Drop for Running {
    fn drop(&mut self) {
        wait_for_end(&[self.0]);
    }
}

/// `kill -9` for all of them; on return they are gone. Blocks: meant for the end of a program.
pub fn kill_all(pids: &[u32]) {
    for pid in pids.iter().filter(|pid| is_running(**pid)) {
        signal(*pid, Signal::Kill);
    }
    wait_for_end(pids);
}

fn wait_for_end(pids: &[u32]) {
    while pids.iter().any(|pid| is_running(*pid)) {
        std::thread::yield_now();
    }
}

/// A signal to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `kill -9`: the process has no chance to do anything.
    Kill,
    /// Ctrl-C.
    Interrupt,
    /// Ask to stop.
    Terminate,
    /// Freeze until [`Signal::Continue`].
    Stop,
    /// Resume after [`Signal::Stop`].
    Continue,
}

/// Sends `signal` to `pid`. False when there is no such process or it is not ours.
pub fn signal(pid: u32, signal: Signal) -> bool {
    let number = match signal {
        Signal::Kill => libc::SIGKILL,
        Signal::Interrupt => libc::SIGINT,
        Signal::Terminate => libc::SIGTERM,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    // SAFETY: kill has no memory effects here.
    unsafe { libc::kill(pid as libc::pid_t, number) == 0 }
}

/// True while `pid` runs (a zombie does not count).
pub fn is_running(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit(") ").next().unwrap_or("").starts_with('Z'),
        Err(_) => false,
    }
}

/// Path of this executable.
pub fn current_exe() -> io::Result<std::path::PathBuf> {
    std::env::current_exe()
}

/// Cores that this process may use.
pub fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Lets this process open as many files as the system allows it; returns how many that are. By default it is 1,024 on
/// most systems, less than a node with many disks and clients needs.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit fills the struct it is given, setrlimit reads it.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// Asks the kernel not to preempt a running thread when another one wakes up, for all threads that this one starts.
/// Where there are more threads than cores, waking threads otherwise displace each other all the time: a put of 1 GiB
/// to eight nodes on two cores took 88,000 context switches, with this 69,000 (decision 0011).
pub(crate) fn prefer_throughput() {
    let ordinary = libc::sched_param { sched_priority: 0 };
    // SAFETY: reads the struct; a system that refuses leaves the thread as it was.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &ordinary) };
}

/// CPU seconds (user, system) this process has used, all threads.
pub fn cpu_seconds() -> (f64, f64) {
    // SAFETY: getrusage fills the struct it is given.
    let usage = unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime), seconds(usage.ru_stime))
}

/// CPU seconds (user + system) that `pid` has used, all threads; `None` when it does not run.
pub fn cpu_seconds_of(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(") ").next()?.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    // SAFETY: sysconf has no memory effects.
    Some(ticks / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64)
}

/// CPU seconds (user + system) that the calling thread has used: what a measurement of pure computation needs on a
/// machine that does other things as well.
pub fn cpu_seconds_of_thread() -> f64 {
    let mut spent = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime fills the struct it is given.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut spent) };
    assert!(done == 0, "every thread has this clock");
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// Time since this machine was started, also while it was suspended.
pub(crate) fn boot_time() -> std::time::Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for one timespec.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    assert_eq!(done, 0, "Linux has this clock since 2.6.39");
    std::time::Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_descriptor_limit_is_raised_once_and_for_all() {
        let limit = super::raise_descriptor_limit().unwrap();
        assert!(limit >= 1024, "{limit}");
        assert_eq!(super::raise_descriptor_limit().unwrap(), limit);
    }
}
