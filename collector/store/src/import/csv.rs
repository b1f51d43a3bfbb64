//! Comma-separated files with a head line.

use std::io::BufRead;

use dotter_intake::csv::{Fed, HeadError, Layout, Records, Table};
use dotter_intake::row_text::{TimeReader, TimeUnit};

use super::Import;
use crate::error::Error;

pub(super) fn read(import: &mut Import<'_>, input: &mut dyn BufRead) -> Result<(), Error> {
    let options = import.options;
    let layout = Layout {
        times: TimeReader::new(
            options.rows.timestamp_format.as_ref(),
            options.time_unit.map_or(TimeUnit::S, TimeUnit::from),
        ),
        format: options.rows.format.as_ref(),
        unit: &options.rows.unit,
        series: options.series.as_deref(),
        series_column: options.series_column.as_deref(),
        time_column: options.time_column.as_deref(),
        is_wide: options.wide,
    };
    let mut records = Records::new(options.delimiter);
    let mut table = None;
    loop {
        let bytes = input.fill_buf().map_err(import.input_error())?;
        let (taken, fed) = records.feed(bytes);
        input.consume(taken);
        match (fed, &mut table) {
            (Fed::More, _) => {}
            (Fed::End, _) => return Ok(()),
            // Without a head line nothing behind it can be read.
            (Fed::Bad(bad), None) => return import.bad_lines(bad.line, bad.lines, bad.what),
            (Fed::Bad(bad), Some(_)) => import.bad_lines(bad.line, bad.lines, bad.what)?,
            (Fed::Record(record), None) => table = Some(Table::new(&record, layout.clone()).map_err(usage)?),
            (Fed::Record(record), Some(table)) => {
                let line = record.line();
                table.read(&record, |row| match row {
                    Ok(row) => import.row(line, &row.name, row.shape, row.time, row.cell),
                    Err(what) => import.bad(line, what),
                })?;
            }
        }
    }
}

/// What is wrong with the head line, and which option helps.
fn usage(error: HeadError) -> Error {
    let help = match &error {
        HeadError::NoTimes => "; --time-column names the column of times",
        HeadError::NoSeries => {
            "; --series-column names the column of series, --series one for all rows, --wide makes each column one"
        }
        HeadError::Format { .. } => "; --format says what they are, --wide that each is a series",
        HeadError::NoColumn(_) | HeadError::Values { .. } | HeadError::Shape(_) => "",
    };
    Error::Usage(format!("{error}{help}"))
}
