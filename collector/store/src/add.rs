//! `dotter-store add`: rows from standard input.

use std::io::BufRead;
use std::path::Path;

use crate::args::AddOptions;
use crate::error::{Error, Place};
use crate::intake::Intake;
use crate::lines::{Line, Lines};
use crate::progress::Progress;
use dotter_intake::row_text::{RowReader, TimeReader};

/// - `total`: bytes of the input, where that is known
pub(crate) fn run(
    dir: &Path,
    options: &AddOptions,
    input: impl BufRead,
    total: Option<u64>,
) -> Result<(), Error> {
    let rows = &options.rows;
    let times = TimeReader::new(rows.timestamp_format.as_ref(), options.time_unit.into());
    let mut reader =
        RowReader::new(times, rows.format.as_ref(), &rows.unit, &options.columns).map_err(Error::Usage)?;
    let mut intake = Intake::new(dir, rows.skip_bad);
    let mut progress = Progress::new("adding", "bytes", total);
    let mut lines = Lines::new(input);
    loop {
        let number = lines.number() + 1;
        let place = || Place { file: None, line: number };
        match lines.next().map_err(Error::Input)? {
            None => break,
            Some(Line::Bad(what)) => intake.bad(place, what)?,
            Some(Line::Text { text, .. }) if text.trim_ascii().is_empty() => continue,
            Some(Line::Text { text, .. }) => match reader.read(text) {
                Ok(row) => intake.push(place, &row.name, row.shape, row.time, row.cell)?,
                Err(what) => intake.bad(place, what)?,
            },
        }
        if options.each.is_some_and(|each| intake.count() >= each.get()) {
            intake.commit()?;
        }
        if number.is_multiple_of(4096) {
            progress.at(lines.bytes());
        }
    }
    if intake.count() > 0 || options.each.is_none() {
        intake.commit()?;
    }
    drop(progress);
    intake.tell();
    Ok(())
}
