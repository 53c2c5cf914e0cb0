//! What a client believes is there, and where it goes next: directories of its own, and directories that all clients
//! work in. Pure.
//!
//! Own names are used once, so that what happens there follows from what the client did. Shared names are few, so that
//! clients get in each other's way.

use std::collections::BTreeMap;

use env::Random;
use proto::namespace::Kind;
use types::{Name, Path, Seq};

use crate::history::Step;
use crate::mix::Mix;

/// Directories of one client, its home among them.
const DIR_COUNT_MAX: usize = 6;
/// Levels of them below the home.
const DIR_DEPTH_MAX: usize = 3;
/// Names in one shared directory, of directories and of files.
const SHARED_NAME_COUNT: u64 = 3;
/// Levels of shared directories.
const SHARED_DEPTH_MAX: u64 = 3;

/// What one client knows.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    /// How its home begins.
    prefix: String,
    /// Names are used once.
    name_count: u64,
    /// What should be there, the home first.
    own: BTreeMap<Path, Kind>,
    /// What was removed, most recently last.
    removed: Vec<Path>,
    shared_percent: u64,
    file_count_max: usize,
}

impl Ground {
    /// Of a client that begins at a position.
    pub fn new(client: usize, began: Seq, mix: &Mix) -> Self {
        Self {
            prefix: format!("client{client}-{began}"),
            name_count: 0,
            own: BTreeMap::new(),
            removed: Vec::new(),
            shared_percent: mix.shared_percent,
            file_count_max: mix.file_count_max,
        }
    }

    /// True when it has nowhere to work yet.
    pub fn is_homeless(&self) -> bool {
        self.own.is_empty()
    }

    /// True when there is room for no other file.
    pub fn is_full(&self) -> bool {
        self.paths(Kind::File).count() >= self.file_count_max
    }

    /// The directory that all shared ones are in.
    pub fn shared() -> Path {
        parse("/shared")
    }

    /// A home that nobody has.
    pub fn new_home(&mut self) -> Path {
        self.name_count += 1;
        parse(&format!("/{}-{}", self.prefix, self.name_count))
    }

    /// A file that may be there.
    pub fn file(&self, random: &Random) -> Path {
        let picked = self.pick(random, |_, kind| kind == Kind::File);
        picked.unwrap_or_else(|| shared_file(random))
    }

    /// A directory that may be there; with `movable`, not the home.
    pub fn dir(&self, movable: bool, random: &Random) -> Path {
        let home = self.own.keys().next();
        let is_it = |path: &Path, kind| kind == Kind::Dir && !(movable && Some(path) == home);
        self.pick(random, is_it).unwrap_or_else(|| shared_dir(1, random))
    }

    /// Two directories, neither in the other, and a free path.
    pub fn dirs_to_swap(&mut self, random: &Random) -> Option<[Path; 3]> {
        let (a, b) = (self.dir(true, random), self.dir(true, random));
        let (parent, _) = a.split_last()?;
        let aside = self.new_name(&parent, Kind::Dir);
        (!a.is_within(&b) && !b.is_within(&a)).then_some([a, b, aside])
    }

    /// Where a new entry like the one at `old` may go, beside others of its kind.
    pub fn target_for(&mut self, old: &Path, kind: Kind, random: &Random) -> Path {
        let is_shared = old.is_within(&Self::shared());
        match kind {
            Kind::File if is_shared => shared_file(random),
            Kind::Dir if is_shared => shared_dir(1, random),
            _ => self.new_path(kind, random),
        }
    }

    /// Where a new directory or file may go.
    pub fn free(&mut self, kind: Kind, random: &Random) -> Path {
        let is_crowded = kind == Kind::Dir && self.paths(Kind::Dir).count() >= DIR_COUNT_MAX;
        match kind {
            Kind::Dir if is_crowded || self.is_shared(random) => shared_dir(0, random),
            Kind::File if self.is_shared(random) => shared_file(random),
            _ => self.new_path(kind, random),
        }
    }

