//! Renaming a series: one edit lists its rows under the new name and hides them under the old one.
//!
//! The rows are copied without any lock that a writer needs, so others go on committing to the old name. Where the rename
//! stands in the order of commits is therefore fixed first, by a *mark*: a tombstone that means no series. Everything
//! that stands before the mark is copied, and hidden by the edit at the end; everything behind it stays under the old
//! name. So each row has one name, whoever commits meanwhile, and nothing has to be done again for it.
//!
//! Always true:
//!
//! - segments and tombstone of a rename have the order of its mark. No other commit has that order, and no seal puts
//!   dots from both sides of it into one segment: the mark is a foreign commit like any other
//! - while rows are copied COMPACT.lock is held. So no merge puts dots from both sides together, none removes rows that
//!   are copied, and no purge ends before the copies are listed
//! - a rename that was killed has left a mark, which hides nothing, and litter
//!
//! Dots keep everything but their name: shapes, times, which of them the clock stamped, and their order. They keep their
//! place, too, so that they are kept as long as before: there is a segment for each place. Where stretches of time of
//! several places overlap, which of the dots of one time counts depends on all of them; these become one segment of level
//! 0, and the next compaction cuts it apart.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dotter_dot::{Column, SeriesName, Shape, TimeRange};

use crate::disk::layout::Layout;
use crate::disk::manifest;
use crate::disk::wal;
use crate::error::Error;
use crate::format::ledger::Totals;
use crate::format::listing::Order;
use crate::format::manifest::Manifest;
use crate::format::pattern::Pattern;
use crate::format::place::{Place, nanos};
use crate::format::rules::Rules;
use crate::format::segment::Meta;
use crate::format::spans::Spans;
use crate::format::tombstone::Tombstone;
use crate::read::equal;
use crate::read::head::HeadPart;
use crate::read::merge;
use crate::read::reader::Reader;
use crate::read::segment::Segment;
use crate::read::snapshot::Inner;
use crate::read::step_walk::{Batches, StepWalk, none_left_out};
use crate::write::delete::check_room;
use crate::write::purge::begin_compaction;
use crate::write::segment::{SegmentWriter, Unlisted, list};

/// The most dots of a chunk.
const CHUNK_DOTS: usize = 4096;
/// How long a writer may take to publish what it has written.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(10);
/// How often a rename is begun anew because its series was deleted meanwhile.
const TRIES_MAX: usize = 8;

/// What a rename has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Renamed {
    /// Rows that have the new name now.
    pub rows: u64,
    /// Segments that they are in.
    pub segments: u64,
}

/// Gives the rows of a series another name, whether or not a collector is running. Those that are committed to the old
/// name after it has begun stay there. Where the new name has rows, these stay too, and the renamed ones join them as if
/// they were committed now: of equal explicit times the renamed row counts.
///
/// - `cancel`: asked now and then; when it says `true` the work is given up and nothing has changed
/// - `waits`: called once, where another process's merge has to end first
///
/// # Errors
///
/// [`Error::NoStore`]; [`Error::SameName`]; [`Error::NoSeries`] where the old name has no row; [`Error::Damaged`] where
/// a part of it cannot be read; [`Error::TooManyDeletions`]; [`Error::Locked`] where another process merges for longer
/// than 10 minutes; [`Error::GivenUp`] after `cancel`, and where the series is deleted again and again; the system's.
/// Nothing has changed then.
pub fn rename(
    dir: &Path,
    old: &SeriesName,
    new: &SeriesName,
    cancel: &dyn Fn() -> bool,
    waits: &dyn Fn(),
) -> Result<Renamed, Error> {
    if old == new {
        return Err(Error::SameName(old.clone()));
    }
    let layout = Layout::new(dir);
    // Before anything is written.
    if !Reader::open(dir)?.snapshot().contains(old.as_str()) {
        return Err(Error::NoSeries(old.clone()));
    }
    let _compaction = begin_compaction(&layout, cancel, waits)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let mark = make_mark(&layout)?;
        wait_until_read(&layout, &mark)?;
        let copies = Copies { layout: &layout, old, new, mark, cancel }.make()?;
        match commit(&layout, (old, new), &mark, copies) {
            Err(Error::GivenUp) if tries < TRIES_MAX && !cancel() => {}
            other => return other,
        }
    }
}

/// Takes a place in the order of commits.
fn make_mark(layout: &Layout) -> Result<Order, Error> {
    manifest::change(layout, |manifest| {
        let order = manifest.next_order(layout)?;
        // It means the empty name alone, which no series has.
        let pattern = Pattern::exactly("");
        check_room(manifest, &pattern)?;
        manifest.tombstones.push(Tombstone {
            order,
            pattern,
            first_key: String::new(),
            last_key: None,
            first: 0,
            last: 0,
            purge: false,
            made: layout.disk.now(),
            edit: order.generation,
            renamed: String::new(),
        });
        Ok(order)
    })
    .map(|(_, order)| order)
}

