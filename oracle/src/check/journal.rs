//! I-JRN: the journal is whole, for everybody who follows it. Pure.

use std::collections::BTreeSet;

use proto::namespace::{Entry, Record};
use types::{InodeId, Path};

use crate::history::{Followed, History, Mirrored};
use crate::model;
use crate::replay::Tree;
use crate::survey::Survey;
use crate::verdict::{Invariant, Verdict};

/// I-JRN: dense from 1, only growing, and its replay is the tree.
pub fn whole(survey: &Survey) -> Verdict {
    let mut verdict = Verdict::new(Invariant::Jrn, "the journal is whole and its replay is the tree");
    verdict.exercised = survey.journal.len() as u64;
    verdict.violations.extend(gap(&survey.journal));
    let changed = survey.early.iter().zip(&survey.journal).find(|(early, late)| early != late);
    verdict.violations.extend(changed.map(|(early, _)| format!("position {} has changed", early.seq)));
    if survey.early.len() > survey.journal.len() {
        let (before, now) = (survey.early.len(), survey.journal.len());
        verdict.violations.push(format!("it had {before} records and now has {now}"));
    }
    for (journal, listed) in [(&survey.early, &survey.early_tree), (&survey.journal, &survey.tree)] {
        let (tree, _) = Tree::after(survey.root, journal);
        verdict.violations.extend(differences(&tree, listed));
    }
    verdict
}

/// I-JRN: every follower was given the same records, each once, in order, and by them knows the tree.
pub fn followers(history: &History, survey: &Survey) -> Verdict {
    let mut verdict = Verdict::new(Invariant::Jrn, "every follower was given the journal, record by record");
    for followed in &history.followed {
        verdict.exercised += followed.records.len() as u64;
        let what = |what: String| format!("follower {}: {what}", followed.client);
        verdict.violations.extend(misled(followed, survey).map(what));
    }
    verdict
}

/// I-JRN: whoever begins anywhere, from a listing, has the tree of the position that it has come to.
pub fn mirrors(history: &History, survey: &Survey) -> Verdict {
    let mut verdict = Verdict::new(Invariant::Jrn, "a listing and the records after it are the tree");
    let mut mirrored: Vec<&Mirrored> = history.mirrored.iter().collect();
    mirrored.sort_by_key(|mirrored| mirrored.seq);
    let mut tree = Tree::new(survey.root);
    let mut records = survey.early.iter().peekable();
    for Mirrored { client, began, seq, tree: listed } in mirrored {
        while let Some(record) = records.next_if(|record| record.seq <= *seq) {
            let _ = tree.apply(record); // A record that breaks a rule is reported by the checker of I-TREE.
        }
        let what = |what| format!("follower {client} from {began}, at position {seq}: {what}");
        verdict.judge(differences(&tree, listed).into_iter().next().map_or(Ok(()), |why| Err(what(why))));
    }
    verdict
}

/// The first way in which a follower knows something else than there is.
fn misled(followed: &Followed, survey: &Survey) -> Option<String> {
    let Followed { records, is_at_end, .. } = followed;
    if let Some(gap) = gap(records) {
        return Some(gap);
    }
    let differs = |(at, record): &(usize, &Record)| survey.journal.get(*at) != Some(*record);
    if let Some((at, record)) = records.iter().enumerate().find(differs) {
        return Some(format!("was given {record:?}, the journal says {:?}", survey.journal.get(at)));
    }
    if *is_at_end && records.len() < survey.early.len() {
        let (count, end) = (records.len(), survey.early.len());
        return Some(format!("was told that {count} is the end of the journal, which ends at {end}"));
    }
    if records.len() == survey.early.len() {
        let (tree, broken) = Tree::after(survey.root, records);
        return broken
            .into_iter()
            .next()
            .or_else(|| differences(&tree, &survey.early_tree).into_iter().next());
    }
    None
}

/// The first position that is not the one after its predecessor.
fn gap(records: &[Record]) -> Option<String> {
    let wrong = records.iter().zip(1..).find(|(record, want)| record.seq.0 != *want)?;
    Some(format!("position {} is where {} should be", wrong.0.seq, wrong.1))
}

/// In which paths a listing differs from the tree that a journal describes.
fn differences(tree: &Tree, listed: &[(Path, Entry)]) -> Vec<String> {
    let replayed = tree.paths();
    let mut found: BTreeSet<&Path> = BTreeSet::new();
    let mut differences = Vec::new();
    for (path, entry) in listed {
        found.insert(path);
        let name = path.names().last().map_or("", |name| name.as_str());
        let is_it = |(id, inode): &(InodeId, &crate::replay::Inode)| model::is_entry(entry, name, *id, inode);
        let told = replayed.get(path);
        if !told.is_some_and(is_it) {
            differences.push(format!("{path} is listed as {entry:?}, the journal's replay has {told:?}"));
        }
    }
    let hidden = replayed.iter().filter(|(path, _)| !found.contains(path));
    differences.extend(
        hidden.map(|(path, told)| format!("{path} is not listed, the journal's replay has {told:?}")),
    );
    differences
}
