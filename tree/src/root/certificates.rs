//! Certificates: counted, listed, revoked, forgotten. What signs them is not here.
//!
//! A certificate that has run out is nobody's concern: every rule looks only at the others.

use std::collections::BTreeSet;

use kv::{Order, Read};
use proto::certificates::{CertificateInfo, CertificateList, CertificatesRevoked, Issued, Revoked, Which};
use proto::command::{FirstCertificate, ToCertify};
use types::limits::{
    CERTIFICATE_COUNT_MAX, CLOCK_SKEW_MAX, HOLDER_CERTIFICATE_COUNT_MAX, LOCAL_CERTIFICATE_VALIDITY,
    REVOKED_COUNT_MAX,
};
use types::{Error, Identity, Millis, NodeId, Result, Serial};

use super::row::{self, CertificateRow, RevokedRow};
use crate::draft::Draft;
use crate::failure::{Failure, Halt, refuse};
use crate::row::{decode, load, scan_page};

/// Whom nobody accepts any more; `None` when that is what version `known` says.
pub fn revoked(state: &dyn Read, known: u64) -> Result<Option<Revoked>> {
    load_newer(state, known).map_err(Halt::into_error)
}

/// The list can be long, and every heartbeat asks.
fn load_newer(state: &dyn Read, known: u64) -> Result<Option<Revoked>, Halt> {
    let version = revoked_version(state)?;
    if version == known {
        return Ok(None);
    }
    let RevokedRow(until) = load_revoked(state)?;
    Ok(Some(Revoked { version, until }))
}

/// All certificates that have not run out at `now`.
pub fn list_certificates(state: &dyn Read, now: Millis) -> Result<CertificateList> {
    let known = Known::load(state, now).map_err(Halt::into_error)?;
    let info = |(serial, row): &(Serial, CertificateRow)| CertificateInfo {
        serial: *serial,
        identity: row.identity.clone(),
        issued: row.issued,
        expires: row.expires,
        revoked: known.is_revoked(*serial),
    };
    Ok(CertificateList { certificates: known.certificates.iter().map(info).collect() })
}

/// Counts the certificates that are as old as the cluster.
pub fn found(draft: &mut Draft<'_>, first: &[FirstCertificate]) {
    for (serial, certificate) in (1..).map(Serial).zip(first) {
        let FirstCertificate { identity, issued, expires } = certificate.clone();
        // There was no request: nothing can be asked again.
        draft.put(
            row::certificate_key(serial),
            &CertificateRow { identity, request: [0; 32], issued, expires },
        );
    }
    draft.put(row::CERTIFICATE_COUNT, &(first.len() as u64));
}

/// `Denied` when a node asks for another certificate that nobody accepts any more: it may be somebody else who has its key,
/// and asks while the news spreads. A token says that it is the node.
pub fn check_renewal(state: &dyn Read, identity: &Identity, now: Millis) -> Result<(), Failure> {
    let known = Known::load(state, now)?;
    let (revoked, valid): (Vec<_>, Vec<_>) =
        known.of(identity).partition(|(serial, _)| known.is_revoked(*serial));
    if revoked.is_empty() || !valid.is_empty() {
        return Ok(());
    }
    refuse(Error::denied(format!(
        "the certificates of {identity} were revoked: let an administrator create a token with `--renew`"
    )))
}

/// Counts a certificate of `identity`, or finds the one that the same request was given.
pub fn issue(draft: &mut Draft<'_>, identity: &Identity, asked: &ToCertify) -> Result<Issued, Failure> {
    let now = draft.at.time;
    let known = Known::load(draft, now)?;
    let of_holder: Vec<_> = known.of(identity).filter(|(serial, _)| !known.is_revoked(*serial)).collect();
    if let Some((serial, row)) = of_holder.iter().find(|(_, row)| row.request == asked.request) {
        return Ok(Issued { serial: *serial, expires: row.expires });
    }
    if asked.expires <= now {
        return refuse(Error::invalid("a certificate that has run out is of no use: check the clocks"));
    }
    if of_holder.len() >= HOLDER_CERTIFICATE_COUNT_MAX {
        return refuse(Error::invalid(format!(
            "{identity} has {HOLDER_CERTIFICATE_COUNT_MAX} certificates: revoke those that are not used, with \
             `cloudsync admin cert revoke`"
        )));
    }
    if known.certificates.len() >= CERTIFICATE_COUNT_MAX {
        return refuse(Error::invalid(format!(
            "the cluster has {CERTIFICATE_COUNT_MAX} certificates: wait until some end"
        )));
    }
    let serial = Serial(load::<u64>(draft, row::CERTIFICATE_COUNT)?.unwrap_or(0)).next();
    let ToCertify { request, expires } = *asked;
    let row = CertificateRow { identity: identity.clone(), request, issued: now, expires };
    draft.put(row::certificate_key(serial), &row);
    draft.put(row::CERTIFICATE_COUNT, &serial.0);
    Ok(Issued { serial, expires })
}

