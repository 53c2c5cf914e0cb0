//! Frames on one byte stream (TLS on TCP), both sides. Hot: every shard and every Raft append between nodes.
//!
//! Owns: reading frames with one copy, writing queued frames together, heartbeats.
//! Knows nothing of: what the frames mean.
//!
//! Cost on paper, per small frame: no system call of its own (64 in flight share one read and one write), two
//! allocations (payload, task). Per large body: one copy out of TLS into the buffer the service gets.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use env::time::{self, Duration};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use types::limits::{HEARTBEAT_MS, PEER_STALL_MAX};
use types::{Error, Result};

use crate::explain;
use crate::frame::{Frame, Kind, PREFIX_SIZE, Prefix};
use crate::{Counters, Transport};

/// Frames that wait for the writer of one connection. More wait in their tasks.
pub(crate) const QUEUE_COUNT_MAX: usize = 256;
/// Bytes that one read asks for, and that small frames fill before they are written together.
const BATCH_SIZE: usize = 64 * 1024;
/// A payload of this size or more is not copied through the batch.
const LARGE_SIZE_MIN: usize = 16 * 1024;

/// Reads frames.
pub(crate) struct FrameReader<R> {
    io: R,
    buffer: BytesMut,
    silence: Duration,
    counters: Arc<Counters>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader that gives up when nothing arrives for `silence`.
    pub(crate) fn new(io: R, silence: Duration, counters: Arc<Counters>) -> Self {
        Self { io, buffer: BytesMut::with_capacity(BATCH_SIZE), silence, counters }
    }

    /// The next frame's prefix, pings left out; `None` at the end of the stream.
    pub(crate) async fn prefix(&mut self) -> Result<Option<Prefix>> {
        loop {
            while self.buffer.len() < PREFIX_SIZE {
                if self.fill(BATCH_SIZE).await? == 0 {
                    return if self.buffer.is_empty() { Ok(None) } else { Err(explain::closed()) };
                }
            }
            let (bytes, _) = self.buffer.split_first_chunk().expect("the loop above read this much");
            let prefix = Prefix::decode(bytes)?;
            self.buffer.advance(PREFIX_SIZE);
            if prefix.kind != Kind::Ping {
                return Ok(Some(prefix));
            }
            self.skip(&prefix).await?;
        }
    }

    /// The rest of the frame whose prefix was read. It gets memory of its own: a small message that is kept must not
    /// keep a whole batch.
    pub(crate) async fn payload(&mut self, prefix: Prefix) -> Result<Frame> {
        let size = prefix.payload_size();
        let mut payload = BytesMut::with_capacity(size);
        let ready = size.min(self.buffer.len());
        payload.extend_from_slice(&self.buffer[..ready]);
        self.buffer.advance(ready);
        while payload.len() < size {
            let missing = size - payload.len();
            let count = if missing < LARGE_SIZE_MIN {
                // Small rest: read what comes after it too.
                let count = self.fill(BATCH_SIZE).await?;
                let taken = missing.min(self.buffer.len());
                payload.extend_from_slice(&self.buffer[..taken]);
                self.buffer.advance(taken);
                count
            } else {
                let mut target = (&mut payload).limit(missing);
                read_some(&mut self.io, &mut target, self.silence, &self.counters).await?
            };
            if count == 0 {
                return Err(explain::closed());
            }
        }
        Ok(Frame::from_payload(prefix, payload.freeze()))
    }

    /// Drops the rest of the frame whose prefix was read.
    pub(crate) async fn skip(&mut self, prefix: &Prefix) -> Result<()> {
        let mut missing = prefix.payload_size();
        loop {
            let count = missing.min(self.buffer.len());
            self.buffer.advance(count);
            missing -= count;
            if missing == 0 {
                return Ok(());
            }
            if self.fill(BATCH_SIZE).await? == 0 {
                return Err(explain::closed());
            }
        }
    }

