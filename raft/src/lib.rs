//! raft
mod log;