/// The certificate of `identity` with this serial, to be told once more. `Denied` when it is of no use any more.
pub fn find(state: &Draft<'_>, identity: &Identity, serial: Serial) -> Result<Issued, Failure> {
    let known = Known::load(state, state.at.time)?;
    match known.find(serial).filter(|row| row.identity == *identity && !known.is_revoked(serial)) {
        Some(row) => Ok(Issued { serial, expires: row.expires }),
        None => refuse(Error::denied(
            "the certificate that this request was given has run out or was revoked: start anew with another token",
        )),
    }
}

/// What is not revoked by mistake.
#[derive(Clone, Debug)]
pub struct Care {
    /// What the caller shows.
    pub own: Option<Serial>,
    /// Nodes that somebody needs to vote.
    pub alone: Vec<NodeId>,
    /// It is no mistake.
    pub force: bool,
}

/// Revokes what was named, if the cluster can still be used and administered then.
pub fn revoke(draft: &mut Draft<'_>, which: &Which, care: &Care) -> Result<CertificatesRevoked, Failure> {
    let known = Known::load(draft, draft.at.time)?;
    let serials: BTreeSet<Serial> = match which {
        Which::Serial(serial) => match known.find(*serial) {
            // Whoever has one key of a node has the other.
            Some(row) if row.identity.is_node() => {
                known.of(&row.identity).map(|(serial, _)| *serial).collect()
            }
            _ => BTreeSet::from([*serial]),
        },
        Which::Of(identity) => known.of(identity).map(|(serial, _)| *serial).collect(),
    };
    if serials.is_empty() || serials.iter().any(|serial| serial.is_counted() && known.find(*serial).is_none())
    {
        return refuse(Error::not_found(
            "there is no such certificate, or it has run out: `cloudsync admin cert list` shows all",
        ));
    }
    if !care.force {
        known.check_revocation(&serials, care).map_err(Failure::Refused)?;
    }
    add(draft, known, &serials)?;
    Ok(CertificatesRevoked { serials: serials.into_iter().collect() })
}

/// Revokes all certificates of `identity`, if it has any.
pub fn revoke_all_of(draft: &mut Draft<'_>, identity: &Identity) -> Result<(), Failure> {
    let known = Known::load(draft, draft.at.time)?;
    let serials = known.of(identity).map(|(serial, _)| *serial).collect();
    add(draft, known, &serials)
}

fn add(draft: &mut Draft<'_>, known: Known, serials: &BTreeSet<Serial>) -> Result<(), Failure> {
    // Of what a stopped node has signed by itself only the longest possible life is known.
    let longest = LOCAL_CERTIFICATE_VALIDITY + CLOCK_SKEW_MAX;
    let unknown = draft.at.time.plus(longest.as_millis() as u64);
    let mut list = known.revoked.clone();
    for serial in serials {
        let ends = known.find(*serial).map_or(unknown, |row| row.expires);
        list.0.entry(*serial).or_insert(ends);
    }
    if list.0.len() > REVOKED_COUNT_MAX {
        return refuse(Error::invalid(format!(
            "{REVOKED_COUNT_MAX} certificates are revoked and have not run out: wait until some have"
        )));
    }
    Ok(put_revoked(draft, &known.revoked, &list)?)
}

/// True when [`forget`] would forget something.
pub fn has_expired(state: &dyn Read, now: Millis) -> Result<bool, Halt> {
    let ended = all(state)?.iter().any(|(_, row)| is_over(row.expires, now));
    Ok(ended || load_revoked(state)?.0.values().any(|until| is_over(*until, now)))
}

