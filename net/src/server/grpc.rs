//! Serves gRPC: administration, and nodes that join.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use env::time::Duration;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::server::TlsStream;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status};
use tower_service::Service as HttpService;
use types::Error;
use types::limits::{CONNECTION_REQUEST_COUNT_MAX, HEARTBEAT_MS, PEER_SILENCE_MS_MAX};

use super::door::Door;
use crate::Caller;
use crate::admission::Line;
use crate::desk::{Desk, Outlet};
use crate::frame::{Frame, Kind};
use crate::grpc::{FirstFailure, FrameCodec, MESSAGE_SIZE_MAX, SERVICE, WINDOW, Watched};
use crate::passport::Ouster;
use crate::tls::Socket;

/// Connections that wait to be taken over by the HTTP/2 server.
const HANDOVER_COUNT_MAX: usize = 64;

pub(super) async fn serve(door: Door, desk: Arc<Desk>) {
    let (handover, secured) = mpsc::channel(HANDOVER_COUNT_MAX);
    let mut stop = door.stop.clone();
    let (counters, greeter) = (desk.counters.clone(), desk.clone());
    let accept = door.accept(move |io, caller, ouster: Ouster| {
        let (handover, counters, line) = (handover.clone(), counters.clone(), greeter.connect(&caller));
        async move {
            let Ok(line) = line else { return };
            let (ended, end) = oneshot::channel();
            let owner = Owner { peer: Peer { caller: Arc::new(caller), line }, _ended: ended };
            let cut = ouster.wait().boxed();
            let connection = Watched { io, counters, failure: FirstFailure::default(), cut, owner };
            if handover.send(connection).await.is_ok() {
                // The connection counts against the limit until HTTP/2 drops it.
                let _: Result<(), _> = end.await;
            }
        }
    });
    let incoming = futures::stream::unfold(secured, |mut secured: mpsc::Receiver<Connection>| async move {
        let next = secured.recv().await?;
        Some((Ok::<_, Infallible>(next), secured))
    });
    let http = tonic::transport::Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(2 * CONNECTION_REQUEST_COUNT_MAX)
        .http2_keepalive_interval(Some(Duration::from_millis(HEARTBEAT_MS * 10)))
        .http2_keepalive_timeout(Some(Duration::from_millis(PEER_SILENCE_MS_MAX)))
        .add_service(Control { desk })
        .serve_with_incoming_shutdown(incoming, async move { stop.wait().await });
    let (served, ()) = futures::join!(http, accept);
    if let Err(error) = served {
        tracing::warn!(%error, "the control port ends");
    }
}

/// A caller's connection, as HTTP/2 sees it.
type Connection = Watched<TlsStream<Socket>, Owner>;

struct Owner {
    peer: Peer,
    /// Dropped with the connection.
    _ended: oneshot::Sender<()>,
}

#[derive(Clone)]
struct Peer {
    caller: Arc<Caller>,
    line: Line,
}

impl Connected for Connection {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.owner.peer.clone()
    }
}

#[derive(Clone)]
struct Control {
    desk: Arc<Desk>,
}

impl NamedService for Control {
    const NAME: &'static str = SERVICE;
}

impl HttpService<http::Request<tonic::body::Body>> for Control {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let mut grpc = Grpc::new(FrameCodec)
            .max_decoding_message_size(MESSAGE_SIZE_MAX)
            .max_encoding_message_size(MESSAGE_SIZE_MAX);
        let call = Call(self.desk.clone());
        async move {
            if request.uri().path() != crate::grpc::METHOD {
                return Ok(Status::unimplemented("the only method is Call").into_http());
            }
            Ok(grpc.unary(call, request).await)
        }
        .boxed()
    }
}

struct Call(Arc<Desk>);

impl UnaryService<Frame> for Call {
    type Response = Frame;
    type Future = BoxFuture<'static, Result<Response<Frame>, Status>>;

    fn call(&mut self, request: Request<Frame>) -> Self::Future {
        let desk = self.0.clone();
        async move {
            let peer = request.extensions().get::<Peer>().cloned();
            let Peer { caller, line } =
                peer.ok_or_else(|| Status::internal("connection without a caller"))?;
            Ok(Response::new(answer(request.into_inner(), desk, caller, &line).await))
        }
        .boxed()
    }
}

async fn answer(frame: Frame, desk: Arc<Desk>, caller: Arc<Caller>, line: &Line) -> Frame {
    match frame.prefix.kind {
        Kind::Hello => desk.greet(&frame).unwrap_or_else(|e| Frame::error(0, &e)),
        Kind::Request => {
            let id = frame.prefix.id;
            let ticket = match desk.admit(&caller, line, &frame.prefix) {
                Ok(ticket) => ticket,
                Err(refusal) => return refusal,
            };
            let (outlet, answered) = oneshot::channel();
            // Its own task: HTTP/2 drops this future when the caller goes away.
            env::task::spawn(async move {
                desk.answer(&caller, ticket, frame.into_request(), Once(outlet)).await;
            });
            let gone =
                || Frame::error(id, &Error::internal("the answer was lost; the server's log says more"));
            answered.await.unwrap_or_else(|_| gone())
        }
        other => Frame::error(0, &Error::invalid(format!("expected a request but got {other:?}"))),
    }
}

/// Hands the answer to the future that waits for it.
struct Once(oneshot::Sender<Frame>);

impl Outlet for Once {
    async fn deliver(self, answer: Frame) {
        let _ = self.0.send(answer);
    }
}
