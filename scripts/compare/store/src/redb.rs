//! redb: a B+ tree in a file, copied on write.

use std::ops::Range;
use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition};

use crate::Failure;
use crate::engine::{Engine, Reading, Writing};
use crate::rows::{self, KEY_BYTES};
use crate::work::{Batch, Kind, Sum, Work};

pub(crate) const ENGINE: Engine = Engine {
    word: "redb",
    title: "redb",
    durability: "fdatasync at every commit",
    needs: None,
    dots: Some((write, read)),
    lines: None,
    share: |kind| match kind {
        Kind::Small => 0.1,
        Kind::Real => 1.0,
        Kind::Million => 0.05,
        _ => 0.1,
    },
};

const DOTS: TableDefinition<'_, &[u8; KEY_BYTES], &[u8; 8]> = TableDefinition::new("dots");
const CACHE_BYTES: usize = 64 << 20;

struct Store(Database);

fn open(dir: &Path) -> Result<Store, Failure> {
    Ok(Store(Database::builder().set_cache_size(CACHE_BYTES).create(dir.join("dots.redb"))?))
}

fn write(dir: &Path, _: &Work) -> Result<Box<dyn Writing>, Failure> {
    Ok(Box::new(open(dir)?))
}

impl Writing for Store {
    fn commit(&mut self, batch: &Batch) -> Result<(), Failure> {
        let transaction = self.0.begin_write()?;
        {
            let mut table = transaction.open_table(DOTS)?;
            for ((series, time), value) in batch.series.iter().zip(&batch.times).zip(&batch.values) {
                table.insert(&rows::key(*series, *time), &value.to_le_bytes())?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        while self.0.compact()? {}
        Ok(())
    }
}

fn read(dir: &Path, _: &Work) -> Result<Box<dyn Reading>, Failure> {
    Ok(Box::new(open(dir)?))
}

impl Store {
    fn sum(&self, keys: &Range<[u8; KEY_BYTES]>) -> Result<Sum, Failure> {
        let (table, mut sum) = (self.0.begin_read()?.open_table(DOTS)?, Sum::default());
        for row in table.range::<&[u8; KEY_BYTES]>(&keys.start..&keys.end)? {
            let (key, value) = row?;
            let (time, value) =
                rows::dot(key.value(), value.value()).ok_or("redb gave back what is no row")?;
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
