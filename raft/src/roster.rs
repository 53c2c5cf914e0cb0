//! What this node remembers of the stores of other nodes, so that one that was set back, copied or replaced is told
//! from the one that made the promises.
//!
//! A replica that forgets a vote or an entry it has acknowledged can end a majority's agreement. So each says with
//! every message who it is ([`Stamp`]), and whoever has heard more from that node refuses to listen.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};

use env::mutant::Mutant;
use kv::{Batch, Durability, Kv, Order};
use types::{NodeId, ReplicaId, Result, Stamp};

use crate::{blocking, codec};

/// Keys: `i` node -> the newest [`Stamp`] of one of its stores.
const PREFIX: &[u8] = b"i";

/// The newest stamp of every node this one has heard.
#[derive(Debug)]
pub struct Roster {
    kv: Arc<dyn Kv>,
    newest: Mutex<BTreeMap<NodeId, Stamp>>,
}

/// What a stamp is to somebody who remembers another of the same node.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The same process, or one that came after it.
    Known,
    /// To be remembered before anything is done for it.
    New,
    /// Not to be listened to.
    Refused(String),
}

impl Roster {
    /// Reads what was remembered.
    pub fn open(kv: Arc<dyn Kv>) -> Result<Self> {
        let mut rows = Vec::new();
        kv.scan(PREFIX, &kv::prefix_end(PREFIX), Order::Forward, &mut |_, value| {
            rows.push(value.to_vec());
            ControlFlow::Continue(())
        })?;
        let stamps: Vec<Stamp> = rows.iter().map(|row| codec::decode_stored(row)).collect::<Result<_>>()?;
        let newest = stamps.into_iter().map(|stamp| (stamp.replica.node(), stamp)).collect();
        Ok(Self { kv, newest: Mutex::new(newest) })
    }

    /// Takes note of a stamp. `Some(why)` when its sender must not be listened to.
    pub fn meet(&self, stamp: &Stamp) -> Result<Option<String>> {
        let node = stamp.replica.node();
        let mut newest = self.lock();
        match judge(newest.get(&node), stamp) {
            Verdict::Refused(why) => return Ok(Some(why)),
            Verdict::Known => {
                let known = newest.get_mut(&node).expect("only what is remembered is known");
                known.mark = known.mark.max(stamp.mark);
            }
            Verdict::New => {
                let mut batch = Batch::new();
                write(&mut batch, stamp);
                // Once per start of a node: everybody may wait for it.
                blocking::run(|| self.kv.write(batch, Durability::Synced))?;
                newest.insert(node, *stamp);
            }
        }
        Ok(None)
    }

    /// The newest stamp of a node.
    pub fn newest(&self, node: NodeId) -> Option<Stamp> {
        self.lock().get(&node).copied()
    }

    /// The newest store of every node, but for this one's.
    pub fn others(&self, own: NodeId) -> Vec<ReplicaId> {
        self.lock().values().map(|stamp| stamp.replica).filter(|replica| replica.node() != own).collect()
    }