    /// A path from which something was removed.
    pub fn removed(&self, random: &Random) -> Path {
        match self.removed.last().filter(|_| !self.is_shared(random)) {
            Some(path) => path.clone(),
            None if random.below(3) == 0 => shared_dir(1, random),
            None => shared_file(random),
        }
    }

    /// A change was acknowledged.
    pub fn happened(&mut self, step: &Step) {
        match step {
            Step::Mkdir(path) => self.add(path, Kind::Dir),
            Step::Commit { path, .. } => self.add(path, Kind::File),
            Step::Rename(source, target) => {
                for (path, kind) in self.take(source) {
                    let below = &path.names()[source.names().len()..];
                    let names = [target.names(), below].concat();
                    self.add(&Path::try_from(names).expect("own paths are short"), kind);
                }
            }
            Step::Remove(path, _) => {
                if !self.take(path).is_empty() {
                    self.removed.push(path.clone());
                }
            }
            Step::Undelete(path) => {
                if let Some(at) = self.removed.iter().rposition(|removed| removed == path) {
                    self.removed.remove(at);
                    self.add(path, kind_of(path));
                }
            }
            Step::Restore(..) => {}
        }
    }

    /// Nobody knows whether a change was done: what it touches is forgotten.
    pub fn is_unsure(&mut self, step: &Step) {
        match step {
            Step::Mkdir(path) | Step::Commit { path, .. } | Step::Remove(path, _) => drop(self.take(path)),
            Step::Restore(path, _) => drop(self.take(path)),
            Step::Rename(source, target) => drop((self.take(source), self.take(target))),
            Step::Undelete(path) => self.removed.retain(|removed| removed != path),
        }
    }

    fn is_shared(&self, random: &Random) -> bool {
        random.below(100) < self.shared_percent || self.own.is_empty()
    }

    /// One of its own, unless the next operation is to be where others are.
    fn pick(&self, random: &Random, is_it: impl Fn(&Path, Kind) -> bool) -> Option<Path> {
        let all: Vec<&Path> =
            self.own.iter().filter(|(path, kind)| is_it(path, **kind)).map(|(path, _)| path).collect();
        if all.is_empty() || self.is_shared(random) {
            return None;
        }
        all.get(random.below(all.len() as u64) as usize).map(|path| (*path).clone())
    }

    fn paths(&self, kind: Kind) -> impl Iterator<Item = &Path> {
        self.own.iter().filter(move |(_, k)| **k == kind).map(|(path, _)| path)
    }

    /// A name that was never used before, in one of its own directories.
    fn new_path(&mut self, kind: Kind, random: &Random) -> Path {
        let depth_max = DIR_DEPTH_MAX + usize::from(kind == Kind::File);
        let fits = |dir: &&Path| dir.names().len() <= depth_max;
        let dirs: Vec<Path> = self.paths(Kind::Dir).filter(fits).cloned().collect();
        if dirs.is_empty() {
            return if kind == Kind::File { shared_file(random) } else { self.new_home() };
        }
        let dir = &dirs[random.below(dirs.len() as u64) as usize];
        self.new_name(dir, kind)
    }

    fn new_name(&mut self, dir: &Path, kind: Kind) -> Path {
        self.name_count += 1;
        let prefix = self.prefix.split('-').next().unwrap_or_default();
        let letter = if kind == Kind::Dir { 'd' } else { 'f' };
        join(dir, &format!("{letter}{}-{prefix}", self.name_count))
    }

    fn add(&mut self, path: &Path, kind: Kind) {
        if !path.is_within(&Self::shared()) {
            self.own.insert(path.clone(), kind);
        }
    }

