//! What a list of many segments costs: a commit beside the log, and a look at the list by who follows it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk};
use dotter_store::{Deletion, Pattern, Reader};

use crate::Failure;

/// Segments at the end.
const SEGMENTS: u64 = 10_000;
/// Commits and looks that are measured, at the begin and at the end.
const MEASURED: u64 = 50;
/// Deletes of a store that is opened with them.
const DELETES: u64 = 1_000;

/// A disk that syncs nothing: what is asked here is the work, not the wait.
#[derive(Debug)]
struct Quick;

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
    let add = |number: u64| dotter_store::add(dir, vec![(name.clone(), Timestamp::from_nanos(number), 1.0)]);
    let mut number = 0;
    let mut measured = |reader: &mut Reader| -> Result<(f64, f64), Failure> {
        let (mut adding, mut looking) = (Vec::new(), Vec::new());
        for _ in 0..MEASURED {
            number += 1;
            let begun = Instant::now();
            add(number)?;
            adding.push(begun.elapsed().as_secs_f64() * 1e3);
            let begun = Instant::now();
            reader.refresh(None)?;
            looking.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        Ok((median(adding), median(looking)))
    };
    add(0)?;
    let mut reader = Reader::open(dir)?;
    let few = measured(&mut reader)?;
    for other in 0..SEGMENTS - 2 * MEASURED {
        add(1_000_000 + other)?;
    }
    reader.refresh(None)?;
    let many = measured(&mut reader)?;
    say("add-few", few.0);
    say("add", many.0);
    say("add-times", many.0 / few.0);
    say("refresh-few", few.1);
    say("refresh", many.1);
    let open = || -> Result<f64, Failure> {
        let mut taken = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            Reader::open(dir)?
                .snapshot()
                .read("x", TimeRange::new(Timestamp::MIN, Timestamp::from_nanos(9)))?;
            taken.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        Ok(median(taken))
    };
    let without = open()?;
    for number in 0..DELETES {
        let pattern = Pattern::new(&format!("none.{number}"));
        dotter_store::delete(
            dir,
            &Deletion { pattern, first_key: None, last_key: None, range: TimeRange::ALL },
        )?;
    }
    say("open", without);
    say("open-deletes-times", open()? / without);
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