    /// Writes down how far the stores have come; what a crash takes of it is heard again.
    pub fn save(&self) -> Result<()> {
        let mut batch = Batch::new();
        self.lock().values().for_each(|stamp| write(&mut batch, stamp));
        self.kv.write(batch, Durability::Buffered)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Stamp>> {
        self.newest.lock().expect("never poisoned: no panic inside")
    }
}

/// Remembers a stamp as the newest of its node.
pub fn write(batch: &mut Batch, stamp: &Stamp) {
    batch.put(&key(stamp.replica.node()), &codec::encode(stamp));
}

fn key(node: NodeId) -> Vec<u8> {
    [PREFIX, &node.0.to_be_bytes()].concat()
}

/// Why a store that says `own` of itself is not the one of which somebody has heard `known`.
pub fn contradiction(known: &Stamp, own: &Stamp) -> Option<String> {
    match judge(Some(known), own) {
        Verdict::Refused(why) => Some(why),
        Verdict::Known | Verdict::New => None,
    }
}

/// Messages of one process overtake each other, so its marks may fall; those of its next start may not.
fn judge(known: Option<&Stamp>, heard: &Stamp) -> Verdict {
    let Some(known) = known else { return Verdict::New };
    let node = heard.replica.node();
    let refused = |what: String| Verdict::Refused(format!("the metadata store of node {node} {what}"));
    if heard.replica > known.replica {
        return Verdict::New;
    }
    if Mutant::IdentityUnchecked.is_planted() {
        return Verdict::Known;
    }
    if heard.replica < known.replica {
        return refused("has been replaced by a new one".to_owned());
    }
    let (before, now) = (&known.start, &heard.start);
    if now.store != before.store {
        return refused(format!("is not the one known as replica {}", heard.replica));
    }
    if now.count < before.count || (now.count == before.count && now.nonce != before.nonce) {
        return refused(format!(
            "is a copy: start {} was heard, start {} came before or is another process",
            before.count, now.count
        ));
    }
    if now.count == before.count {
        return Verdict::Known;
    }
    if heard.mark < known.mark {
        return refused(format!(
            "has been set back: its log ends at commit {}, and it has acknowledged {}",
            heard.mark, known.mark
        ));
    }
    Verdict::New
}

#[cfg(test)]
mod tests {
    use kv::MemKv;
    use types::{Start, StoreUuid};

    use super::*;

    /// Which of the stores of node 7, its uuid, start, nonce and mark.
    type Values = (u16, u8, u64, u64, u64);

    fn stamp((store, uuid, count, nonce, mark): Values) -> Stamp {
        let start = Start { store: StoreUuid([uuid; 16]), count, nonce };
        Stamp { replica: ReplicaId::new(NodeId(7), store), start, mark }
    }

    /// What each stamp is after those before it: taken, or a part of the reason why not.
    #[track_caller]
    fn check(stamps: &[(Values, Result<(), &str>)]) {
        let kv = MemKv::new(1);
        for restart in [false, true] {
            let mut roster = Roster::open(Arc::new(kv.clone())).unwrap();
            for (values, want) in stamps {
                if restart {
                    roster.save().unwrap();
                    kv::Kv::flush(&kv).unwrap();
                    roster = Roster::open(Arc::new(kv.clone())).unwrap();
                }
                match (roster.meet(&stamp(*values)).unwrap(), want) {
                    (None, Ok(())) => {}
                    (Some(why), Err(part)) => assert!(why.contains(part), "{why}"),
                    (found, want) => panic!("{values:?}: {found:?}, want {want:?}"),
                }
            }
            kv.lose();
        }
    }

    #[tokio::test]
    async fn a_store_goes_on() {
        check(&[((1, 9, 1, 5, 0), Ok(())), ((1, 9, 1, 5, 80), Ok(())), ((1, 9, 1, 5, 70), Ok(()))]);
        check(&[((1, 9, 1, 5, 80), Ok(())), ((1, 9, 2, 6, 80), Ok(())), ((1, 9, 7, 7, 81), Ok(()))]);
        check(&[((1, 9, 4, 5, 80), Ok(())), ((2, 8, 1, 1, 0), Ok(()))]);
    }

    #[tokio::test]
    async fn what_is_not_the_store_that_was_heard_is_refused() {
        let first = ((1, 9, 4, 5, 80), Ok(()));
        check(&[first, ((1, 9, 3, 2, 90), Err("is a copy"))]);
        check(&[first, ((1, 9, 4, 6, 90), Err("is a copy"))]);
        check(&[first, ((1, 8, 5, 6, 90), Err("is not the one known"))]);
        check(&[first, ((1, 9, 5, 6, 79), Err("set back: its log ends at commit 79"))]);
        check(&[first, ((2, 8, 1, 1, 0), Ok(())), ((1, 9, 5, 6, 99), Err("replaced by a new one"))]);
        // What a refused one says is not remembered.
        check(&[first, ((1, 9, 5, 6, 79), Err("set back")), ((1, 9, 4, 5, 81), Ok(()))]);
    }
}
