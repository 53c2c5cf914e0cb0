//! Whole clusters in one process: real nodes, real openraft, the real client library, on simulated time, disks and
//! network. A seed decides everything (decision 0014).
//!
//! Owns: the world (machines, what they stand on, how they lose their power, stand still and start), what goes wrong in
//! it and within which budget, and the trace of it. What must hold is `oracle`'s.
//! Knows nothing of: sockets, files, real time.

#[cfg(not(tokio_unstable))]
compile_error!(
    "the simulation draws tokio's own choices from its seed: build with --cfg tokio_unstable (.cargo/config.toml)"
);

mod parts;
pub mod picture;
pub mod plan;
pub mod platform;
mod replicas;
pub mod run;
mod strike;
pub mod trace;
pub mod world;

#[cfg(test)]
mod tests;
