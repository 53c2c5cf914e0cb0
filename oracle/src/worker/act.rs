//! What a client does next.

use std::sync::atomic::Ordering;

use proto::Call;
use proto::namespace::{DirRef, Kind, ListDir, ListVersions, OpenVersion, OrderBy, PageToken, Stat};
use types::{NodeId, Path, Result, Seq, VersionId};

use super::Worker;
use crate::ground::Ground;
use crate::history::{Asked, Outcome, Shown, Step, Via};
use crate::mix::Act;
use crate::session::Session;

/// Entries of a small page: there are usually more.
const PAGE_COUNT_MAX: u64 = 5;
/// Bytes of a range.
const RANGE_SIZE_MAX: u64 = 200_000;

impl Worker {
    /// One random operation, and what has to be looked at before it.
    pub(super) async fn act(&mut self) {
        if self.ground.is_homeless() {
            self.change(vec![Step::Mkdir(Ground::shared())]).await;
            let home = self.ground.new_home();
            return self.change(vec![Step::Mkdir(home)]).await;
        }
        match self.mix.draw(&self.random) {
            Act::Put | Act::Copy if self.ground.is_full() => self.remove().await,
            Act::Put => self.put_new().await,
            Act::Copy => self.copy().await,
            Act::Overwrite => self.overwrite().await,
            Act::Race => self.race_for_file().await,
            Act::Mkdir => {
                let path = self.ground.free(Kind::Dir, &self.random);
                self.change(vec![Step::Mkdir(path)]).await;
            }
            Act::Rename => self.rename(Kind::File).await,
            Act::RenameDir => self.rename(Kind::Dir).await,
            Act::Swap => self.swap().await,
            Act::Remove => self.remove().await,
            Act::RemoveDir => {
                let (path, is_recursive) = (self.ground.dir(true, &self.random), self.random.below(2) == 0);
                self.change(vec![Step::Remove(path, is_recursive)]).await;
            }
            Act::Undelete => {
                let path = self.ground.removed(&self.random);
                self.change(vec![Step::Undelete(path)]).await;
            }
            Act::Restore => self.restore().await,
            Act::Read => {
                let path = self.ground.file(&self.random);
                self.read(path, None, None).await;
            }
            Act::ReadOld => self.read_old().await,
            Act::ReadRange => self.read_range().await,
            Act::Stat => {
                let path = self.any();
                self.stat(&path).await;
            }
            Act::List => self.list().await,
            Act::Versions => {
                let path = self.ground.file(&self.random);
                self.versions(&path).await;
            }
            Act::Show => self.show().await,
            Act::AskLeader => self.ask_leader().await,
        }
    }

    async fn put_new(&mut self) {
        let path = self.ground.free(Kind::File, &self.random);
        let recipe = self.new_recipe();
        self.put_at(path, recipe).await;
    }

    async fn copy(&mut self) {
        let stored = {
            let stored = self.shared.stored();
            let at = self.random.below(stored.len().max(1) as u64) as usize;
            stored.get(at).map(|content| content.recipe)
        };
        let Some(recipe) = stored else { return self.put_new().await };
        let path = self.ground.free(Kind::File, &self.random);
        // On top of the same content the client would commit nothing.
        if !path.is_within(&Ground::shared()) {
            self.put(path, None, recipe).await;
        }
    }

    /// Stores a file where there should be none, or where other clients may have stored one.
    async fn put_at(&mut self, path: Path, recipe: crate::content::Recipe) {
        if !path.is_within(&Ground::shared()) {
            return self.put(path, None, recipe).await;
        }
        match self.stat(&path).await {
            (Some(entry), _) if entry.kind == Kind::Dir => {}
            (seen, true) => self.put(path, seen, recipe).await,
            (_, false) => {}
        }
    }

    async fn overwrite(&mut self) {
        let path = self.ground.file(&self.random);
        if let (Some(entry), _) = self.stat(&path).await
            && entry.kind == Kind::File
        {
            let recipe = self.new_recipe();
            self.put(path, Some(entry), recipe).await;
        }
    }

    async fn race_for_file(&mut self) {
        let path = self.ground.file(&self.random);
        match self.stat(&path).await {
            (Some(entry), _) if entry.kind == Kind::Dir => {}
            (seen, true) => self.race(path, seen).await,
            (_, false) => {}
        }
    }

    async fn rename(&mut self, kind: Kind) {
        let source = match kind {
            Kind::File | Kind::Symlink => self.ground.file(&self.random),
            Kind::Dir => self.ground.dir(true, &self.random),
        };
        let target = self.ground.target_for(&source, kind, &self.random);
        // To where it is already would be no change.
        if source != target {
            self.change(vec![Step::Rename(source, target)]).await;
        }
    }

    async fn swap(&mut self) {
        let Some([a, b, aside]) = self.ground.dirs_to_swap(&self.random) else { return };
        let steps = [(&a, &aside), (&b, &a), (&aside, &b)];
        self.change(steps.map(|(source, target)| Step::Rename(source.clone(), target.clone())).into()).await;
    }

    async fn remove(&mut self) {
        let path = self.ground.file(&self.random);
        self.change(vec![Step::Remove(path, false)]).await;
    }

    async fn restore(&mut self) {
        let path = self.ground.file(&self.random);
        let versions = self.versions(&path).await;
        if let Some(version) = self.one_of(&versions) {
            self.change(vec![Step::Restore(path, version)]).await;
        }
    }

