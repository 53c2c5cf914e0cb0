//! What the load generator asks of a system, whichever it is.

use async_trait::async_trait;
use types::Result;

/// A system of three server processes on loopback that is durable on most of them.
#[async_trait]
pub trait System: Send + Sync {
    /// What it is called in tables.
    fn name(&self) -> &'static str;

    /// Its server processes; those that they start are theirs.
    fn pids(&self) -> Vec<u32>;

    /// A client with a connection of its own.
    async fn connect(&self) -> Result<Box<dyn Client>>;

    /// Files that one request commits when a directory is uploaded.
    fn batch_size(&self) -> usize;

    /// Before reads are measured: what a system does now and then in the background, if it has a word for it.
    async fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// `kill -9` for all of it; on return the processes are gone.
    async fn kill(&self) -> Result<()>;

    /// Starts the processes again. Does not wait until they answer.
    async fn start(&mut self) -> Result<()>;
}

/// One that asks one thing at a time.
#[async_trait]
pub trait Client: Send {
    /// Makes a directory, where the system has such a thing.
    async fn make_dir(&mut self, dir: &str) -> Result<()>;

    /// Commits new files of about 300 bytes of metadata each, in one request; on return they are durable on most servers.
    async fn commit(&mut self, dir: &str, names: &[String]) -> Result<()>;

    /// Reads what a directory has as of now, by name: all of it, or the first `limit` entries. Returns how many there were.
    async fn list(&mut self, dir: &str, limit: Option<usize>) -> Result<usize>;
}
