//! `dotter-store compact --filter`: every row through a command, as text.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use dotter_dot::{SeriesName, Shape, Timestamp};
use dotter_intake::row_text::{RowReader, RowWriter, TimeFormat, TimeReader, TimeUnit, TimeWriter, Times};
use dotter_store::{FilteredRow, Row};

use crate::error::Error;

/// Runs the command, and says what it did.
///
/// - `format`: how times are written and read, instead of whole nanoseconds
pub(crate) fn run(
    dir: &Path,
    command: &str,
    format: Option<&TimeFormat>,
    cancel: &dyn Fn() -> bool,
    progress: &dyn Fn(u64, u64),
) -> Result<(), Error> {
    if format.is_some_and(has_blanks) {
        return Err(Error::Usage(
            "a form of times without blanks is needed here: they stand between fields".to_owned(),
        ));
    }
    let writer = RowWriter::new(TimeWriter::new(Times::Nanos, format), true);
    let text = Mutex::new(Text { writer, labels: HashMap::new() });
    let lock = || text.lock().unwrap_or_else(PoisonError::into_inner);
    let write = |name: &str, row: &Row<'_>, out: &mut Vec<u8>| lock().write(name, row, out);
    let mut reader =
        RowReader::new(TimeReader::new(format, TimeUnit::Ns), None, "", &[]).map_err(Error::Usage)?;
    let mut read = |line: &str| -> Result<FilteredRow, String> {
        let row = reader.read(line)?;
        let name = SeriesName::new(&row.name).map_err(|error| error.to_string())?;
        let shape = lock().shape(name.as_str(), row.shape);
        let mut bytes = Vec::new();
        row.cell.put_row(&mut bytes);
        Ok(FilteredRow { name, time: row.time, shape, bytes })
    };
    let done = dotter_store::compact_filtered(dir, command, &write, &mut read, cancel, progress)?;
    eprintln!(
        "{} rows out, {} rows in, {} committed too lately to be asked",
        done.rows_out, done.rows_in, done.left
    );
    Ok(())
}

/// Whether times of that form have blanks in them.
fn has_blanks(format: &TimeFormat) -> bool {
    let mut text = Vec::new();
    TimeWriter::new(Times::Nanos, Some(format)).write(Timestamp::MIN, &mut text);
    text.contains(&b' ') || text.contains(&b'\t')
}

/// Rows as the command sees them, and what it does not see of them.
struct Text {
    writer: RowWriter,
    /// By series and format, shapes with a unit, a kind or names of columns, which rows of text do not have: a row
    /// that comes back under the same name in the same format gets them again.
    labels: HashMap<String, HashMap<String, Shape>>,
}

impl Text {
    fn write(&mut self, name: &str, row: &Row<'_>, out: &mut Vec<u8>) {
        let shape = row.shape();
        let letters = shape.format().as_str();
        if !shape.is_format_alone() {
            let known = self.labels.get(name).and_then(|shapes| shapes.get(letters));
            if !known.is_some_and(|known| known.is(shape)) {
                self.labels.entry(name.to_owned()).or_default().insert(letters.to_owned(), shape.clone());
            }
        }
        self.writer.write(name, row.time(), letters, row.cells(), out);
    }

    fn shape(&self, name: &str, read: &Shape) -> Shape {
        let known = self.labels.get(name).and_then(|shapes| shapes.get(read.format().as_str()));
        known.unwrap_or(read).clone()
    }
}
