//! What both ends of QUIC share: tuning, and one frame per direction of a stream.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use env::time::Duration;
use quinn::udp::UdpSocketState;
use quinn::{
    Connection, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, RecvStream, SendStream, TransportConfig,
    VarInt, WriteError,
};
use rustls::pki_types::CertificateDer;
use types::limits::{CONNECTION_REQUEST_COUNT_MAX, HEARTBEAT_MS, MIB, PEER_SILENCE_MS_MAX, QUIC_INITIAL_RTT};
use types::{Error, Identity, Result, Serial};

use crate::explain;
use crate::frame::{Frame, PREFIX_SIZE, Prefix};
use crate::{Counters, Transport, tls};

/// Who is at the other end, as the certificate says, and which one that is.
pub(crate) fn peer(connection: &Connection) -> Result<(Identity, Option<Serial>)> {
    let certificates = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    tls::peer_of(certificates.as_deref().map(Vec::as_slice))
}

/// A stream that is given up on: its bytes are not wanted any more.
pub(crate) const ABANDONED: VarInt = VarInt::from_u32(1);
/// A connection that ends because its owner stops.
pub(crate) const STOPPING: VarInt = VarInt::from_u32(2);
/// A connection whose hello was refused.
pub(crate) const UNWELCOME: VarInt = VarInt::from_u32(3);

/// A connection whose other end has vanished.
pub(crate) const GONE: VarInt = VarInt::from_u32(4);

/// Pieces of a stream taken at once.
const PIECE_COUNT: usize = 64;

/// Largest packet. quinn sends ten per system call; if they were larger, ten would not fit into one UDP send, and quinn
/// would fall back to the smallest size.
const PACKET_SIZE_MAX: u16 = 6500;
/// Packets that wait in the kernel while the process does something else. The system's default of 208 KiB loses a few
/// percent of them at full speed.
const SOCKET_BUFFER_SIZE: usize = 4 * MIB;

/// Tuning of a socket. The system may grant less; then more packets are resent.
pub(crate) fn enlarge_buffers(socket: &UdpSocket) -> io::Result<()> {
    let state = UdpSocketState::new(socket.into())?;
    let _ = state.set_recv_buffer_size(socket.into(), SOCKET_BUFFER_SIZE);
    let _ = state.set_send_buffer_size(socket.into(), SOCKET_BUFFER_SIZE);
    Ok(())
}

/// Tuning of an endpoint.
pub(crate) fn endpoint_config() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(PACKET_SIZE_MAX).expect("the constant is between 1200 and 65527");
    config
}

/// Tuning of connections. Figures: `cargo run --release -p net --example speed`.
pub(crate) fn transport_config() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let var = |n: usize| VarInt::try_from(n as u64).expect("the constants are far below 2^62");
    // One stream may use a full long-distance link: 16 MiB at 100 ms are 1.3 Gbit/s.
    config.stream_receive_window(var(16 * MIB)).receive_window(var(64 * MIB)).send_window(64 * MIB as u64);
    // More streams than requests are admitted, so that the answer is `Busy` and not silence.
    config.max_concurrent_bidi_streams(VarInt::from_u32(2 * CONNECTION_REQUEST_COUNT_MAX));
    config.max_concurrent_uni_streams(VarInt::from_u32(0)).datagram_receive_buffer_size(None);
    // Streams go one after the other: chunks complete early, and an upload that is killed wastes at most one each.
    config.send_fairness(false);
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(PACKET_SIZE_MAX);
    config.mtu_discovery_config(Some(mtu));
    config.keep_alive_interval(Some(Duration::from_millis(HEARTBEAT_MS)));
    let silence = Duration::from_millis(PEER_SILENCE_MS_MAX);
    config.max_idle_timeout(Some(IdleTimeout::try_from(silence).expect("seconds fit")));
    config.initial_rtt(QUIC_INITIAL_RTT);
    Arc::new(config)
}

/// Writes a frame and the end of the stream. False when the peer does not want the rest (it has answered already).
pub(crate) async fn write_frame(stream: &mut SendStream, frame: Frame, counters: &Counters) -> Result<bool> {
    let size = frame.size();
    let start = Bytes::copy_from_slice(&frame.prefix.encode());
    match stream.write_all_chunks(&mut [start, frame.header, frame.body]).await {
        Ok(()) => {
            counters.tally(Transport::Quic).count_sent(size);
            // Fails only when the peer stopped the stream meanwhile.
            Ok(stream.finish().is_ok())
        }
        Err(WriteError::Stopped(_)) => Ok(false),
        Err(WriteError::ConnectionLost(e)) => Err(explain::from_quic(&e)),
        Err(e) => Err(Error::internal(format!("QUIC stream: {e}"))),
    }
}

/// Reads a frame's prefix; `None` when the stream ends before it.
pub(crate) async fn read_prefix(stream: &mut RecvStream, counters: &Counters) -> Result<Option<Prefix>> {
    let mut bytes = [0; PREFIX_SIZE];
    match stream.read_exact(&mut bytes).await {
        Ok(()) => {
            counters.tally(Transport::Quic).count_received(PREFIX_SIZE);
            Prefix::decode(&bytes).map(Some)
        }
        Err(quinn::ReadExactError::FinishedEarly(_)) => Ok(None),
        Err(quinn::ReadExactError::ReadError(e)) => Err(read_error(&e)),
    }
}

/// Reads what follows a prefix.
pub(crate) async fn read_payload(
    stream: &mut RecvStream,
    prefix: Prefix,
    counters: &Counters,
) -> Result<Frame> {
    let size = prefix.payload_size();
    let mut payload = BytesMut::with_capacity(size);
    let mut pieces: [Bytes; PIECE_COUNT] = std::array::from_fn(|_| Bytes::new());
    while payload.len() < size {
        let count = match stream.read_chunks(&mut pieces).await {
            Ok(Some(count)) => count,
            Ok(None) => return Err(explain::closed()),
            Err(e) => return Err(read_error(&e)),
        };
        for piece in &mut pieces[..count] {
            let piece = std::mem::take(piece);
            counters.tally(Transport::Quic).count_received(piece.len());
            if payload.len() + piece.len() > size {
                return Err(Error::invalid("the stream goes on after its frame; the peer is broken"));
            }
            payload.extend_from_slice(&piece);
        }
    }
    Ok(Frame::from_payload(prefix, payload.freeze()))
}

/// Reads the only frame of a stream.
pub(crate) async fn read_frame(stream: &mut RecvStream, counters: &Counters) -> Result<Frame> {
    let prefix = read_prefix(stream, counters).await?.ok_or_else(explain::closed)?;
    read_payload(stream, prefix, counters).await
}

fn read_error(error: &quinn::ReadError) -> Error {
    match error {
        quinn::ReadError::ConnectionLost(e) => explain::from_quic(e),
        _ => explain::closed(),
    }
}
