//! Goal: credentials survive being text, and text that is not a whole credential file is refused with a reason.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use types::{ErrorKind, Identity, NodeId};

use super::*;

const DAY: Duration = Duration::from_millis(DAY_MS);
const DAY_MS: u64 = 24 * 3600 * 1000;

fn authority(id: u8) -> Authority {
    Authority::create(&Env::real(), ClusterId([id; 16])).unwrap()
}

fn terms(identity: Identity, serial: u64) -> Terms {
    Terms { identity, serial: Serial(serial), expires: Env::real().clock.wall().plus(DAY_MS) }
}

/// What a certificate is listed and revoked by, and renewed for.
#[test]
fn certificates_say_their_serial_and_their_time() {
    let env = Env::real();
    let node = Identity::Node(NodeId(1));
    for serial in [1, 127, 128, 255, 256, 1 << 40, u64::MAX >> 1, u64::MAX] {
        let terms = terms(node.clone(), serial);
        let own = authority(1).issue_on(&terms, &env).unwrap();
        assert_eq!(own.serial(), Serial(serial));
        assert!(own.issued().0.abs_diff(env.clock.wall().0) < 60_000, "{serial}");
        assert_eq!(own.expires().0, terms.expires.0 / 1000 * 1000);
    }
    let unknown = authority(1).issue(&node, DAY, &env).unwrap();
    assert!(!unknown.serial().is_counted() && Serial(1).is_counted());
}

#[test]
fn credentials_round_trip_as_text() {
    let env = Env::real();
    let authority = Authority::from_pem(&authority(1).to_pem()).unwrap();
    for identity in [Identity::Node(NodeId(3)), Identity::Admin("root".into()), Identity::User("anna".into())]
    {
        let text = authority.issue(&identity, DAY, &env).unwrap().to_pem();
        let read = Credentials::from_pem(&text).unwrap();
        assert_eq!(read.to_pem(), text);
        assert_eq!((read.identity(), read.cluster()), (&identity, ClusterId([1; 16])));
        let left = read.expires().since(env.clock.wall());
        assert!(DAY_MS.abs_diff(left) < 60_000, "{left}");
        assert_eq!(Trust::from_pem(&text).unwrap(), *authority.trust());
        assert!(!format!("{read:?} {authority:?}").contains("KEY"));
    }
}

#[test]
fn a_joining_node_keeps_its_key_to_itself() {
    let key = KeyPair::create().unwrap();
    let request = key.request().unwrap();
    assert!(!request.contains("PRIVATE"));
    let signed = authority(1).sign(&request, &terms(Identity::Node(NodeId(9)), 7), &Env::real()).unwrap();
    assert!(!signed.contains("PRIVATE"));
    let credentials = Credentials::from_parts(&signed, &KeyPair::from_pem(&key.to_pem()).unwrap()).unwrap();
    assert_eq!((credentials.identity(), credentials.serial()), (&Identity::Node(NodeId(9)), Serial(7)));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let env = Env::real();
    let (one, two) = (authority(1), authority(2));
    let node = Identity::Node(NodeId(1));
    let a = one.issue(&node, DAY, &env).unwrap().to_pem();
    let b = two.issue(&node, DAY, &env).unwrap().to_pem();
    let block = |text: &str, index: usize| {
        let parts: Vec<&str> = text.split_inclusive("-----\n").collect();
        parts[index * 2..index * 2 + 2].concat()
    };
    let check = |text: String, part: &str| {
        let error = Credentials::from_pem(&text).unwrap_err();
        assert!(error.message().contains(part), "{error}");
    };
    check(String::new(), "no private key");
    check(block(&a, 0) + &block(&a, 1), "no private key");
    check(block(&a, 0) + &block(&a, 2), "no certificate of a CloudSync authority");
    check(block(&a, 1) + &block(&a, 2), "no certificate besides");
    check(block(&a, 0) + &block(&a, 1) + &block(&b, 2), "does not belong to the certificate");
    check(block(&a, 0) + &block(&b, 1) + &block(&a, 2), "but the authority of");
    check(a.replacen("MII", "M!!", 1), "damaged");
    assert!(Authority::from_pem(&one.trust().to_pem()).is_err());
    assert!(one.sign("nonsense", &terms(node, 1), &env).is_err());
    assert!(one.issue(&Identity::Anonymous, DAY, &env).is_err());
    assert!(one.issue(&Identity::User("a/b".into()), DAY, &env).is_err());
}

/// What a damaged file says is refused, or is somebody's who can show it again: never a panic.
#[track_caller]
fn read(text: &str) {
    match Credentials::from_pem(text) {
        Ok(found) => {
            let again = Credentials::from_pem(&found.to_pem()).unwrap();
            assert_eq!((again.identity(), again.serial()), (found.identity(), found.serial()));
        }
        Err(e) => assert_eq!(e.kind(), ErrorKind::Invalid, "{e}"),
    }
    let _ = Authority::from_pem(text);
}

/// The same ones for all cases: making them takes longer than reading them.
fn credentials() -> &'static Credentials {
    static MADE: std::sync::OnceLock<Credentials> = std::sync::OnceLock::new();
    MADE.get_or_init(|| authority(1).issue(&Identity::Node(NodeId(1)), DAY, &Env::real()).unwrap())
}

proptest! {
    #[test]
    fn damaged_credentials_do_no_harm(at: Index, text in "[ -~\n]{0,40}", bytes in vec(any::<u8>(), 0..12)) {
        let good = credentials().to_pem();
        let (before, after) = good.split_at(at.index(good.len()));
        for over in [0, text.len()] {
            read(&[before, &text, after.get(over..).unwrap_or_default()].concat());
        }
        // In a certificate, as whoever damages it before it becomes text would.
        let mut certificate = credentials().certified().cert[0].to_vec();
        let start = at.index(certificate.len());
        certificate.iter_mut().skip(start).zip(bytes).for_each(|(byte, bad)| *byte = bad);
        let own = certificate::pem_block("CERTIFICATE", &certificate);
        read(&(own + &credentials().trust().to_pem() + &good[good.find("-----BEGIN PRIVATE").unwrap()..]));
    }
}
