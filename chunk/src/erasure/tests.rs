//! Every kernel against the library, for every pattern of losses; and golden shards.

use bytes::Bytes;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use types::{ErrorKind, Profile};

use super::*;

const PROFILES: [&str; 6] = ["1+1", "4+2", "6+3", "8+3", "10+4", "17+15"];

fn profile(text: &str) -> Profile {
    Profile::parse(text).unwrap()
}

fn noise(size: usize, seed: u64) -> Bytes {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

fn library_parity(profile: Profile, data: &[Bytes]) -> Vec<Vec<u8>> {
    let mut parity = vec![vec![0; data[0].len()]; profile.m.into()];
    let inputs: Vec<&[u8]> = data.iter().map(|d| &d[..]).collect();
    let mut outputs: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    RsCodec::new(profile).unwrap().encode(&inputs, &mut outputs).unwrap();
    parity
}

#[test]
fn this_machine_passes() {
    assert_eq!(self_test(), Ok(Kernel::best()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Encodes, loses up to m shards and gets everything back, on each kernel, with the library's bytes.
    #[test]
    fn kernels_equal_the_library(
        which in 0..PROFILES.len(), size in prop_oneof![1..300usize, 60_000..140_000usize], seed: u64, losses: u64,
    ) {
        let profile = profile(PROFILES[which]);
        let payload = noise(size, seed);
        for kernel in Kernel::available() {
            let stripe = Stripe::new(profile, kernel).unwrap();
            let shards = stripe.encode(&payload).unwrap();
            prop_assert_eq!(shards.len(), profile.n());
            prop_assert_eq!(&shards[profile.k.into()..], library_parity(profile, &shards[..profile.k.into()]));

            let mut left: Vec<Option<Bytes>> = shards.iter().cloned().map(Some).collect();
            for i in 0..profile.m {
                let [lost, ..] = losses.rotate_left(u32::from(i) * 7).to_le_bytes();
                left[usize::from(lost) % profile.n()] = None;
            }
            prop_assert_eq!(&stripe.decode(&left, size).unwrap(), &payload);
            for (index, want) in shards.iter().enumerate() {
                prop_assert_eq!(&stripe.rebuild(&left, index).unwrap(), want);
            }
            let mut all: Vec<Option<Vec<u8>>> = left.iter().map(|s| s.as_ref().map(|s| s.to_vec())).collect();
            KernelCodec::new(profile, kernel).unwrap().reconstruct(&mut all).unwrap();
            prop_assert!(all.iter().zip(&shards).all(|(got, want)| got.as_deref() == Some(&want[..])));
        }
    }
}

#[test]
fn data_shards_are_not_copied() {
    let payload = noise(4 * 1000 - 1, 1);
    let shards = Stripe::new(profile("4+2"), Kernel::best()).unwrap().encode(&payload).unwrap();
    for (i, shard) in shards[..3].iter().enumerate() {
        assert_eq!(shard.as_ptr(), payload[i * 1000..].as_ptr());
    }
    assert_eq!((shards[3].len(), shards[3][999]), (1000, 0));
}

#[test]
fn a_range_is_rebuilt_from_ranges() {
    let stripe = Stripe::new(profile("4+2"), Kernel::best()).unwrap();
    let shards = stripe.encode(&noise(40_000, 2)).unwrap();
    let mut ranges: Vec<Option<Bytes>> = shards.iter().map(|s| Some(s.slice(100..163))).collect();
    ranges[1] = None;
    ranges[2] = None;
    assert_eq!(stripe.rebuild(&ranges, 1).unwrap(), shards[1].slice(100..163));
}

#[test]
fn bad_stripes_are_refused() {
    let stripe = Stripe::new(profile("4+2"), Kernel::best()).unwrap();
    assert_eq!(stripe.encode(&Bytes::new()).unwrap_err().kind(), ErrorKind::Invalid);
    let shards: Vec<Option<Bytes>> = stripe.encode(&noise(100, 3)).unwrap().into_iter().map(Some).collect();
    let kind = |shards: &[Option<Bytes>], len| stripe.decode(shards, len).unwrap_err().kind();
    assert_eq!(kind(&shards[..5], 100), ErrorKind::Invalid);
    assert_eq!(kind(&shards, 101), ErrorKind::Invalid);
    assert_eq!(kind(&shards, 0), ErrorKind::Invalid);
    let mut short = shards.clone();
    short[2] = Some(Bytes::from_static(b"x"));
    assert_eq!(kind(&short, 100), ErrorKind::Invalid);
    let mut few = shards.clone();
    few[..3].fill(None);
    assert_eq!(kind(&few, 100), ErrorKind::Unavailable);
    assert_eq!(stripe.rebuild(&shards, 6).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn code_ids() {
    assert_eq!(CodeId::new(profile("4+2")).number(), 0x111d_0402);
    for text in PROFILES {
        let id = CodeId::new(profile(text));
        assert_eq!(CodeId::parse(id.number()), Ok(id));
        assert_eq!(id.profile(), profile(text));
    }
    for bad in [0, 0x211d_0402, 0x121d_0402, 0x111b_0402, 0x111d_0002, 0x111d_0400, 0x111d_2020] {
        assert!(CodeId::parse(bad).is_err(), "{bad:#x}");
    }
}

#[track_caller]
fn check_golden(text: &str, want: Expect) {
    let payload: Bytes = (0..=255).collect::<Vec<u8>>().into();
    let shards = Stripe::new(profile(text), Kernel::Scalar).unwrap().encode(&payload).unwrap();
    let parity: Vec<String> = shards[usize::from(profile(text).k)..]
        .iter()
        .map(|shard| shard[..8].iter().map(|b| format!("{b:02x}")).collect::<String>())
        .collect();
    want.assert_eq(&format!(
        "{} {} {}",
        shards[0].len(),
        parity.join(" "),
        crate::chunk_id(&shards.concat())
    ));
}

#[test]
fn shards_are_frozen() {
    check_golden(
        "1+1",
        expect!["256 0001020304050607 b51f4245a290e02746b8a92dad1b89efe90dda393b1a5d4227a26b9371ec1550"],
    );
    check_golden(
        "4+2",
        expect![
            "64 1d1c1f1e19181b1a 5d5c5f5e59585b5a d88010f12a270a64cb151207d929bc78d0ad45d5b9efea18c696a8445ee9fcde"
        ],
    );
    check_golden(
        "6+3",
        expect![
            "43 8d8cb3a299d8cffe 0a013027065d4c73 4794679d1e195c77 a5261314ad6e901473d69e9a11d2c45a3b924a6a8966fbf9416b26583457ecd8"
        ],
    );
    check_golden(
        "8+3",
        expect![
            "32 1d1c1f1e19181b1a 3d3c3f3e39383b3a 5d5c5f5e59585b5a f29d1cd36d4db94721be975a5d1f7e0d58c963fcfdcef54daf4c1b9072261380"
        ],
    );
    check_golden(
        "10+4",
        expect![
            "26 d7d6202179784342 b8b92e2ffcfd6564 a6a7858491906c6d d3d23a3b6564fbfa 06a65503c65421c9fdeca5d1d649fbe853e681036fbf2aa9b2850aad51d5c854"
        ],
    );
}
