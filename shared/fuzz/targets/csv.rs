//! A comma-separated file in pieces: every row has the values of its format, whatever the pieces are.
#![no_main]

use dotter_intake::csv::{Fed, Layout, Records, Table};
use dotter_intake::row_text::{TimeReader, TimeUnit};
use libfuzzer_sys::fuzz_target;

/// Rows and bad records of a file.
fn read(file: &[u8], piece_bytes: usize, is_wide: bool) -> (usize, usize) {
    let layout = Layout {
        times: TimeReader::Plain(TimeUnit::S),
        format: None,
        unit: "",
        series: None,
        series_column: None,
        time_column: None,
        is_wide,
    };
    let (mut records, mut table) = (Records::new(b','), None);
    let (mut at, mut rows, mut bad) = (0, 0, 0);
    loop {
        let (taken, fed) = records.feed(&file[at..file.len().min(at + piece_bytes)]);
        at += taken;
        match (fed, &mut table) {
            (Fed::More, _) => {}
            (Fed::End, _) => return (rows, bad),
            (Fed::Bad(_), _) => bad += 1,
            (Fed::Record(record), None) => match Table::new(&record, layout.clone()) {
                Ok(new) => table = Some(new),
                Err(_) => return (rows, bad),
            },
            (Fed::Record(record), Some(table)) => {
                let read: Result<(), ()> = table.read(&record, |row| {
                    match row {
                        Ok(row) => {
                            let format = row.shape.format();
                            assert_eq!(row.cell.values(format).count(), format.len());
                            rows += 1;
                        }
                        Err(_) => bad += 1,
                    }
                    Ok(())
                });
                read.expect("nothing stops it");
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, file)) = bytes.split_first() else { return };
    let (is_wide, piece_bytes) = (first & 1 == 1, usize::from(first / 2) + 1);
    assert_eq!(read(file, piece_bytes, is_wide), read(file, usize::MAX - file.len(), is_wide));
});
