//! Receipts and tickets: short proofs, made with the cluster's secret, that the holder may do one thing (I-AUTH).
//!
//! A chunk's hash alone is a right to nothing. A [`Receipt`] says "this chunk is durable and was touched in this GC
//! epoch": a commit needs one per chunk. A [`Ticket`] says "this caller may read this chunk until then": opening a
//! version hands them out, for a minute, and who still may read the namespace has them renewed. For long files both travel along the manifest tree: a node's receipt is made from its
//! children's, its children's tickets from the node's.

use std::fmt;

use serde::{Deserialize, Serialize};
use types::limits::{TICKET_MS_MAX, TICKET_RENEW_MS_MAX, TICKET_STEP_MS};
use types::{ChunkKey, Error, GcEpoch, Generation, Millis, NamespaceId, Result, Scope, SecretId};

/// First 16 bytes of a keyed BLAKE3.
type Mac = [u8; 16];

/// The secret that all nodes of a cluster share. Never leaves them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSecret {
    /// Which one it is: what it vouches for says so, so that another can take its place one day.
    pub id: SecretId,
    /// Random bytes.
    pub bytes: [u8; 32],
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterSecret({}, …)", self.id)
    }
}

/// Proof that a chunk is stored and was in use in `epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Which incarnation of the chunk.
    pub generation: Generation,
    /// GC epoch in which it was written or pinned.
    pub epoch: GcEpoch,
    /// Bytes of the file that it stands for: its own, or for a manifest node those of all chunks below it.
    pub size: u64,
    /// Made with this secret.
    pub secret: SecretId,
    #[serde(with = "serde_bytes")]
    mac: Mac,
}

/// Permission to read one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Whose chunk it is.
    pub scope: Scope,
    /// What the reader may read.
    pub namespace: NamespaceId,
    /// Not valid after this time.
    pub expires: Millis,
    /// Made with this secret.
    pub secret: SecretId,
    #[serde(with = "serde_bytes")]
    mac: Mac,
}

impl ClusterSecret {
    /// The first one of a cluster.
    pub const fn first(bytes: [u8; 32]) -> Self {
        Self { id: SecretId(1), bytes }
    }

    /// Creates a receipt. Only for whoever has just seen the chunk registered or pinned.
    pub fn receipt(&self, chunk: &ChunkKey, generation: Generation, epoch: GcEpoch, size: u64) -> Receipt {
        let mac = self.receipt_mac(chunk, generation, epoch, size);
        Receipt { generation, epoch, size, secret: self.id, mac }
    }

    /// Checks a receipt that came from outside; `Denied` when it was not made with this secret for this chunk.
    pub fn check_receipt(&self, chunk: &ChunkKey, receipt: &Receipt) -> Result<()> {
        self.check_id(receipt.secret, "send the chunks again")?;
        let Receipt { generation, epoch, size, mac, .. } = *receipt;
        check(self.receipt_mac(chunk, generation, epoch, size), mac, || {
            format!("the receipt for chunk {chunk} was not made by this cluster")
        })
    }

    /// Creates a ticket for `reader` (the text of an identity), who may read `namespace`, in which the chunk is used.
    pub fn ticket(&self, reader: &str, namespace: NamespaceId, chunk: &ChunkKey, now: Millis) -> Ticket {
        let expires = Millis(now.0 / TICKET_STEP_MS * TICKET_STEP_MS).plus(TICKET_MS_MAX);
        assert!(now < expires, "a ticket is valid when it is handed out (I-AUTH)");
        assert!(
            expires.since(now) <= TICKET_MS_MAX,
            "a ticket opens its chunk for {TICKET_MS_MAX} ms (I-ACL)"
        );
        let mac = self.ticket_mac(reader, namespace, chunk, expires);
        Ticket { scope: chunk.scope, namespace, expires, secret: self.id, mac }
    }

