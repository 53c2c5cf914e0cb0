//! The checkers: history in, violations out. Pure.
//!
//! Owns: what counts as a broken promise.
//! Knows nothing of: how the history came about.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use proto::namespace::{Change, Kind, Record};
use types::{ErrorKind, InodeId, VersionId};

use crate::history::{Content, Freshness, History, Kept, Look, Mark, Outcome, Promise, Read, Survey};
use crate::replay::Tree;

/// What is known about one promise after a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which promise.
    pub promise: Promise,
    /// How often the run could have broken it; never means that nothing is known.
    pub exercised: usize,
    /// How it was broken, in the order it was found.
    pub violations: Vec<String>,
}

/// Judges all promises that a history can break. `I-HEAL` and the processes are judged by the run itself.
pub fn all(history: &History, survey: &Survey) -> Vec<Verdict> {
    let mut verdicts = vec![
        acknowledged(history, survey),
        right_bytes(history, survey),
        no_silent_overwrite(history, survey),
        one_order(history, survey),
        whole_journal(history, survey),
        always_a_tree(survey),
        equal_replicas(survey),
        answered(history),
    ];
    for verdict in &mut verdicts {
        let surprises = history.surprises.iter().filter(|(promise, _)| *promise == verdict.promise);
        verdict.violations.extend(surprises.map(|(_, text)| text.clone()));
    }
    verdicts
}

/// I-ACK: every acknowledged version can be read and is what was written; every other acknowledged change is in the
/// journal, and nothing was done more often than it was asked for.
pub fn acknowledged(history: &History, survey: &Survey) -> Verdict {
    let mut violations = Vec::new();
    let kept: BTreeMap<VersionId, &Kept> = survey.kept.iter().map(|kept| (kept.version, kept)).collect();
    let mut exercised = 0;
    for commit in &history.commits {
        let Outcome::Done(version) = commit.outcome else { continue };
        exercised += 1;
        let path = &commit.path;
        match kept.get(&version).map(|kept| &kept.content) {
            None => violations.push(format!("version {version} of {path} was acknowledged and is gone")),
            Some(Err(e)) => violations.push(format!("version {version} of {path} cannot be read: {e}")),
            Some(Ok(found)) if *found != commit.content => {
                violations.push(format!(
                    "version {version} of {path} is {found:?}, written was {:?}",
                    commit.content
                ));
            }
            Some(Ok(_)) => {}
        }
    }
    let steps = count_steps(history, survey, &mut violations);
    Verdict { promise: Promise::Ack, exercised: exercised + steps, violations }
}

fn count_steps(history: &History, survey: &Survey, violations: &mut Vec<String>) -> usize {
    let mut acknowledged: BTreeMap<(Mark, InodeId), usize> = BTreeMap::new();
    let mut unknown: BTreeMap<Mark, usize> = BTreeMap::new();
    for step in &history.steps {
        match step.outcome {
            Outcome::Done(inode) => *acknowledged.entry((step.mark, inode)).or_default() += 1,
            Outcome::Unknown => *unknown.entry(step.mark).or_default() += 1,
            Outcome::Refused(_) => {}
        }
    }
    let mut journal: BTreeMap<(Mark, InodeId), usize> = BTreeMap::new();
    for record in &survey.early {
        if let Some(mark) = mark_of(record) {
            *journal.entry((mark, record.inode)).or_default() += 1;
        }
    }
    for ((mark, inode), count) in &acknowledged {
        let found = journal.get(&(*mark, *inode)).copied().unwrap_or(0);
        if found < *count {
            violations
                .push(format!("{count} times was {inode} acknowledged as {mark:?}, the journal has {found}"));
        }
    }
    for mark in [Mark::Added, Mark::Moved, Mark::Removed] {
        let sum = |counts: &BTreeMap<(Mark, InodeId), usize>| -> usize {
            counts.iter().filter(|((m, _), _)| *m == mark).map(|(_, count)| count).sum()
        };
        let asked = sum(&acknowledged) + unknown.get(&mark).copied().unwrap_or(0);
        let done = sum(&journal);
        if done > asked {
            violations.push(format!("{done} times {mark:?} in the journal, asked for at most {asked} times"));
        }
    }
    acknowledged.values().sum()
}

fn mark_of(record: &Record) -> Option<Mark> {
    match record.change {
        Change::Added { .. } => Some(Mark::Added),
        Change::Moved { .. } => Some(Mark::Moved),
        Change::Removed { .. } => Some(Mark::Removed),
        Change::Versioned { .. } => None,
    }
}

