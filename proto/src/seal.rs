//! Receipts and tickets: short proofs, made with the cluster's secret, that the holder may do one thing (I-AUTH).
//!
//! A chunk's hash alone is a right to nothing. A [`Receipt`] says "this chunk is durable and was touched in this GC
//! epoch": a commit needs one per chunk. A [`Ticket`] says "this caller may read this chunk until then": opening a
//! version hands them out. For long files both travel along the manifest tree: a node's receipt is made from its
//! children's, its children's tickets from the node's.

use std::fmt;

use serde::{Deserialize, Serialize};
use types::limits::{TICKET_MS_MAX, TICKET_STEP_MS};
use types::{ChunkId, Error, GcEpoch, Generation, Millis, Result};

/// First 16 bytes of a keyed BLAKE3.
type Mac = [u8; 16];

/// The secret that all nodes of a cluster share. Never leaves them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSecret(pub [u8; 32]);

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(…)")
    }
}

/// Proof that a chunk is stored and was in use in `epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Which incarnation of the chunk.
    pub generation: Generation,
    /// GC epoch in which it was written or pinned.
    pub epoch: GcEpoch,
    #[serde(with = "serde_bytes")]
    mac: Mac,
}

/// Permission to read one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Not valid after this time.
    pub expires: Millis,
    #[serde(with = "serde_bytes")]
    mac: Mac,
}

impl ClusterSecret {
    /// Creates a receipt. Only for whoever has just seen the chunk registered or pinned.
    pub fn receipt(&self, chunk: &ChunkId, generation: Generation, epoch: GcEpoch) -> Receipt {
        Receipt { generation, epoch, mac: self.receipt_mac(chunk, generation, epoch) }
    }

    /// Checks a receipt that came from outside; `Denied` when it was not made with this secret for this chunk.
    pub fn check_receipt(&self, chunk: &ChunkId, receipt: &Receipt) -> Result<()> {
        let mac = self.receipt_mac(chunk, receipt.generation, receipt.epoch);
        check(mac, receipt.mac, || format!("the receipt for chunk {chunk} was not made by this cluster"))
    }

    /// Creates a ticket for `reader` (the text of an identity).
    pub fn ticket(&self, reader: &str, chunk: &ChunkId, now: Millis) -> Ticket {
        let expires = Millis(now.0 / TICKET_STEP_MS * TICKET_STEP_MS).plus(TICKET_MS_MAX);
        assert!(now < expires, "a ticket is valid when it is handed out (I-AUTH)");
        assert!(
            expires.since(now) <= TICKET_MS_MAX,
            "a ticket opens its chunk for {TICKET_MS_MAX} ms (I-ACL)"
        );
        Ticket { expires, mac: self.ticket_mac(reader, chunk, expires) }
    }

    /// Checks a ticket that came from outside; `Denied` when it has expired or is for another reader or chunk.
    pub fn check_ticket(&self, reader: &str, chunk: &ChunkId, ticket: &Ticket, now: Millis) -> Result<()> {
        if now > ticket.expires {
            return Err(Error::denied(format!(
                "the ticket for chunk {chunk} has expired: open the version again"
            )));
        }
        let mac = self.ticket_mac(reader, chunk, ticket.expires);
        check(mac, ticket.mac, || format!("{reader} has no right to read chunk {chunk}"))
    }

    fn receipt_mac(&self, chunk: &ChunkId, generation: Generation, epoch: GcEpoch) -> Mac {
        self.mac(&[b"receipt", &chunk.0, &generation.0.to_le_bytes(), &epoch.0.to_le_bytes()])
    }

    fn ticket_mac(&self, reader: &str, chunk: &ChunkId, expires: Millis) -> Mac {
        self.mac(&[b"ticket", &chunk.0, &expires.0.to_le_bytes(), reader.as_bytes()])
    }

    /// All parts but the last have a fixed length, so their concatenation is unambiguous.
    fn mac(&self, parts: &[&[u8]]) -> Mac {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
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
    use super::*;

    const SECRET: ClusterSecret = ClusterSecret([7; 32]);
    const CHUNK: ChunkId = ChunkId([1; 32]);
    const NOW: Millis = Millis(1_800_000_000_000);

    /// I-GC, I-AUTH: a commit cannot name a chunk that nobody has seen stored.
    #[test]
    fn receipts_hold_for_one_chunk_one_generation_one_cluster() {
        let receipt = SECRET.receipt(&CHUNK, Generation(3), GcEpoch(4));
        assert_eq!(SECRET.check_receipt(&CHUNK, &receipt), Ok(()));
        assert!(SECRET.check_receipt(&ChunkId([2; 32]), &receipt).is_err());
        assert!(ClusterSecret([8; 32]).check_receipt(&CHUNK, &receipt).is_err());
        assert!(SECRET.check_receipt(&CHUNK, &Receipt { generation: Generation(4), ..receipt }).is_err());
        assert!(SECRET.check_receipt(&CHUNK, &Receipt { epoch: GcEpoch(5), ..receipt }).is_err());
    }

    #[test]
    fn tickets_of_a_step_are_equal_and_end_together() {
        let expires = |now: u64| SECRET.ticket("user/a", &CHUNK, Millis(now)).expires.0;
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
        let ticket = SECRET.ticket("user/a", &CHUNK, NOW);
        let check = |reader, chunk, ticket: &Ticket, now| SECRET.check_ticket(reader, &chunk, ticket, now);
        assert_eq!(check("user/a", CHUNK, &ticket, NOW), Ok(()));
        assert!(check("user/b", CHUNK, &ticket, NOW).is_err());
        assert!(check("user/a", ChunkId([2; 32]), &ticket, NOW).is_err());
        assert!(check("user/a", CHUNK, &ticket, NOW.plus(TICKET_MS_MAX + 1)).is_err());
        let longer = Ticket { expires: ticket.expires.plus(1), ..ticket };
        assert!(check("user/a", CHUNK, &longer, NOW).is_err());
    }
}
