//! fjall: a log-structured merge tree with a journal.

use std::ops::Range;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::Failure;
use crate::engine::{Engine, Reading, Writing};
use crate::rows::{self, KEY_BYTES};
use crate::work::{Batch, Kind, Sum, Work};

pub(crate) const ENGINE: Engine = Engine {
    word: "fjall",
    title: "fjall",
    durability: "fsync of the journal at every commit",
    needs: None,
    dots: Some((write, read)),
    lines: None,
    share: |kind| match kind {
        Kind::Small => 0.25,
        Kind::Real => 1.0,
        _ => 0.2,
    },
};

struct Store {
    database: Database,
    dots: Keyspace,
}

fn open(dir: &Path) -> Result<Store, Failure> {
    let database = Database::builder(dir).open()?;
    let dots = database.keyspace("dots", KeyspaceCreateOptions::default)?;
    Ok(Store { database, dots })
}

fn write(dir: &Path, _: &Work) -> Result<Box<dyn Writing>, Failure> {
    Ok(Box::new(open(dir)?))
}

impl Writing for Store {
    fn commit(&mut self, batch: &Batch) -> Result<(), Failure> {
        let mut writes = self.database.batch().durability(Some(PersistMode::SyncAll));
        for ((series, time), value) in batch.series.iter().zip(&batch.times).zip(&batch.values) {
            writes.insert(&self.dots, rows::key(*series, *time), value.to_le_bytes());
        }
        Ok(writes.commit()?)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.dots.rotate_memtable_and_wait()?;
        Ok(self.dots.major_compact()?)
    }
}

fn read(dir: &Path, _: &Work) -> Result<Box<dyn Reading>, Failure> {
    Ok(Box::new(open(dir)?))
}

impl Store {
    fn sum(&self, keys: &Range<[u8; KEY_BYTES]>) -> Result<Sum, Failure> {
        let mut sum = Sum::default();
        for row in self.dots.range(keys.start..keys.end) {
            let (key, value) = row.into_inner()?;
            let (time, value) = rows::dot(&key, &value).ok_or("fjall gave back what is no row")?;
            sum.add(time, value);
        }
        Ok(sum)
    }
}

impl Reading for Store {
    fn series(&mut self, _: &Work, number: u32, range: Range<u64>) -> Result<Sum, Failure> {
        self.sum(&rows::of_series(number, range))
    }

    fn host(&mut self, work: &Work, host: u32) -> Result<Sum, Failure> {
        self.sum(&rows::of_host(work, host))
    }

    fn scan(&mut self, _: &Work) -> Result<Sum, Failure> {
        self.sum(&(rows::key(0, 0)..rows::key(u32::MAX, 0)))
    }
}