    /// The same ticket, from now on. Only for whoever has just seen that `reader` may read its namespace. `Denied` when it
    /// is none, or ran out long ago.
    pub fn renew(&self, reader: &str, chunk: &ChunkKey, ticket: &Ticket, now: Millis) -> Result<Ticket> {
        if now.since(ticket.expires) > TICKET_RENEW_MS_MAX {
            return Err(Error::denied(format!(
                "the ticket for chunk {chunk} has run out long ago: open the version again"
            )));
        }
        self.check_ticket(reader, chunk, ticket, Millis(0))?;
        Ok(self.ticket(reader, ticket.namespace, chunk, now))
    }

    /// Checks a ticket that came from outside; `Denied` when it has expired or is for another reader or chunk.
    pub fn check_ticket(&self, reader: &str, chunk: &ChunkKey, ticket: &Ticket, now: Millis) -> Result<()> {
        if now > ticket.expires {
            return Err(Error::denied(format!(
                "the ticket for chunk {chunk} has expired: have it renewed, or open the version again; when it is new, the clock \
                 of this node is wrong"
            )));
        }
        self.check_id(ticket.secret, "open the version again")?;
        let mac = self.ticket_mac(reader, ticket.namespace, chunk, ticket.expires);
        check(mac, ticket.mac, || format!("{reader} has no right to read chunk {chunk}"))
    }

    fn check_id(&self, id: SecretId, advice: &str) -> Result<()> {
        if id == self.id {
            return Ok(());
        }
        Err(Error::denied(format!(
            "it was made with secret {id}, this node has secret {}: {advice}",
            self.id
        )))
    }

    fn receipt_mac(&self, chunk: &ChunkKey, generation: Generation, epoch: GcEpoch, size: u64) -> Mac {
        let parts = [generation.0.to_le_bytes(), size.to_le_bytes()].concat();
        self.mac(&[b"receipt", &chunk.to_bytes(), &parts, &epoch.0.to_le_bytes()])
    }

    fn ticket_mac(&self, reader: &str, namespace: NamespaceId, chunk: &ChunkKey, expires: Millis) -> Mac {
        let numbers = [namespace.0.to_le_bytes(), expires.0.to_le_bytes()].concat();
        self.mac(&[b"ticket", &chunk.to_bytes(), &numbers, reader.as_bytes()])
    }

    /// All parts but the last have a fixed length, so their concatenation is unambiguous.
    fn mac(&self, parts: &[&[u8]]) -> Mac {
        let mut hasher = blake3::Hasher::new_keyed(&self.bytes);
        for part in parts {
            hasher.update(part);
        }
        let mut mac = [0; 16];
        mac.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        mac
    }
}

/// Compares in constant time.
fn check(want: Mac, got: Mac, message: impl FnOnce() -> String) -> Result<()> {
    let difference = want.iter().zip(got).fold(0, |all, (a, b)| all | (a ^ b));
    if difference == 0 { Ok(()) } else { Err(Error::denied(message())) }
}

#[cfg(test)]
mod tests {
    use types::ChunkId;

    use super::*;

    const SECRET: ClusterSecret = ClusterSecret { id: SecretId(1), bytes: [7; 32] };
    const CHUNK: ChunkKey = ChunkKey { id: ChunkId([1; 32]), scope: Scope(1) };
    const HOME: NamespaceId = NamespaceId(5);
    const NOW: Millis = Millis(1_800_000_000_000);

    /// Another chunk, and the same bytes of another scope.
    const OTHERS: [ChunkKey; 2] =
        [ChunkKey { id: ChunkId([2; 32]), ..CHUNK }, ChunkKey { scope: Scope(2), ..CHUNK }];