    /// Forgets what is at a path and below it, and returns it.
    fn take(&mut self, path: &Path) -> Vec<(Path, Kind)> {
        let within = self.own.range(path..).take_while(|(own, _)| own.is_within(path));
        let taken: Vec<(Path, Kind)> = within.map(|(own, kind)| (own.clone(), *kind)).collect();
        for (own, _) in &taken {
            self.own.remove(own);
        }
        taken
    }
}

/// Names of directories begin with another letter than those of files.
fn kind_of(path: &Path) -> Kind {
    let is_file = path.names().last().is_some_and(|name| name.as_str().starts_with('f'));
    if is_file { Kind::File } else { Kind::Dir }
}

/// A shared directory, `depth_min` levels below the topmost or more.
fn shared_dir(depth_min: u64, random: &Random) -> Path {
    let depth = depth_min + random.below(SHARED_DEPTH_MAX + 1 - depth_min);
    let deeper = |dir: Path, _| join(&dir, &format!("d{}", random.below(SHARED_NAME_COUNT)));
    (0..depth).fold(Ground::shared(), deeper)
}

fn shared_file(random: &Random) -> Path {
    let dir = shared_dir(0, random);
    join(&dir, &format!("f{}", random.below(SHARED_NAME_COUNT)))
}

fn join(dir: &Path, name: &str) -> Path {
    let name = Name::parse(name).expect("letters, digits and a hyphen are a name");
    dir.join(name).expect("these directories are not deep")
}

fn parse(path: &str) -> Path {
    Path::parse(path).expect("letters, digits, hyphens and slashes are a path")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_home(shared_percent: u64) -> (Ground, Random) {
        let mix = Mix { shared_percent, ..Mix::default() };
        let mut ground = Ground::new(3, Seq(40), &mix);
        assert!(ground.is_homeless());
        let home = ground.new_home();
        assert_eq!(home.to_string(), "/client3-40-1");
        ground.happened(&Step::Mkdir(home));
        (ground, Random::seeded(1))
    }

    #[test]
    fn what_was_acknowledged_is_found_again() {
        let (mut ground, random) = at_home(0);
        let dir = ground.free(Kind::Dir, &random);
        ground.happened(&Step::Mkdir(dir.clone()));
        let path = join(&dir, "f9");
        ground.happened(&Step::Commit { path, base: None, content: test_content() });
        let moved = ground.target_for(&dir, Kind::Dir, &random);
        ground.happened(&Step::Rename(dir, moved.clone()));
        assert_eq!(ground.file(&random), join(&moved, "f9"));
        ground.happened(&Step::Remove(join(&moved, "f9"), false));
        assert_eq!(ground.removed(&random), join(&moved, "f9"));
        assert!(ground.file(&random).is_within(&Ground::shared()), "it has no file any more");
        ground.happened(&Step::Undelete(join(&moved, "f9")));
        assert_eq!(ground.file(&random), join(&moved, "f9"));
        ground.is_unsure(&Step::Remove(moved.clone(), true));
        assert!(ground.file(&random).is_within(&Ground::shared()), "nobody knows whether it is there");
    }

    fn test_content() -> crate::content::Content {
        let recipe = crate::content::Recipe { seed: 1, client: 3, number: 1, lead: 0, size: 20 };
        crate::content::Content::make(recipe).1
    }

    #[test]
    fn clients_meet_where_they_are_told_to() {
        let (mut ground, random) = at_home(100);
        let meet: std::collections::BTreeSet<Path> = (0..2_000).map(|_| ground.file(&random)).collect();
        assert_eq!(meet.len() as u64, 3 * (1 + 3 + 9 + 27));
        assert!(ground.free(Kind::Dir, &random).is_within(&Ground::shared()));
        assert!((0..100).all(|_| ground.dir(true, &random) != Ground::shared()));
    }

    #[test]
    fn a_home_is_not_moved() {
        let (ground, random) = at_home(0);
        assert!((0..20).all(|_| ground.dir(true, &random).is_within(&Ground::shared())));
        assert_eq!(ground.dir(false, &random).to_string(), "/client3-40-1");
    }
}
