//! Tests of filters on lines of few templates: where a template decides, each of its lines gives the same answer.

#[cfg(test)]
mod tests {
    use std::num::NonZero;
    use std::ops::ControlFlow;

    use dotter_dot::{Format, NamedDots, SeriesName, Shape, TimeRange, Timestamp, Value, put_row};
    use proptest::prelude::*;

    use crate::error::Error;
    use crate::read::filter::{Filter, Search, Searched};
    use crate::read::reader::Reader;
    use crate::read::scan::{Row, RowTest};
    use crate::read::snapshot::Snapshot;

    const LEVELS: [&str; 4] = ["INFO ", "INFO ", "WARN ", "ERROR"];

    fn shape() -> Shape {
        Shape::from(Format::new("s").expect("a format"))
    }

    fn log() -> SeriesName {
        SeriesName::new("log").expect("a name")
    }

    /// Adds lines: their times, and numbers that make the text.
    fn add(dir: &std::path::Path, lines: impl Iterator<Item = (u64, u64)>) {
        let mut bulk = NamedDots::default();
        for (time, number) in lines {
            let text = format!("{} took {number} ms", LEVELS[number as usize % LEVELS.len()]);
            bulk.push_values(&log(), &shape(), Timestamp::from_nanos(time), [Value::Text(&text)]).unwrap();
        }
        crate::add(dir, bulk).unwrap();
    }

    /// Times and row bytes of the rows that a filter finds.
    fn found(snapshot: &Snapshot, filter: Option<&Filter>) -> (Vec<(u64, Vec<u8>)>, Searched) {
        let (series, threads) = ([log()], NonZero::new(1));
        let search = Search { snapshot, series: &series, range: TimeRange::ALL, filter, threads };
        let mut all = Vec::new();
        let keep = |_: &SeriesName, row: &Row<'_>, kept: &mut Vec<_>| {
            kept.push((row.time().nanos(), row.row_bytes().to_vec()));
        };
        let searched = search.run::<_, Error>(keep, |kept: Vec<_>| {
            all.extend(kept);
            Ok(())
        });
        (all, searched.unwrap())
    }

    /// How many rows are read without their bytes, and how many with them.
    fn left_out_and_read(snapshot: &Snapshot, filter: &str) -> (u64, u64) {
        let filter = Filter::new(filter).unwrap();
        let test: RowTest<'_> = &|shape, pieces| filter.may_match_texts("log", shape, pieces);
        let (mut left_out, mut read) = (0, 0);
        let counted = snapshot.scan().rows_tested("log", TimeRange::ALL, Some(test), |row| {
            *if row.is_left_out() { &mut left_out } else { &mut read } += 1;
            ControlFlow::Continue(())
        });
        counted.unwrap();
        (left_out, read)
    }

    #[test]
    fn lines_whose_template_decides_that_they_do_not_match_are_not_decoded() {
        let dir = tempfile::tempdir().unwrap();
        add(dir.path(), (0..40_000).map(|n| (n, n)));
        let snapshot = Reader::open(dir.path()).unwrap().snapshot();
        let all = (40_000, 0);
        assert_eq!(left_out_and_read(&snapshot, "value contains 'FATAL'"), all);
        assert_eq!(left_out_and_read(&snapshot, "value contains 'took 7 s'"), all);
        assert_eq!(left_out_and_read(&snapshot, "not value contains 'took '"), all);
        assert_eq!(left_out_and_read(&snapshot, "value starts 'ERROR' and value ends 's of work'"), all);
        assert_eq!(left_out_and_read(&snapshot, "value contains 'ERROR'"), (30_000, 10_000));
        assert_eq!(left_out_and_read(&snapshot, "value = 'WARN  took 2 ms'"), (30_000, 10_000));
        assert_eq!(left_out_and_read(&snapshot, "value contains '7 ms' or time = 5"), (0, 40_000));
    }

    /// Equal lines of two commits are the same line, which only their bytes show.
    #[test]
    fn lines_of_commits_that_overlap_are_all_decoded() {
        let dir = tempfile::tempdir().unwrap();
        add(dir.path(), (0..1000).map(|n| (n / 2, n)));
        add(dir.path(), (0..1000).map(|n| (n / 2, n / 2)));
        let snapshot = Reader::open(dir.path()).unwrap().snapshot();
        assert_eq!(left_out_and_read(&snapshot, "value contains 'FATAL'").0, 0);
    }

    proptest! {
        #[test]
        fn what_is_known_of_a_template_holds_for_each_of_its_texts(
            pieces in prop::collection::vec("[ab1 ]{0,3}", 1..4),
            digits in prop::collection::vec("[0-9]{1,3}", 3),
            sign in prop::sample::select(vec!["contains", "starts", "ends", "=", "!=", "<", ">=", "=~", "!~"]),
            other in "[ab01]{0,4}",
            part in prop::option::of((0..20_usize, 0..20_usize)),
            wrap in prop::sample::select(vec!["", "not ", "time = 1 or ", "time < 1 and ", "not time < 1 and not "]),
        ) {
            let mut text = pieces[0].clone();
            for (piece, digits) in pieces[1..].iter().zip(&digits) {
                text = text + digits + piece;
            }
            // Half of the time a part of the text itself, so that what is asked is often true.
            let asked = part.map_or(other, |(from, len)| text.chars().skip(from % (text.len() + 1)).take(len).collect());
            let condition = format!("{wrap}value {sign} '{asked}'");
            let mut row = Vec::new();
            put_row([Value::Text(&text)], &mut row);
            let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
            for condition in [format!("not ({condition})"), condition] {
                let filter = Filter::new(&condition).unwrap();
                let matches = filter.matcher("log", &shape()).matches_row(1, &row);
                prop_assert!(!matches || filter.may_match_texts("log", &shape(), &pieces), "{} of {:?}", condition, text);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_filter_finds_the_lines_that_match_whatever_their_templates_decide(
            commits in prop::collection::vec(prop::collection::vec((0..300_u64, 0..30_u64), 1..300), 1..4),
            apart in any::<bool>(),
            filter in prop::sample::select(vec![
                "value contains 'ERROR'", "value contains 'FATAL'", "not value contains 'INFO'", "value ends '7 ms'",
                "value starts 'WARN  took 1'", "value = 'ERROR took 3 ms' or time < 20", "value contains 'took 2'",
                "value !~ 'INFO' and value != 'ERROR took 7 ms'",
            ]),
        ) {
            let dir = tempfile::tempdir().unwrap();
            for (number, lines) in commits.iter().enumerate() {
                let begin = if apart { number as u64 * 300 } else { 0 };
                add(dir.path(), lines.iter().map(|(time, number)| (begin + time, *number)));
            }
            let snapshot = Reader::open(dir.path()).unwrap().snapshot();
            let filter = Filter::new(filter).unwrap();
            let (mut expected, everything) = found(&snapshot, None);
            let matcher = filter.matcher("log", &shape());
            expected.retain(|(time, row)| matcher.matches_row(*time, row));
            let (rows, searched) = found(&snapshot, Some(&filter));
            prop_assert_eq!(&rows, &expected);
            prop_assert_eq!(searched, Searched { found: expected.len() as u64, ..everything });
        }
    }
}
