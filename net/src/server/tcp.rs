//! Serves frames on TLS/TCP: many requests per connection, answers in any order.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, WriteHalf};
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;
use types::limits::{HANDSHAKE_MS_MAX, SERVER_SILENCE_MAX};
use types::{Error, Result};

use super::door::{Door, linger};
use super::stop::Stop;
use crate::admission::Line;
use crate::desk::{Desk, Outlet};
use crate::frame::{Frame, Kind};
use crate::passport::Ouster;
use crate::tcp::{FrameReader, QUEUE_COUNT_MAX, write_frames, write_now};
use crate::tls::Socket;
use crate::{Caller, explain, tls};

/// Plaintext that TLS takes at once: a whole batch, so that it leaves in few system calls.
const TLS_BUFFER_SIZE: usize = 256 * 1024;

pub(super) async fn serve(door: Door, desk: Arc<Desk>) {
    let stop = door.stop.clone();
    door.accept(move |stream, caller, ouster: Ouster| {
        let connection = connection(stream, Arc::new(caller), desk.clone(), stop.clone());
        async move {
            // Without a word: who dials again is told that its certificate was revoked.
            tokio::select! {
                () = connection => {}
                () = ouster.wait() => {}
            }
        }
    })
    .await;
}

async fn connection(mut stream: TlsStream<Socket>, caller: Arc<Caller>, desk: Arc<Desk>, mut stop: Stop) {
    stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER_SIZE));
    let agreed = stream.get_ref().1.alpn_protocol() == Some(tls::ALPN_NATIVE);
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read, SERVER_SILENCE_MAX, desk.counters.clone());
    let greeted = if agreed {
        explain::within(HANDSHAKE_MS_MAX, greet(&caller, &desk, &mut reader, &mut write)).await
    } else {
        Err(explain::other_protocol())
    };
    let line = match greeted {
        Ok(line) => line,
        Err(error) => {
            tracing::debug!(%caller.address, %error, "refused a caller");
            if write_now(&mut write, Frame::error(0, &error), &desk.counters).await.is_ok() {
                linger(reader.into_inner().unsplit(write)).await;
            }
            return;
        }
    };
    let (queue, mut queued) = mpsc::channel(QUEUE_COUNT_MAX);
    let receive = async {
        tokio::select! {
            () = stop.wait() => {}
            result = receive(&mut reader, &caller, &line, &desk, queue.clone()) => if let Err(error) = result {
                tracing::debug!(%caller.address, %error, "connection ends");
                // Under id 0 it is for the connection as a whole.
                Queue(queue).deliver(Frame::error(0, &error)).await;
            }
        }
        // The queue's last sender is gone when the last request is answered; then the writer ends the stream.
    };
    let counters = desk.counters.clone();
    let send = async {
        let _ = write_frames(&mut write, &mut queued, &counters).await;
        // Answers that come later have nowhere to go.
        queued.close();
    };
    // A reader that ended lets the writer finish; a writer that failed makes further reading pointless.
    let mut receive = std::pin::pin!(receive);
    let mut send = std::pin::pin!(send);
    tokio::select! {
        () = &mut receive => send.await,
        () = &mut send => {}
    }
}

async fn greet<R, W>(
    caller: &Caller,
    desk: &Desk,
    reader: &mut FrameReader<R>,
    write: &mut WriteHalf<W>,
) -> Result<Line>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite,
{
    let answer = desk.greet(&reader.frame().await?)?;
    let line = desk.connect(caller)?;
    write_now(write, answer, &desk.counters).await?;
    Ok(line)
}

/// Reads requests and starts them, until the caller ends the stream.
async fn receive<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    caller: &Arc<Caller>,
    line: &Line,
    desk: &Arc<Desk>,
    queue: mpsc::Sender<Frame>,
) -> Result<()> {
    while let Some(prefix) = reader.prefix().await? {
        if prefix.kind != Kind::Request {
            return Err(Error::invalid(format!("expected a request but got {:?}", prefix.kind)));
        }
        match desk.admit(caller, line, &prefix) {
            Ok(ticket) => {
                let request = reader.payload(prefix).await?.into_request();
                let (desk, caller, queue) = (desk.clone(), caller.clone(), queue.clone());
                env::task::spawn(async move { desk.answer(&caller, ticket, request, Queue(queue)).await });
            }
            Err(refusal) => {
                // The answer first: a caller with a large request learns early that it must wait.
                Queue(queue.clone()).deliver(refusal).await;
                reader.skip(&prefix).await?;
            }
        }
    }
    Ok(())
}

struct Queue(mpsc::Sender<Frame>);

impl Outlet for Queue {
    async fn deliver(self, answer: Frame) {
        let _ = self.0.send(answer).await;
    }
}
