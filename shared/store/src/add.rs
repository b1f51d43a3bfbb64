//! A transaction from any process, of any size: a finished segment, listed by one swap.

use std::path::Path;

use dotter_dot::{SeriesName, Timestamp};

use crate::chunk::Columns;
use crate::error::Error;
use crate::layout::Layout;
use crate::manifest::{self, Order};
use crate::merge;
use crate::segment::{Meta, SegmentWriter};
use crate::wal;

/// Dots of a chunk in a fresh segment.
const CHUNK_DOTS: usize = 4096;

/// Commits dots with explicit times, in one transaction, whether or not a collector is running.
///
/// - `rows`: any order; of equal series and time the last counts. All of them are held in memory.
///
/// Makes the store where there is none. Returns how many dots are stored, which is fewer than were given where
/// some replaced others.
pub fn add(dir: &Path, mut rows: Vec<(SeriesName, Timestamp, f64)>) -> Result<u64, Error> {
    let layout = Layout::new(dir);
    manifest::open_or_create(&layout, Timestamp::now())?;
    if rows.is_empty() {
        return Ok(0);
    }
    let given = rows.len() as u64;
    // Stable, so that of equal times the last stays last.
    rows.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let mut segment = SegmentWriter::create(&layout, CHUNK_DOTS)?;
    let mut columns = Columns::default();
    let mut replaced = 0;
    for series in rows.chunk_by(|a, b| a.0 == b.0) {
        columns.clear();
        series.iter().for_each(|(_, time, value)| columns.push(time.nanos(), *value));
        replaced += merge::keep_last(&mut columns);
        segment.begin(series[0].0.clone())?;
        segment.add(&columns, false)?;
    }
    let segment = segment.finish(&Meta::default())?;
    manifest::swap(&layout, |manifest| {
        let listed = manifest.segments.iter().map(|segment| segment.order.sequence).max().unwrap_or(0);
        let sequence = wal::last_synced_sequence(&layout)?.max(listed);
        let order = Order { sequence, generation: manifest.generation };
        manifest.ledger.totals.stored_other += given;
        manifest.ledger.totals.replaced += replaced;
        segment.list(manifest, order, 0)
    })?;
    Ok(given - replaced)
}
