//! A line of `dotter-store add`: what is read is written as a line that is read as the same.
#![no_main]

use dotter_intake::row_text::{RowReader, RowWriter, TimeReader, TimeUnit, TimeWriter, Times};
use libfuzzer_sys::fuzz_target;

fn reader() -> RowReader {
    RowReader::new(TimeReader::Plain(TimeUnit::Ns), None, "", &[]).expect("plain rows")
}

fuzz_target!(|line: &str| {
    let mut first = reader();
    let Ok(row) = first.read(line) else { return };
    let format = row.shape.format();
    let mut text = Vec::new();
    let mut writer = RowWriter::new(TimeWriter::new(Times::Nanos, None), true);
    writer.write(&row.name, row.time, format.as_str(), row.cell.values(format), &mut text);
    let text = String::from_utf8(text).expect("rows are text");
    let mut second = reader();
    let back = second.read(text.trim_end_matches('\n')).expect("what was written is read");
    assert_eq!((&back.name, back.time, back.shape), (&row.name, row.time, row.shape));
    let values = |row: &dotter_intake::row_text::Row<'_>| -> Vec<String> {
        row.cell.values(row.shape.format()).map(|value| value.to_string()).collect()
    };
    assert_eq!(values(&back), values(&row));
});