/// Waits until readers see every frame before a mark: the last one may be written and not published yet, and it may have
/// rows of the series.
///
/// # Errors
///
/// [`Error::Unpublished`] after 10 s.
fn wait_until_read(layout: &Layout, mark: &Order) -> Result<(), Error> {
    let began = Instant::now();
    loop {
        let list = manifest::read(layout)?;
        let files = wal::files(layout, list.log_start())?;
        let Some(last) = files.last() else { return Ok(()) };
        // A frame that could not be synced is taken back, and then nobody is told of it.
        let is_there = last.last_sequence()? >= mark.sequence;
        if last.counts()?.sequence >= mark.sequence || !is_there {
            return Ok(());
        }
        if began.elapsed() >= PUBLISHED_WITHIN {
            return Err(Error::Unpublished(last.path.clone()));
        }
        std::thread::sleep(Duration::from_millis(1));
        if manifest::read_with(layout, |_| Ok(layout.try_lock("LOCK").is_ok()))?.1 {
            // Its writer has died: this settles the log.
            manifest::change(layout, |manifest| manifest.next_order(layout))?;
        }
    }
}

/// Lists the copies and hides what they were made of.
///
/// # Errors
///
/// [`Error::GivenUp`] where the series was deleted since the mark: whoever deletes it means what others see under this
/// name. Also where a delete of everything has taken the place of the mark.
fn commit(
    layout: &Layout,
    (old, new): (&SeriesName, &SeriesName),
    mark: &Order,
    copies: Vec<Unlisted>,
) -> Result<Renamed, Error> {
    let (_, placed) = manifest::change(layout, |manifest| {
        let is_there = manifest.tombstones.each().any(|tombstone| tombstone.order == *mark);
        // Once the log is sealed up to the mark, it has done its work and is dropped.
        let is_sealed = mark.sequence < manifest.first_live(layout)?;
        let is_deleted =
            |tombstone: &Tombstone| tombstone.edit > mark.generation && tombstone.names(old.as_str());
        if !(is_there || is_sealed) || manifest.tombstones.each().any(is_deleted) {
            return Err(Error::GivenUp);
        }
        manifest.tombstones.retain(|tombstone| tombstone.order != *mark);
        let pattern = Pattern::exactly(old.as_str());
        check_room(manifest, &pattern)?;
        manifest.tombstones.push(Tombstone {
            order: *mark,
            pattern,
            first_key: String::new(),
            last_key: None,
            first: 0,
            last: u64::MAX,
            purge: false,
            made: layout.disk.now(),
            edit: manifest.generation,
            renamed: new.to_string(),
        });
        let placed = list(manifest, copies.into_iter().map(|copy| (copy, *mark)).collect())?;
        let dots = placed.iter().map(|placed| &placed.entry).filter(|entry| !entry.has_steps());
        manifest.ledger.totals.renamed += dots.map(|entry| entry.dots).sum::<u64>();
        Ok(placed)
    })?;
    let rows = placed.iter().map(|placed| placed.entry.dots).sum();
    Ok(Renamed { rows, segments: placed.len() as u64 })
}

/// The copies of the rows of a series that stand before a mark.
struct Copies<'a> {
    layout: &'a Layout,
    old: &'a SeriesName,
    new: &'a SeriesName,
    mark: Order,
    cancel: &'a dyn Fn() -> bool,
}

/// What is copied into one segment.
struct Group {
    /// `None` for level 0 and the log, and where several places were put together.
    place: Option<Place>,
    /// The times of its first and last row.
    first: u64,
    last: u64,
    /// In the order of their commits.
    sources: Vec<Source>,
}

/// Dots of one place in the order of commits, and when those of the series are hidden.
struct Source {
    order: Order,
    hidden: Spans,
    of: Of,
}

enum Of {
    Segment(Arc<Segment>),
    Head(Arc<HeadPart>),
}

