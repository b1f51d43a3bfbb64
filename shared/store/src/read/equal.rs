//! Dots of one series at equal explicit times: which of them are kept, and in which order.
//!
//! A *text* is a dot whose format has no number: a line of a log. At one time:
//!
//! - of other dots the one that was committed last is kept
//! - equal texts of one commit are numbered. The n-th of them is the same dot as the n-th of any other commit: it is
//!   kept once, with the place that it has in the first of these commits. So a text is kept as often as the one commit
//!   has it that has it most often. A commit that is made twice changes nothing
//! - texts come first, in the order of the commits they are kept from and within a commit as it has them; then the
//!   other dot
//!
//! Always true: dots that were settled may stand for one commit when they are settled with those of later commits. The
//! result is the same in whatever steps neighbours are settled, so a seal and a compaction change nothing of what is read.
//!
//! Two texts are equal where their formats and their row bytes are, whatever else their shapes say.

use std::collections::HashMap;
use std::hash::Hash;

use dotter_dot::{Column, Format, Shape};

/// Where in a column of dots in the order of their commits the texts of each commit begin: ascending.
///
/// Texts before the first beginning belong to one commit too.
pub(crate) type Commits = Vec<u32>;

/// How often a text has come, at one time.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    kept: u64,
    /// The commit that is counted now, and how often it has had the text so far.
    commit: usize,
    here: u64,
}

impl Count {
    /// Counts the text once more; says whether it is kept.
    ///
    /// - `commit`: the number of its commit; commits come in order
    fn another(&mut self, commit: usize) -> bool {
        if self.commit != commit {
            (self.commit, self.here) = (commit, 0);
        }
        self.here += 1;
        let is_new = self.here > self.kept;
        self.kept = self.kept.max(self.here);
        is_new
    }
}

/// The texts of one time, from commits that come one after the other.
#[derive(Default)]
pub(crate) struct Seen(ByFormat<Box<[u8]>>);

impl Seen {
    /// Goes on to another time.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts a text; says whether it is kept.
    ///
    /// - `commit`: the number of its commit; numbers do not descend
    pub(crate) fn is_kept(&mut self, shape: &Shape, row: &[u8], commit: usize) -> bool {
        let counts = self.0.of(shape.format());
        if let Some(count) = counts.get_mut(row) {
            return count.another(commit);
        }
        counts.entry(row.into()).or_default().another(commit)
    }
}

/// Counts of texts by their row bytes, apart for each format: a series has few. The same bytes may be a text of one
/// format and raw bytes of another.
struct ByFormat<T>(Vec<(Format, HashMap<T, Count>)>);

impl<T> Default for ByFormat<T> {
    fn default() -> ByFormat<T> {
        ByFormat(Vec::new())
    }
}

impl<T: Hash + Eq> ByFormat<T> {
    fn clear(&mut self) {
        self.0.iter_mut().for_each(|(_, counts)| counts.clear());
    }

    fn of(&mut self, format: &Format) -> &mut HashMap<T, Count> {
        let known = self.0.iter().position(|(of, _)| of == format);
        let place = known.unwrap_or_else(|| {
            self.0.push((format.clone(), HashMap::new()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}

/// Sorts dots with explicit times, and of equal times keeps what this module's head says; returns how many went.
///
/// - `column`: dots in the order of their commits
/// - `commits`: where the texts of each commit begin; empty where all are of one
pub(crate) fn settle(column: &mut Column, commits: &[u32]) -> u64 {
    if column.is_ascending() {
        return 0;
    }
    let all = 0..column.len();
    if column.parts(all.clone()).all(|(_, shape)| !shape.is_text()) {
        column.sort();
        return column.keep_last();
    }
    if column.is_uniform() && commits.len() <= 1 && commits.first().is_none_or(|first| *first == 0) {
        column.sort();
        return 0;
    }
    let mut is_text = vec![false; column.len()];
    for (part, shape) in column.parts(all) {
        is_text[part].fill(shape.is_text());
    }
    let times = column.times();
    let mut order: Vec<u32> = (0..column.len() as u32).collect();
    // Stable, and quick on what is sorted already.
    order.sort_by_key(|index| times[*index as usize]);
    let commit = |index: u32| commits.partition_point(|start| *start <= index);
    let mut kept: Vec<u32> = Vec::with_capacity(order.len());
    let mut seen: ByFormat<&[u8]> = ByFormat::default();
    for equal in order.chunk_by(|a, b| times[*a as usize] == times[*b as usize]) {
        if let [index] = equal {
            kept.push(*index);
            continue;
        }
        let texts = || equal.iter().copied().filter(|index| is_text[*index as usize]);
        let is_one = texts().next().map(commit) == texts().next_back().map(commit);
        seen.clear();
        kept.extend(texts().filter(|index| {
            is_one || {
                let place = *index as usize;
                let counts = seen.of(column.shape_at(place).format());
                counts.entry(column.row(place)).or_default().another(commit(*index))
            }
        }));
        kept.extend(equal.iter().rev().find(|index| !is_text[**index as usize]));
    }
    let gone = column.len() - kept.len();
    if gone > 0 || !kept.is_sorted() {
        column.select(&kept);
    }
    gone as u64
}
