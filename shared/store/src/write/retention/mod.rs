//! Retention: dots that are older than their rule keeps them are removed, and coarser steps computed from them stay.
//!
//! Always true:
//!
//! - age is judged by the retention clock or by the newest dot, whichever is earlier, so neither a clock set wrong
//!   nor old data loses anything by surprise. The newest dot is that of the series; for a whole window that of the
//!   store
//! - no dot is removed before the archives of its rule have its window
//! - nothing is removed by rules unless an earlier pass has reported what they would remove

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
use crate::format::clock::Machine;
use crate::format::listing::SegmentEntry;
use crate::format::rules::{Rule, Rules};
use crate::read::reader::Reader;
use crate::read::snapshot::Snapshot;
use crate::write::compaction::Compaction;

pub use announced::Retention;

/// Whether a retention pass may remove what is too old, or only reports what it would remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Remove,
    Report,
}

/// What a retention pass did, or would have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// What the retention clock shows.
    pub clock: Timestamp,
    /// Whether nothing was removed: it is the first pass, the wall clock has jumped, or the rules are new.
    pub only_reported: bool,
    /// Segments that were removed, or would be.
    pub segments: u64,
    /// Dots that were removed; or about how many would be, once archives have them.
    pub dots: u64,
    /// Files of archives that were removed, or would be.
    pub archives_gone: u64,
    /// Windows of archives that were written anew without the steps of series that are kept for less, or would be.
    pub archives_thinned: u64,
    /// Windows of archives that were computed.
    pub archives_made: u64,
}

/// What a retention pass judges by: one state of the store, the rules and the clock.
struct View<'a> {
    rules: &'a Rules,
    snapshot: &'a Snapshot,
    now: Timestamp,
    /// The newest dot in the store's segments.
    newest_of_all: Timestamp,
    /// The newest dots of series that were looked up before: a look-up asks every segment.
    newest: RefCell<HashMap<Box<str>, Timestamp>>,
    /// When segments have dots, by the names of segments that were looked up before.
    occupied: RefCell<HashMap<String, Rc<Occupied>>>,
}

impl<'a> View<'a> {
    fn new(rules: &'a Rules, snapshot: &'a Snapshot, now: Timestamp) -> View<'a> {
        let segments = snapshot.inner.manifest.segments.iter();
        let newest_of_all = segments.map(|segment| segment.last_time).max().unwrap_or(Timestamp::MIN);
        let (newest, occupied) = (RefCell::default(), RefCell::default());
        View { rules, snapshot, now, newest_of_all, newest, occupied }
    }

    /// When a segment has dots.
    fn occupied(&self, entry: &SegmentEntry, cancel: &dyn Fn() -> bool) -> Result<Rc<Occupied>, Error> {
        if let Some(known) = self.occupied.borrow().get(&entry.name) {
            return Ok(known.clone());
        }
        let open = self.snapshot.inner.segments.iter().find(|segment| segment.entry().name == entry.name);
        let occupied = match open {
            Some(segment) => unless_damaged(Occupied::of(segment, cancel))?,
            None => None,
        };
        // A segment that cannot be read may have dots at any time from its first to its last.
        let all = || Occupied::all(entry.first_time.nanos(), entry.last_time.nanos());
        let occupied = Rc::new(occupied.unwrap_or_else(all));
        self.occupied.borrow_mut().insert(entry.name.clone(), occupied.clone());
        Ok(occupied)
    }

    /// The moment before which everything of a series is older than `keep`.
    fn cutoff(&self, name: &str, keep: Duration) -> u64 {
        let known = self.newest.borrow().get(name).copied();
        let newest = known.unwrap_or_else(|| {
            let newest = self.snapshot.newest(name).unwrap_or(Timestamp::MIN);
            self.newest.borrow_mut().insert(name.into(), newest);
            newest
        });
        self.now.min(newest).saturating_sub(keep).nanos()
    }

    /// The moment before which archives do not look: older than `keep`, judged by the store's newest dot.
    fn oldest(&self, keep: Duration) -> u64 {
        self.now.min(self.newest_of_all).saturating_sub(keep).nanos()
    }

    /// The moment before which dots of a series are too old. It is a beginning of a step of every archive. So a step
    /// either has all of its dots, and can be computed again when a dot comes late, or may lose all of them.
    fn dots_cutoff(&self, name: &str, rule: &Rule) -> u64 {
        let coarsest = rule.archives.last().map_or(1, |archive| archive.step.as_nanos() as u64);
        self.cutoff(name, rule.raw) / coarsest * coarsest
    }
}

/// The moment before which dots have been too old for long: for as long as they were kept, and a day more. Only then
/// is a file written anew for dots that are kept for less than the rest of it, so that it is not written anew every
/// hour. A merge or a major compaction removes them earlier.
fn overdue(cutoff: u64, keep: Duration) -> u64 {
    const LEAST: Duration = Duration::from_secs(86_400);
    Timestamp::from_nanos(cutoff).saturating_sub(keep.max(LEAST)).nanos()
}

/// What was found; `None` where something that had to be read is damaged. What is judged by it stays as it is until that
/// is restored, and holds up nothing else.
fn unless_damaged<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Err(Error::Damaged { .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// One retention pass by rules that were announced: computes the windows of archives that have closed or changed,
/// then removes what is too old. The first pass of a store only reports. In a store that never had rules nothing is
/// done. A program uses [`Retention`], which finds out whether the rules were announced.
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
    const DAY: Duration = Duration::from_secs(86_400);
    let announced = announced(clock.believed(DAY));
    clock.read(machine);
    let now = clock.believed(DAY);
    let pass = if announced && now > Timestamp::MIN { Pass::Remove } else { Pass::Report };
    let mut retained = Retained { clock: now, only_reported: pass == Pass::Report, ..Retained::default() };
    let snapshot = Reader::open(dir)?.snapshot();
    let view = View::new(rules, &snapshot, now);
    // Where there is no room for archives, their dots stay, and what is archived already makes some.
    let made = archive::make(&compaction, &view);
    let full = match made {
        Err(error) if error.is_disk_full() => Some(error),
        made => {
            retained.archives_made = made?;
            None
        }
    };
    // Read the store again, so that the windows just made are seen.
    let snapshot = Reader::open(dir)?.snapshot();
    let view = View::new(rules, &snapshot, now);
    expiry::run(&compaction, &view, pass, &mut retained)?;
    full.map_or(Ok(()), Err)?;
    retained.archives_thinned = archive::thin(&compaction, &view, false, pass)?;
    if pass == Pass::Remove {
        // Read again, so that what was just removed does not come back in a wider window.
        let snapshot = Reader::open(dir)?.snapshot();
        archive::gather(&compaction, &View::new(rules, &snapshot, now))?;
    }
    // The clock is committed last: a pass that was given up has announced nothing.
    manifest::change(compaction.layout(), |manifest| {
        manifest.clock = clock.clone();
        Ok(())
    })?;
    Ok(retained)
}
