//! Goal: who gets in, and who does not any more. Method: as in the tests of the root, at chosen times.

use proto::certificates::{CertificatesRevoked, Revoked, TokenList};
use types::TokenId;
use types::limits::{HOLDER_CERTIFICATE_COUNT_MAX, TOKEN_COUNT_MAX, TOKEN_USE_COUNT_MAX};

use super::*;

const META: Grant = Grant::Join(Role::Meta);
const BLOCK: Grant = Grant::Join(Role::Block);

fn node(id: u64) -> Identity {
    Identity::Node(NodeId(id))
}

fn admin() -> Identity {
    Identity::Admin("admin".into())
}

impl Bench {
    /// What who knows nothing yet is told; who knows it is told nothing.
    fn revoked(&self) -> Revoked {
        let told = revoked(&self.0, 0).unwrap().unwrap();
        assert_eq!(revoked(&self.0, told.version), Ok(None));
        told
    }

    fn token(&self, hash: u8, grant: Grant, uses: u32) {
        self.ok::<()>(add_token([hash; 32], grant, uses));
    }

    /// A node asks to join; its request and store are those of node `number`.
    fn join(&self, hash: u8, number: u64, roles: &[Role], time: u64) -> Result<NodeId> {
        let new = NewNode { roles: roles.to_vec(), ..new_node(number) };
        let (token_hash, level) = ([hash; 32], FeatureLevel(1));
        let change = MapChange::AddNode { node: new, token_hash, asked: asked(number), level };
        let changed = self.try_change(change, time)?;
        assert!(changed.certificate.is_some());
        Ok(changed.node.unwrap())
    }

    fn issue(&self, identity: Identity, request: u64, token: Option<u8>, time: u64) -> Result<Issued> {
        let token_hash = token.map(|hash| [hash; 32]);
        let asked = ToCertify { request: [request as u8; 32], expires: Millis(END + time) };
        self.apply(RootCommand::IssueCertificate { identity, asked, token_hash }, time)
    }

    fn revoke(&self, which: Which, own: Option<u64>, force: bool) -> Result<Vec<u64>> {
        let command = RootCommand::RevokeCertificates { which, own: own.map(Serial), force };
        let revoked: CertificatesRevoked = self.apply(command, 1)?;
        Ok(revoked.serials.into_iter().map(|serial| serial.0).collect())
    }

    /// Serial, holder, and `-` for what is revoked.
    fn listed(&self, now: u64) -> String {
        let list = list_certificates(&self.0, Millis(now)).unwrap().certificates;
        let show = |c: &proto::certificates::CertificateInfo| {
            format!("{}{} {}", if c.revoked { "-" } else { "" }, c.serial, c.identity)
        };
        list.iter().map(show).collect::<Vec<_>>().join(", ")
    }

