//! News: what a reader that follows a store is told of each commit through the log.

use dotter_dot::{Column, Incarnation, Reason, SeriesName, TimeRange, Timestamp};

use crate::read::scan::Row;

/// What one commit through the log made visible.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// Its sequence.
    pub sequence: u64,
    /// Its numbers by series; those of a series are in the order in which they were published. The number of a row is
    /// its first number column; texts have none and are left out.
    pub dots: Vec<(SeriesName, Timestamp, f64)>,
    /// The records that were lost.
    pub losses: Vec<LossNews>,
    /// All columns of its dots, where [`crate::Follow::tell_rows`] was called.
    pub(super) rows: Vec<RowsNews>,
}

/// Dots of one series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RowsNews {
    pub(super) series: SeriesName,
    pub(super) is_clock: bool,
    pub(super) run: Column,
}

impl News {
    /// Its dots of all shapes with all their columns, by series; those of a series are in the order in which they
    /// were published. Empty where [`crate::Follow::tell_rows`] was not called. Equal clock stamps are not spread, and a text is
    /// there as often as it was committed.
    pub fn rows(&self) -> impl Iterator<Item = (&SeriesName, Row<'_>)> {
        self.rows.iter().flat_map(|news| {
            let rows = Row::of_column(&news.run, news.is_clock);
            rows.map(|row| (&news.series, row))
        })
    }
}

/// Records of a ring that are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossNews {
    /// The application that made the ring.
    pub application: String,
    /// The ring.
    pub incarnation: Incarnation,
    /// The lane.
    pub lane: u32,
    /// How many records.
    pub lost: u64,
    /// Why.
    pub reason: Reason,
    /// The time span of the lost records, where it is known.
    pub times: Option<TimeRange>,
}
