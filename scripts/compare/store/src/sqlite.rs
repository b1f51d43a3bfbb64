//! SQLite: a clustered table of (series, time, value), a write-ahead log that is synced at each commit.

use std::ops::Range;
use std::path::Path;

use rusqlite::{Connection, params};

use crate::Failure;
use crate::engine::{Engine, LineReading, LineWriting, Reading, Writing};
use crate::lines::{Found, LineBatch, NEEDLE};
use crate::work::{Batch, Kind, Sum, Work, prefix};

pub(crate) const ENGINE: Engine = Engine {
    word: "sqlite",
    title: "SQLite, WAL",
    durability: "fsync of the log at every commit (synchronous=FULL)",
    needs: None,
    dots: Some((write, read)),
    lines: Some((write_lines, read_lines)),
    share: |kind| match kind {
        Kind::Small => 0.25,
        Kind::Real => 1.0,
        Kind::Million => 0.1,
        _ => 0.2,
    },
};

struct Store(Connection);

fn open(dir: &Path) -> Result<Connection, Failure> {
    let connection = Connection::open(dir.join("dots.sqlite"))?;
    connection.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536; PRAGMA mmap_size=1073741824",
    )?;
    Ok(connection)
}

fn write(dir: &Path, work: &Work) -> Result<Box<dyn Writing>, Failure> {
    let mut connection = open(dir)?;
    connection.execute_batch(
        "CREATE TABLE series(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
         CREATE TABLE dots(series INTEGER, time INTEGER, value REAL, PRIMARY KEY(series, time)) WITHOUT ROWID",
    )?;
    let transaction = connection.transaction()?;
    for (name, number) in work.names.iter().zip(0_u32..) {
        transaction.execute("INSERT INTO series VALUES(?, ?)", params![number, name])?;
    }
    transaction.commit()?;
    Ok(Box::new(Store(connection)))
}

fn settle(connection: &Connection) -> Result<(), Failure> {
    Ok(connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")?)
}

impl Writing for Store {
    fn commit(&mut self, batch: &Batch) -> Result<(), Failure> {
        let transaction = self.0.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO dots VALUES(?, ?, ?)")?;
            for ((series, time), value) in batch.series.iter().zip(&batch.times).zip(&batch.values) {
                insert.execute(params![series, *time as i64, value])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        settle(&self.0)
    }
}

fn read(dir: &Path, _: &Work) -> Result<Box<dyn Reading>, Failure> {
    Ok(Box::new(Store(open(dir)?)))
}

impl Store {
    fn sum(&self, query: &str, given: impl rusqlite::Params) -> Result<Sum, Failure> {
        let mut statement = self.0.prepare_cached(query)?;
        let (mut rows, mut sum) = (statement.query(given)?, Sum::default());
        while let Some(row) = rows.next()? {
            sum.add(row.get::<_, i64>(0)? as u64, row.get(1)?);
        }
        Ok(sum)
    }
}

fn signed(range: &Range<u64>) -> (i64, i64) {
    (range.start as i64, i64::try_from(range.end).unwrap_or(i64::MAX))
}

impl Reading for Store {
    fn series(&mut self, work: &Work, number: u32, range: Range<u64>) -> Result<Sum, Failure> {
        let (from, until) = signed(&range);
        self.sum(
            "SELECT time, value FROM dots WHERE series = (SELECT id FROM series WHERE name = ?)
             AND time >= ? AND time < ?",
            params![work.names[number as usize], from, until],
        )
    }

    fn host(&mut self, _: &Work, host: u32) -> Result<Sum, Failure> {
        let prefix = prefix(host);
        let behind = format!("{}/", &prefix[..prefix.len() - 1]);
        self.sum(
            "SELECT time, value FROM series JOIN dots ON dots.series = series.id WHERE name >= ? AND name < ?",
            params![prefix, behind],
        )
    }

    fn scan(&mut self, _: &Work) -> Result<Sum, Failure> {
        self.sum("SELECT time, value FROM dots", [])
    }
}

fn write_lines(dir: &Path) -> Result<Box<dyn LineWriting>, Failure> {
    let connection = open(dir)?;
    connection.execute_batch(
        "CREATE TABLE lines(time INTEGER NOT NULL, line TEXT NOT NULL); CREATE INDEX times ON lines(time)",
    )?;
    Ok(Box::new(Store(connection)))
}

impl LineWriting for Store {
    fn commit(&mut self, batch: &LineBatch) -> Result<(), Failure> {
        let transaction = self.0.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO lines VALUES(?, ?)")?;
            for (time, line) in batch.iter() {
                insert.execute(params![time as i64, line])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        settle(&self.0)
    }
}

fn read_lines(dir: &Path) -> Result<Box<dyn LineReading>, Failure> {
    Ok(Box::new(Store(open(dir)?)))
}

impl LineReading for Store {
    fn find(&mut self, range: Range<u64>) -> Result<Found, Failure> {
        let whole = range == (0..u64::MAX);
        let query = if whole {
            "SELECT time FROM lines WHERE instr(line, ?)"
        } else {
            "SELECT time FROM lines WHERE time >= ?2 AND time < ?3 AND instr(line, ?1)"
        };
        let mut statement = self.0.prepare_cached(query)?;
        let (from, until) = signed(&range);
        let mut rows = match whole {
            true => statement.query(params![NEEDLE])?,
            false => statement.query(params![NEEDLE, from, until])?,
        };
        let mut found = Found::default();
        while let Some(row) = rows.next()? {
            found.add(row.get::<_, i64>(0)? as u64);
        }
        Ok(found)
    }
}