    async fn read_old(&mut self) {
        let path = self.ground.file(&self.random);
        let versions = self.versions(&path).await;
        if let Some(version) = self.one_of(&versions) {
            self.read(path, Some(version), None).await;
        }
    }

    async fn read_range(&mut self) {
        let path = self.ground.file(&self.random);
        if let (Some(entry), _) = self.stat(&path).await
            && entry.kind == Kind::File
        {
            // Some begin or end beyond the end.
            let start = self.random.below(entry.size + 100);
            let range = start..start + self.random.below(RANGE_SIZE_MAX);
            self.read(path, None, Some(range)).await;
        }
    }

    async fn list(&mut self) {
        let (session, path) = (self.session.clone(), self.ground.dir(false, &self.random));
        let after = match self.random.below(2) {
            0 => None,
            _ => self.any().names().last().cloned(),
        };
        let asked = Asked::List(path.clone(), after.clone());
        let work = async {
            let after = after.map(|name| PageToken { value: 0, name });
            let listing = session.namespace.list_dir(&path, after).await;
            Outcome::of(listing.map(|l| (Shown::Entries(l.entries, l.next.is_some()), Some(l.seq))))
        };
        self.perform(Via::Session, asked, 1, work).await;
    }

    async fn versions(&mut self, path: &Path) -> Vec<VersionId> {
        let session = self.session.clone();
        let work = async {
            let found = session.namespace.list_versions(path, None).await;
            Outcome::of(found.map(|found| (Shown::Versions(found.versions, found.more), Some(found.seq))))
        };
        let asked = Asked::Versions(path.clone(), None);
        match &self.perform(Via::Session, asked, 1, work).await.outcome {
            Outcome::Done(Shown::Versions(versions, _), _) => versions.iter().map(|v| v.id).collect(),
            _ => Vec::new(),
        }
    }

    /// Shows a node a position that some client has seen: the answer must be at least as new.
    async fn show(&mut self) {
        let voters = self.session.voters();
        let shown = Seq(self.shared.newest.load(Ordering::Relaxed));
        if let Some(node) = self.one_of(&voters) {
            self.question(Via::Node { node, shown }).await;
        }
    }

    async fn ask_leader(&mut self) {
        if self.random.below(3) > 0 {
            return self.question(Via::Leader).await;
        }
        let session = self.session.clone();
        let work = async {
            Outcome::of(session.namespace.fetch_namespace().await.map(|stats| (Shown::Head, Some(stats.seq))))
        };
        self.perform(Via::Leader, Asked::Head, 1, work).await;
    }

    /// Asks the leader or a node, without the session's memory, for something with a small page.
    async fn question(&mut self, via: Via) {
        let session = self.session.clone();
        let limit = 1 + self.random.below(PAGE_COUNT_MAX) as u32;
        let path = self.any();
        let (asked, requests) = match self.random.below(4) {
            0 => (Asked::Stat(path.clone()), 1),
            1 => (Asked::List(self.ground.dir(false, &self.random), None), 1),
            2 => (Asked::Versions(path.clone(), None), 1),
            _ => (Asked::Read(path.clone(), None, None), 4),
        };
        let question = asked.clone();
        let work = async { Outcome::of(ask(&session, via, question, limit).await) };
        self.perform(via, asked, requests, work).await;
    }

    /// A file or a directory that may be there.
    fn any(&self) -> Path {
        match self.random.below(3) {
            0 => self.ground.dir(false, &self.random),
            _ => self.ground.file(&self.random),
        }
    }

    fn one_of<T: Copy>(&self, choices: &[T]) -> Option<T> {
        choices.get(self.random.below(choices.len().max(1) as u64) as usize).copied()
    }
}

/// Asks for a state of the leader's or of a node's.
async fn ask(session: &Session, via: Via, asked: Asked, limit: u32) -> Result<(Shown, Option<Seq>)> {
    let (node, view) = match via {
        Via::Node { node, shown } => (Some(node), session.at_least(shown)),
        Via::Leader | Via::Session => (None, session.newest()),
    };
    Ok(match asked {
        Asked::Stat(path) => {
            let found = send(session, node, &Stat { view, path }).await?;
            (Shown::Entry(found.entry), Some(found.seq))
        }
        Asked::List(path, after) => {
            let after = after.map(|name| PageToken { value: 0, name });
            let (dir, order) = (DirRef::Path(path), OrderBy::Name);
            let question = ListDir { view, dir, order, descending: false, after, limit };
            let page = send(session, node, &question).await?;
            (Shown::Entries(page.entries, page.next.is_some()), Some(page.seq))
        }
        Asked::Versions(path, before) => {
            let page = send(session, node, &ListVersions { view, path, before, limit }).await?;
            (Shown::Versions(page.versions, page.more), Some(page.seq))
        }
        Asked::Read(path, version, range) => {
            let opened = send(session, node, &OpenVersion { view, path, version }).await?;
            let (version, seq) = (opened.version.clone(), opened.seq);
            (Shown::File(version, session.read(opened, range).await), Some(seq))
        }
        Asked::Write(_) | Asked::Head | Asked::Pull(_) => unreachable!("these are asked for elsewhere"),
    })
}

async fn send<Q: Call>(session: &Session, node: Option<NodeId>, question: &Q) -> Result<Q::Answer> {
    match node {
        Some(node) => session.ask_node(node, question).await,
        None => session.ask_leader(question).await,
    }
}