impl Copies<'_> {
    fn make(&self) -> Result<Vec<Unlisted>, Error> {
        let snapshot = Reader::open(&self.layout.dir)?.snapshot();
        self.check_whole(&snapshot.inner)?;
        let (sources, latest) = self.sources(&snapshot.inner)?;
        let manifest = &snapshot.inner.manifest;
        let mut copies = Vec::new();
        for group in self.groups(sources)? {
            copies.extend(self.copy(group, &latest, manifest)?);
        }
        if copies.is_empty() { Err(Error::NoSeries(self.old.clone())) } else { Ok(copies) }
    }

    /// A snapshot leaves out segments that cannot be opened; their rows would stay behind.
    fn check_whole(&self, inner: &Inner) -> Result<(), Error> {
        let old = self.old.as_str();
        for entry in inner.manifest.segments.iter().filter(|entry| entry.order < self.mark) {
            let may_have = (entry.names.0.as_str()..=entry.names.1.as_str()).contains(&old);
            let mut open = inner.segments.iter().chain(inner.steps.iter());
            let mut is_open = || open.any(|segment| segment.entry().number() == entry.number());
            if may_have && !is_open() {
                let path = self.layout.segment(&entry.name);
                return Err(Error::damaged(
                    &path,
                    0,
                    "it cannot be read; 'verify' says why; nothing was renamed",
                ));
            }
        }
        Ok(())
    }

    /// What may have rows of the series; and the shape of the one committed last.
    fn sources(&self, inner: &Inner) -> Result<(Vec<Source>, Shape), Error> {
        let (old, tombstones) = (self.old.as_str(), &inner.manifest.tombstones);
        let mut sources = Vec::new();
        let mut latest: Option<(Order, Shape)> = None;
        let mut note = |order: Order, shape: &Shape| {
            if latest.as_ref().is_none_or(|(before, _)| *before < order) {
                latest = Some((order, shape.clone()));
            }
        };
        let segments = inner.segments.iter().chain(inner.steps.iter());
        for segment in segments.filter(|segment| segment.order() < self.mark) {
            if let Some(shape) = segment.latest_shape(old)? {
                note(segment.order(), shape);
                let hidden = segment.hidden(tombstones, old);
                sources.push(Source { order: segment.order(), hidden, of: Of::Segment(segment.clone()) });
            }
        }
        for part in inner.head.iter().filter(|part| part.order() < self.mark) {
            if let Some(series) = part.get(old) {
                note(part.order(), &series.latest);
                let hidden = part.hidden(tombstones, old);
                sources.push(Source { order: part.order(), hidden, of: Of::Head(part.clone()) });
            }
        }
        sources.sort_by_key(|source| source.order);
        Ok((sources, latest.map(|(_, shape)| shape).unwrap_or_default()))
    }

    /// Puts together what becomes one segment.
    fn groups(&self, sources: Vec<Source>) -> Result<Vec<Group>, Error> {
        let mut places: BTreeMap<Option<Place>, Group> = BTreeMap::new();
        for source in sources {
            let Some((first, last)) = self.span(&source)? else { continue };
            let place = source.place();
            let group = places.entry(place).or_insert_with(|| Group {
                place,
                first: u64::MAX,
                last: 0,
                sources: Vec::new(),
            });
            (group.first, group.last) = (group.first.min(first), group.last.max(last));
            group.sources.push(source);
        }
        // Steps are not dots: they have nothing in common with those of another tier.
        let (steps, dots): (Vec<Group>, Vec<Group>) = places.into_values().partition(Group::has_steps);
        Ok(steps.into_iter().chain(apart(dots)).collect())
    }

    /// The times of the first and last row that may be there; `None` where there is none.
    fn span(&self, source: &Source) -> Result<Option<(u64, u64)>, Error> {
        let mut span: Option<(u64, u64)> = None;
        let mut note = |first: u64, last: u64| {
            if !source.hidden.covers(first, last) {
                let (from, until) = span.unwrap_or((first, last));
                span = Some((from.min(first), until.max(last)));
            }
        };
        match &source.of {
            Of::Segment(segment) => segment.chunks(self.old.as_str(), None, |chunk| {
                note(chunk.first.nanos(), chunk.last.nanos());
            })?,
            Of::Head(part) => part.get(self.old.as_str()).into_iter().for_each(|of| note(of.first, of.last)),
        }
        Ok(span)
    }

    /// Copies a group; `None` where all its rows are hidden.
    fn copy(&self, group: Group, latest: &Shape, manifest: &Manifest) -> Result<Option<Unlisted>, Error> {
        let mut writer = SegmentWriter::new(self.layout, group.level(), CHUNK_DOTS).paced();
        writer.begin(self.new.clone(), latest.clone())?;
        let mut rows = 0;
        if group.has_steps() {
            self.add_steps(&group, latest, manifest, &mut writer)?;
        }
        for clock in [false, true].into_iter().filter(|_| !group.has_steps()) {
            let mut inputs = Vec::with_capacity(group.sources.len());
            for source in &group.sources {
                inputs.push(self.input(source, clock)?);
            }
            merge::merge(&mut inputs, !clock, CHUNK_DOTS, |dots| {
                if (self.cancel)() {
                    return Err(Error::GivenUp);
                }
                rows += dots.len() as u64;
                writer.add(dots, clock)
            })?;
        }
        if writer.is_empty() {
            return Ok(None);
        }
        // By the new name's rule; the next compaction looks at it again where that is another.
        let held = manifest.rules.held(self.new.as_str(), nanos(manifest.clock.running()));
        let place =
            group.place.map(|place| Place { rules: self.rules_mark(&place, &manifest.rules), ..place });
        let gone = Totals { renamed: rows, ..Totals::default() };
        let purged = self.mark.generation;
        writer.finish(&Meta { purged, gone, place, held, ..Meta::default() }).map(Some)
    }

    /// Copies steps: of one step of several segments there is one afterwards.
    fn add_steps(
        &self,
        group: &Group,
        latest: &Shape,
        manifest: &Manifest,
        writer: &mut SegmentWriter,
    ) -> Result<(), Error> {
        let segments = group.sources.iter().filter_map(|source| match &source.of {
            Of::Segment(segment) => Some(&**segment),
            Of::Head(_) => None,
        });
        for clock in [false, true] {
            let (tombstones, old) = (&manifest.tombstones, self.old.as_str());
            let walk = StepWalk::new(segments.clone(), tombstones, old, TimeRange::ALL)?;
            if walk.has(clock) {
                let (unit, kind) = (latest.unit(), latest.kind());
                let batches = Batches { clock, rows_max: CHUNK_DOTS, unit, kind, is_together: &|_, _| true };
                walk.rows(&batches, &mut none_left_out, &mut |rows| writer.add(rows, clock))?;
            }
        }
        Ok(())
    }

    /// The mark of the rules for a segment of the new name: one that is not in force where the new name belongs into another
    /// tier. Then the next compaction moves it there.
    fn rules_mark(&self, place: &Place, rules: &Rules) -> u64 {
        let is_right =
            place.rules != rules.mark() || rules.tier(self.new.as_str(), place.tier.step) == place.tier;
        if is_right { place.rules } else { !place.rules }
    }

    /// Gives the rows of one kind of a source, sorted and without the hidden ones, piece by piece.
    #[expect(clippy::type_complexity, reason = "it is what merge::merge takes")]
    fn input<'s>(
        &self,
        source: &'s Source,
        clock: bool,
    ) -> Result<Box<dyn FnMut(&mut Column) -> Result<bool, Error> + 's>, Error> {
        match &source.of {
            Of::Segment(segment) => {
                let mut chunks = Vec::new();
                segment.chunks(self.old.as_str(), None, |chunk| chunks.push(chunk))?;
                chunks.retain(|chunk| {
                    chunk.clock == clock && !source.hidden.covers(chunk.first.nanos(), chunk.last.nanos())
                });
                let mut chunks = chunks.into_iter();
                Ok(Box::new(move |out| {
                    for chunk in chunks.by_ref() {
                        segment.read(&chunk, out)?;
                        source.hidden.remove(out);
                        if !out.is_empty() {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                }))
            }
            Of::Head(part) => {
                let mut run = part.get(self.old.as_str()).map(|series| settled(series, clock));
                Ok(Box::new(move |out| {
                    let Some(mut run) = run.take() else { return Ok(false) };
                    source.hidden.remove(&mut run);
                    *out = run;
                    Ok(!out.is_empty())
                }))
            }
        }
    }
}