/// Forgets certificates that have run out everywhere, whatever the clocks say.
pub fn forget(draft: &mut Draft<'_>) -> Result<(), Failure> {
    let now = draft.at.time;
    for (serial, _) in all(draft)?.iter().filter(|(_, row)| is_over(row.expires, now)) {
        draft.delete(row::certificate_key(*serial));
    }
    let before = load_revoked(draft)?;
    let mut list = before.clone();
    list.0.retain(|_, until| !is_over(*until, now));
    Ok(put_revoked(draft, &before, &list)?)
}

/// Nobody's clock may be so far behind that it accepts what has ended by ours.
pub fn is_over(expires: Millis, now: Millis) -> bool {
    expires.plus(CLOCK_SKEW_MAX.as_millis() as u64) < now
}

fn put_revoked(draft: &mut Draft<'_>, before: &RevokedRow, list: &RevokedRow) -> Result<(), Halt> {
    if list != before {
        let version = revoked_version(draft)? + 1;
        draft.put(row::REVOKED_VERSION, &version);
        draft.put(row::REVOKED, list);
    }
    Ok(())
}

fn load_revoked(state: &dyn Read) -> Result<RevokedRow, Halt> {
    Ok(load(state, row::REVOKED)?.unwrap_or_default())
}

fn revoked_version(state: &dyn Read) -> Result<u64, Halt> {
    Ok(load(state, row::REVOKED_VERSION)?.unwrap_or(0))
}

fn all(state: &dyn Read) -> Result<Vec<(Serial, CertificateRow)>, Halt> {
    let (start, end) = (row::CERTIFICATES, kv::prefix_end(row::CERTIFICATES));
    let mut rows = Vec::new();
    scan_page(state, (start, &end, Order::Forward), usize::MAX, |key, value| {
        rows.push((row::serial_of(key)?, decode(value)?));
        Ok(())
    })?;
    Ok(rows)
}

/// The certificates that have not run out, and which of them are revoked.
struct Known {
    certificates: Vec<(Serial, CertificateRow)>,
    revoked: RevokedRow,
}

impl Known {
    fn load(state: &dyn Read, now: Millis) -> Result<Self, Halt> {
        let mut certificates = all(state)?;
        certificates.retain(|(_, row)| row.expires > now);
        Ok(Self { certificates, revoked: load_revoked(state)? })
    }

    fn find(&self, serial: Serial) -> Option<&CertificateRow> {
        let at = self.certificates.binary_search_by_key(&serial, |(serial, _)| *serial).ok()?;
        Some(&self.certificates[at].1)
    }

    fn of<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = &'a (Serial, CertificateRow)> {
        self.certificates.iter().filter(move |(_, row)| row.identity == *identity)
    }

    fn is_revoked(&self, serial: Serial) -> bool {
        self.revoked.0.contains_key(&serial)
    }

    /// `Conflict` when it would take from the caller what it shows, or from the cluster its last administrator or a voter that
    /// nothing goes without.
    fn check_revocation(&self, doomed: &BTreeSet<Serial>, care: &Care) -> Result<()> {
        let is_doomed = |node: &&NodeId| {
            self.certificates
                .iter()
                .any(|(serial, row)| row.identity.is_of(**node) && doomed.contains(serial))
        };
        if let Some(node) = care.alone.iter().find(is_doomed) {
            return Err(Error::conflict(format!(
                "node {node} is the only voter of a partition, which nobody could use then: add meta nodes, or --force"
            )));
        }
        if care.own.is_some_and(|own| doomed.contains(&own)) {
            return Err(Error::conflict(
                "this would revoke the credentials that you are using: use others, or add --force",
            ));
        }
        let is_admins =
            |(serial, row): &&(Serial, CertificateRow)| row.identity.is_admin() && !self.is_revoked(*serial);
        let (gone, left): (Vec<_>, Vec<_>) =
            self.certificates.iter().filter(is_admins).partition(|(serial, _)| doomed.contains(serial));
        if !gone.is_empty() && left.is_empty() {
            return Err(Error::conflict(
                "this would revoke the last credentials of an administrator: create others with \
                 `cloudsync admin cert issue`, or add --force",
            ));
        }
        Ok(())
    }
}
