//! Whole clusters in one process: real nodes, real openraft, the real client library, on simulated time, disks and
//! network. A seed decides everything.
//!
//! Owns: the world and its faults, runs and their traces, what must hold under which fault, replaying and shrinking.
//! Knows nothing of: sockets, files, real time; how a promise is checked (`oracle`).

#[cfg(not(tokio_unstable))]
compile_error!(
    "the simulation draws tokio's own choices from its seed: build with --cfg tokio_unstable (.cargo/config.toml)"
);

pub mod platform;
pub mod world;
