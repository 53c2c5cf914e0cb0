//! What the paths of a room lead to: the file that really holds a name, behind all that hand it on.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::Arrow;
use crate::rust::{self, CodePath};
use crate::tree::SourceFile;

/// Names handed on from file to file to file: more would be a circle of names.
const HANDOVER_COUNT_MAX: usize = 8;

/// A path from the root of the room.
type ModulePath = Vec<String>;

/// Every pair of files in one room of which one needs the other.
pub fn arrows(files: &[SourceFile]) -> Vec<Arrow> {
    let product = || files.iter().filter(|file| file.is_in_src() && !file.is_test());
    let rooms: BTreeSet<&str> = product().map(SourceFile::room).collect();
    rooms
        .into_iter()
        .flat_map(|room| Modules::new(product().filter(|file| file.room() == room)).arrows())
        .collect()
}

/// The modules of one room that are files.
struct Modules<'a>(BTreeMap<ModulePath, Module<'a>>);

struct Module<'a> {
    file: &'a SourceFile,
    code: String,
    paths: Vec<CodePath>,
}

impl<'a> Modules<'a> {
    fn new(files: impl Iterator<Item = &'a SourceFile>) -> Self {
        let module = |file: &'a SourceFile| {
            let code = file.product_code();
            (module_path(file), Module { file, paths: rust::paths(&code), code })
        };
        Self(files.map(module).collect())
    }

    fn arrows(&self) -> Vec<Arrow> {
        self.0.iter().flat_map(|(own, module)| self.arrows_of(own, module)).collect()
    }

    fn arrows_of(&self, own: &ModulePath, module: &Module<'a>) -> Vec<Arrow> {
        let inline = rust::modules(&module.code);
        let rest = rust::without_imports(&module.code);
        let mut arrows: BTreeMap<&str, usize> = BTreeMap::new();
        for path in module.paths.iter().filter(|path| is_needed(path, &rest)) {
            let around = inline.iter().filter(|(_, body)| body.contains(&path.position));
            let place: ModulePath = own.iter().cloned().chain(around.map(|(name, _)| name.clone())).collect();
            let target = self.absolute(&path.segments, &place).and_then(|path| self.holder(&path, 0));
            if let Some(target) = target.filter(|target| *target != module.file.path) {
                let line = arrows.entry(target).or_insert(path.line);
                *line = path.line.min(*line);
            }
        }
        let arrow =
            |(to, line): (&str, usize)| Arrow { from: module.file.path.clone(), to: to.to_owned(), line };
        arrows.into_iter().map(arrow).collect()
    }

    /// The path from the root of the room; `None` when it leads out of the room.
    fn absolute(&self, segments: &[String], place: &[String]) -> Option<ModulePath> {
        let (first, rest) = segments.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => self.absolute_below(rest, place),
            "super" => self.absolute_below(rest, place.split_last()?.1),
            _ => {
                let path = [place, segments].concat();
                self.0.contains_key(&path[..place.len() + 1]).then_some(path)
            }
        }
    }

    /// What follows `self` or `super` may be another `super`.
    fn absolute_below(&self, rest: &[String], place: &[String]) -> Option<ModulePath> {
        match rest.first() {
            Some(first) if first == "super" => self.absolute(rest, place),
            _ => Some([place, rest].concat()),
        }
    }

    /// The file that holds what the path names; `None` when that comes from another room.
    fn holder(&self, path: &[String], handovers: usize) -> Option<&str> {
        let len = (0..=path.len()).rev().find(|len| self.0.contains_key(&path[..*len]))?;
        let (own, rest) = path.split_at(len);
        let module = &self.0[own];
        // `a::*` is all of `a`, wherever that has its names from.
        let Some(name) = rest.first().filter(|name| *name != "*" && handovers < HANDOVER_COUNT_MAX) else {
            return Some(&module.file.path);
        };
        let import = module.paths.iter().find(|path| path.alias.as_ref() == Some(name));
        match import {
            Some(import) => {
                let target = self.absolute(&import.segments, own)?;
                self.holder(&[&target, &rest[1..]].concat(), handovers + 1)
            }
            None => Some(self.glob_holder(own, name, handovers).unwrap_or(&module.file.path)),
        }
    }

    /// The file from which a `pub use x::*` of this module takes the name.
    fn glob_holder(&self, own: &[String], name: &String, handovers: usize) -> Option<&str> {
        let globs =
            self.0[own].paths.iter().filter(|path| path.is_export && path.alias.as_deref() == Some("*"));
        let targets = globs.filter_map(|glob| self.absolute(&glob.segments[..glob.segments.len() - 1], own));
        targets
            .filter_map(|target| {
                let holder = self.0.get(&target).filter(|module| declares(&module.code, name))?;
                let path = [&target[..], std::slice::from_ref(name)].concat();
                self.holder(&path, handovers + 1).or(Some(&holder.file.path))
            })
            .next()
    }
}

/// `net/src/client/tcp.rs` is `client::tcp`.
fn module_path(file: &SourceFile) -> ModulePath {
    file.module_directory().split('/').skip(2).map(str::to_owned).collect()
}

/// A name that is handed on is not needed, unless the file uses it itself.
fn is_needed(path: &CodePath, rest: &str) -> bool {
    let is_use = |at: usize| !["::", ".", "mod "].iter().any(|before| rest[..at].ends_with(before));
    !path.is_export || path.alias.as_ref().is_some_and(|alias| rust::places(rest, alias).any(is_use))
}

fn declares(code: &str, name: &str) -> bool {
    const KEYWORDS: &[&str] = &["struct", "enum", "trait", "type", "fn", "const", "static", "mod", "union"];
    rust::places(code, name).any(|at| {
        let before = code[..at].trim_end();
        KEYWORDS.iter().any(|keyword| before.ends_with(keyword))
    })
}
