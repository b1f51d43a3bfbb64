//! Rows of the ways in, given to the store.

use dotter_dot::{Dots, NamedDots, SeriesKey};
use dotter_intake::Rows;

/// Puts every dot behind those in `dots`; returns how many had no key.
///
/// - `keys`: by number of the series
pub(crate) fn put(rows: &Rows, keys: &[Option<SeriesKey>], dots: &mut Dots) -> u64 {
    let mut without = 0;
    for (series, time, cell) in rows.dots() {
        match keys[series as usize] {
            Some(key) => dots.push(key, false, time, cell),
            None => without += 1,
        }
    }
    without
}

/// All dots, as a transaction of any size takes them.
pub(crate) fn bulk(rows: &Rows) -> NamedDots {
    let mut dots = NamedDots::default();
    for (series, time, cell) in rows.dots() {
        let (name, shape) = &rows.series_list()[series as usize];
        dots.push(name, shape, time, cell);
    }
    dots
}

#[cfg(test)]
mod tests {
    use dotter_dot::{Format, SeriesName, Shape, TimeRange, Timestamp, Value};
    use dotter_store::{Reader, Transaction, Writer};

    use super::*;

    /// Numbers and texts of the same name in turn.
    fn mixed() -> Rows {
        let mut rows = Rows::default();
        let name = || SeriesName::new("a").unwrap();
        let number = rows.series(name());
        let text = rows.series_of(name(), Shape::from(Format::new("s").unwrap()));
        rows.push_row(text, Timestamp::from_nanos(1), b"\x02hi");
        rows.push(number, Timestamp::from_nanos(2), 1.5);
        rows.push_row(text, Timestamp::from_nanos(3), b"\x00");
        rows
    }

    fn stored(dir: &std::path::Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut scan = Reader::open(dir).unwrap().snapshot().scan();
        let take = |row: dotter_store::Row<'_>| {
            let values: Vec<String> = row.cells().map(|value: Value<'_>| format!("{value:?}")).collect();
            found.push(format!("{} {}", row.time().nanos(), values.join(" ")));
            std::ops::ControlFlow::Continue(())
        };
        scan.rows("a", TimeRange::ALL, take).unwrap();
        found
    }

    #[test]
    fn rows_come_into_the_log_and_into_a_segment_as_they_are() {
        let expected = ["1 Text(\"hi\")", "2 F64(1.5)", "3 Text(\"\")"];
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(dotter_store::add(dir.path(), bulk(&mixed())).unwrap(), 3);
        assert_eq!(stored(dir.path()), expected);

        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path()).unwrap();
        let (rows, mut dots) = (mixed(), Dots::default());
        let series = rows.series_list().iter();
        let keys: Vec<_> = series.map(|(name, shape)| Some(writer.series(name, shape))).collect();
        assert_eq!(put(&rows, &keys, &mut dots), 0);
        assert_eq!(put(&rows, &[None, None], &mut dots), 3, "none of them has a key");
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
        writer.sync().unwrap();
        assert_eq!(stored(dir.path()), expected);
    }
}
