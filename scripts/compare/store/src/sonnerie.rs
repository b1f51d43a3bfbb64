//! Sonnerie: a file for each transaction, merged by a compaction.

use std::ops::Range;
use std::path::{Path, PathBuf};

use sonnerie::{CreateTx, DatabaseReader, Wildcard};

use crate::Failure;
use crate::engine::{Engine, LineReading, LineWriting, Reading, Writing};
use crate::lines::{Found, LineBatch, NEEDLE};
use crate::work::{Batch, Kind, Sum, Work, prefix};

pub(crate) const ENGINE: Engine = Engine {
    word: "sonnerie",
    title: "Sonnerie",
    durability: "fsync of each transaction's file, not of its directory",
    needs: None,
    dots: Some((write, read)),
    lines: Some((write_lines, read_lines)),
    share: |kind| if kind == Kind::Small { 0.25 } else { 1.0 },
};

const LOG: &str = "web.log";

struct Store {
    dir: PathBuf,
    names: Vec<String>,
    order: Vec<u32>,
    row: Vec<u8>,
}

impl Store {
    fn create(dir: &Path, names: &[String]) -> Result<Store, Failure> {
        std::fs::write(dir.join("main"), "")?;
        Ok(Store { dir: dir.to_owned(), names: names.to_vec(), order: Vec::new(), row: Vec::new() })
    }

    /// What `sonnerie compact --major` does.
    fn compact(&self) -> Result<(), Failure> {
        let database = DatabaseReader::new(&self.dir)?;
        let mut compacted = CreateTx::new(&self.dir)?;
        for record in database.get_range(..) {
            compacted.add_record_raw(record.key(), record.format(), record.raw())?;
        }
        let main = self.dir.join("main");
        compacted.commit_to(&main)?;
        for path in database.transaction_paths().into_iter().filter(|path| *path != main) {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn write(dir: &Path, work: &Work) -> Result<Box<dyn Writing>, Failure> {
    Ok(Box::new(Store::create(dir, &work.names)?))
}

fn write_lines(dir: &Path) -> Result<Box<dyn LineWriting>, Failure> {
    Ok(Box::new(Store::create(dir, &[])?))
}

impl Writing for Store {
    fn commit(&mut self, batch: &Batch) -> Result<(), Failure> {
        // A transaction is in the order of its keys, and their numbers are.
        self.order.clear();
        self.order.extend(0..batch.len() as u32);
        self.order.sort_by_key(|at| batch.series[*at as usize]);
        let mut transaction = CreateTx::new(&self.dir)?;
        for at in &self.order {
            let at = *at as usize;
            self.row.clear();
            self.row.extend_from_slice(&batch.times[at].to_be_bytes());
            self.row.extend_from_slice(&batch.values[at].to_be_bytes());
            transaction.add_record_raw(&self.names[batch.series[at] as usize], "F", &self.row)?;
        }
        Ok(transaction.commit()?)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.compact()
    }
}

impl LineWriting for Store {
    fn commit(&mut self, batch: &LineBatch) -> Result<(), Failure> {
        let mut transaction = CreateTx::new(&self.dir)?;
        for (time, line) in batch.iter() {
            let time = chrono::DateTime::from_timestamp_nanos(time as i64).naive_utc();
            transaction.add_record(LOG, time, sonnerie::record(line))?;
        }
        Ok(transaction.commit()?)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.compact()
    }
}

struct View(DatabaseReader);

fn read(dir: &Path, _: &Work) -> Result<Box<dyn Reading>, Failure> {
    Ok(Box::new(View(DatabaseReader::new(dir)?)))
}

fn read_lines(dir: &Path) -> Result<Box<dyn LineReading>, Failure> {
    Ok(Box::new(View(DatabaseReader::new(dir)?)))
}

impl Reading for View {
    fn series(&mut self, work: &Work, number: u32, range: Range<u64>) -> Result<Sum, Failure> {
        let mut sum = Sum::default();
        for record in self.0.get(&work.names[number as usize]) {
            let time = record.timestamp_nanos();
            if range.contains(&time) {
                sum.add(time, record.get::<f64>(0));
            }
        }
        Ok(sum)
    }

    fn host(&mut self, _: &Work, host: u32) -> Result<Sum, Failure> {
        let (wildcard, mut sum) = (Wildcard::new(&format!("{}%", prefix(host))), Sum::default());
        for record in self.0.get_filter(&wildcard) {
            sum.add(record.timestamp_nanos(), record.get::<f64>(0));
        }
        Ok(sum)
    }

    fn scan(&mut self, _: &Work) -> Result<Sum, Failure> {
        let mut sum = Sum::default();
        for record in self.0.get_range(..) {
            sum.add(record.timestamp_nanos(), record.get::<f64>(0));
        }
        Ok(sum)
    }
}

impl LineReading for View {
    fn find(&mut self, range: Range<u64>) -> Result<Found, Failure> {
        let (mut found, finder) = (Found::default(), memchr::memmem::Finder::new(NEEDLE));
        for record in self.0.get(LOG) {
            let time = record.timestamp_nanos();
            if range.contains(&time) && finder.find(record.get::<&str>(0).as_bytes()).is_some() {
                found.add(time);
            }
        }
        Ok(found)
    }
}
