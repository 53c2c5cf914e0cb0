//! The `cloudsync` binary.
fn main() {}