/// I-READ: no read returned bytes that were not written as the version it named.
pub fn right_bytes(history: &History, survey: &Survey) -> Verdict {
    let mut written: BTreeMap<VersionId, Content> = BTreeMap::new();
    let mut perhaps: BTreeSet<Content> = BTreeSet::new();
    for commit in &history.commits {
        match commit.outcome {
            Outcome::Done(version) => {
                written.insert(version, commit.content);
            }
            Outcome::Unknown => {
                perhaps.insert(commit.content);
            }
            Outcome::Refused(_) => {}
        }
    }
    let reads = history.reads.iter().map(|read| (read.version, read.content));
    let kept = survey.kept.iter().filter_map(|kept| Some((kept.version, *kept.content.as_ref().ok()?)));
    let mut exercised = 0;
    let mut violations = Vec::new();
    for (version, content) in reads.chain(kept) {
        exercised += 1;
        match written.get(&version) {
            Some(want) if *want == content => {}
            Some(want) => {
                violations.push(format!("version {version} was read as {content:?}, written was {want:?}"))
            }
            None if perhaps.contains(&content) => {}
            None => violations.push(format!("version {version} was read as {content:?}, which nobody wrote")),
        }
    }
    Verdict { promise: Promise::Read, exercised, violations }
}

/// I-CAS: a version's base is the one its writer had seen, no base has two successors, of two racing writers exactly
/// one wins, and what was refused was not done.
pub fn no_silent_overwrite(history: &History, survey: &Survey) -> Verdict {
    let mut violations = Vec::new();
    let mut successors: BTreeMap<(InodeId, VersionId), VersionId> = BTreeMap::new();
    let by_version: BTreeMap<VersionId, &Kept> =
        survey.kept.iter().map(|kept| (kept.version, kept)).collect();
    for (version, kept) in &by_version {
        let Some(base) = kept.base else { continue };
        if let Some(other) = successors.insert((kept.inode, base), *version) {
            violations.push(format!("versions {other} and {version} of {} both replace {base}", kept.inode));
        }
        if by_version.get(&base).map(|kept| kept.inode) != Some(kept.inode) {
            violations.push(format!("version {version} of {} replaces {base}, which is gone", kept.inode));
        }
    }
    let contents: BTreeMap<Content, VersionId> =
        by_version.values().filter_map(|kept| Some((*kept.content.as_ref().ok()?, kept.version))).collect();
    let mut exercised = 0;
    for commit in &history.commits {
        match commit.outcome {
            Outcome::Done(version) => {
                exercised += usize::from(commit.base.is_some());
                if let Some(kept) = by_version.get(&version)
                    && kept.base != commit.base
                {
                    let (path, want) = (&commit.path, commit.base);
                    violations.push(format!(
                        "version {version} of {path} was made from {want:?}, not {:?}",
                        kept.base
                    ));
                }
            }
            Outcome::Refused(kind) => {
                if let Some(version) = contents.get(&commit.content) {
                    violations.push(format!(
                        "{} was refused ({kind}), but is there as version {version}",
                        commit.path
                    ));
                }
            }
            Outcome::Unknown => {}
        }
    }
    for race in &history.races {
        let winners = race.outcomes.iter().filter(|o| matches!(o, Outcome::Done(_))).count();
        let unknown = race.outcomes.contains(&Outcome::Unknown);
        let told = |o: &Outcome<VersionId>| !matches!(o, Outcome::Refused(kind) if !is_conflict(*kind));
        if winners > 1 || (winners == 0 && !unknown) || !race.outcomes.iter().all(told) {
            violations.push(format!("two writers of {} were told {:?}", race.path, race.outcomes));
        }
    }
    Verdict { promise: Promise::Cas, exercised: exercised + history.races.len(), violations }
}

/// How a writer learns that somebody else was first.
pub fn is_conflict(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Conflict | ErrorKind::Exists)
}

