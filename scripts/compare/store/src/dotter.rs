//! Dotter: log, seal and compaction as its collector runs them.

use std::num::NonZero;
use std::ops::Range;
use std::path::{Path, PathBuf};

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{Dot, Filter, Reader, Row, Scan, Search};

use crate::Failure;
use crate::engine::{Engine, LineReading, LineWriting, Reading, Writing};
use crate::intake::{self, Intake, LOG};
use crate::lines::{Found, LineBatch, NEEDLE};
use crate::work::{Batch, Sum, Work, prefix};

pub(crate) const ENGINE: Engine = Engine {
    word: "dotter",
    title: "dotter",
    durability: "fdatasync before every commit returns",
    needs: None,
    dots: Some((write, read)),
    lines: Some((write_lines, read_lines)),
    share: |_| 1.0,
};

struct Store {
    dir: PathBuf,
    intake: Option<Intake>,
}

impl Store {
    fn intake(&mut self) -> Result<&mut Intake, Failure> {
        Ok(self.intake.as_mut().ok_or("nothing is committed after the end")?)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.intake.take().map_or(Ok(()), Intake::seal)?;
        intake::compact(&self.dir)
    }
}

fn write(dir: &Path, work: &Work) -> Result<Box<dyn Writing>, Failure> {
    let mut intake = Intake::open(dir)?;
    intake.numbers(&work.names)?;
    Ok(Box::new(Store { dir: dir.to_owned(), intake: Some(intake) }))
}

fn write_lines(dir: &Path) -> Result<Box<dyn LineWriting>, Failure> {
    let mut intake = Intake::open(dir)?;
    intake.log()?;
    Ok(Box::new(Store { dir: dir.to_owned(), intake: Some(intake) }))
}

impl Writing for Store {
    fn commit(&mut self, batch: &Batch) -> Result<(), Failure> {
        self.intake()?.commit(batch)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        Store::settle(self)
    }
}

impl LineWriting for Store {
    fn commit(&mut self, batch: &LineBatch) -> Result<(), Failure> {
        self.intake()?.commit_lines(batch)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        Store::settle(self)
    }
}

struct View {
    scan: Scan,
    found: Vec<Dot>,
}

fn open(dir: &Path) -> Result<View, Failure> {
    Ok(View { scan: Reader::open(dir)?.snapshot().scan(), found: Vec::new() })
}

fn read(dir: &Path, _: &Work) -> Result<Box<dyn Reading>, Failure> {
    Ok(Box::new(open(dir)?))
}

fn read_lines(dir: &Path) -> Result<Box<dyn LineReading>, Failure> {
    Ok(Box::new(open(dir)?))
}

fn between(range: Range<u64>) -> TimeRange {
    TimeRange::new(Timestamp::from_nanos(range.start), Timestamp::from_nanos(range.end))
}

impl View {
    fn add(&mut self, name: &str, range: TimeRange, sum: &mut Sum) -> Result<(), Failure> {
        self.found.clear();
        self.scan.read(name, range, &mut self.found)?;
        for dot in &self.found {
            sum.add(dot.time.nanos(), dot.value);
        }
        Ok(())
    }
}

impl Reading for View {
    fn series(&mut self, work: &Work, number: u32, range: Range<u64>) -> Result<Sum, Failure> {
        let mut sum = Sum::default();
        self.add(&work.names[number as usize], between(range), &mut sum)?;
        Ok(sum)
    }

    fn host(&mut self, _: &Work, host: u32) -> Result<Sum, Failure> {
        let mut sum = Sum::default();
        for name in self.scan.snapshot().series_with_prefix(&prefix(host)) {
            self.add(name.as_str(), TimeRange::ALL, &mut sum)?;
        }
        Ok(sum)
    }

    fn scan(&mut self, _: &Work) -> Result<Sum, Failure> {
        let mut sum = Sum::default();
        let snapshot = self.scan.snapshot().clone();
        for name in snapshot.series() {
            self.add(name.as_str(), TimeRange::ALL, &mut sum)?;
        }
        Ok(sum)
    }
}

impl LineReading for View {
    fn find(&mut self, range: Range<u64>) -> Result<Found, Failure> {
        let filter = Filter::new(&format!("value contains '{NEEDLE}'"))?;
        let search = Search {
            snapshot: self.scan.snapshot(),
            series: &[SeriesName::new(LOG)?],
            range: between(range),
            filter: Some(&filter),
            threads: NonZero::new(1),
        };
        let mut found = Found::default();
        let keep = |_: &SeriesName, row: &Row<'_>, kept: &mut Found| kept.add(row.time().nanos());
        search.run(keep, |kept| {
            found.lines += kept.lines;
            found.times = found.times.wrapping_add(kept.times);
            Ok::<_, Failure>(())
        })?;
        Ok(found)
    }
}
