//! Folding: what is left of segments whose window is over goes to the next tiers as steps, and the segments go, in one
//! edit.
//!
//! Always true: each dot, and each finer step, goes to the finest tier that still has windows of its time. Where none has,
//! it goes for good.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dotter_dot::{Column, SeriesName, TimeRange, Timestamp};

use crate::disk::manifest;
use crate::error::Error;
use crate::format::ledger::Totals;
use crate::format::listing::{Order, SegmentEntry};
use crate::format::manifest::Manifest;
use crate::format::place::{Place, Tier, Window, nanos};
use crate::format::segment::ChunkRef;
use crate::format::step::Step;
use crate::read::segment::Segment;
use crate::read::snapshot::{Inner, Snapshot};
use crate::read::steps;
use crate::write::compaction::Compaction;
use crate::write::compaction::cut::{Cut, FoldSlots, HOLD, Held, Slots};
use crate::write::compaction::outputs::{Outputs, Series};
use crate::write::compaction::walks::Walks;
use crate::write::retention::due::View;
use crate::write::segment::list;

/// The most steps of a chunk.
const CHUNK_STEPS: usize = 4096;

/// What a fold did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Folded {
    /// Dots that expired.
    pub(super) dots: u64,
    /// Steps that were in the segments.
    pub(super) steps: u64,
}

/// Folds segments of one tier; `None` where one of them is damaged, or something has come between: then all is as it
/// was.
pub(super) fn fold(
    compaction: &Compaction<'_>,
    manifest: &Manifest,
    entries: &[&SegmentEntry],
) -> Result<Option<Folded>, Error> {
    let Some(place) = entries.first().and_then(|entry| entry.place) else { return Ok(None) };
    let mut segments = Vec::with_capacity(entries.len());
    for entry in entries {
        let whole = compaction.open(entry).and_then(|segment| segment.check_all().map(|()| segment));
        match whole {
            Err(Error::Damaged { .. }) => return Ok(None),
            whole => segments.push(whole?),
        }
    }
    let next = Next::new(manifest, place.tier);
    let slots = next.slots(&segments, &|| compaction.is_cancelled())?;
    let numbers: Vec<u64> = entries.iter().map(|entry| entry.number()).collect();
    let replaced = (numbers.clone(), manifest.generation);
    let cut = Cut::Folded(slots);
    let mut outputs = Outputs::new(compaction.layout(), 1, CHUNK_STEPS, cut, replaced);
    let gone = match place.tier.step.is_zero() {
        true => next.fold_dots(compaction, manifest, &segments, &mut outputs)?,
        false => {
            next.fold_steps(compaction, manifest, &segments, &mut outputs)?;
            Totals::default()
        }
    };
    let unlisted = outputs.into_unlisted(gone, &|| compaction.is_cancelled())?;
    let (_, placed) = manifest::change(compaction.layout(), |now| {
        if !is_as_before(manifest, now, &numbers) {
            return Ok(None);
        }
        // Behind all that there is: of one step, what was folded later is later.
        let order = Order { sequence: now.last_sequence(), generation: now.generation };
        now.segments.retain(|entry| !numbers.contains(&entry.number()));
        now.obsolete.extend(entries.iter().map(|entry| format!("seg/{}", entry.name)));
        now.ledger.totals.add(&gone);
        let placed = list(now, unlisted.into_iter().map(|segment| (segment, order)).collect())?;
        let first_live = now.first_live(compaction.layout())?;
        now.drop_spent_tombstones(first_live);
        Ok(Some(placed))
    })?;
    if placed.is_none() {
        return Ok(None);
    }
    let rows: u64 = entries.iter().map(|entry| entry.dots).sum();
    let (dots, steps) = if place.tier.step.is_zero() { (gone.expired, 0) } else { (0, rows) };
    Ok(Some(Folded { dots, steps }))
}

