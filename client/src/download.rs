//! A version becomes a local file again: every chunk is checked against its hash, and the file appears under its name
//! only when it is whole.
//!
//! Owns: what a download offers. `plan` and `layout` decide, `flow` performs.
//! Knows nothing of: paths in a namespace, who may read, who holds a chunk.

mod flow;
mod layout;
mod plan;

use std::ops::Range;
use std::sync::Arc;

use env::time::Instant;

use crate::blocks::Blocks;
use layout::FileLayout;

pub use flow::download_file;

/// The content of one version, ready to be read.
#[derive(Debug)]
pub struct Download {
    blocks: Arc<Blocks>,
    layout: FileLayout,
    /// What of it can be read.
    range: Range<u64>,
    /// When the oldest of its tickets was handed out, or later.
    since: Instant,
}

impl Download {
    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.layout.size()
    }
}
