//! Load shedding: a server that has too much to do says `Busy` at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use types::limits::{
    CONNECTION_REQUEST_COUNT_MAX, NODE_REQUEST_BYTES_MAX, NODE_REQUEST_COUNT_MAX, REQUEST_RETRY_MS,
};
use types::{Error, Result};

/// How much a server takes on before it answers `Busy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests in progress on one connection.
    pub connection_requests: usize,
    /// Requests in progress on all.
    pub node_requests: usize,
    /// Bytes of requests in progress on all.
    pub node_bytes: usize,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            connection_requests: CONNECTION_REQUEST_COUNT_MAX as usize,
            node_requests: NODE_REQUEST_COUNT_MAX,
            node_bytes: NODE_REQUEST_BYTES_MAX,
        }
    }
}

/// Counts what a node has in progress.
#[derive(Debug)]
pub(crate) struct Admission {
    load: Load,
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// Requests in progress on one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Arc<AtomicUsize>);

/// The right to have one request in progress.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    line: Line,
    bytes: usize,
}

impl Admission {
    pub(crate) fn new(load: Load) -> Arc<Self> {
        Arc::new(Self { load, requests: AtomicUsize::new(0), bytes: AtomicUsize::new(0) })
    }

    /// Lets in a request of `bytes` before they are read, or says which limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, line: &Line, bytes: usize) -> Result<Permit> {
        // Taken first and given back by the permit's drop when over a limit: no lock, and never more than the limit.
        let on_line = line.0.fetch_add(1, Relaxed);
        let on_node = self.requests.fetch_add(1, Relaxed);
        let bytes_before = self.bytes.fetch_add(bytes, Relaxed);
        let permit = Permit { admission: self.clone(), line: line.clone(), bytes };
        let full = if on_line >= self.load.connection_requests {
            format!("this connection has {on_line} requests in progress")
        } else if on_node >= self.load.node_requests {
            format!("the node has {on_node} requests in progress")
        } else if bytes_before + bytes > self.load.node_bytes {
            format!("the node has {bytes_before} bytes of requests in progress")
        } else {
            return Ok(permit);
        };
        Err(Error::busy(format!("{full}; try again shortly"), REQUEST_RETRY_MS))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.line.0.fetch_sub(1, Relaxed);
        self.admission.requests.fetch_sub(1, Relaxed);
        self.admission.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use types::ErrorKind;

    use super::*;

    /// I-BOUND: full means `Busy`.
    #[test]
    fn each_limit_refuses_and_recovers() {
        let admission = Admission::new(Load { connection_requests: 2, node_requests: 3, node_bytes: 100 });
        let (a, b) = (Line::default(), Line::default());
        let refused = |line: &Line, bytes, part: &str| {
            let error = admission.admit(line, bytes).unwrap_err();
            assert!(error.kind() == ErrorKind::Busy && error.message().contains(part), "{error}");
        };
        let held = [admission.admit(&a, 40).unwrap(), admission.admit(&a, 40).unwrap()];
        refused(&a, 1, "this connection has 2");
        refused(&b, 21, "80 bytes");
        let last = admission.admit(&b, 20).unwrap();
        refused(&b, 0, "the node has 3 requests");
        drop((held, last));
        assert!(admission.admit(&a, 100).is_ok());
    }
}