/// Whether the list says of these segments what it said when they were read: they are all there, no delete has come that
/// hides any of their dots, no older segment has come, and the same rules are in force.
fn is_as_before(before: &Manifest, now: &Manifest, numbers: &[u64]) -> bool {
    let there: Vec<&SegmentEntry> =
        now.segments.iter().filter(|entry| numbers.contains(&entry.number())).collect();
    let is_new = |order: Order| order.generation > before.generation;
    let deletes = now.tombstones.iter().filter(|tombstone| is_new(tombstone.order));
    there.len() == numbers.len()
        && now.rules.mark() == before.rules.mark()
        && !deletes.into_iter().any(|delete| there.iter().any(|entry| delete.concerns(entry)))
        && View::new(now).may_go(&there)
}

/// The tiers behind the one that is folded.
struct Next<'a> {
    manifest: &'a Manifest,
    mark: u64,
    /// The tier that is folded.
    tier: Tier,
    /// Windows that are wider than their tier says, since neighbours were joined: what comes to their time goes there.
    wide: BTreeMap<Tier, Vec<Window>>,
}

/// What of a series goes to one tier.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stretch {
    /// Steps that begin from here on.
    from: u64,
    /// Steps that begin before.
    until: u64,
    /// The number of the tier among those behind the one that is folded.
    tier: usize,
}

/// The windows that come of series with the same tiers.
#[derive(Default)]
struct Windows {
    /// The first moment of each that belongs to the fold, and where it is.
    begins: BTreeSet<(u64, Place)>,
    /// Running time at which the rule of one of the series changed last; zero where none ever did.
    since: u64,
}

