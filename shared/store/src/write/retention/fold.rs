//! Folding: what is left of segments whose window is over goes to the next tier as steps, and the segments go, in one
//! edit.
//!
//! Always true: each dot, and each finer step, goes to the next tier, also where the window there is over: then that
//! window goes next. Where no tier has windows of its time any more, it goes for good.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use dotter_dot::{Column, SeriesName, TimeRange, Timestamp};

use crate::disk::manifest;
use crate::error::Error;
use crate::format::ledger::Totals;
use crate::format::listing::{Order, SegmentEntry};
use crate::format::manifest::Manifest;
use crate::format::place::{Place, Tier, Window, nanos};
use crate::format::segment::ChunkRef;
use crate::format::step::Step;
use crate::read::reader::Reader;
use crate::read::segment::Segment;
use crate::read::snapshot::{Inner, Snapshot};
use crate::read::step_walk::{self, StepWalk};
use crate::read::steps;
use crate::write::compaction::Compaction;
use crate::write::compaction::cut::{AHEAD_MAX, Cut, Held, Slots, SlotsOf, Sort};
use crate::write::compaction::outputs::{Outputs, Series};
use crate::write::compaction::walks::Walks;
use crate::write::retention::due::View;
use crate::write::segment::list;

/// The most steps of a chunk.
const CHUNK_STEPS: usize = 4096;
/// The most windows of a tier that are over and come of one fold: wider ones take their place.
const OVER_MAX: u64 = 2;

/// What a fold did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Folded {
    /// Dots that expired.
    pub(super) dots: u64,
    /// Steps that were in the segments.
    pub(super) steps: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Done(Folded),
    /// They have to stay for now, and all is as it was: one of them is damaged, or the live log has older dots.
    Stay,
    /// Something has come between, so all is as it was; it may be tried again.
    Changed,
}

/// Folds segments of one tier.
pub(super) fn fold(
    compaction: &Compaction<'_>,
    manifest: &Manifest,
    entries: &[&SegmentEntry],
) -> Result<Outcome, Error> {
    let Some(place) = entries.first().and_then(|entry| entry.place) else { return Ok(Outcome::Changed) };
    if is_behind_the_log(compaction, manifest, entries)? {
        return Ok(Outcome::Stay);
    }
    let is_last = place.tier.next_step.is_zero();
    let mut segments = Vec::with_capacity(entries.len());
    for entry in entries {
        // What comes to nothing need not be read, and may be damaged.
        let whole = compaction.open(entry).and_then(|segment| match is_last {
            true => Ok(segment),
            false => segment.check_all().map(|()| segment),
        });
        match whole {
            Err(Error::Damaged { .. }) if is_last => {}
            Err(Error::Damaged { .. }) => return Ok(Outcome::Stay),
            whole => segments.push(whole?),
        }
    }
    let rows: u64 = entries.iter().map(|entry| entry.dots).sum();
    let numbers: Vec<u64> = entries.iter().map(|entry| entry.number()).collect();
    let replaced = (numbers.clone(), manifest.generation);
    let next = Next::new(manifest, place.tier);
    let (gone, unlisted) = if is_last {
        (Totals { expired: rows, ..Totals::default() }, Vec::new())
    } else {
        let cut = Cut::Folded(next.slots(&segments, &|| compaction.is_cancelled())?);
        let mut outputs = Outputs::new(compaction.layout(), 1, CHUNK_STEPS, cut, replaced);
        let gone = match place.tier.step.is_zero() {
            true => next.fold_dots(compaction, manifest, &segments, &mut outputs)?,
            false => {
                next.fold_steps(compaction, manifest, &segments, &mut outputs)?;
                Totals { expired: rows, ..Totals::default() }
            }
        };
        (gone, outputs.into_unlisted(gone, &|| compaction.is_cancelled())?)
    };
    let has_dots = place.tier.step.is_zero();
    // The ledger counts dots, and steps are none.
    let counted = if has_dots { gone } else { Totals::default() };
    let (_, placed) = manifest::change(compaction.layout(), |now| {
        let first_live = now.first_live(compaction.layout())?;
        if !is_as_before(manifest, now, &numbers, &segments)? {
            return Ok(None);
        }
        // Behind all that there is: of one step, what was folded later is later.
        let order = Order { sequence: now.last_sequence(), generation: now.generation };
        now.segments.retain(|entry| !numbers.contains(&entry.number()));
        now.obsolete.extend(entries.iter().map(|entry| format!("seg/{}", entry.name)));
        now.ledger.totals.add(&counted);
        let placed = list(now, unlisted.into_iter().map(|segment| (segment, order)).collect())?;
        now.drop_spent_tombstones(first_live);
        Ok(Some(placed))
    })?;
    if placed.is_none() {
        return Ok(Outcome::Changed);
    }
    let (dots, steps) = if has_dots { (gone.expired, 0) } else { (0, rows) };
    Ok(Outcome::Done(Folded { dots, steps }))
}

