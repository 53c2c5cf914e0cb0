//! What both ends of gRPC share: a codec that carries our frames, and a stream that is watched.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use types::Error;
use types::limits::FRAME_SIZE_MAX;

use crate::explain;
use crate::frame::{Frame, PREFIX_SIZE};
use crate::{Counters, Transport};

/// Name of the service.
pub(crate) const SERVICE: &str = "cloudsync.Control";
/// Its only method.
pub(crate) const METHOD: &str = "/cloudsync.Control/Call";
/// The largest message: one frame.
pub(crate) const MESSAGE_SIZE_MAX: usize = FRAME_SIZE_MAX + PREFIX_SIZE;
/// Bytes on their way per call and per connection before the sender must wait.
pub(crate) const WINDOW: u32 = 4 << 20;

/// Frames as gRPC messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FrameCodec;

impl Codec for FrameCodec {
    type Encode = Frame;
    type Decode = Frame;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for FrameCodec {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.reserve(frame.size());
        target.put_slice(&frame.prefix.encode());
        target.put_slice(&frame.header);
        target.put_slice(&frame.body);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Frame>, Status> {
        let bytes = source.copy_to_bytes(source.remaining());
        Frame::decode(bytes).map(Some).map_err(|e| Status::invalid_argument(e.message()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

/// A stream whose bytes are counted, and whose first failure is kept: HTTP/2 would forget why.
pub(crate) struct Watched<S, O> {
    pub io: S,
    pub counters: Arc<Counters>,
    pub failure: FirstFailure,
    /// Ends the stream once it is ready.
    pub cut: BoxFuture<'static, ()>,
    /// What its owner keeps with it.
    pub owner: O,
}

/// Where a stream's first failure is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirstFailure(Arc<Mutex<Option<Error>>>);

impl FirstFailure {
    pub(crate) fn first(&self) -> Option<Error> {
        self.0.lock().expect("no panic while it is held").clone()
    }

    fn note<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(e)) = &result {
            self.0.lock().expect("no panic while it is held").get_or_insert_with(|| explain::from_io(e));
        }
        result
    }
}

impl<S: AsyncRead + Unpin, O: Unpin> AsyncRead for Watched<S, O> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            self.cut = std::future::ready(()).boxed(); // Whoever reads once more is told the same.
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = target.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, target);
        self.counters.tally(Transport::Grpc).count_received(target.filled().len() - before);
        self.failure.note(result)
    }
}

impl<S: AsyncWrite + Unpin, O: Unpin> AsyncWrite for Watched<S, O> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &result {
            self.counters.tally(Transport::Grpc).count_sent(*count);
        }
        self.failure.note(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(cx);
        self.failure.note(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(count)) = &result {
            self.counters.tally(Transport::Grpc).count_sent(*count);
        }
        self.failure.note(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
