//! What a list of many segments costs: a commit beside the log, and a look at the list by who follows it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dotter_dot::{NamedDots, SeriesName, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk};
use dotter_store::{Deletion, Pattern, Reader};

use crate::Failure;

/// Segments at the end.
const SEGMENTS: u64 = 10_000;
/// Commits and looks that are measured at the end.
const MEASURED: u64 = 50;
/// Stores of few segments, and how many each comes to have: half of them on average.
const FEW_STORES: u64 = 5;
const FEW: u64 = 20;
/// Deletes of a store that is opened with them.
const DELETES: u64 = 1_000;
/// Series and segments of that store.
const WIDE_SERIES: u64 = 100_000;
const WIDE_SEGMENTS: u64 = 4;
/// How often and how long a store is opened again and again.
const OPENS_MIN: usize = 5;
const OPENS_FOR: Duration = Duration::from_millis(500);

/// A disk that syncs nothing: what is asked here is the work, not the wait.
#[derive(Debug)]
pub(crate) struct Quick;

impl Disk for Quick {
    fn sync_data(&self, _: &File, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self, _: &File, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// - `say`: gets the name of a figure and its value
pub(crate) fn run(dir: &Path, say: &dyn Fn(&str, f64)) -> Result<(), Failure> {
    disk::on(Arc::new(Quick), || many(dir, say))
}

fn many(dir: &Path, say: &dyn Fn(&str, f64)) -> Result<(), Failure> {
    let name = SeriesName::new("x")?;
    let add = |dir: &Path, number: u64| {
        dotter_store::add(dir, vec![(name.clone(), Timestamp::from_nanos(number), 1.0)])
    };
    let measured = |dir: &Path, count: u64| -> Result<(Vec<f64>, Vec<f64>), Failure> {
        let (mut adding, mut looking, mut reader) = (Vec::new(), Vec::new(), Reader::open(dir)?);
        for number in 1..=count {
            let begun = Instant::now();
            add(dir, number)?;
            adding.push(begun.elapsed().as_secs_f64() * 1e3);
            let begun = Instant::now();
            reader.refresh(None)?;
            looking.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        Ok((adding, looking))
    };
    let mut few = (Vec::new(), Vec::new());
    for store in 0..FEW_STORES {
        let dir = dir.join(format!("few-{store}"));
        add(&dir, 0)?;
        let (adding, looking) = measured(&dir, FEW)?;
        few.0.extend(adding);
        few.1.extend(looking);
    }
    let few = (median(few.0), median(few.1));
    let dir = &dir.join("many");
    for other in 0..SEGMENTS - MEASURED {
        add(dir, 1_000_000 + other)?;
    }
    let (adding, looking) = measured(dir, MEASURED)?;
    let many = (median(adding), median(looking));
    say("add-few", few.0);
    say("add", many.0);
    say("add-times", many.0 / few.0);
    say("refresh-few", few.1);
    say("refresh", many.1);
    say("refresh-times", many.1 / few.1);
    say("open", open(dir, "x")?);
    for (kind, pattern) in [("names", ""), ("patterns", "%")] {
        let dir = dir.with_file_name(kind);
        wide(&dir)?;
        let without = open(&dir, "s.000005")?;
        for number in 0..DELETES {
            let pattern = Pattern::new(&format!("s.{number:04}11{pattern}"));
            let deletion = Deletion { pattern, first_key: None, last_key: None, range: TimeRange::ALL };
            dotter_store::delete(&dir, &deletion)?;
        }
        if kind == "names" {
            say("open-wide", without);
        }
        say(&format!("open-{kind}-times"), open(&dir, "s.000005")? / without);
    }
    Ok(())
}

/// A store of many series in a few segments.
fn wide(dir: &Path) -> Result<(), Failure> {
    for part in 0..WIDE_SEGMENTS {
        let mut dots = NamedDots::default();
        for number in 0..WIDE_SERIES {
            let name = SeriesName::new(&format!("s.{number:06}"))?;
            dots.push_number(&name, Timestamp::from_nanos(part), 1.0);
        }
        dotter_store::add(dir, dots)?;
    }
    Ok(())
}

/// Opens a store and reads a series of it; milliseconds.
fn open(dir: &Path, name: &str) -> Result<f64, Failure> {
    let (begun, mut taken) = (Instant::now(), Vec::new());
    while taken.len() < OPENS_MIN || begun.elapsed() < OPENS_FOR {
        let begun = Instant::now();
        let range = TimeRange::new(Timestamp::MIN, Timestamp::from_nanos(9));
        let dots = Reader::open(dir)?.snapshot().read(name, range)?;
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
        if dots.is_empty() {
            return Err("a series that was added is not there".into());
        }
    }
    Ok(median(taken))
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