/// Whether the live log has dots that were committed before some of these. They may be older values of the same moments,
/// which would be seen again.
fn is_behind_the_log(
    compaction: &Compaction<'_>,
    manifest: &Manifest,
    entries: &[&SegmentEntry],
) -> Result<bool, Error> {
    let layout = compaction.layout();
    let last = entries.iter().filter(|entry| !entry.has_steps()).map(|entry| entry.order.sequence).max();
    let Some(last) = last else { return Ok(false) };
    if last < manifest.first_live(layout)? {
        return Ok(false);
    }
    let head = &Reader::open(&layout.dir)?.snapshot().inner.head;
    Ok(head.iter().any(|part| part.dots > 0 && part.first_sequence <= last))
}

/// Whether the list says of these segments what it said when they were read: they are all there, no delete has come that
/// hides any of their dots, no older segment has come, and the same rules are in force.
fn is_as_before(
    before: &Manifest,
    now: &Manifest,
    numbers: &[u64],
    segments: &[Arc<Segment>],
) -> Result<bool, Error> {
    let there: Vec<&SegmentEntry> =
        now.segments.iter().filter(|entry| numbers.contains(&entry.number())).collect();
    if there.len() != numbers.len()
        || now.rules.mark() != before.rules.mark()
        || !View::new(now).may_go(&there)
    {
        return Ok(false);
    }
    for delete in now.tombstones.iter().filter(|delete| delete.edit > before.generation) {
        for segment in segments.iter().filter(|segment| delete.concerns(segment.entry())) {
            if segment.has_any(delete)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The tier behind the one that is folded.
struct Next<'a> {
    manifest: &'a Manifest,
    mark: u64,
    /// The tier that is folded.
    tier: Tier,
    /// Windows that are wider than their tier says, since neighbours were joined: what comes to their time goes there.
    wide: BTreeMap<Tier, Vec<Window>>,
}

/// What comes of a fold to one tier.
struct Coming {
    /// The moment before which windows of the tier are over.
    over_before: u64,
    /// The moment from which on windows lie far ahead.
    ahead_from: u64,
    /// The first and last moment of what belongs to windows that are over already. These are folded on soon.
    over: Option<(u64, u64)>,
    /// And of all else.
    now: Option<(u64, u64)>,
}

impl Coming {
    fn new(manifest: &Manifest, tier: Tier) -> Coming {
        let clock = &manifest.clock;
        let over_before = tier.late_before(clock.arrival(tier.keep));
        let last = tier.window(clock.newest()).last().nanos();
        let ahead = last.saturating_add(nanos(tier.width()).saturating_mul(AHEAD_MAX)).saturating_add(1);
        Coming { over_before, ahead_from: ahead.max(over_before), over: None, now: None }
    }

    /// Notes that there is something between two moments.
    fn note(&mut self, first: u64, last: u64) {
        if first < self.over_before {
            self.over = joined(self.over, first, last.min(self.over_before - 1));
        }
        if self.over_before <= last {
            self.now = joined(self.now, first.max(self.over_before), last);
        }
    }
}

/// The stretch from the first to the last moment of both.
fn joined(stretch: Option<(u64, u64)>, first: u64, last: u64) -> Option<(u64, u64)> {
    let (from, until) = stretch.unwrap_or((first, last));
    Some((from.min(first), until.max(last)))
}

/// Gives the steps of a series that begin in a range; it is told their width.
type Make<'a> = &'a mut dyn FnMut(&Series, u64, TimeRange) -> Result<Vec<Step>, Error>;

impl<'a> Next<'a> {
    fn new(manifest: &'a Manifest, tier: Tier) -> Next<'a> {
        let view = View::new(manifest);
        let mut wide: BTreeMap<Tier, Vec<Window>> = BTreeMap::new();
        for (_, place) in view.placed() {
            if !place.is_late && place.window.width > place.tier.width() {
                wide.entry(place.tier).or_default().push(place.window);
            }
        }
        Next { manifest, mark: view.mark, tier, wide }
    }

    /// What becomes of a series: the tier behind the one that is folded, and the moment before which no further tier has
    /// anything. Nothing of what is earlier is left.
    ///
    /// It goes through the next tier also where that is over: its windows are made of whole steps of the tier behind it,
    /// so these are made in one go. `None` where no tier follows.
    fn way(&self, name: &str) -> Option<(Tier, u64)> {
        let clock = &self.manifest.clock;
        let tiers = tiers_behind(self.manifest, self.tier, name);
        let tier = *tiers.first()?;
        let is_held = self.held(name) > 0;
        let gone = |tier: &Tier| tier.late_before(clock.believed(tier.keep));
        let gone = if is_held { 0 } else { tiers.iter().map(gone).min().unwrap_or(0) };
        Some((tier, gone - gone % nanos(tier.step).max(1)))
    }

    /// Until when a change of the rules holds a series.
    fn held(&self, name: &str) -> u64 {
        self.manifest.rules.held(name, nanos(self.manifest.clock.running()))
    }

    /// The place of a step of a tier in a window that is not over.
    fn place(&self, tier: Tier, time: u64) -> Place {
        let time = Timestamp::from_nanos(time);
        let holds = |window: &&Window| window.from <= time && time <= window.last();
        let wide = self.wide.get(&tier).and_then(|windows| windows.iter().find(holds));
        let window = wide.copied().unwrap_or_else(|| tier.window(time));
        Place { tier, is_late: false, window, rules: self.mark }
    }

    /// The windows that the steps of all series may lie in.
    fn slots<'s>(
        &'s self,
        segments: &[Arc<Segment>],
        cancel: &dyn Fn() -> bool,
    ) -> Result<SlotsOf<'s>, Error> {
        let mut sorts: BTreeMap<Sort, Coming> = BTreeMap::new();
        let mut walks = Walks::new(segments)?;
        while let Some(name) = walks.name() {
            if cancel() {
                return Err(Error::GivenUp);
            }
            if let Some((tier, gone)) = self.way(name.as_str()) {
                let sort = (tier, self.held(name.as_str()));
                let coming = sorts.entry(sort).or_insert_with(|| Coming::new(self.manifest, tier));
                for index in 0..segments.len() {
                    let Some(series) = walks.at(index) else { continue };
                    series.chunks(|chunk| {
                        let (first, last) = (chunk.first.nanos().max(gone), chunk.last.nanos());
                        if first <= last {
                            coming.note(first - first % nanos(tier.step).max(1), last);
                        }
                    })?;
                }
            }
            walks.pass()?;
        }
        let mut places = Vec::new();
        let mut of: BTreeMap<Sort, Slots> = BTreeMap::new();
        for ((tier, held), coming) in sorts {
            let mut slots = Vec::new();
            for (from, place) in self.places(tier, &coming) {
                slots.push((from, places.len()));
                places.push(Held { place: Some(place), held });
            }
            of.insert((tier, held), slots.into());
        }
        let of = move |name: &str| {
            let next = tiers_behind(self.manifest, self.tier, name).first().copied();
            let slots = next.and_then(|next| of.get(&(next, self.held(name))));
            slots.cloned().unwrap_or_else(|| Arc::new([]))
        };
        Ok(SlotsOf { of: Box::new(of), places })
    }

    /// The windows of what was noted, in the order of time, each with its first moment. Those that are over are as wide as
    /// it takes for them to be few.
    fn places(&self, tier: Tier, coming: &Coming) -> Vec<(u64, Place)> {
        let ahead = coming.ahead_from;
        let mut places = Vec::new();
        if let Some((first, last)) = coming.over {
            let mut width = nanos(tier.width());
            while width < u64::MAX && last / width - first / width >= OVER_MAX {
                width = width.saturating_mul(2);
            }
            let mut from = if width == u64::MAX { 0 } else { first / width * width };
            while from <= last {
                let (begin, next) = (Timestamp::from_nanos(from), from.checked_add(width));
                let window = Window { from: begin, width: Duration::from_nanos(width) };
                places.push((from, Place { tier, is_late: false, window, rules: self.mark }));
                let Some(next) = next else { break };
                from = next;
            }
        }
        let Some((first, last)) = coming.now else { return places };
        let mut time = first;
        while time <= last && time < ahead {
            let place = self.place(tier, time);
            places.push((time, place));
            match place.window.last().nanos().checked_add(1) {
                Some(next) => time = next,
                None => return places,
            }
        }
        if time <= last {
            let window = Window { from: Timestamp::from_nanos(ahead), width: Duration::from_nanos(u64::MAX) };
            places.push((time, Place { tier, is_late: false, window, rules: self.mark }));
        }
        places
    }

    /// Folds dots; returns what became of them.
    fn fold_dots(
        &self,
        compaction: &Compaction<'_>,
        manifest: &Manifest,
        segments: &[Arc<Segment>],
        outputs: &mut Outputs<'_>,
    ) -> Result<Totals, Error> {
        let snapshot = Inner::of_segments(manifest.clone(), segments.to_vec());
        let mut scan = Snapshot { inner: Arc::new(snapshot) }.scan();
        self.fold(compaction, segments, outputs, &mut |series, width, range| {
            let mut chain = steps::chain(&manifest.rules, series.name.as_str(), &[width], Vec::new());
            steps::feed(&mut scan, series.name.as_str(), range, &mut chain)?;
            Ok(chain.end().0)
        })?;
        let mut gone = Totals::default();
        let mut walks = Walks::new(segments)?;
        while let Some(name) = walks.name() {
            if compaction.is_cancelled() {
                return Err(Error::GivenUp);
            }
            let (mut all, mut visible, mut sources, before) = (0, 0, 0, gone.deleted);
            for (index, segment) in segments.iter().enumerate() {
                let Some(series) = walks.at(index) else { continue };
                let mut chunks = Vec::new();
                series.chunks(|chunk| chunks.push(chunk))?;
                all += chunks.iter().map(|chunk| chunk.dots).sum::<u64>();
                gone.deleted += deleted(segment, manifest, &name, &chunks)?;
                sources += 1;
            }
            if sources == 1 && gone.deleted == before {
                // Within a segment no dot replaces another, and none of these is hidden.
                visible = all;
            } else {
                scan.rows(name.as_str(), TimeRange::ALL, |_| {
                    visible += 1;
                    ControlFlow::Continue(())
                })?;
            }
            gone.expired += visible;
            gone.replaced += all;
            walks.pass()?;
        }
        // What is neither there nor deleted was replaced.
        gone.replaced = gone.replaced.saturating_sub(gone.expired + gone.deleted);
        Ok(gone)
    }

    /// Folds steps into coarser ones.
    fn fold_steps(
        &self,
        compaction: &Compaction<'_>,
        manifest: &Manifest,
        segments: &[Arc<Segment>],
        outputs: &mut Outputs<'_>,
    ) -> Result<(), Error> {
        self.fold(compaction, segments, outputs, &mut |series, width, range| {
            let (name, tombstones) = (series.name.as_str(), &manifest.tombstones);
            let segments = segments.iter().map(|segment| &**segment);
            let mut walk = StepWalk::new(segments, tombstones, name, range)?;
            let levels = [nanos(self.tier.step), width];
            let mut chain = steps::chain(&manifest.rules, name, &levels, Vec::new());
            while let Some(finest) = walk.next(&mut step_walk::none_left_out)? {
                chain.finest(finest);
            }
            Ok(chain.end().0)
        })
    }

    /// Goes through all series and writes the steps of each.
    ///
    /// - `steps`: gives those of a series that begin in a range
    fn fold(
        &self,
        compaction: &Compaction<'_>,
        segments: &[Arc<Segment>],
        outputs: &mut Outputs<'_>,
        steps: Make<'_>,
    ) -> Result<(), Error> {
        if outputs.is_nothing() {
            return Ok(());
        }
        loop {
            let mut walks = Walks::new(segments)?;
            while let Some(name) = walks.name() {
                if compaction.is_cancelled() {
                    return Err(Error::GivenUp);
                }
                let latest = latest_shape(segments, name.as_str())?;
                if let Some((tier, gone)) = self.way(name.as_str())
                    && let Some(series) = outputs.series(name.clone(), latest)
                {
                    let width = nanos(tier.step).max(1);
                    let now = series.range();
                    // A step belongs where it begins, with all that is in it.
                    let begin = now.from.nanos().max(gone).checked_next_multiple_of(width);
                    let end = now.until.nanos().checked_next_multiple_of(width).unwrap_or(u64::MAX);
                    let begin = Timestamp::from_nanos(begin.unwrap_or(u64::MAX));
                    let range = TimeRange::new(begin, Timestamp::from_nanos(end));
                    if !range.is_empty() {
                        let mut made: Vec<Step> = Vec::new();
                        for step in steps(&series, width, range)? {
                            // Equal stamps at the end of a window are spread beyond it, where no other dots may be.
                            match made.last_mut().filter(|_| !outputs.holds(&series, step.time)) {
                                Some(before) => *before = before.combine(step).0,
                                None => made.push(step),
                            }
                        }
                        outputs.add_steps(&series, &made)?;
                    }
                }
                walks.pass()?;
            }
            if !outputs.next_pass()? {
                return Ok(());
            }
        }
    }
}

/// The tiers of a series behind one of its tiers.
fn tiers_behind(manifest: &Manifest, tier: Tier, name: &str) -> Vec<Tier> {
    let step = nanos(tier.step);
    let mut tiers = manifest.rules.tiers(name);
    tiers.retain(|tier| nanos(tier.step) > step && nanos(tier.step).is_multiple_of(step.max(1)));
    tiers
}

/// The shape of the dot, or of the step, of a series that was committed last.
fn latest_shape(segments: &[Arc<Segment>], name: &str) -> Result<dotter_dot::Shape, Error> {
    for segment in segments.iter().rev() {
        if let Some(shape) = segment.latest_shape(name)? {
            return Ok(shape.clone());
        }
    }
    Ok(dotter_dot::Shape::default())
}

/// How many dots of a series tombstones hide in a segment.
fn deleted(
    segment: &Segment,
    manifest: &Manifest,
    name: &SeriesName,
    chunks: &[ChunkRef],
) -> Result<u64, Error> {
    let hidden = segment.hidden(&manifest.tombstones, name.as_str());
    let (mut deleted, mut dots) = (0, Column::default());
    for chunk in chunks {
        let (first, last) = (chunk.first.nanos(), chunk.last.nanos());
        if hidden.covers(first, last) {
            deleted += chunk.dots;
        } else if hidden.meets(first, last) {
            dots.clear();
            segment.read(chunk, &mut dots)?;
            deleted += hidden.remove(&mut dots);
        }
    }
    Ok(deleted)
}