/// I-LIN: every answer shows the tree exactly as it was at the position it names, and that position is not older than
/// what the reader had seen, unless no leader answered.
pub fn one_order(history: &History, survey: &Survey) -> Verdict {
    enum Seen<'a> {
        Read(&'a Read),
        Look(&'a Look),
    }
    let mut violations = Vec::new();
    let mut seen: Vec<(Freshness, Seen<'_>)> =
        history.reads.iter().map(|r| (r.fresh, Seen::Read(r))).collect();
    seen.extend(history.looks.iter().map(|l| (l.fresh, Seen::Look(l))));
    seen.sort_by_key(|(fresh, _)| fresh.seq);
    let mut tree = Tree::new(survey.root);
    let mut journal = survey.journal.iter().peekable();
    for (fresh, seen) in &seen {
        while let Some(record) = journal.next_if(|record| record.seq <= fresh.seq) {
            let _ = tree.apply(record); // A record that breaks a rule is reported by I-TREE.
        }
        let (path, wrong) = match seen {
            Seen::Read(read) => (&read.path, misread(&tree, read)),
            Seen::Look(look) => (&look.path, mislisted(&tree, look)),
        };
        violations.extend(wrong.map(|wrong| format!("{path} at position {}: {wrong}", fresh.seq)));
        if fresh.seq < fresh.known && !fresh.leaderless {
            let (seq, known) = (fresh.seq, fresh.known);
            violations
                .push(format!("{path} was answered from position {seq} to a reader who had seen {known}"));
        }
    }
    Verdict { promise: Promise::Lin, exercised: seen.len(), violations }
}

fn misread(tree: &Tree, read: &Read) -> Option<String> {
    match tree.find(&read.path) {
        Some((_, inode)) if read.is_old || inode.version == read.version => None,
        Some((_, inode)) => {
            Some(format!("version {} was read, {} was the newest", read.version, inode.version))
        }
        None => Some(format!("version {} was read, but there was nothing", read.version)),
    }
}

fn mislisted(tree: &Tree, look: &Look) -> Option<String> {
    let Some((dir, _)) = tree.find(&look.path) else {
        return Some("it was listed, but was not there".into());
    };
    let version = |inode: InodeId| tree.version_of(inode);
    let want: BTreeSet<_> =
        tree.list(dir).map(|(name, id)| (name.as_str().to_owned(), id, version(id))).collect();
    let found: BTreeSet<_> = look.entries.iter().cloned().collect();
    let difference: Vec<_> = want.symmetric_difference(&found).take(3).collect();
    (!difference.is_empty()).then(|| format!("the listing differs from the journal in {difference:?}"))
}

/// I-JRN: dense from 1, only growing, the same for every follower, and its replay is the tree.
pub fn whole_journal(history: &History, survey: &Survey) -> Verdict {
    let mut violations = Vec::new();
    for (record, want) in survey.journal.iter().zip(1..) {
        if record.seq.0 != want {
            violations.push(format!("position {} is where {want} should be", record.seq));
            break;
        }
    }
    let seen = survey.early.iter().zip(&survey.journal).find(|(early, late)| early != late);
    if let Some((early, _)) = seen {
        violations.push(format!("position {} has changed", early.seq));
    }
    if survey.early.len() > survey.journal.len() {
        violations.push(format!(
            "it had {} records and now has {}",
            survey.early.len(),
            survey.journal.len()
        ));
    }
    let by_seq: BTreeMap<u64, &Record> = survey.journal.iter().map(|record| (record.seq.0, record)).collect();
    for tail in history.tails.iter().filter(|tail| by_seq.get(&tail.seq.0) != Some(tail)) {
        violations.push(format!("a follower saw {tail:?}, the journal says {:?}", by_seq.get(&tail.seq.0)));
    }
    let replayed = replay(survey).0.paths();
    let listed: BTreeMap<_, _> =
        survey.tree.iter().map(|(path, e)| (path.clone(), (e.inode, e.kind, e.version))).collect();
    let paths: BTreeSet<_> = replayed.keys().chain(listed.keys()).collect();
    for path in paths {
        let (told, found) = (replayed.get(path), listed.get(path));
        if told != found {
            violations.push(format!("{path} is {found:?} in the tree and {told:?} in the journal's replay"));
        }
    }
    Verdict { promise: Promise::Jrn, exercised: survey.journal.len() + history.tails.len(), violations }
}

/// I-TREE: every record fits the tree it meets; in the listing, names and inodes are unique and directories exist.
pub fn always_a_tree(survey: &Survey) -> Verdict {
    let mut violations = replay(survey).1;
    let mut dirs: BTreeSet<types::Path> = BTreeSet::from([types::Path::root()]);
    let mut inodes = BTreeSet::from([survey.root]);
    let mut names = BTreeSet::new();
    dirs.extend(survey.tree.iter().filter(|(_, e)| e.kind == Kind::Dir).map(|(path, _)| path.clone()));
    for (path, entry) in &survey.tree {
        if !names.insert(path) {
            violations.push(format!("{path} is listed twice"));
        }
        if !inodes.insert(entry.inode) {
            violations.push(format!("{} of {path} is in the tree twice", entry.inode));
        }
        if path.split_last().is_none_or(|(parent, _)| !dirs.contains(&parent)) {
            violations.push(format!("{path} is in no directory"));
        }
    }
    Verdict { promise: Promise::Tree, exercised: survey.tree.len(), violations }
}

fn replay(survey: &Survey) -> (Tree, Vec<String>) {
    let mut tree = Tree::new(survey.root);
    let mut broken = Vec::new();
    for record in &survey.journal {
        broken.extend(tree.apply(record).err().map(|e| format!("position {}: {e}", record.seq)));
    }
    (tree, broken)
}

/// I-DET: voters that have applied the same have the same.
pub fn equal_replicas(survey: &Survey) -> Verdict {
    let mut violations = Vec::new();
    for round in &survey.digests {
        let states: BTreeSet<_> = round.iter().map(|digest| (digest.seq, digest.digest)).collect();
        let seqs: BTreeSet<_> = round.iter().map(|digest| digest.seq).collect();
        if states.len() > 1 {
            let what =
                if seqs.len() == 1 { "have different digests" } else { "did not come to the same position" };
            violations.push(format!("the voters {what}: {round:?}"));
        }
    }
    let exercised = survey.digests.iter().map(|round| round.len().saturating_sub(1)).sum();
    Verdict { promise: Promise::Det, exercised, violations }
}

/// Nothing hangs.
pub fn answered(history: &History) -> Verdict {
    let late = history.answers.iter().filter(|answer| answer.took_ms > answer.allowed_ms);
    let violations = late
        .map(|a| format!("{} took {} ms, at most {} are allowed", a.what, a.took_ms, a.allowed_ms))
        .collect();
    Verdict { promise: Promise::Answers, exercised: history.answers.len(), violations }
}
