//! What retention costs: a pass that finds nothing to do, one that makes steps of dots, and reading steps.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dotter_dot::{NamedDots, SeriesName, TimeRange, Timestamp};
use dotter_store::disk;
use dotter_store::{Limits, Machine, Reader, Retained};

use crate::Failure;
use crate::many::{Quick, median};

const HOUR: u64 = 3_600;
/// Where time begins: midnight of a day.
const BEGIN: u64 = 1_700_006_400 / (24 * HOUR) * (24 * HOUR);
/// Rules of the store of many segments, and windows of each.
const RULES: u64 = 64;
const WINDOWS: u64 = 16;
/// Series and seconds of the store whose dots become steps.
const SERIES: u64 = 1_000;
const SECONDS: u64 = 2 * HOUR;

/// - `say`: gets the name of a figure and its value
pub(crate) fn run(dir: &Path, say: &dyn Fn(&str, f64)) -> Result<(), Failure> {
    disk::on(Arc::new(Quick), || {
        idle(&dir.join("idle"), say)?;
        fold(&dir.join("fold"), say)
    })
}

fn at(seconds: u64) -> Result<Timestamp, Failure> {
    Timestamp::from_secs(seconds).ok_or_else(|| "a time that does not fit".into())
}

/// A pass when the wall clock is so late, and the machine has run for so long.
fn pass(dir: &Path, wall: u64, running: u64) -> Result<Retained, Failure> {
    let machine = Machine { wall: at(wall)?, boot: [1; 16], since_boot: Duration::from_secs(running) };
    Ok(dotter_store::retain(dir, &machine, &Limits::default(), &|| false)?)
}

/// Many segments of which none is old enough.
fn idle(dir: &Path, say: &dyn Fn(&str, f64)) -> Result<(), Failure> {
    dotter_store::add(dir, Vec::new())?;
    let rule = |n: u64| format!("[[rule]]\npattern = \"s.{n}\"\nkeep = \"raw:{}h\"\n", 40 * 24 + n);
    std::fs::write(dir.join("retention.toml"), (0..RULES).map(rule).collect::<String>())?;
    dotter_store::take_rules(dir)?;
    for half in 0..49 {
        pass(dir, BEGIN + half * HOUR / 2, half * HOUR / 2)?;
    }
    let now = BEGIN + 24 * HOUR;
    for series in 0..RULES {
        let name = SeriesName::new(&format!("s.{series}"))?;
        let mut dots = NamedDots::default();
        for window in 0..WINDOWS {
            dots.push_number(&name, at(now - (window * 48 + 24) * HOUR)?, window as f64);
        }
        dotter_store::add(dir, dots)?;
    }
    dotter_store::compact_major(dir, &|| false, &|_, _| ())?;
    let mut taken = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let retained = pass(dir, now, 24 * HOUR)?;
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
        if retained.segments > 0 {
            return Err("something went that is not old enough".into());
        }
    }
    say("segments", Reader::open(dir)?.snapshot().stat().segments as f64);
    say("idle", median(taken));
    Ok(())
}

/// Dots of two hours that become steps of a minute.
fn fold(dir: &Path, say: &dyn Fn(&str, f64)) -> Result<(), Failure> {
    dotter_store::add(dir, Vec::new())?;
    let rules = "[[rule]]\npattern = \"%\"\nkeep = \"1s:2h, 1m:1y\"\n";
    std::fs::write(dir.join("retention.toml"), rules)?;
    dotter_store::take_rules(dir)?;
    pass(dir, BEGIN, 0)?;
    for series in 0..SERIES / 50 {
        let mut dots = NamedDots::default();
        for n in 0..50 {
            let name = SeriesName::new(&format!("s.{:04}", series * 50 + n))?;
            for second in 0..SECONDS {
                let value = ((second * 31 + n * 7) % 1_000) as f64 / 8.0;
                dots.push_number(&name, at(BEGIN + second)?, value);
            }
        }
        dotter_store::add(dir, dots)?;
    }
    dotter_store::compact_major(dir, &|| false, &|_, _| ())?;
    for half in 1..11 {
        pass(dir, BEGIN + half * HOUR / 2, half * HOUR / 2)?;
    }
    let begun = Instant::now();
    let mut went = 0;
    for half in 11..20 {
        went += pass(dir, BEGIN + half * HOUR / 2, half * HOUR / 2)?.dots;
    }
    say("fold", went as f64 / begun.elapsed().as_secs_f64() / 1e6);
    if went == 0 {
        return Err("no dots became steps".into());
    }
    let snapshot = Reader::open(dir)?.snapshot();
    let begun = Instant::now();
    let mut steps = 0;
    for series in 0..SERIES {
        let name = format!("s.{series:04}");
        steps += snapshot.rollups(&name, TimeRange::ALL, Duration::from_secs(60))?.len();
    }
    say("steps", steps as f64 / begun.elapsed().as_secs_f64() / 1e6);
    let stat = snapshot.stat();
    let of_steps = |placed: &&dotter_store::Placed| !placed.place.tier.step.is_zero();
    let (bytes, rows) = stat
        .places
        .iter()
        .filter(of_steps)
        .fold((0, 0), |(bytes, rows), placed| (bytes + placed.bytes, rows + placed.dots));
    say("bytes", bytes as f64 / rows.max(1) as f64);
    Ok(())
}