/// The dots of one kind in a part of the log, sorted and settled.
fn settled(series: &crate::read::head::HeadSeries, clock: bool) -> Column {
    let ((mut explicit, commits), mut kept, _) = series.clone().into_columns();
    if clock {
        kept.sort();
        return kept;
    }
    equal::settle(&mut explicit, &commits);
    explicit
}

/// Puts groups of dots together that overlap in time; what is put together has no place.
fn apart(mut groups: Vec<Group>) -> Vec<Group> {
    groups.sort_by_key(|group| group.first);
    let mut done: Vec<Group> = Vec::new();
    for group in groups {
        match done.last_mut().filter(|before| group.first <= before.last) {
            Some(before) => {
                before.last = before.last.max(group.last);
                before.place = None;
                before.sources.extend(group.sources);
            }
            None => done.push(group),
        }
    }
    done.iter_mut().for_each(|group| group.sources.sort_by_key(|source| source.order));
    done
}

impl Group {
    fn has_steps(&self) -> bool {
        self.place.is_some_and(|place| place.tier.step > Duration::ZERO)
    }

    /// The highest level of what it is made of; 0 without a place.
    fn level(&self) -> u32 {
        if self.place.is_none() {
            return 0;
        }
        let level = |source: &Source| match &source.of {
            Of::Segment(segment) => segment.entry().level,
            Of::Head(_) => 0,
        };
        self.sources.iter().map(level).max().unwrap_or(1).max(1)
    }
}

impl Source {
    fn place(&self) -> Option<Place> {
        match &self.of {
            Of::Segment(segment) => segment.entry().place,
            Of::Head(_) => None,
        }
    }
}
