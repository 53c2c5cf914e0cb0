//! Serves QUIC: one stream per request.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use env::task::JoinSet;
use env::time::{self, Duration};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, TokioRuntime};
use tokio::sync::mpsc;
use types::limits::{CONNECTION_COUNT_MAX, FAREWELL_TIMEOUT, HANDSHAKE_MS_MAX, LATCH_COUNT};
use types::{Error, Result};

use super::door::bind_error;
use super::stop::Stop;
use crate::admission::Line;
use crate::desk::{Desk, Outlet};
use crate::frame::{Frame, Kind};
use crate::quic::{
    ABANDONED, STOPPING, UNWELCOME, read_frame, read_payload, read_prefix, transport_config, write_frame,
};
use crate::{Caller, Counters, Passport, Transport, explain, quic};

/// Listens on a UDP port.
pub(super) fn bind(address: SocketAddr, tls: &rustls::ServerConfig) -> Result<Endpoint> {
    let crypto =
        QuicServerConfig::try_from(tls.clone()).map_err(|e| Error::internal(format!("QUIC: {e}")))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport_config());
    let make = || {
        let socket = UdpSocket::bind(address)?;
        quic::enlarge_buffers(&socket)?;
        Endpoint::new(quic::endpoint_config(), Some(config), socket, Arc::new(TokioRuntime))
    };
    make().map_err(|e| bind_error(address, &e))
}

pub(super) async fn serve(endpoint: Endpoint, desk: Arc<Desk>, own: Passport, mut stop: Stop) {
    let mut connections = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            () = stop.wait() => break,
            Some(_) = connections.join_next() => continue,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        if connections.len() >= CONNECTION_COUNT_MAX {
            incoming.refuse();
            continue;
        }
        let (desk, own, stop) = (desk.clone(), own.clone(), stop.clone());
        connections.spawn(async move {
            let handshake = async { incoming.await.map_err(|e| explain::from_quic(&e)) };
            match explain::within(HANDSHAKE_MS_MAX, handshake).await {
                Ok(accepted) => welcome(accepted, desk, &own, stop).await,
                Err(error) => tracing::debug!(%error, "refused a caller"),
            }
        });
    }
    while connections.join_next().await.is_some() {}
    endpoint.close(STOPPING, b"the node is stopping");
    let _ = time::timeout(FAREWELL_TIMEOUT, endpoint.wait_idle()).await;
}

/// Serves a connection until it ends, or its caller's certificate is revoked.
async fn welcome(accepted: Connection, desk: Arc<Desk>, own: &Passport, stop: Stop) {
    let Ok((identity, serial)) = quic::peer(&accepted) else {
        return accepted.close(UNWELCOME, b"no identity");
    };
    let caller = Caller { identity, address: accepted.remote_address(), transport: Transport::Quic };
    tokio::select! {
        () = connection(accepted.clone(), Arc::new(caller), desk, stop) => {}
        () = own.ouster(serial).wait() => accepted.close(UNWELCOME, b"the certificate was revoked"),
    }
}

async fn connection(connection: Connection, caller: Arc<Caller>, desk: Arc<Desk>, mut stop: Stop) {
    let line = match explain::within(HANDSHAKE_MS_MAX, greet(&caller, &connection, &desk)).await {
        Ok(line) => line,
        Err(error) => {
            tracing::debug!(%caller.address, %error, "refused a caller");
            return connection.close(UNWELCOME, error.message().as_bytes());
        }
    };
    // Every request holds a sender; when the receiver sees the end, all answers have arrived.
    let (busy, mut all_answered) = mpsc::channel::<()>(LATCH_COUNT);
    loop {
        let stream = tokio::select! {
            () = stop.wait() => break,
            stream = connection.accept_bi() => stream,
        };
        let Ok((send, receive)) = stream else { break };
        let (desk, caller, line, busy) = (desk.clone(), caller.clone(), line.clone(), busy.clone());
        env::task::spawn(async move {
            request(send, receive, &caller, &line, &desk).await;
            drop(busy);
        });
    }
    drop(busy);
    if stop.is_set() {
        let _ = all_answered.recv().await;
        connection.close(STOPPING, b"the node is stopping");
    }
}

/// Takes the hello on the first stream. A refusal is sent and has arrived before the connection ends.
async fn greet(caller: &Caller, connection: &Connection, desk: &Desk) -> Result<Line> {
    let (mut send, mut receive) = connection.accept_bi().await.map_err(|e| explain::from_quic(&e))?;
    let first = read_frame(&mut receive, &desk.counters).await;
    let greeted = first.and_then(|frame| Ok((desk.greet(&frame)?, desk.connect(caller)?)));
    let (answer, result) = match greeted {
        Ok((answer, line)) => (answer, Ok(line)),
        Err(error) => (Frame::error(0, &error), Err(error)),
    };
    write_frame(&mut send, answer, &desk.counters).await?;
    if result.is_err() {
        let _ = send.stopped().await;
    }
    result
}

/// One stream. What the caller gives up half-way never reaches the service.
async fn request(mut send: SendStream, mut receive: RecvStream, caller: &Caller, line: &Line, desk: &Desk) {
    let prefix =
        time::timeout(Duration::from_millis(HANDSHAKE_MS_MAX), read_prefix(&mut receive, &desk.counters));
    let prefix = match prefix.await {
        Ok(Ok(Some(prefix))) if prefix.kind == Kind::Request => prefix,
        Ok(Ok(Some(prefix))) => {
            return refuse(
                send,
                receive,
                &Error::invalid(format!("expected a request, got {:?}", prefix.kind)),
                desk,
            )
            .await;
        }
        Ok(Err(error)) => return refuse(send, receive, &error, desk).await,
        Ok(Ok(None)) | Err(time::Elapsed) => {
            let _ = (send.reset(ABANDONED), receive.stop(ABANDONED));
            return;
        }
    };
    let ticket = match desk.admit(caller, line, &prefix) {
        Ok(ticket) => ticket,
        Err(refusal) => {
            let _ = receive.stop(ABANDONED);
            return ReplyStream { stream: send, counters: &desk.counters }.deliver(refusal).await;
        }
    };
    match time::timeout_at(ticket.deadline, read_payload(&mut receive, prefix, &desk.counters)).await {
        Ok(Ok(frame)) => {
            let outlet = ReplyStream { stream: send, counters: &desk.counters };
            desk.answer(caller, ticket, frame.into_request(), outlet).await;
        }
        Ok(Err(error)) => refuse(send, receive, &error, desk).await,
        Err(time::Elapsed) => {
            let late = Error::unavailable("the request did not arrive before its deadline; try a longer one");
            refuse(send, receive, &late, desk).await;
        }
    }
}

/// Answers a stream that cannot be read to its end.
async fn refuse(send: SendStream, mut receive: RecvStream, error: &Error, desk: &Desk) {
    desk.counters.tally(Transport::Quic).count_error();
    let _ = receive.stop(ABANDONED);
    ReplyStream { stream: send, counters: &desk.counters }.deliver(Frame::error(0, error)).await;
}

struct ReplyStream<'a> {
    stream: SendStream,
    counters: &'a Counters,
}

impl Outlet for ReplyStream<'_> {
    /// Returns when the caller has all of it, so that a stopping server does not close too early; but it does not wait long
    /// for a caller that is gone without a word.
    async fn deliver(mut self, answer: Frame) {
        if write_frame(&mut self.stream, answer, self.counters).await.is_ok_and(|wanted| wanted) {
            let _ = time::timeout(FAREWELL_TIMEOUT, self.stream.stopped()).await;
        }
    }
}