    fn tokens(&self, now: u64) -> TokenList {
        list_tokens(&self.0, Millis(now)).unwrap()
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, words: &str) {
    let error = result.unwrap_err();
    assert!(error.kind() == kind && error.message().contains(words), "{error:?} is not {kind:?} … {words} …");
}

#[test]
fn a_token_is_used_up_and_only_until_it_expires() {
    let bench = Bench::new(1);
    bench.token(1, META, 2);
    refused(bench.join(8, 2, &[Role::Block], 1), ErrorKind::Denied, "not one of this cluster's");
    refused(bench.join(1, 2, &[Role::Block], 101), ErrorKind::Denied, "has expired");
    assert_eq!(bench.join(1, 2, &[Role::Block], 100), Ok(NodeId(2)));
    assert_eq!(bench.join(1, 3, &[Role::Meta, Role::Block], 1), Ok(NodeId(3)));
    refused(bench.join(1, 4, &[Role::Block], 1), ErrorKind::Denied, "was used already");
    assert_eq!(bench.map().nodes.len(), 3);
}

/// The answer to a join may be lost: the same node comes back, whatever is left of the token.
#[test]
fn the_same_join_again_is_the_same_node() {
    let bench = Bench::new(1);
    bench.token(1, META, 1);
    assert_eq!(bench.join(1, 2, &[Role::Meta], 1), Ok(NodeId(2)));
    let (epoch, listed) = (bench.map().epoch, bench.listed(1));
    assert_eq!(bench.join(1, 2, &[Role::Meta], 50), Ok(NodeId(2)));
    assert_eq!((bench.map().epoch, bench.listed(1)), (epoch, listed), "nothing is new");
    refused(bench.join(1, 2, &[Role::Block], 1), ErrorKind::Conflict, "other roles");
    bench.change(MapChange::RemoveNode { node: NodeId(2), force: false });
    refused(bench.join(1, 2, &[Role::Meta], 1), ErrorKind::Denied, "removed or forgotten");
}

#[test]
fn a_token_for_storage_makes_no_meta_node() {
    let bench = Bench::new(1);
    bench.token(1, BLOCK, 1);
    bench.token(2, Grant::Renew(NodeId(1)), 1);
    for roles in [&[Role::Meta][..], &[Role::Meta, Role::Block]] {
        refused(bench.join(1, 2, roles, 1), ErrorKind::Denied, "--role meta");
        refused(bench.join(2, 2, roles, 1), ErrorKind::Denied, "renewing the certificate of node 1");
    }
    assert_eq!(bench.map().nodes.len(), 1, "what is refused uses nothing up");
    assert_eq!(bench.join(1, 2, &[Role::Block], 1), Ok(NodeId(2)));
    assert_eq!(bench.map().nodes[&NodeId(2)].store, None, "whatever it says of a store");
    let store = MapChange::RegisterStore { node: NodeId(2), store: StoreUuid([2; 16]) };
    refused(bench.try_change(store, 1), ErrorKind::Denied, "not joined as one that holds metadata");
}

#[test]
fn tokens_are_listed_revoked_and_forgotten() {
    let bench = Bench::new(1);
    bench.token(1, META, 3);
    bench.join(1, 2, &[Role::Block], 1).unwrap();
    let id = TokenId([1; 8]);
    let tokens = bench.tokens(1).tokens;
    let mine = tokens.iter().find(|token| token.id == id).unwrap();
    assert_eq!((mine.grant, mine.uses, &mine.used_by[..]), (META, 3, &[NodeId(2)][..]));
    assert!(bench.tokens(101).tokens.is_empty(), "an expired one is of no interest");
    bench.ok::<()>(RootCommand::RevokeToken { id });
    refused(bench.apply::<()>(RootCommand::RevokeToken { id }, 1), ErrorKind::NotFound, "no token 0101");
    refused(bench.join(1, 3, &[Role::Block], 1), ErrorKind::Denied, "was revoked");
    refused(bench.join(1, 2, &[Role::Block], 1), ErrorKind::Denied, "was revoked");
    let later = 100 + 3_600_000;
    for (now, has) in [(later, false), (later + 1, true)] {
        assert_eq!(has_expired(&bench.0, Millis(now)), Ok(has), "{now}");
    }
    bench.apply::<()>(RootCommand::ForgetExpired, later + 1).unwrap();
    assert_eq!((has_expired(&bench.0, Millis(later + 1)), bench.tokens(0).tokens.len()), (Ok(false), 0));
}

#[test]
fn tokens_have_limits() {
    let bench = Bench::new(1);
    for uses in [0, TOKEN_USE_COUNT_MAX + 1] {
        refused(bench.apply::<()>(add_token([1; 32], META, uses), 1), ErrorKind::Invalid, "1 to 1024 times");
    }
    // One is there from the beginning.
    let hash = |n: usize| *blake3::hash(&n.to_le_bytes()).as_bytes();
    (1..TOKEN_COUNT_MAX).for_each(|n| bench.ok::<()>(add_token(hash(n), META, 1)));
    refused(bench.apply::<()>(add_token([1; 32], META, 1), 1), ErrorKind::Invalid, "token revoke");
}

#[test]
fn certificates_are_counted_from_the_beginning_and_for_each_request_once() {
    let bench = Bench::new(2);
    assert_eq!(bench.listed(1), "1 node/1, 2 admin/admin, 3 node/2");
    let issued = bench.issue(node(2), 70, None, 5).unwrap();
    assert_eq!(issued, Issued { serial: Serial(4), expires: Millis(END + 5) });
    assert_eq!(bench.issue(node(2), 70, None, 9), Ok(issued), "a repeat gets the same");
    assert_eq!(bench.issue(Identity::User("ann".into()), 70, None, 9).unwrap().serial, Serial(5));
    refused(bench.issue(node(9), 71, None, 1), ErrorKind::Denied, "was removed from the cluster");
    let command = RootCommand::IssueCertificate {
        identity: node(2),
        asked: ToCertify { expires: Millis(3), ..asked(72) },
        token_hash: None,
    };
    refused(bench.apply::<Issued>(command, 3), ErrorKind::Invalid, "check the clocks");
    for n in 2..HOLDER_CERTIFICATE_COUNT_MAX as u64 {
        bench.issue(node(2), 100 + n, None, 1).unwrap();
    }
    refused(bench.issue(node(2), 200, None, 1), ErrorKind::Invalid, "16 certificates");
}

#[test]
fn a_node_that_is_removed_is_not_accepted_any_more() {
    let bench = Bench::new(3);
    bench.issue(node(3), 70, None, 1).unwrap();
    bench.set_up(&[3], false);
    bench.change(MapChange::RemoveNode { node: NodeId(3), force: true });
    assert_eq!(bench.listed(1), "1 node/1, 2 admin/admin, 3 node/2, -4 node/3, -5 node/3");
    let until = [4, 5].map(|serial| (Serial(serial), Millis(END + u64::from(serial == 5)))).into();
    assert_eq!(bench.revoked(), Revoked { version: 1, until });
    refused(bench.issue(node(3), 71, None, 1), ErrorKind::Denied, "was removed");
}

#[test]
fn whoever_is_revoked_needs_a_token_to_come_back() {
    let bench = Bench::new(2);
    bench.issue(node(2), 70, None, 1).unwrap();
    assert_eq!(bench.revoke(Which::Serial(Serial(3)), None, false), Ok(vec![3, 4]), "a node's go together");
    assert_eq!(bench.revoke(Which::Of(node(2)), None, false), Ok(vec![3, 4]), "once more is no matter");
    assert_eq!(bench.revoked().version, 1);
    refused(bench.issue(node(2), 71, None, 1), ErrorKind::Denied, "--renew");
    bench.token(1, Grant::Renew(NodeId(2)), 1);
    refused(
        bench.issue(node(1), 71, Some(1), 1),
        ErrorKind::Denied,
        "renewing the certificate of node 2, not",
    );
    refused(bench.issue(node(2), 71, Some(8), 1), ErrorKind::Denied, "not one of this cluster's");
    let issued = bench.issue(node(2), 71, Some(1), 1).unwrap();
    assert_eq!(bench.issue(node(2), 71, Some(1), 9), Ok(issued), "the answer may have been lost");
    refused(bench.issue(node(2), 72, Some(1), 1), ErrorKind::Denied, "was used already");
    assert_eq!(bench.tokens(1).tokens[0].used_by, [NodeId(2)]);
    bench.issue(node(2), 72, None, 1).unwrap();
    bench.revoke(Which::Of(node(2)), None, false).unwrap();
    refused(bench.issue(node(2), 71, Some(1), 1), ErrorKind::Denied, "was revoked");
}

#[test]
fn somebody_can_administer_the_cluster_at_any_time() {
    let bench = Bench::new(1);
    let of = |name: &str| Which::Of(Identity::Admin(name.into()));
    refused(bench.revoke(Which::Of(node(1)), None, false), ErrorKind::Conflict, "the only voter");
    refused(
        bench.revoke(of("admin"), None, false),
        ErrorKind::Conflict,
        "last credentials of an administrator",
    );
    let bob = bench.issue(Identity::Admin("bob".into()), 70, None, 1).unwrap().serial;
    refused(bench.revoke(of("bob"), Some(bob.0), false), ErrorKind::Conflict, "that you are using");
    refused(bench.revoke(of("eve"), None, false), ErrorKind::NotFound, "cert list");
    refused(bench.revoke(Which::Serial(Serial(9)), None, true), ErrorKind::NotFound, "cert list");
    assert_eq!(bench.revoke(of("admin"), Some(bob.0), false), Ok(vec![2]));
    refused(bench.revoke(Which::Serial(bob), Some(2), false), ErrorKind::Conflict, "last credentials");
    assert_eq!(bench.revoke(Which::Serial(bob), Some(bob.0), true), Ok(vec![bob.0]), "forced");
    let local = Serial::uncounted(7);
    assert_eq!(
        bench.revoke(Which::Serial(local), None, false),
        Ok(vec![local.0]),
        "signed by a stopped node"
    );
    assert_eq!(admin(), Identity::Admin("admin".into()));
}

#[test]
fn what_has_run_out_is_forgotten() {
    let bench = Bench::new(2);
    bench.revoke(Which::Of(node(2)), None, false).unwrap();
    assert_eq!(bench.listed(END), "", "what has ended is of no interest");
    let later = END + 3_600_000;
    bench.apply::<()>(RootCommand::ForgetExpired, later).unwrap();
    assert_eq!(bench.revoked().version, 1, "a clock that is an hour behind still accepts it");
    assert_eq!(has_expired(&bench.0, Millis(later + 1)), Ok(true));
    bench.apply::<()>(RootCommand::ForgetExpired, later + 1).unwrap();
    assert_eq!(bench.revoked(), Revoked { version: 2, until: Default::default() });
    assert_eq!((bench.listed(0), has_expired(&bench.0, Millis(later + 1))), (String::new(), Ok(false)));
    assert_eq!(
        bench.issue(node(1), 70, None, later).unwrap().serial,
        Serial(4),
        "serials are not used again"
    );
}
