//! Versions and attributes: what an entry is, while it stays where it is.

use proto::namespace::{Attributes, Change, Done, Expect, Kind, check_link};
use types::{Error, Nanos, Path, Result, Seq, VersionId};

use super::{Tree, check_expect, next_inode, version_after};
use crate::failure::{Failure, refuse};
use crate::namespace::key;
use crate::namespace::read::missing_version;
use crate::namespace::row::{DirentRow, VersionContent, VersionRow};
use crate::row::load;

impl Tree<'_, '_> {
    pub(super) fn commit_version(
        &mut self,
        path: &Path,
        expect: Expect,
        content: VersionContent,
        attributes: Attributes,
    ) -> Result<Done, Failure> {
        attributes.check().map_err(Failure::Refused)?;
        if let VersionContent::Symlink(target) = &content {
            check_link(target).map_err(Failure::Refused)?;
        }
        let at = self.place(path)?;
        let old = self.dirent(at.dir, &at.name)?;
        if let Some(old) = &old {
            check_kind(path, old.kind, content.kind())?;
        }
        check_expect(path, expect, old.as_ref())?;
        let inode = match &old {
            Some(row) => row.inode,
            None => next_inode(self.state, self.namespace.slot())?,
        };
        let version = version_after(old.as_ref());
        let base = old.as_ref().map(|row| row.version);
        let row = DirentRow {
            inode,
            kind: content.kind(),
            size: content.size(),
            changed: self.time,
            version,
            content_root: content.root(),
            target: content.target().to_owned(),
            attributes: attributes.clone(),
            flags: old.as_ref().map_or(0, |row| row.flags),
        };
        let author = self.author.to_owned();
        let version_row = VersionRow { base, author, committed: self.time, attributes, content };
        self.state.put(key::of_version(inode, version), &version_row);
        let (dir, entry) = (at.dir, row.clone().entry(at.name.as_str()));
        let change = match &old {
            Some(old) => {
                self.update(&at, old, &row);
                Change::Versioned { dir, entry, base: old.version }
            }
            None => {
                self.link(&at, &row, None);
                Change::Created { dir, entry }
            }
        };
        self.record(inode, path, change);
        Ok(self.done(&row, self.row.seq))
    }

    pub(super) fn set_attributes(
        &mut self,
        path: &Path,
        expect: Expect,
        attributes: Attributes,
    ) -> Result<Done, Failure> {
        attributes.check().map_err(Failure::Refused)?;
        let (at, old) = self.expect_entry(path, expect)?;
        if old.attributes == attributes {
            return Ok(self.done(&old, Seq(0)));
        }
        let row = DirentRow { attributes, changed: self.time, ..old.clone() };
        self.update(&at, &old, &row);
        self.record(
            row.inode,
            path,
            Change::Attributed { dir: at.dir, entry: row.clone().entry(at.name.as_str()) },
        );
        Ok(self.done(&row, self.row.seq))
    }

    pub(super) fn copy(
        &mut self,
        source: &Path,
        version: Option<VersionId>,
        target: &Path,
        expect: Expect,
    ) -> Result<Done, Failure> {
        let (_, row) = self.expect_entry(source, Expect::Any)?;
        let VersionRow { content, attributes, .. } = self.version(source, &row, version)?;
        self.commit_version(target, expect, content, attributes)
    }

    pub(super) fn restore_version(
        &mut self,
        path: &Path,
        expect: Expect,
        version: VersionId,
    ) -> Result<Done, Failure> {
        let (_, row) = self.expect_entry(path, expect)?;
        let VersionRow { content, attributes, .. } = self.version(path, &row, Some(version))?;
        let attributes = Attributes { modified: Nanos::from(self.time), ..attributes };
        self.commit_version(path, Expect::Version(row.inode, row.version), content, attributes)
    }

    fn version(
        &self,
        path: &Path,
        row: &DirentRow,
        version: Option<VersionId>,
    ) -> Result<VersionRow, Failure> {
        if row.kind == Kind::Dir {
            return refuse(Error::invalid(format!("{path} is a directory, which has no versions")));
        }
        let version = version.unwrap_or(row.version);
        load(self.state, &key::of_version(row.inode, version))?.ok_or_else(|| missing_version(path, version))
    }
}

/// A version of another kind would be another thing.
fn check_kind(path: &Path, old: Kind, new: Kind) -> Result<(), Failure> {
    match (old, new) {
        (Kind::Dir, _) => refuse(Error::exists(format!("{path} is a directory; a file cannot replace it"))),
        (Kind::Symlink, Kind::File) => refuse(Error::exists(format!(
            "{path} is a symbolic link, which does not become a file: remove it first"
        ))),
        (Kind::File, Kind::Symlink) => refuse(Error::exists(format!(
            "{path} is a file, which does not become a symbolic link: remove it first"
        ))),
        _ => Ok(()),
    }
}
