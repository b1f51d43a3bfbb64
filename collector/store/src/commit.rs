//! Committing a transaction of any size, whether or not a collector is running. There are three ways:
//!
//! - a small transaction is handed to the collector through its socket file, and the collector writes it to the log
//! - where no collector runs, this process takes LOCK for a moment and writes the small transaction to the log
//! - a large transaction, and one for which the two other ways fail, becomes a segment: a foreign commit
//!
//! A transaction goes another way only where it is certain that it is not committed by the way before: `handover.rs`.

use std::path::Path;

use dotter_dot::{Cell, Dots};
use dotter_intake::row_text::{RowWriter, TimeWriter, Times};
use dotter_store::{Added, Addition, Row, Sorted, Transaction, Writer};

use crate::error::Error;
use crate::handover::Collector;

/// The most rows of a transaction that goes into the log.
const SMALL_ROWS: u64 = 100_000;

/// The most bytes of a transaction that goes into the log.
const SMALL_BYTES: usize = 4 << 20;

/// Bytes of a row in addition to those of its texts and columns.
const ENTRY_BYTES: usize = 16;

/// From so many WAL files on `add` seals them, where no collector does.
const UNSEALED_FILES: u64 = 32;

/// Stores what `addition` holds, all of it or nothing.
pub(crate) fn commit(dir: &Path, addition: Addition) -> Result<Added, Error> {
    if addition.is_empty() {
        return Ok(Added::default());
    }
    if addition.len() < SMALL_ROWS
        && let Some(sorted) = addition.sorted()
        && is_small(&sorted)
        && (send(dir, &sorted)? || log(dir, &sorted)?)
    {
        return Ok(sorted.added());
    }
    Ok(addition.commit()?)
}

fn is_small(sorted: &Sorted) -> bool {
    let bytes = |row: Row<'_>| ENTRY_BYTES + row.row_bytes().len();
    sorted.rows().map(|(_, row)| bytes(row)).sum::<usize>() < SMALL_BYTES
}

/// Hands the transaction to the collector; `false` where no collector runs, or it cannot take the transaction and
/// never will.
///
/// # Errors
///
/// Those of [`Collector::hand_over`].
fn send(dir: &Path, sorted: &Sorted) -> Result<bool, Error> {
    // Row text says neither units nor kinds nor names of columns.
    if !sorted.rows().all(|(_, row)| row.shape().is_format_alone()) {
        return Ok(false);
    }
    let Some(collector) = Collector::reach(dir) else { return Ok(false) };
    let mut writer = RowWriter::new(TimeWriter::new(Times::Nanos, None), true);
    let mut body = Vec::new();
    for (name, row) in sorted.rows() {
        writer.write(name.as_str(), row.time(), row.shape().format().as_str(), row.cells(), &mut body);
        if body.len() > SMALL_BYTES {
            return Ok(false);
        }
    }
    collector.hand_over(&body)
}

/// Writes the transaction to the log; `false` where another process is the log's writer, or it does not fit into a
/// frame.
fn log(dir: &Path, sorted: &Sorted) -> Result<bool, Error> {
    let mut writer = match Writer::open(dir) {
        Err(dotter_store::Error::Locked(_)) => return Ok(false),
        other => other?,
    };
    let mut dots = Dots::default();
    for (name, row) in sorted.rows() {
        let key = writer.series(name, row.shape());
        let cell = row.word().map_or(Cell::Row(row.row_bytes()), Cell::Word);
        dots.push(key, false, row.time(), cell);
    }
    match writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }) {
        Err(dotter_store::Error::TooBig { .. }) => return Ok(false),
        other => other?,
    }
    writer.sync()?;
    let is_due = writer.unsealed().files >= UNSEALED_FILES;
    drop(writer);
    if is_due {
        // The rows are stored, so an error of the seal is not reported; the next `add` seals again.
        let _ = dotter_store::seal(dir, &|| false);
    }
    Ok(true)
}
