//! One gRPC channel.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use env::time::{Duration, Instant};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower_service::Service as HttpService;
use types::limits::{HANDSHAKE_MS_MAX, HEARTBEAT_MS, PEER_SILENCE_MS_MAX};
use types::{Error, Result};

use super::attempt::{Failure, deadline_ms};
use super::dialer::{Dialer, secure};
use crate::frame::{Frame, Hello};
use crate::grpc::{FirstFailure, FrameCodec, MESSAGE_SIZE_MAX, METHOD, WINDOW, Watched};
use crate::tls::Socket;
use crate::{Counters, Request, explain, hello, tls};

pub(super) struct GrpcLink {
    channel: Channel,
    failure: FirstFailure,
    broken: AtomicBool,
}

impl GrpcLink {
    pub(super) async fn open(dialer: &Dialer, address: SocketAddr) -> Result<Self> {
        let failure = FirstFailure::default();
        let connector = Connector {
            address,
            tls: dialer.control.clone(),
            counters: dialer.counters.clone(),
            failure: failure.clone(),
        };
        // The connector does TLS itself, so for the library this is plain HTTP/2.
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| Error::invalid(format!("address {address}: {e}")))?
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .http2_keep_alive_interval(Duration::from_millis(HEARTBEAT_MS))
            .keep_alive_timeout(Duration::from_millis(PEER_SILENCE_MS_MAX - HEARTBEAT_MS))
            .keep_alive_while_idle(true);
        let channel = endpoint.connect_with_connector(connector).await.map_err(|e| {
            failure.first().or_else(|| explain::from_chain(&e)).unwrap_or_else(explain::closed)
        })?;
        let link = Self { channel, failure, broken: AtomicBool::new(false) };
        let ours = hello::ours(dialer.cluster);
        let greet = async {
            let first = link.exchange(Frame::hello(&ours)).await?;
            hello::check(&ours, &Hello::decode(&first)?)
        };
        explain::within(HANDSHAKE_MS_MAX, greet).await?;
        Ok(link)
    }

    /// HTTP/2 does not tell whether a failed request was sent; it counts as sent.
    pub(super) async fn call(&self, request: Request, deadline: Instant) -> Result<Frame, Failure> {
        self.exchange(Frame::request(1, request, deadline_ms(deadline))).await.map_err(Failure::broken)
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.broken.load(Relaxed) && self.failure.first().is_none()
    }

    async fn exchange(&self, frame: Frame) -> Result<Frame> {
        let mut grpc = Grpc::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_SIZE_MAX)
            .max_encoding_message_size(MESSAGE_SIZE_MAX);
        let path = PathAndQuery::from_static(METHOD);
        let answer = async {
            grpc.ready().await.map_err(|e| Status::from_error(e.into()))?;
            grpc.unary(tonic::Request::new(frame), path, FrameCodec).await
        };
        answer.await.map(tonic::Response::into_inner).map_err(|status| self.explain(&status))
    }

    /// Our server answers errors with frames; a status comes from HTTP/2 or a foreign server.
    fn explain(&self, status: &Status) -> Error {
        if matches!(status.code(), Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented) {
            return Error::invalid(format!("{}; is this a CloudSync control port?", status.message()));
        }
        self.broken.store(true, Relaxed);
        self.failure.first().or_else(|| explain::from_chain(status)).unwrap_or_else(explain::closed)
    }
}

/// Opens the stream below HTTP/2.
struct Connector {
    address: SocketAddr,
    tls: TlsConnector,
    counters: Arc<Counters>,
    failure: FirstFailure,
}

impl HttpService<Uri> for Connector {
    type Response = TokioIo<Watched<TlsStream<Socket>, ()>>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let (tls, address) = (self.tls.clone(), self.address);
        let (counters, failure) = (self.counters.clone(), self.failure.clone());
        async move {
            let io = secure(&tls, address).await?;
            if io.get_ref().1.alpn_protocol() != Some(tls::ALPN_CONTROL) {
                return Err(explain::other_protocol());
            }
            Ok(TokioIo::new(Watched {
                io,
                counters,
                failure,
                cut: std::future::pending().boxed(),
                owner: (),
            }))
        }
        .boxed()
    }
}
