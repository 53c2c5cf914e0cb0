//! Where things are: paths to directories and names, inodes to paths.

use std::ops::ControlFlow;

use kv::Read;
use proto::namespace::{Expect, Kind, Place};
use types::limits::{PATH_DEPTH_MAX, PATH_SIZE_MAX, REACH_ENTRY_COUNT_MAX};
use types::{Error, InodeId, Name, Path, Result};

use super::{Tree, check_expect, missing};
use crate::failure::{Failure, Halt, refuse};
use crate::namespace::key;
use crate::namespace::read::{entry_of_root, not_a_directory, resolve_below};
use crate::namespace::row::{DirentRow, InodeRow, Reach, bad_key, trash_of};
use crate::row::{damaged, decode, first_key, load};

impl Tree<'_, '_> {
    /// The directory and name that a path means. The directory must exist; the name need not.
    pub(super) fn place(&mut self, path: &Path) -> Result<Place, Failure> {
        let Some((parent, name)) = path.split_last() else {
            return refuse(Error::invalid("/ itself cannot be changed"));
        };
        let name = name.clone();
        if let Some((last, dir)) = &self.last_dir
            && *last == parent
        {
            debug_assert!(
                self.find(&parent).map_or(true, |found| found.is_some_and(|found| found.inode == *dir)),
                "a change that moves directories forgets where the last one was"
            );
            return Ok(Place { dir: *dir, name });
        }
        let found = self.find(&parent)?.ok_or_else(|| {
            Failure::Refused(Error::not_found(format!("the directory {parent} does not exist")))
        })?;
        if found.kind != Kind::Dir {
            return Err(not_a_directory(path));
        }
        self.last_dir = Some((parent, found.inode));
        Ok(Place { dir: found.inode, name })
    }

    /// What is at a path; `Invalid` when it leads through what is no directory.
    pub(super) fn find(&self, path: &Path) -> Result<Option<DirentRow>, Failure> {
        resolve_below(self.state, entry_of_root(self.row.root), path)
    }

    /// The entry at a path, if it is what the change expects.
    pub(super) fn expect_entry(
        &mut self,
        path: &Path,
        expect: Expect,
    ) -> Result<(Place, DirentRow), Failure> {
        let at = self.place(path)?;
        let row = self.dirent(at.dir, &at.name)?;
        check_expect(path, expect, row.as_ref())?;
        Ok((at, row.ok_or_else(|| missing(path))?))
    }

    pub(super) fn dirent(&self, dir: InodeId, name: &Name) -> Result<Option<DirentRow>, Halt> {
        load(self.state, &key::of_dirent(dir, name.as_str()))
    }

    pub(super) fn inode(&self, inode: InodeId) -> Result<InodeRow, Halt> {
        load(self.state, &key::of_inode(inode))?
            .ok_or_else(|| damaged::<InodeRow>("one is missing for an entry that is there"))
    }

    pub(super) fn is_empty(&self, dir: InodeId) -> Result<bool, Halt> {
        let (start, end) = key::dirents(dir, None);
        Ok(first_key(self.state, &start, &end)?.is_none())
    }

    /// The path of a directory of this namespace; `None` for one in the trash or in another namespace.
    pub(super) fn path_of(&self, dir: InodeId) -> Result<Option<Path>, Halt> {
        let mut names = Vec::new();
        let mut at = dir;
        while at != self.row.root {
            if at == trash_of(at) {
                return Ok(None);
            }
            let row: Option<InodeRow> = load(self.state, &key::of_inode(at))?;
            match row {
                Some(row) if row.parent != at => {
                    names.push(row.name);
                    at = row.parent;
                }
                // Purged, or the root of another namespace.
                _ => return Ok(None),
            }
        }
        names.reverse();
        let names: Result<Vec<Name>> = names.iter().map(|name| Name::parse(name)).collect();
        let path = names.and_then(Path::try_from);
        path.map(Some).map_err(|e| damaged::<InodeRow>(e.message()))
    }

    /// Refuses a move that would leave paths below `target` that nobody could name.
    pub(super) fn check_reach(&self, row: &DirentRow, target: &Path) -> Result<(), Failure> {
        if row.kind != Kind::Dir {
            return Ok(());
        }
        let fits = |reach: Reach| {
            let size = target.to_string().len() + reach.size as usize;
            size <= PATH_SIZE_MAX && target.names().len() + reach.depth as usize <= PATH_DEPTH_MAX
        };
        // What is not flushed yet is of this batch, and lies at paths that were named.
        let bound = self.inode(row.inode)?.below.unwrap_or_default().reach.max(self.sums.reach_of(row.inode));
        if fits(bound) {
            return Ok(());
        }
        let mut budget = REACH_ENTRY_COUNT_MAX;
        match self.exact_reach(row.inode, &mut budget)? {
            Some(reach) if fits(reach) => Ok(()),
            _ => refuse(Error::invalid(format!(
                "below {target} there would be paths of more than {PATH_SIZE_MAX} bytes or {PATH_DEPTH_MAX} names: \
                 choose a shorter place"
            ))),
        }
    }

    /// How far down a directory goes; `None` when that takes too long to find out.
    fn exact_reach(&self, top: InodeId, budget: &mut usize) -> Result<Option<Reach>, Halt> {
        let mut reach = Reach::default();
        let mut dirs = vec![(top, Reach::default())];
        while let Some((dir, above)) = dirs.pop() {
            let (start, end) = key::dirents(dir, None);
            let mut outcome = Ok(());
            let scanned = self.state.scan(&start, &end, kv::Order::Forward, &mut |key, value| {
                outcome = (|| {
                    let row: DirentRow = decode(value)?;
                    let here = above.above(key::dirent_name(key).ok_or_else(bad_key::<DirentRow>)?);
                    reach = reach.max(here);
                    if row.kind == Kind::Dir {
                        dirs.push((row.inode, here));
                    }
                    Ok(())
                })();
                *budget = budget.saturating_sub(1);
                if *budget > 0 && outcome.is_ok() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            scanned.map_err(Halt::new)?;
            outcome?;
            if *budget == 0 {
                return Ok(None);
            }
        }
        Ok(Some(reach))
    }
}