    /// The next frame; an error at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Result<Frame> {
        let prefix = self.prefix().await?.ok_or_else(explain::closed)?;
        self.payload(prefix).await
    }

    /// The stream; bytes that were read ahead are lost.
    pub(crate) fn into_inner(self) -> R {
        self.io
    }

    async fn fill(&mut self, wanted: usize) -> Result<usize> {
        self.buffer.reserve(wanted);
        read_some(&mut self.io, &mut self.buffer, self.silence, &self.counters).await
    }
}

async fn read_some<R: AsyncRead + Unpin>(
    io: &mut R,
    target: &mut impl BufMut,
    silence: Duration,
    counters: &Counters,
) -> Result<usize> {
    match time::timeout(silence, io.read_buf(target)).await {
        Ok(Ok(count)) => {
            counters.tally(Transport::Tcp).count_received(count);
            Ok(count)
        }
        Ok(Err(e)) => Err(explain::from_io(&e)),
        Err(time::Elapsed) => Err(explain::silent()),
    }
}

/// Writes queued frames, those that are ready together in one go, and pings in between, until the queue is closed and
/// empty. Then ends the stream properly.
pub(crate) async fn write_frames<W: AsyncWrite + Unpin>(
    io: &mut W,
    queue: &mut mpsc::Receiver<Frame>,
    counters: &Counters,
) -> Result<()> {
    let mut batch = BytesMut::with_capacity(2 * BATCH_SIZE);
    loop {
        let frame = match queue.try_recv() {
            Ok(frame) => Some(frame),
            Err(_) => match time::timeout(Duration::from_millis(HEARTBEAT_MS), queue.recv()).await {
                Ok(next) => next,
                Err(time::Elapsed) => Some(Frame::ping()),
            },
        };
        let Some(mut frame) = frame else { break };
        loop {
            write_frame(io, &mut batch, frame, counters).await?;
            match queue.try_recv() {
                Ok(next) => frame = next,
                Err(_) => break,
            }
        }
        write_all(io, &mut batch, [Bytes::new(), Bytes::new()], counters).await?;
        guard(io.flush()).await?;
    }
    guard(io.shutdown()).await
}

/// Writes one frame at once: the hello of a connection that has no writer task yet.
pub(crate) async fn write_now<W: AsyncWrite + Unpin>(
    io: &mut W,
    frame: Frame,
    counters: &Counters,
) -> Result<()> {
    let mut batch = BytesMut::new();
    write_frame(io, &mut batch, frame, counters).await?;
    write_all(io, &mut batch, [Bytes::new(), Bytes::new()], counters).await?;
    guard(io.flush()).await
}

/// Adds a small frame to the batch; writes a large one together with the batch before it.
async fn write_frame<W: AsyncWrite + Unpin>(
    io: &mut W,
    batch: &mut BytesMut,
    frame: Frame,
    counters: &Counters,
) -> Result<()> {
    batch.put_slice(&frame.prefix.encode());
    if frame.prefix.payload_size() >= LARGE_SIZE_MIN {
        return write_all(io, batch, [frame.header, frame.body], counters).await;
    }
    batch.put_slice(&frame.header);
    batch.put_slice(&frame.body);
    if batch.len() >= BATCH_SIZE {
        write_all(io, batch, [Bytes::new(), Bytes::new()], counters).await?;
    }
    Ok(())
}

/// Writes the batch, which is empty afterwards, and then the two parts.
async fn write_all<W: AsyncWrite + Unpin>(
    io: &mut W,
    batch: &mut BytesMut,
    [mut first, mut second]: [Bytes; 2],
    counters: &Counters,
) -> Result<()> {
    while !batch.is_empty() || !first.is_empty() || !second.is_empty() {
        let slices = [IoSlice::new(batch), IoSlice::new(&first), IoSlice::new(&second)];
        let mut count = guard(write_some(io, &slices)).await?;
        counters.tally(Transport::Tcp).count_sent(count);
        for buffer in [batch as &mut dyn Buf, &mut first, &mut second] {
            let taken = count.min(buffer.remaining());
            buffer.advance(taken);
            count -= taken;
        }
    }
    batch.clear();
    Ok(())
}