    /// I-GC, I-AUTH: a commit cannot name a chunk that nobody has seen stored.
    #[test]
    fn receipts_hold_for_what_they_say() {
        let receipt = SECRET.receipt(&CHUNK, Generation(3), GcEpoch(4), 5);
        assert_eq!(SECRET.check_receipt(&CHUNK, &receipt), Ok(()));
        for other in OTHERS {
            assert!(SECRET.check_receipt(&other, &receipt).is_err(), "{other}");
        }
        for changed in [
            Receipt { generation: Generation(4), ..receipt },
            Receipt { epoch: GcEpoch(5), ..receipt },
            Receipt { size: 6, ..receipt },
            Receipt { secret: SecretId(2), ..receipt },
        ] {
            assert!(SECRET.check_receipt(&CHUNK, &changed).is_err(), "{changed:?}");
        }
        assert!(ClusterSecret { bytes: [8; 32], ..SECRET }.check_receipt(&CHUNK, &receipt).is_err());
    }

    #[test]
    fn what_another_secret_has_made_says_so() {
        let other = ClusterSecret { id: SecretId(7), ..SECRET };
        let receipt = other.receipt(&CHUNK, Generation(3), GcEpoch(4), 5);
        let error = SECRET.check_receipt(&CHUNK, &receipt).unwrap_err();
        assert!(error.message().contains("with secret 7, this node has secret 1: send"), "{error}");
        let ticket = other.ticket("user/a", HOME, &CHUNK, NOW);
        let error = SECRET.check_ticket("user/a", &CHUNK, &ticket, NOW).unwrap_err();
        assert!(error.message().contains("with secret 7, this node has secret 1: open"), "{error}");
    }

    #[test]
    fn tickets_of_a_step_are_equal_and_end_together() {
        let expires = |now: u64| SECRET.ticket("user/a", HOME, &CHUNK, Millis(now)).expires.0;
        for (now, want) in [
            (0, TICKET_MS_MAX),
            (TICKET_STEP_MS - 1, TICKET_MS_MAX),
            (TICKET_STEP_MS, TICKET_STEP_MS + TICKET_MS_MAX),
            (7 * TICKET_STEP_MS + 1, 7 * TICKET_STEP_MS + TICKET_MS_MAX),
        ] {
            assert_eq!(expires(now), want, "at {now}");
        }
    }

    #[test]
    fn tickets_hold_for_one_reader_one_chunk_and_a_time() {
        let ticket = SECRET.ticket("user/a", HOME, &CHUNK, NOW);
        let check = |reader, chunk, ticket: &Ticket, now| SECRET.check_ticket(reader, &chunk, ticket, now);
        assert_eq!(check("user/a", CHUNK, &ticket, NOW), Ok(()));
        assert!(check("user/b", CHUNK, &ticket, NOW).is_err());
        for other in OTHERS {
            assert!(check("user/a", other, &ticket, NOW).is_err(), "{other}");
        }
        assert!(check("user/a", CHUNK, &ticket, NOW.plus(TICKET_MS_MAX + 1)).is_err());
        for changed in [
            Ticket { expires: ticket.expires.plus(1), ..ticket },
            Ticket { namespace: NamespaceId(6), ..ticket },
        ] {
            assert!(check("user/a", CHUNK, &changed, NOW).is_err());
            assert!(SECRET.renew("user/a", &CHUNK, &changed, NOW).is_err());
        }
    }

    #[test]
    fn tickets_are_renewed_for_a_day() {
        let ticket = SECRET.ticket("user/a", HOME, &CHUNK, NOW);
        let renew = |reader, chunk: &ChunkKey, now| SECRET.renew(reader, chunk, &ticket, now);
        for later in [0, TICKET_STEP_MS, TICKET_MS_MAX + 1, TICKET_RENEW_MS_MAX] {
            let now = NOW.plus(later);
            assert_eq!(
                renew("user/a", &CHUNK, now),
                Ok(SECRET.ticket("user/a", HOME, &CHUNK, now)),
                "{later}"
            );
            assert!(renew("user/b", &CHUNK, now).is_err() && renew("user/a", &OTHERS[0], now).is_err());
        }
        assert!(renew("user/a", &CHUNK, ticket.expires.plus(TICKET_RENEW_MS_MAX + 1)).is_err());
    }
}