/// Gives the steps of a series that begin in a range. It is told the widths of the steps of the tiers to come, and the
/// number of the tier that is wanted.
type Make<'a> = &'a mut dyn FnMut(&Series, &[u64], TimeRange, usize) -> Result<Vec<Step>, Error>;

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

    fn tiers(&self, name: &str) -> Vec<Tier> {
        tiers_behind(self.manifest, self.tier, name)
    }

    /// What goes to which tier, oldest first. What is before the first goes for good.
    fn stretches(&self, tiers: &[Tier]) -> Vec<Stretch> {
        let mut until = u64::MAX;
        let mut stretches = Vec::with_capacity(tiers.len());
        for (tier, of) in tiers.iter().enumerate() {
            // A window that is over is not begun again.
            let from = of.late_before(self.manifest.clock.believed(of.keep)).min(until);
            if from < until {
                stretches.push(Stretch { from, until, tier });
            }
            until = from;
        }
        stretches.reverse();
        stretches
    }

    /// The place of a step of a tier.
    fn place(&self, tier: Tier, time: u64) -> Place {
        let time = Timestamp::from_nanos(time);
        let holds = |window: &&Window| window.from <= time && time <= window.last();
        let wide = self.wide.get(&tier).and_then(|windows| windows.iter().find(holds));
        let window = wide.copied().unwrap_or_else(|| tier.window(time));
        Place { tier, is_late: false, window, rules: self.mark }
    }

    /// The windows that the steps of all series may lie in.
    fn slots(&self, segments: &[Arc<Segment>], cancel: &dyn Fn() -> bool) -> Result<FoldSlots<'a>, Error> {
        let mut chains: BTreeMap<Vec<Tier>, Windows> = BTreeMap::new();
        let mut walks = Walks::new(segments)?;
        while let Some(name) = walks.name() {
            if cancel() {
                return Err(Error::GivenUp);
            }
            let tiers = self.tiers(name.as_str());
            let stretches = self.stretches(&tiers);
            let of_chain = chains.entry(tiers.clone()).or_default();
            of_chain.since = of_chain.since.max(self.manifest.rules.since(name.as_str()));
            for index in 0..segments.len() {
                let Some(series) = walks.at(index, &name) else { continue };
                series.chunks(|chunk| {
                    for stretch in &stretches {
                        self.windows(&chunk, stretch, tiers[stretch.tier], &mut of_chain.begins);
                    }
                })?;
            }
            walks.pass(&name)?;
        }
        let mut places = Vec::new();
        let mut of: BTreeMap<Vec<Tier>, Slots> = BTreeMap::new();
        for (tiers, Windows { begins, since }) in chains {
            let held = if since == 0 { 0 } else { since.saturating_add(HOLD) };
            let mut slots = Vec::with_capacity(begins.len());
            for (from, place) in begins {
                slots.push((from, places.len()));
                places.push(Held { place: Some(place), held });
            }
            of.insert(tiers, slots.into());
        }
        let (manifest, tier) = (self.manifest, self.tier);
        let of = move |name: &str| {
            of.get(&tiers_behind(manifest, tier, name)).cloned().unwrap_or_else(|| Arc::new([]))
        };
        Ok(FoldSlots { of: Box::new(of), places })
    }

    /// Notes the windows of a tier that a chunk reaches into, each with the first moment of it that belongs to the
    /// stretch.
    fn windows(&self, chunk: &ChunkRef, stretch: &Stretch, tier: Tier, out: &mut BTreeSet<(u64, Place)>) {
        let step = nanos(tier.step);
        let (first, last) = (chunk.first.nanos(), chunk.last.nanos());
        let mut time = (first - first % step).max(stretch.from);
        while time <= last && time < stretch.until {
            let place = self.place(tier, time);
            out.insert((place.window.from.nanos().max(stretch.from), place));
            match place.window.last().nanos().checked_add(1) {
                Some(next) => time = next,
                None => break,
            }
        }
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
        self.fold(compaction, segments, outputs, &mut |series, tiers, range, last| {
            let mut chain = steps::chain(&manifest.rules, series.name.as_str(), &tiers[..=last], Vec::new());
            steps::feed(&mut scan, series.name.as_str(), range, &mut chain)?;
            Ok(chain.end().0)
        })?;
        let mut gone = Totals::default();
        let mut walks = Walks::new(segments)?;
        while let Some(name) = walks.name() {
            if compaction.is_cancelled() {
                return Err(Error::GivenUp);
            }
            let (mut all, mut visible) = (0, 0);
            for (index, segment) in segments.iter().enumerate() {
                let Some(series) = walks.at(index, &name) else { continue };
                let mut chunks = Vec::new();
                series.chunks(|chunk| chunks.push(chunk))?;
                all += chunks.iter().map(|chunk| chunk.dots).sum::<u64>();
                gone.deleted += deleted(segment, manifest, &name, &chunks)?;
            }
            scan.rows(name.as_str(), TimeRange::ALL, |_| {
                visible += 1;
                std::ops::ControlFlow::Continue(())
            })?;
            gone.expired += visible;
            gone.replaced += all;
            walks.pass(&name)?;
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
        self.fold(compaction, segments, outputs, &mut |series, tiers, range, last| {
            let (name, tombstones) = (series.name.as_str(), &manifest.tombstones);
            let (finest, _) =
                steps::stored(segments.iter().map(|segment| &**segment), tombstones, name, range)?;
            let own = nanos(self.tier.step);
            let levels: Vec<u64> = std::iter::once(own).chain(tiers[..=last].iter().copied()).collect();
            Ok(steps::chain(&manifest.rules, name, &levels, vec![finest]).end().0)
        })
    }

    /// Goes through all series and writes the steps of each.
    ///
    /// - `steps`: gives those of a series that begin in a range, of the tier with that number
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
                if let Some(series) = outputs.series(name.clone(), latest) {
                    let tiers = self.tiers(name.as_str());
                    let widths: Vec<u64> = tiers.iter().map(|tier| nanos(tier.step)).collect();
                    let now = series.range();
                    for stretch in self.stretches(&tiers) {
                        let (from, until) =
                            (stretch.from.max(now.from.nanos()), stretch.until.min(now.until.nanos()));
                        if from >= until {
                            continue;
                        }
                        let width = widths[stretch.tier];
                        // A step belongs where it begins, with all that is in it.
                        let begin = from.checked_next_multiple_of(width).unwrap_or(u64::MAX);
                        let end = until.checked_next_multiple_of(width).unwrap_or(u64::MAX);
                        let range = TimeRange::new(Timestamp::from_nanos(begin), Timestamp::from_nanos(end));
                        if !range.is_empty() {
                            let made = steps(&series, &widths, range, stretch.tier)?;
                            outputs.add_steps(&series, &made)?;
                        }
                    }
                }
                walks.pass(&name)?;
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
