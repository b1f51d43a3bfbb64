//! Announcing: whether a pass has reported what the rules would remove, before anything is removed by them.
//!
//! Always true: the first pass after a file of rules has changed or was removed only reports. Rules count as
//! announced where `retention.announced` says that the last pass of any process used the same files, and they have
//! not changed since that pass, whose time the retention clock shows.

use std::collections::BTreeSet;
use std::path::Path;

use dotter_dot::Timestamp;

use crate::disk::rules::Stamps;
use crate::error::Error;
use crate::format::clock::Machine;
use crate::format::listing::SegmentEntry;
use crate::format::rules::Rules;
use crate::read::reader::Reader;
use crate::write::compaction::{Compacted, Compaction, Cutoff};
use crate::write::retention::{Pass, Retained, View, archive, expiry, replaced, run};

/// Retention of one store by one process, pass after pass.
#[derive(Debug, Default)]
pub struct Retention {
    /// The stamps of the files of rules at the last pass.
    seen: Option<Stamps>,
    /// Rules and time of the last pass, if it was one that removes: merges may remove by them until the next pass.
    granted: Option<(Rules, Timestamp)>,
}

impl Retention {
    /// One pass: computes the windows of archives that have closed or changed, then removes what is too old; or only
    /// reports what it would remove, where that was not announced before. In a store that never had rules nothing is
    /// done.
    ///
    /// - `machine`: what its clocks say, [`Machine::now`]
    ///
    /// # Errors
    ///
    /// As [`crate::compact`], whose lock it takes.
    pub fn pass(
        &mut self,
        dir: &Path,
        machine: &Machine,
        cancel: &dyn Fn() -> bool,
    ) -> Result<Retained, Error> {
        let stamps = Stamps::of(dir);
        let rules = Rules::read(dir);
        let is_settled = Stamps::of(dir) == stamps;
        let announced = |last: Timestamp| {
            is_settled
                && match &self.seen {
                    Some(seen) => *seen == stamps,
                    // A file that was removed has no time of change.
                    None => stamps.changed() <= last && stamps.were_noted(dir),
                }
        };
        let retained = run(dir, &rules, machine, &announced, cancel)?;
        let has_rules = !rules.is_empty();
        let may_remove = !retained.only_reported && has_rules;
        self.granted = may_remove.then_some((rules, retained.clock));
        let noted = if has_rules { stamps.note(dir) } else { Ok(()) };
        self.seen = Some(stamps);
        noted.map(|()| retained)
    }

    /// One round of compaction, as [`crate::compact`]. What it merges also loses what the last pass was allowed to
    /// remove.
    ///
    /// # Errors
    ///
    /// As [`crate::compact`].
    pub fn compact(&self, dir: &Path, cancel: &dyn Fn() -> bool) -> Result<bool, Error> {
        Compaction::begin(dir, cancel)?.minor(&|_, entries| self.cutoff(dir, entries))
    }

    /// Compacts everything, as [`crate::compact_major`], and removes everything older than its rule keeps it, from
    /// archives too, as far as the last pass was allowed to.
    ///
    /// # Errors
    ///
    /// As [`crate::compact_major`].
    pub fn compact_major(
        &self,
        dir: &Path,
        cancel: &dyn Fn() -> bool,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Compacted, Error> {
        let compaction = Compaction::begin(dir, cancel)?;
        if let Some((rules, now)) = self.granted(dir) {
            let snapshot = Reader::open(dir)?.snapshot();
            archive::thin(&compaction, &View::new(rules, &snapshot, now), true, Pass::Remove)?;
        }
        compaction.major(&|_, entries| self.cutoff(dir, entries), progress)
    }

    /// Rules and time of the last pass that removed, if the rules have not changed since.
    fn granted(&self, dir: &Path) -> Option<(&Rules, Timestamp)> {
        let (rules, now) = self.granted.as_ref()?;
        (self.seen.as_ref() == Some(&Stamps::of(dir))).then_some((rules, *now))
    }

    /// Which dots a merge of these segments may remove.
    fn cutoff(&self, dir: &Path, entries: &[SegmentEntry]) -> Result<Option<Cutoff<'_>>, Error> {
        let Some((rules, now)) = self.granted(dir) else { return Ok(None) };
        if !expiry::is_any_old(rules, now, entries) {
            return Ok(None);
        }
        let snapshot = Reader::open(dir)?.snapshot();
        if !expiry::may_expire(&View::new(rules, &snapshot, now), entries)? {
            return Ok(None);
        }
        let from = entries.iter().map(|entry| entry.first_time.nanos()).min().unwrap_or(0);
        let order = entries.iter().map(|entry| entry.order).min().unwrap_or_default();
        let names: BTreeSet<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        Ok(Some(Box::new(move |name| {
            let view = View::new(rules, &snapshot, now);
            let Some(rule) = rules.of(name) else { return 0 };
            let cutoff = view.dots_cutoff(name, rule);
            let mut merged =
                snapshot.inner.segments.iter().filter(|segment| names.contains(&segment.entry().name));
            let mut is_out_of_reach = || {
                merged.try_fold(false, |is, segment| {
                    Ok::<_, Error>(is || expiry::is_out_of_reach(&view, segment, name, rule)?)
                })
            };
            // Where an index cannot be read, it is not known which dots were replaced.
            let is_held = cutoff > from
                && (replaced::may_replace(&view, order, name, from, cutoff).unwrap_or(true)
                    || is_out_of_reach().unwrap_or(true));
            if is_held { 0 } else { cutoff }
        })))
    }
}
