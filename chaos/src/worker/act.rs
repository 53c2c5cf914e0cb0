//! What a worker does next.

use std::time::Duration;

use futures::future::join;
use proto::namespace::Op;
use types::{Name, Path, Seq};

use super::{Held, Worker};
use crate::history::{Commit, Freshness, Look, Mark, Outcome, Promise, Race};

/// Directories of one worker.
const DIR_COUNT: usize = 3;
/// A worker with this many files removes one before it creates another.
const FILE_COUNT: usize = 60;
/// Files that all workers write.
const SHARED_COUNT: u64 = 8;

impl Worker {
    /// One random operation.
    pub(super) async fn act(&mut self) {
        if self.dirs.len() < DIR_COUNT {
            return self.add_dir().await;
        }
        if self.files.is_empty() {
            return self.put_new().await;
        }
        match self.random.below(100) {
            0..22 if self.files.len() >= FILE_COUNT => self.remove().await,
            0..22 => self.put_new().await,
            22..34 => self.overwrite().await,
            34..42 => self.race().await,
            42..58 => self.read_newest().await,
            58..66 => self.read_old().await,
            66..72 => self.rename().await,
            72..74 => self.rename_dir().await,
            74..79 => self.remove().await,
            79..83 => self.undelete().await,
            83..89 => self.list().await,
            89..94 => self.follow().await,
            _ => self.write_shared().await,
        }
    }

    async fn add_dir(&mut self) {
        let home = self.home.clone();
        let path = self.new_name(&home, "dir");
        if self.make_dir(&path).await {
            self.dirs.push(path);
        }
    }

    async fn put_new(&mut self) {
        let dir = self.dirs[self.pick(self.dirs.len())].clone();
        let path = self.new_name(&dir, "file");
        if let Outcome::Done(version) = self.commit(&path, None, true).await {
            self.files.push(Held { path, versions: vec![version] });
        }
    }

    async fn overwrite(&mut self) {
        let mut held = self.take_file();
        let Some(entry) = self.look_at(&held).await else { return self.files.push(held) };
        if let Outcome::Done(version) = self.commit(&held.path.clone(), Some(entry), true).await {
            held.versions.push(version);
            self.files.push(held);
        }
    }

