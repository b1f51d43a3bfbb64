//! What will go, and when: told before anything does, and nothing changes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dotter_dot::Column;

use crate::error::Error;
use crate::format::clock::Machine;
use crate::format::place::{Tier, nanos};
use crate::format::rules::Rules;
use crate::format::segment::ChunkRef;
use crate::read::reader::Reader;
use crate::read::segment::Segment;

const DAY: u64 = 86_400_000_000_000;

/// What will go of one tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Going {
    /// The tier.
    pub tier: Tier,
    /// Dots in it, or steps.
    pub dots: u64,
    /// Of these, those whose time is over: they go with the next pass, or when the hold is over.
    pub now: u64,
    /// Those whose time is over within a day.
    pub day: u64,
    /// For how much running time a change of the rules holds some of them yet; zero where it holds none.
    pub held: Duration,
}

/// What will go.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// The rules that the files say.
    pub rules: Arc<Rules>,
    /// Whether the store has other rules yet; it takes these with the next pass.
    pub are_new: bool,
    /// By tier.
    pub tiers: Vec<Going>,
    /// Whether the retention clock has run for a day; nothing that is kept for longer goes before.
    pub is_clock_known: bool,
}

/// Tells what will go by the rules that the files say, and when. Dots of the live log are left out: they are not old.
///
/// - `machine`: what its clocks say, [`Machine::now`]
/// - `cancel`: asked before each series
///
/// # Errors
///
/// [`Error::NoStore`], and the system's. What is damaged is left out.
pub fn outlook(dir: &Path, machine: &Machine, cancel: &dyn Fn() -> bool) -> Result<Outlook, Error> {
    let inner = Reader::open(dir)?.snapshot().inner;
    let manifest = &inner.manifest;
    let mut clock = manifest.clock.clone();
    clock.read(machine);
    let running = nanos(clock.running());
    let rules = Rules::read(dir).dated(Some(&manifest.rules), running.max(1));
    let are_new = rules != *manifest.rules;
    let mark = rules.mark();
    let mut tiers: BTreeMap<Tier, Going> = BTreeMap::new();
    for segment in inner.segments.iter().chain(inner.steps.iter()) {
        let mut series = segment.series("");
        while let Some(step) = series.next() {
            if cancel() {
                return Err(Error::GivenUp);
            }
            let Ok(name) = step.and_then(|()| series.name()) else { continue };
            let entry = segment.entry();
            let width = entry.place.map_or(Duration::ZERO, |place| place.tier.step);
            let tier = rules.tier(name.as_str(), width);
            let going = tiers.entry(tier).or_insert(Going { tier, ..Going::default() });
            let held = rules.held(name.as_str(), running).saturating_sub(running);
            going.held = going.held.max(Duration::from_nanos(held));
            let hidden = segment.hidden(&manifest.tombstones, name.as_str());
            let now = clock.arrival(tier.keep);
            // What its window has now, if it stays in it; else what each moment will have.
            let end = entry
                .place
                .filter(|place| place.is_late || place.rules == mark)
                .map(|place| place.window.last().saturating_add(tier.keep));
            let mut chunks = Vec::new();
            // What is damaged stays where it is.
            if series.chunks(|chunk| chunks.push(chunk)).is_err() {
                continue;
            }
            for chunk in &chunks {
                let (first, last) = (chunk.first.nanos(), chunk.last.nanos());
                if hidden.covers(first, last) {
                    continue;
                }
                going.dots += chunk.dots;
                if tier.keep.is_zero() {
                    continue;
                }
                for (later, count) in [(0, &mut going.now), (DAY, &mut going.day)] {
                    let then = now.saturating_add(Duration::from_nanos(later));
                    *count += match end {
                        Some(end) if end < then => chunk.dots,
                        Some(_) => 0,
                        None => before(segment, chunk, tier.late_before(then))?,
                    };
                }
            }
        }
    }
    let is_clock_known = clock.believed(Duration::ZERO).nanos() > 0;
    Ok(Outlook { rules: Arc::new(rules), are_new, tiers: tiers.into_values().collect(), is_clock_known })
}

/// How many dots of a chunk are before a moment.
fn before(segment: &Segment, chunk: &ChunkRef, moment: u64) -> Result<u64, Error> {
    if chunk.last.nanos() < moment || moment <= chunk.first.nanos() {
        return Ok(if chunk.last.nanos() < moment { chunk.dots } else { 0 });
    }
    let mut dots = Column::default();
    match segment.read(chunk, &mut dots) {
        Err(Error::Damaged { .. }) => Ok(0),
        read => read.map(|()| dots.times().partition_point(|time| *time < moment) as u64),
    }
}
