//! Retention: each series is kept as its rule says, first as dots, then in steps that are made of them, coarser from tier to
//! tier.
//!
//! Always true:
//!
//! - every dot is in exactly one tier: a window that is over goes, and its fold into the next tiers comes, in one edit
//! - age is judged by the retention clock alone, so neither a clock that is set wrong for less than a day nor old data
//!   loses anything by surprise
//! - after a change of the rules nothing goes for a day of running time of the series that are kept in another way by the new
//!   ones; these lie apart from all others, which go on

mod due;
mod fold;
mod outlook;
mod record;
mod take;

use std::path::Path;
use std::time::Duration;

use dotter_dot::Timestamp;

use crate::disk::layout::Layout;
use crate::disk::{manifest, wal};
use crate::error::Error;
use crate::format::clock::Machine;
use crate::format::listing::SegmentEntry;
use crate::format::manifest::Manifest;
use crate::write::compaction::Compaction;
use crate::write::retention::due::{Passed, View};
use crate::write::retention::fold::Outcome;

pub use outlook::{Going, Outlook, outlook};
pub use record::{ListedRule, record_rules};
pub use take::{Taken, take_rules};

/// How often a pass tries again what another process has come between.
const CHANGED_MAX: u32 = 16;

/// What else limits how much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of the store; above it the oldest windows go, but never the newest of a tier. `None` for no limit.
    pub max_bytes: Option<u64>,
}

/// What a retention pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// What the retention clock believes for what is kept for a day or longer; zero where it has not run for a day yet.
    pub clock: Timestamp,
    /// Segments that went.
    pub segments: u64,
    /// Dots that went, into steps or for good.
    pub dots: u64,
    /// Steps that went, into coarser steps or for good.
    pub steps: u64,
    /// Of the segments, those that went for the size limit before their time.
    pub for_size: u64,
    /// Segments whose time is over and that stay: they are damaged, or an older segment of their time has to go first.
    pub waiting: u64,
    /// Segments whose time is over and that stay for up to a day, since the rules have changed.
    pub held: u64,
    /// Dots in these.
    pub held_dots: u64,
    /// Bytes of the store above the size limit that cannot go: they are the newest of their tiers.
    pub above_limit: u64,
    /// How far the wall clock has jumped against the time the machine has run, where it has; ahead or back.
    pub jumped: Option<(bool, Duration)>,
}

/// One retention pass: takes a reading of the clocks, brings segments in line with the rules the store has, and lets go
/// what has been over for as long as it is kept. [`take_rules`] gives the store its rules.
///
/// - `machine`: what its clocks say, [`Machine::now`]
///
/// # Errors
///
/// As [`crate::compact`], whose lock it takes. Where there is too little room for the steps of some windows, the others go
/// first, and the error comes last.
pub fn retain(
    dir: &Path,
    machine: &Machine,
    limits: &Limits,
    cancel: &dyn Fn() -> bool,
) -> Result<Retained, Error> {
    let compaction = Compaction::begin(dir, cancel)?;
    let layout = compaction.layout();
    let mut retained = Retained::default();
    let mut manifest = manifest::read(layout)?;
    let jump = manifest.clock.jumped(machine);
    retained.jumped = jump.map(|jump| (jump.ahead, jump.by));
    if let Some(read) = note_reading(layout, &manifest, machine)? {
        manifest = read;
    }
    let mut full = None;
    if View::new(&manifest).has_stale() {
        full = compaction.bring_up_to_date().map_or_else(only_full, |()| Ok(None))?;
        manifest = manifest::read(layout)?;
    }
    let mut passed = Passed::default();
    loop {
        let due = View::new(&manifest).next(&mut passed);
        if due.is_empty() {
            break;
        }
        go(&compaction, &manifest, &due, &mut retained, &mut passed, &mut full)?;
        manifest = manifest::read(layout)?;
    }
    if let Some(max) = limits.max_bytes {
        fit(&compaction, max, &mut retained, &mut passed, &mut full)?;
        manifest = manifest::read(layout)?;
    }
    let view = View::new(&manifest);
    retained.clock = manifest.clock.believed(Duration::ZERO);
    for (entry, place) in view.placed() {
        if view.is_due(entry) {
            retained.waiting += 1;
        } else if place.is_over(manifest.clock.believed(place.tier.keep)) {
            retained.held += 1;
            retained.held_dots += entry.dots;
        }
    }
    full.map_or(Ok(retained), Err)
}

/// Takes a reading of the clocks for the retention clock, where one is due: the first, the first of a boot, and else each
/// half hour. A compaction without any reading cannot tell what is late.
///
/// - `machine`: what its clocks say, [`Machine::now`]
///
/// # Errors
///
/// [`Error::NoStore`], and the system's.
pub fn read_clock(dir: &Path, machine: &Machine) -> Result<(), Error> {
    let layout = Layout::new(dir);
    note_reading(&layout, &manifest::read(&layout)?, machine).map(drop)
}

/// Takes a reading where one is due; returns the list with it then.
fn note_reading(layout: &Layout, manifest: &Manifest, machine: &Machine) -> Result<Option<Manifest>, Error> {
    if !manifest.clock.clone().read(machine) {
        return Ok(None);
    }
    let (manifest, _) = manifest::change(layout, |manifest| {
        manifest.clock.read(machine);
        Ok(())
    })?;
    Ok(Some(manifest))
}

/// Lets segments go together, or passes them over. Where something has come between, they are tried again, a few times.
fn go(
    compaction: &Compaction<'_>,
    manifest: &Manifest,
    due: &[&SegmentEntry],
    retained: &mut Retained,
    passed: &mut Passed,
    full: &mut Option<Error>,
) -> Result<bool, Error> {
    let outcome = match fold::fold(compaction, manifest, due) {
        Err(error) => {
            *full = only_full(error)?;
            Outcome::Stay
        }
        outcome => outcome?,
    };
    match outcome {
        Outcome::Done(folded) => {
            retained.segments += due.len() as u64;
            retained.dots += folded.dots;
            retained.steps += folded.steps;
            passed.blocked.clear();
            return Ok(true);
        }
        Outcome::Changed if passed.changed < CHANGED_MAX => passed.changed += 1,
        Outcome::Changed | Outcome::Stay => passed.over.extend(due.iter().map(|entry| entry.number())),
    }
    Ok(false)
}

/// An error that says that the disk is full is kept for later; any other is given back.
fn only_full(error: Error) -> Result<Option<Error>, Error> {
    if error.is_disk_full() { Ok(Some(error)) } else { Err(error) }
}

/// Lets the oldest windows go until the store fits.
fn fit(
    compaction: &Compaction<'_>,
    max: u64,
    retained: &mut Retained,
    passed: &mut Passed,
    full: &mut Option<Error>,
) -> Result<(), Error> {
    loop {
        let manifest = manifest::read(compaction.layout())?;
        let segments: u64 = manifest.segments.iter().map(|entry| entry.bytes).sum();
        let names: u64 = manifest.names.iter().map(|entry| entry.bytes).sum();
        let logs = wal::files(compaction.layout(), manifest.log_start())?;
        let mut bytes = segments + names;
        for file in logs {
            bytes += file.size()?;
        }
        retained.above_limit = bytes.saturating_sub(max);
        if retained.above_limit == 0 {
            return Ok(());
        }
        let oldest = View::new(&manifest).oldest(passed);
        if oldest.is_empty() {
            return Ok(());
        }
        if go(compaction, &manifest, &oldest, retained, passed, full)? {
            retained.for_size += oldest.len() as u64;
        }
    }
}