    /// Two sessions save changes to the same version at the same time.
    async fn race(&mut self) {
        let mut held = self.take_file();
        let Some(entry) = self.look_at(&held).await else { return self.files.push(held) };
        let (path, base) = (held.path.clone(), Some(entry.version));
        let (ours, theirs) = (self.shared.maker.make(&self.random), self.shared.maker.make(&self.random));
        let (session, rival) = (self.session.clone(), self.rival.clone());
        let both = async {
            let ours = session.put(&path, Some(entry.clone()), &ours.0);
            Ok(join(Box::pin(ours), Box::pin(rival.put(&path, Some(entry.clone()), &theirs.0))).await)
        };
        let (Ok((a, b)), _) = self.timed("race", 4, both).await else { return };
        let outcomes = [Outcome::of(a), Outcome::of(b)];
        for (outcome, content) in outcomes.iter().zip([ours.1, theirs.1]) {
            self.note_commit(Commit { path: path.clone(), base, content, outcome: *outcome });
            if let Outcome::Done(version) = outcome {
                held.versions.push(*version);
            }
        }
        self.history.races.push(Race { path, outcomes });
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Done(_))) {
            self.files.push(held);
        }
    }

    async fn read_newest(&mut self) {
        let held = self.files[self.pick(self.files.len())].clone();
        self.read(&held, None).await;
    }

    async fn read_old(&mut self) {
        let held = self.files[self.pick(self.files.len())].clone();
        let old = held.versions[self.pick(held.versions.len())];
        self.read(&held, Some(old)).await;
    }

    async fn rename(&mut self) {
        let mut held = self.take_file();
        let dir = self.dirs[self.pick(self.dirs.len())].clone();
        let target = self.new_name(&dir, "moved");
        let op = Op::Rename { source: held.path.clone(), target: target.clone() };
        if let Outcome::Done(_) = self.change(Mark::Moved, &held.path.clone(), op).await {
            held.path = target;
            self.files.push(held);
        }
    }

    /// Moves a directory with all its files. What was removed from it stays in the trash until the end.
    async fn rename_dir(&mut self) {
        let at = self.pick(self.dirs.len());
        let source = self.dirs.swap_remove(at);
        let home = self.home.clone();
        let target = self.new_name(&home, "dir");
        let op = Op::Rename { source: source.clone(), target: target.clone() };
        let moved = matches!(self.change(Mark::Moved, &source, op).await, Outcome::Done(_));
        self.removed.retain(|(held, _)| !held.path.is_within(&source));
        let (inside, outside): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.files).into_iter().partition(|held| held.path.is_within(&source));
        self.files = outside;
        if moved {
            let rebased = inside.into_iter().map(|held| Held { path: rebase(&held.path, &target), ..held });
            self.files.extend(rebased);
            self.dirs.push(target);
        }
    }

    async fn remove(&mut self) {
        let held = self.take_file();
        let op = Op::Remove { path: held.path.clone(), recursive: false };
        if let Outcome::Done(inode) = self.change(Mark::Removed, &held.path.clone(), op).await {
            self.removed.push((held, inode));
        }
    }

    async fn undelete(&mut self) {
        let Some((held, inode)) = self.removed.pop() else { return };
        let op = Op::Undelete { path: held.path.clone() };
        if let Outcome::Done(found) = self.change(Mark::Added, &held.path.clone(), op).await {
            if found != inode {
                self.surprise(Promise::Ack, format!("{} came back as {found}, it was {inode}", held.path));
            }
            self.files.push(held);
        }
    }

    async fn list(&mut self) {
        let (session, known) = (self.session.clone(), self.known);
        let path = self.dirs[self.pick(self.dirs.len())].clone();
        let (answer, took) = self.timed("list", 1, session.namespace.list_dir(&path, None)).await;
        match answer {
            Ok(listing) => {
                self.known = self.known.max(listing.seq);
                let fresh = Freshness { known, seq: listing.seq, leaderless: self.is_leaderless(took) };
                let entries = listing.entries.into_iter().map(|e| (e.name, e.inode, e.version)).collect();
                self.history.looks.push(Look { path, fresh, entries });
            }
            Err(e) => self.missed(&path, &e, took),
        }
    }

    /// Follows the journal as a sync client would.
    async fn follow(&mut self) {
        let (session, cursor) = (self.session.clone(), self.cursor);
        let (answer, _) =
            self.timed("follow", 2, session.namespace.pull_journal(cursor, Duration::ZERO)).await;
        let Ok(journal) = answer else { return };
        for record in journal.records {
            if record.seq != self.cursor.next() {
                self.surprise(Promise::Jrn, format!("position {} came after {}", record.seq, self.cursor));
            }
            self.cursor = record.seq;
            self.history.tails.push(record);
        }
    }

    async fn write_shared(&mut self) {
        let name = Name::parse(&format!("shared{}", self.random.below(SHARED_COUNT)));
        let Ok(path) = name.and_then(|name| Path::root().join(name)) else { return };
        let session = self.session.clone();
        let (Ok(seen), _) = self.timed("stat", 1, session.namespace.stat(&path)).await else { return };
        self.known = self.known.max(Seq(seen.as_ref().map_or(0, |entry| entry.version.0)));
        self.commit(&path, seen, false).await;
    }

    fn take_file(&mut self) -> Held {
        let at = self.pick(self.files.len());
        self.files.swap_remove(at)
    }

    fn pick(&self, count: usize) -> usize {
        usize::try_from(self.random.below(count as u64)).expect("below a usize")
    }
}

/// The path of a file whose directory is now called `dir`.
fn rebase(path: &Path, dir: &Path) -> Path {
    let (_, name) = path.split_last().expect("a file is not the root");
    dir.join(name.clone()).expect("as deep as before")
}
