//! Goal: what a metaserver answers to whom, from which state, and what it decides unasked. Method: one, three
//! or five metaservers in one process on simulated disks and a simulated clock, asked through [`net::Service`] with encoded
//! requests; links between them that can be cut or held up. What the state machines do is tested in `tree`.

mod answers;
mod cluster;
mod damage;
mod digest;
mod doors;
mod entry;
mod freshness;
mod handover;
mod index;
mod journal;
mod keys;
mod lanes;
mod late;
mod level;
mod links;
mod read;
mod spread;
mod upkeep;
mod words;
mod world;
mod write;