async fn write_some<W: AsyncWrite + Unpin>(io: &mut W, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let count = std::future::poll_fn(|cx| Pin::new(&mut *io).poll_write_vectored(cx, slices)).await?;
    if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) }
}

async fn guard<T>(step: impl Future<Output = io::Result<T>>) -> Result<T> {
    match time::timeout(PEER_STALL_MAX, step).await {
        Ok(result) => result.map_err(|e| explain::from_io(&e)),
        Err(time::Elapsed) => Err(Error::unavailable("the peer takes no bytes; it may be stuck, try again")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Request;

    /// Byte `i` of the body of frame `id`.
    fn byte(id: usize, i: usize) -> u8 {
        ((i * 7 + id) % 256).try_into().unwrap()
    }

    /// Sends frames of `sizes` through a pipe that holds `pipe` bytes.
    async fn through(sizes: &[usize], pipe: usize) -> Vec<Frame> {
        let (mut near, far) = tokio::io::duplex(pipe);
        let counters = Arc::<Counters>::default();
        let (queue, mut queued) = mpsc::channel(QUEUE_COUNT_MAX);
        for (id, size) in sizes.iter().enumerate() {
            let body: Bytes = (0..*size).map(|i| byte(id, i)).collect();
            let header = body.slice(..size / 3);
            queue.try_send(Frame::request(id as u64, Request { method: 1, header, body }, 5)).unwrap();
        }
        drop(queue);
        let mut reader = FrameReader::new(far, Duration::from_secs(5), counters.clone());
        let read = async {
            let mut frames = Vec::new();
            while let Some(prefix) = reader.prefix().await.unwrap() {
                frames.push(reader.payload(prefix).await.unwrap());
            }
            frames
        };
        let (written, frames) = tokio::join!(write_frames(&mut near, &mut queued, &counters), read);
        written.unwrap();
        let size: usize = frames.iter().map(Frame::size).sum();
        let traffic = counters.of(Transport::Tcp);
        assert_eq!((traffic.sent, traffic.received), (size as u64, size as u64));
        frames
    }

    #[tokio::test]
    async fn frames_of_all_sizes_arrive_whole_and_in_order() {
        let sizes = [0, 1, 100, LARGE_SIZE_MIN - 1, LARGE_SIZE_MIN, 70_000, 0, BATCH_SIZE, 3, 1 << 20, 50];
        for pipe in [1, 7, 4096, 1 << 16, 1 << 22] {
            let sizes = if pipe < 100 { &sizes[..4] } else { &sizes[..] };
            let frames = through(sizes, pipe).await;
            assert_eq!(frames.len(), sizes.len());
            for (id, (frame, size)) in frames.iter().zip(sizes).enumerate() {
                assert_eq!(
                    (frame.prefix.id, frame.body.len(), frame.header.len()),
                    (id as u64, *size, size / 3)
                );
                assert!(frame.body.iter().enumerate().all(|(i, b)| *b == byte(id, i)));
                assert_eq!(frame.header, frame.body.slice(..size / 3));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_side_pings_and_a_silent_side_is_given_up() {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        let counters = Arc::<Counters>::default();
        let (queue, mut queued) = mpsc::channel(1);
        let silence = Duration::from_millis(4 * HEARTBEAT_MS);
        let mut reader = FrameReader::new(far, silence, counters.clone());
        let started = time::now();
        {
            let writer = write_frames(&mut near, &mut queued, &counters);
            let read = time::timeout(Duration::from_secs(60), reader.prefix());
            tokio::select! {
                _ = writer => panic!("the queue is open"),
                got = read => assert_eq!(got.err(), Some(time::Elapsed), "pings keep it alive"),
            }
        }
        assert!(started.elapsed() >= Duration::from_secs(60));
        assert!(counters.of(Transport::Tcp).received >= 90 * PREFIX_SIZE as u64);
        let error = reader.prefix().await.unwrap_err();
        assert!(error.message().contains("silent"), "{error}");
        drop(queue);
    }
}
