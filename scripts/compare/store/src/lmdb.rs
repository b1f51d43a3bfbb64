//! LMDB: a B+ tree in a mapped file, copied on write.
#![allow(unsafe_code)]

use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{CommitOrAbort, CompactionOption, Database, Env, EnvOpenOptions};

use crate::Failure;
use crate::engine::{Engine, Reading, Writing};
use crate::rows::{self, KEY_BYTES};
use crate::work::{Batch, Kind, Sum, Work};

pub(crate) const ENGINE: Engine = Engine {
    word: "lmdb",
    title: "LMDB (heed)",
    durability: "fdatasync at every commit",
    needs: None,
    dots: Some((write, read)),
    lines: None,
    share: |kind| match kind {
        Kind::Small => 0.25,
        Kind::Real => 1.0,
        Kind::Million => 0.1,
        _ => 0.2,
    },
};

const MAP_BYTES: usize = 8 << 30;
const FILE: &str = "data.mdb";

struct Store {
    dir: PathBuf,
    env: Env,
    dots: Database<'static, Bytes, Bytes>,
}

impl Store {
    fn open(dir: &Path) -> Result<Store, Failure> {
        // SAFETY: the file lies in a directory of this program's own; no other process opens it, and this one opens
        // it once, so nothing is mapped twice and nobody changes what is mapped but through LMDB.
        let env = unsafe { EnvOpenOptions::new().map_size(MAP_BYTES).open(dir)? };
        let transaction = env.write_txn()?;
        let dots = env
            .create_databases_and_commit(transaction, |databases, transaction| {
                let dots = databases.create_database::<Bytes, Bytes>(transaction, None)?;
                heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(dots))
            })?
            .unwrap_commit();
        Ok(Store { dir: dir.to_owned(), env, dots })
    }
}

fn write(dir: &Path, _: &Work) -> Result<Box<dyn Writing>, Failure> {
    Ok(Box::new(Store::open(dir)?))
}

impl Writing for Store {
    fn commit(&mut self, batch: &Batch) -> Result<(), Failure> {
        let mut transaction = self.env.write_txn()?;
        for ((series, time), value) in batch.series.iter().zip(&batch.times).zip(&batch.values) {
            self.dots.put(&mut transaction, &rows::key(*series, *time), &value.to_le_bytes())?;
        }
        Ok(transaction.commit()?)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        // A compacted copy in its place; this process does not look at the file again.
        let copy = self.dir.join("compacted");
        self.env.copy_to_path(&copy, CompactionOption::Enabled)?.sync_all()?;
        Ok(std::fs::rename(copy, self.dir.join(FILE))?)
    }
}

fn read(dir: &Path, _: &Work) -> Result<Box<dyn Reading>, Failure> {
    Ok(Box::new(Store::open(dir)?))
}

impl Store {
    fn sum(&self, keys: &Range<[u8; KEY_BYTES]>) -> Result<Sum, Failure> {
        let (transaction, mut sum) = (self.env.read_txn()?, Sum::default());
        let keys = (Bound::Included(&keys.start[..]), Bound::Excluded(&keys.end[..]));
        for row in self.dots.range(&transaction, &keys)? {
            let (key, value) = row?;
            let (time, value) = rows::dot(key, value).ok_or("LMDB gave back what is no row")?;
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
