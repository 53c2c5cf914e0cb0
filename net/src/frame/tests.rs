//! Goal: the layout never changes by accident, and no bytes from outside can do harm.
//! Method: golden bytes, round trips at the limits, random bytes and random damage.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn bytes_of(frame: &Frame) -> Vec<u8> {
    [&frame.prefix.encode()[..], &frame.header, &frame.body].concat()
}

#[track_caller]
fn golden(frame: &Frame, want: &str) {
    let hex: String = bytes_of(frame).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, want.replace(' ', ""));
    assert_eq!(Frame::decode(bytes_of(frame).into()).as_ref(), Ok(frame));
}

#[test]
fn request_bytes() {
    let request =
        Request { method: 0x0102, header: Bytes::from_static(b"hd"), body: Bytes::from_static(b"body") };
    golden(
        &Frame::request(0x1122_3344_5566_7788, request, 5000),
        "1a000000 02 00 0201 8877665544332211 88130000 02000000 6864 626f6479",
    );
}

#[test]
fn reply_bytes() {
    let reply = Reply { header: Bytes::from_static(b"r"), body: Bytes::new() };
    golden(&Frame::answer(7, Ok(reply)), "15000000 03 00 0000 0700000000000000 00000000 01000000 72");
}

#[test]
fn error_bytes() {
    golden(
        &Frame::error(7, &Error::busy("full", 250)),
        "1d000000 04 00 0000 0700000000000000 00000000 09000000 07 fa000000 66756c6c",
    );
}

#[test]
fn hello_and_ping_bytes() {
    let hello = Hello { version: 2, oldest: 1, cluster: ClusterId([0xcc; 16]) };
    golden(
        &Frame::hello(&hello),
        "2c000000 01 00 0000 0000000000000000 00000000 18000000 434c5359 0200 0100 cccccccccccccccccccccccccccccccc",
    );
    assert_eq!(Hello::decode(&Frame::hello(&hello)), Ok(hello));
    golden(&Frame::ping(), "14000000 05 00 0000 0000000000000000 00000000 00000000");
}

#[test]
fn a_longer_hello_of_a_later_version_is_read() {
    let hello = Hello { version: 9, oldest: 3, cluster: ClusterId([1; 16]) };
    let mut frame = Frame::hello(&hello);
    frame.header = [&frame.header[..], b"more"].concat().into();
    assert_eq!(Hello::decode(&frame), Ok(hello));
}

#[test]
fn all_error_kinds_round_trip() {
    for kind in ErrorKind::ALL {
        let error = if kind == ErrorKind::Busy { Error::busy("m ü", 77) } else { Error::new(kind, "m ü") };
        assert_eq!(Frame::error(1, &error).into_result(), Err(error));
    }
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    let error =
        Frame::error(1, &Error::internal("ü".repeat(ERROR_MESSAGE_SIZE_MAX))).into_result().unwrap_err();
    assert_eq!(error.message(), "ü".repeat(ERROR_MESSAGE_SIZE_MAX / 2));
}

#[test]
fn sizes_at_and_over_the_limits() {
    let prefix = |header_size, body_size| Prefix {
        kind: Kind::Request,
        method: 0,
        id: 0,
        deadline_ms: 0,
        header_size,
        body_size,
    };
    for (header, body, fits) in [
        (FRAME_HEADER_SIZE_MAX, FRAME_SIZE_MAX - FRAME_HEADER_SIZE_MAX, true),
        (0, FRAME_SIZE_MAX, true),
        (FRAME_HEADER_SIZE_MAX + 1, 0, false),
        (0, FRAME_SIZE_MAX + 1, false),
        (1, FRAME_SIZE_MAX, false),
    ] {
        assert_eq!(Prefix::decode(&prefix(header, body).encode()).is_ok(), fits, "{header} {body}");
    }
    let reply = Reply { header: Bytes::new(), body: vec![0; FRAME_SIZE_MAX + 1].into() };
    let error = Frame::answer(1, Ok(reply)).into_result().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}

#[test]
fn bad_frames_are_refused() {
    let good = bytes_of(&Frame::error(7, &Error::busy("full", 250)));
    for len in 0..good.len() {
        assert!(Frame::decode(Bytes::copy_from_slice(&good[..len])).is_err(), "cut to {len}");
    }
    let spoil = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Frame::decode(bytes.into())
    };
    assert!(spoil(4, 0).is_err() && spoil(4, 6).is_err(), "unknown kinds");
    assert!(spoil(20, 255).is_err(), "header longer than the frame");
    assert!(spoil(3, 1).is_err(), "length over the limit");
    assert_eq!(spoil(24, 200).unwrap().into_result().unwrap_err().kind(), ErrorKind::Internal);
    assert!(Frame::ping().into_result().is_err() && Hello::decode(&Frame::ping()).is_err());
}

/// Reads bytes as whatever they may be; memory is never asked for more than a frame may have.
fn read(bytes: &[u8]) {
    if let Some((start, _)) = bytes.split_first_chunk()
        && let Ok(prefix) = Prefix::decode(start)
    {
        assert!(prefix.header_size <= FRAME_HEADER_SIZE_MAX && prefix.payload_size() <= FRAME_SIZE_MAX);
    }
    let Ok(frame) = Frame::decode(Bytes::copy_from_slice(bytes)) else { return };
    assert_eq!(Frame::decode(bytes_of(&frame).into()).as_ref(), Ok(&frame));
    if let Ok(hello) = Hello::decode(&frame) {
        assert_eq!(Hello::decode(&Frame::hello(&hello)), Ok(hello));
    }
    let _ = frame.into_result();
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(mut bytes in vec(any::<u8>(), 0..64), length in any::<u32>()) {
        read(&bytes);
        // What the peer says of the length is true, or anything, and the kind is known.
        let rest = u32::try_from(bytes.len()).unwrap().saturating_sub(4);
        for length in [rest, length] {
            for (kind, header_size) in (1..=5).flat_map(|kind| [rest.saturating_sub(20), length].map(|size| (kind, size))) {
                if bytes.len() >= PREFIX_SIZE {
                    bytes[..4].copy_from_slice(&length.to_le_bytes());
                    bytes[4] = kind;
                    bytes[20..24].copy_from_slice(&header_size.to_le_bytes());
                }
                read(&bytes);
            }
        }
    }

    #[test]
    fn damage_does_no_harm(at: Index, rubbish in vec(any::<u8>(), 0..40)) {
        let body = Bytes::from_static(b"a body");
        let request = Request { method: 7, header: Bytes::from_static(b"header"), body: body.clone() };
        let hello = Hello { version: 2, oldest: 1, cluster: ClusterId([0xcc; 16]) };
        for frame in [
            Frame::hello(&hello),
            Frame::request(9, request, 5000),
            Frame::answer(9, Ok(Reply { header: Bytes::from_static(b"reply"), body })),
            Frame::error(9, &Error::busy("full", 250)),
            Frame::ping(),
        ] {
            let good = bytes_of(&frame);
            let (before, after) = good.split_at(at.index(good.len()));
            let over = after.get(rubbish.len()..).unwrap_or_default();
            for bad in [[before, &rubbish].concat(), [before, &rubbish, over].concat(), [before, &rubbish, after].concat()] {
                read(&bad);
            }
        }
    }
}
