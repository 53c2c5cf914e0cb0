//! One TLS/TCP connection: many requests in flight, matched to their answers by id.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use env::time::{Duration, Instant};
use tokio::io::AsyncRead;
use tokio::sync::{mpsc, oneshot};
use types::limits::{HANDSHAKE_MS_MAX, PEER_SILENCE_MS_MAX};
use types::{Error, Identity, Result};

use super::attempt::{Failure, deadline_ms};
use super::dialer::{Dialer, secure};
use crate::frame::{Frame, Hello, Kind};
use crate::tcp::{FrameReader, QUEUE_COUNT_MAX, write_frames, write_now};
use crate::{Request, explain, hello, tls};

/// Plaintext that TLS takes at once: a whole batch, so that it leaves in few system calls.
const TLS_BUFFER_SIZE: usize = 256 * 1024;

pub(super) struct TcpLink {
    queue: mpsc::Sender<Frame>,
    pending: Arc<Pending>,
    next_id: AtomicU64,
    /// Who answers, as its certificate says.
    pub(super) server: Identity,
}

impl TcpLink {
    pub(super) async fn open(dialer: &Dialer, address: SocketAddr) -> Result<Self> {
        let mut stream = secure(&dialer.native, address).await?;
        if stream.get_ref().1.alpn_protocol() != Some(tls::ALPN_NATIVE) {
            return Err(explain::other_protocol());
        }
        let (server, _) = tls::peer_of(stream.get_ref().1.peer_certificates())?;
        stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER_SIZE));
        let (read, mut write) = tokio::io::split(stream);
        let counters = dialer.counters.clone();
        let mut reader = FrameReader::new(read, Duration::from_millis(PEER_SILENCE_MS_MAX), counters.clone());
        let ours = hello::ours(dialer.cluster);
        let greet = async {
            // If writing fails, reading tells why: a refused certificate is announced only now.
            let _ = write_now(&mut write, Frame::hello(&ours), &counters).await;
            hello::check(&ours, &Hello::decode(&reader.frame().await?)?)
        };
        explain::within(HANDSHAKE_MS_MAX, greet).await?;

        let (queue, mut queued) = mpsc::channel(QUEUE_COUNT_MAX);
        let pending = Arc::<Pending>::default();
        let waiting = pending.clone();
        env::task::spawn(async move {
            let end = tokio::select! {
                end = receive(&mut reader, &waiting) => end,
                end = write_frames(&mut write, &mut queued, &counters) => end,
            };
            waiting.end(end.err().unwrap_or_else(explain::closed), queued);
        });
        Ok(Self { queue, pending, next_id: AtomicU64::new(1), server })
    }

    pub(super) async fn call(&self, request: Request, deadline: Instant) -> Result<Frame, Failure> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let mut answer = self.pending.expect(id)?;
        if self.queue.send(Frame::request(id, request, deadline_ms(deadline))).await.is_err() {
            return Err(Failure::unsent(explain::closed()));
        }
        (&mut answer.arrives).await.unwrap_or_else(|_| Err(Failure::broken(explain::closed())))
    }

    pub(super) fn is_alive(&self) -> bool {
        self.pending.lock().ended.is_none()
    }
}

/// Hands out answers until the connection ends.
async fn receive<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>, pending: &Pending) -> Result<()> {
    while let Some(prefix) = reader.prefix().await? {
        let frame = reader.payload(prefix).await?;
        if frame.prefix.id == 0 {
            // Why the server ends this connection.
            return frame.into_result().map(|_| ());
        }
        if !matches!(prefix.kind, Kind::Reply | Kind::Error) {
            return Err(Error::invalid(format!("expected an answer but got {:?}", prefix.kind)));
        }
        // Nobody is waiting if the call has timed out meanwhile.
        if let Some(waiter) = pending.lock().waiters.remove(&prefix.id) {
            let _ = waiter.send(Ok(frame));
        }
    }
    Ok(())
}

/// The calls that wait for an answer on one connection.
#[derive(Default)]
struct Pending(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    waiters: HashMap<u64, oneshot::Sender<Result<Frame, Failure>>>,
    ended: Option<Error>,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().expect("no panic while it is held")
    }

    fn expect(&self, id: u64) -> Result<PendingCall<'_>, Failure> {
        let mut waiting = self.lock();
        if let Some(error) = &waiting.ended {
            return Err(Failure::unsent(error.clone()));
        }
        let (waiter, arrives) = oneshot::channel();
        waiting.waiters.insert(id, waiter);
        Ok(PendingCall { pending: self, id, arrives })
    }

    /// Fails all calls. What is still queued was not sent; nothing can be added to the queue any more.
    fn end(&self, error: Error, mut queued: mpsc::Receiver<Frame>) {
        let waiters = {
            let mut waiting = self.lock();
            waiting.ended = Some(error.clone());
            std::mem::take(&mut waiting.waiters)
        };
        queued.close();
        let unsent: Vec<u64> =
            std::iter::from_fn(|| queued.try_recv().ok()).map(|frame| frame.prefix.id).collect();
        for (id, waiter) in waiters {
            let failure = if unsent.contains(&id) { Failure::unsent } else { Failure::broken };
            let _ = waiter.send(Err(failure(error.clone())));
        }
    }
}

/// One call's place among the waiting; given up when dropped.
struct PendingCall<'a> {
    pending: &'a Pending,
    id: u64,
    arrives: oneshot::Receiver<Result<Frame, Failure>>,
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        self.pending.lock().waiters.remove(&self.id);
    }
}
