//! Growing old: what is older than its rule keeps it goes, and coarser steps computed from it stay.
//!
//! Always true:
//!
//! - age is judged by the retention clock and by the newest dot, whichever is earlier: neither a clock set wrong nor data
//!   from years ago loses anything by surprise. The newest dot is that of the series, and of the store for a whole window
//! - no dot goes before the archives of its rule hold its window
//! - nothing goes by rules that no earlier pass has gone through and said what they would remove

mod announced;
mod archive;
mod expiry;
mod lacking;
mod occupied;
mod replaced;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use dotter_dot::Timestamp;
use occupied::Occupied;

use crate::disk::layout::Layout;
use crate::disk::manifest;
use crate::error::Error;
use crate::format::clock::{Machine, Pass};
use crate::format::listing::SegmentEntry;
use crate::format::rules::{Rule, Rules};
use crate::read::reader::Reader;
use crate::read::snapshot::Snapshot;
use crate::write::compaction::Compaction;

pub use announced::Retention;

/// What a pass of retention did, or would have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// What the retention clock shows.
    pub clock: Timestamp,
    /// Whether nothing was removed: it is the first pass, the wall clock has jumped, or the rules are new.
    pub only_reported: bool,
    /// Segments that are gone, or would be.
    pub segments: u64,
    /// Dots that are gone, or would be as soon as archives have them: of those about as many.
    pub dots: u64,
    /// Files of archives that are gone, or would be.
    pub archives_gone: u64,
    /// Windows of archives that lose the steps of those series that are kept for less, or would.
    pub archives_thinned: u64,
    /// Windows of archives that were computed.
    pub archives_made: u64,
}

/// What everything in a pass goes by.
struct Sight<'a> {
    rules: &'a Rules,
    snapshot: &'a Snapshot,
    now: Timestamp,
    /// The newest dot of the store's segments: each series and each window asks for it.
    newest_of_all: Timestamp,
    /// The newest dots that were asked for before: each is looked for in every segment.
    newest: RefCell<HashMap<Box<str>, Timestamp>>,
    /// When the segments have dots that were asked for before, by their names.
    occupied: RefCell<HashMap<String, Rc<Occupied>>>,
}

impl<'a> Sight<'a> {
    fn new(rules: &'a Rules, snapshot: &'a Snapshot, now: Timestamp) -> Sight<'a> {
        let segments = snapshot.inner.manifest.segments.iter();
        let newest_of_all = segments.map(|segment| segment.last_time).max().unwrap_or(Timestamp::MIN);
        let (newest, occupied) = (RefCell::default(), RefCell::default());
        Sight { rules, snapshot, now, newest_of_all, newest, occupied }
    }

    /// When a segment has dots.
    fn occupied(&self, entry: &SegmentEntry, cancel: &dyn Fn() -> bool) -> Result<Rc<Occupied>, Error> {
        if let Some(known) = self.occupied.borrow().get(&entry.name) {
            return Ok(known.clone());
        }
        let open = self.snapshot.inner.segments.iter().find(|segment| segment.entry().name == entry.name);
        let occupied = Rc::new(match open {
            Some(segment) => Occupied::of(segment, cancel)?,
            // What cannot be opened may have dots at any time between its ends.
            None => Occupied::all(entry.first_time.nanos(), entry.last_time.nanos()),
        });
        self.occupied.borrow_mut().insert(entry.name.clone(), occupied.clone());
        Ok(occupied)
    }

    /// Everything of a series before this moment is older than `keep`.
    fn cutoff(&self, name: &str, keep: Duration) -> u64 {
        let known = self.newest.borrow().get(name).copied();
        let newest = known.unwrap_or_else(|| {
            let newest = self.snapshot.newest(name).unwrap_or(Timestamp::MIN);
            self.newest.borrow_mut().insert(name.into(), newest);
            newest
        });
        self.now.min(newest).saturating_sub(keep).nanos()
    }

    /// No archive looks at what is older than this: it is older than `keep` by the store's newest dot.
    fn oldest(&self, keep: Duration) -> u64 {
        self.now.min(self.newest_of_all).saturating_sub(keep).nanos()
    }

    /// The dots of a series before this moment are too old. No step of an archive lies on both sides of it, so that
    /// a step either still has all of its dots, and can be computed again when one comes late, or may lose them all.
    fn dots_cutoff(&self, name: &str, rule: &Rule) -> u64 {
        let coarsest = rule.archives.last().map_or(1, |archive| archive.step.as_nanos() as u64);
        self.cutoff(name, rule.raw) / coarsest * coarsest
    }
}

/// What is kept for less than the rest of its file goes once it has been too old for as long as it was kept, and for a
/// day: a file is not written anew for each of its hours. A merge, or a major compaction, takes it before.
fn overdue(cutoff: u64, keep: Duration) -> u64 {
    const LEAST: Duration = Duration::from_secs(86_400);
    Timestamp::from_nanos(cutoff).saturating_sub(keep.max(LEAST)).nanos()
}

/// One pass of retention by rules that are known to be announced: computes the windows of archives that have closed
/// or changed, then removes what is too old. The first pass of a store only reports. Nothing is done in a store that
/// never had rules. A program uses [`Retention`], which finds out whether the rules are announced.
///
/// - `machine`: what its clocks say, [`Machine::now`]
///
/// # Errors
///
/// As [`crate::compact`], whose lock it takes.
pub fn retain(dir: &Path, machine: &Machine, cancel: &dyn Fn() -> bool) -> Result<Retained, Error> {
    run(dir, &Rules::read(dir), machine, &|_| true, cancel)
}

/// - `announced`: whether what the rules remove has been reported, given what the retention clock showed at the last
///   pass
fn run(
    dir: &Path,
    rules: &Rules,
    machine: &Machine,
    announced: &dyn Fn(Timestamp) -> bool,
    cancel: &dyn Fn() -> bool,
) -> Result<Retained, Error> {
    if rules.is_empty() && manifest::read(&Layout::new(dir))?.archives.is_empty() {
        return Ok(Retained::default());
    }
    let compaction = Compaction::begin(dir, cancel)?;
    let mut clock = manifest::read(compaction.layout())?.clock;
    let announced = announced(clock.now);
    let pass = match clock.advance(machine) {
        Pass::Remove if announced => Pass::Remove,
        _ => Pass::Report,
    };
    let now = clock.now;
    let mut retained = Retained { clock: now, only_reported: pass == Pass::Report, ..Retained::default() };
    let snapshot = Reader::open(dir)?.snapshot();
    let sight = Sight::new(rules, &snapshot, now);
    retained.archives_made = archive::make(&compaction, &sight)?;
    // What was just made has to be seen to be there.
    let snapshot = Reader::open(dir)?.snapshot();
    let sight = Sight::new(rules, &snapshot, now);
    expiry::run(&compaction, &sight, pass, &mut retained)?;
    retained.archives_thinned = archive::thin(&compaction, &sight, false, pass)?;
    if pass == Pass::Remove {
        // What has just gone does not come back in a wider window.
        let snapshot = Reader::open(dir)?.snapshot();
        archive::gather(&compaction, &Sight::new(rules, &snapshot, now))?;
    }
    // At last: a pass that was given up has announced nothing.
    manifest::swap(compaction.layout(), |manifest| {
        manifest.clock = clock;
        Ok(())
    })?;
    Ok(retained)
}
