//! Names and paths as they are stored: parsed once at the edge, valid from then on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{NAME_SIZE_MAX, PATH_DEPTH_MAX, PATH_SIZE_MAX};
use crate::{Error, Result};

/// One component of a path: UTF-8, 1 to 255 bytes, no `/`, no NUL, not `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// Checks a name; `Invalid` says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self> {
        let problem = if text.is_empty() {
            "is empty"
        } else if text.len() > NAME_SIZE_MAX {
            "is longer than 255 bytes"
        } else if text == "." || text == ".." {
            "is a relative reference"
        } else if text.contains('/') {
            "contains '/'"
        } else if text.contains('\0') {
            "contains a NUL byte"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Error::invalid(format!("name {} {problem}", shorten(text))))
    }

    /// Checks a name from the operating system; `Invalid` also when it is not UTF-8.
    pub fn parse_os(name: &std::ffi::OsStr) -> Result<Self> {
        let text = name
            .to_str()
            .ok_or_else(|| Error::invalid(format!("name {name:?} is not UTF-8; rename it to store it")))?;
        Self::parse(text)
    }

    /// The text as it was parsed: names are not normalised.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

/// A path inside a namespace, written `/a/b`; `/` is the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Name>", into = "Vec<Name>")]
pub struct Path(Vec<Name>);

impl Path {
    /// The root of the namespace.
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks an absolute path; `Invalid` says what is wrong. A trailing `/` and repeated `/` are accepted and dropped.
    pub fn parse(text: &str) -> Result<Self> {
        if !text.starts_with('/') {
            return Err(Error::invalid(format!("path {} must start with '/'", shorten(text))));
        }
        if text.len() > PATH_SIZE_MAX {
            return Err(Error::invalid(format!(
                "path {} is longer than {PATH_SIZE_MAX} bytes",
                shorten(text)
            )));
        }
        let names: Vec<Name> = text
            .split('/')
            .filter(|part| !part.is_empty())
            .map(Name::parse)
            .collect::<Result<_>>()
            .map_err(|e| e.context(format!("path {}", shorten(text))))?;
        Self::try_from(names)
    }

    /// The components from the root down.
    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// True for `/`.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last component and the path above it; `None` for the root.
    pub fn split_last(&self) -> Option<(Path, &Name)> {
        let (name, parent) = self.0.split_last()?;
        Some((Path(parent.to_vec()), name))
    }

    /// This path with `name` below it; `Invalid` when that is too long or too deep.
    pub fn join(&self, name: Name) -> Result<Self> {
        let mut names = self.0.clone();
        names.push(name);
        Self::try_from(names)
    }

    /// True when `self` is `other` or lies below it.
    pub fn is_within(&self, other: &Path) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl TryFrom<Vec<Name>> for Path {
    type Error = Error;
    fn try_from(names: Vec<Name>) -> Result<Self> {
        let size: usize = names.iter().map(|n| n.0.len() + 1).sum();
        if size > PATH_SIZE_MAX || names.len() > PATH_DEPTH_MAX {
            return Err(Error::invalid(format!(
                "path of {} components and {size} bytes is over the limit of {PATH_DEPTH_MAX} and {PATH_SIZE_MAX}",
                names.len()
            )));
        }
        Ok(Self(names))
    }
}

impl From<Path> for Vec<Name> {
    fn from(path: Path) -> Vec<Name> {
        path.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        self.0.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

/// Name of a namespace: 1 to 63 of `a-z 0-9 - _ .`, starting with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamespaceName(String);

impl NamespaceName {
    /// Checks a namespace name; `Invalid` says what one looks like.
    pub fn parse(text: &str) -> Result<Self> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if !first || text.len() > 63 || !text.bytes().all(allowed) {
            return Err(Error::invalid(format!(
                "namespace name {} must be 1 to 63 of a-z 0-9 - _ . and start with a letter or digit",
                shorten(text)
            )));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text, all of it ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for NamespaceName {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<NamespaceName> for String {
    fn from(name: NamespaceName) -> String {
        name.0
    }
}

/// Quotes text for a message, at most 60 characters of it.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<&str, &str>) {
        match (Path::parse(text), want) {
            (Ok(path), Ok(want)) => assert_eq!(path.to_string(), want),
            (Err(error), Err(part)) => assert!(error.message().contains(part), "{error}"),
            (got, want) => panic!("{text:?}: got {got:?}, want {want:?}"),
        }
    }

    #[test]
    fn paths() {
        check("/", Ok("/"));
        check("/a", Ok("/a"));
        check("/a//b/", Ok("/a/b"));
        check("/ä ö/…", Ok("/ä ö/…"));
        check("", Err("must start with '/'"));
        check("a/b", Err("must start with '/'"));
        check("/a/./b", Err("relative reference"));
        check("/a/../b", Err("relative reference"));
        check("/a\0b", Err("NUL"));
        check(&format!("/{}", "x".repeat(256)), Err("longer than 255"));
        check(&"/x".repeat(PATH_SIZE_MAX), Err("longer than"));
        check(&"/x".repeat(PATH_DEPTH_MAX + 1), Err("components"));
    }

    #[test]
    fn names_that_are_not_utf8_are_refused() {
        use std::os::unix::ffi::OsStrExt;
        let error = Name::parse_os(std::ffi::OsStr::from_bytes(b"a\xff")).unwrap_err();
        assert!(error.message().contains("not UTF-8"));
    }

    #[test]
    fn within_is_by_component() {
        let path = |t| Path::parse(t).unwrap();
        assert!(path("/a/b").is_within(&path("/a")));
        assert!(path("/a").is_within(&Path::root()));
        assert!(!path("/ab").is_within(&path("/a")));
    }
}
