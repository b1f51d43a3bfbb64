//! Dots under their names, beside plain lists of them.

mod support;

use std::collections::BTreeMap;

use dotter_dot::{Cell, Dots, NamedDots, RowError, SeriesKey, SeriesName, Shape, Timestamp, Value};
use proptest::prelude::*;
use support::{cell, column, shape};

fn name(number: u8) -> SeriesName {
    // Sorted otherwise than by number.
    SeriesName::new(&format!("s{}", 9 - number)).unwrap()
}

/// Of each dot: name, shape, time, bits.
fn named(dots: &[(u8, u8, u64, u64)]) -> NamedDots {
    let mut all = NamedDots::default();
    for (series, number, time, bits) in dots {
        let mut row = Vec::new();
        let value = cell(*number, *bits, &mut row);
        all.push(&name(*series), &shape(*number), Timestamp::from_nanos(*time), value);
    }
    all
}

proptest! {
    #[test]
    fn dots_come_back_in_order_and_by_name(
        dots in prop::collection::vec((0..5_u8, 0..support::SHAPES, any::<u64>(), any::<u64>()), 0..200),
    ) {
        let all = named(&dots);
        prop_assert_eq!((all.len(), all.iter().len()), (dots.len(), dots.len()));
        for ((found, of, time, value), (series, number, at, bits)) in all.iter().zip(&dots) {
            let mut row = Vec::new();
            prop_assert_eq!((found, of), (&name(*series), &shape(*number)));
            prop_assert_eq!((time.nanos(), value), (*at, cell(*number, *bits, &mut row)));
        }
        let mut expected: BTreeMap<SeriesName, Vec<(u8, u64, u64)>> = BTreeMap::new();
        for (series, number, time, bits) in &dots {
            expected.entry(name(*series)).or_default().push((*number, *time, *bits));
        }
        prop_assert_eq!(all.name_count(), expected.len());
        let columns: Vec<_> = all.columns().map(|(name, dots)| (name.clone(), dots)).collect();
        let expected: Vec<_> = expected.into_iter().map(|(name, dots)| (name, column(&dots))).collect();
        prop_assert_eq!(&columns, &expected);

        // Column by column they are the same dots again.
        let mut again = NamedDots::default();
        columns.iter().for_each(|(name, column)| again.extend(name, column));
        let columns: Vec<_> = again.columns().map(|(name, dots)| (name.clone(), dots)).collect();
        prop_assert_eq!(&columns, &expected);
    }

    #[test]
    fn copied_dots_have_the_keys_of_their_new_holder(
        dots in prop::collection::vec((0..5_u8, 0..support::SHAPES, any::<u64>(), any::<u64>()), 0..200),
        without in 0..30_usize,
    ) {
        let all = named(&dots);
        let list = all.series_list();
        let key = |(number, (_, shape)): (usize, &(SeriesName, Shape))| {
            (number != without).then(|| SeriesKey::new(1000 + number as u32, shape))
        };
        let keys: Vec<_> = list.iter().enumerate().map(key).collect();
        let mut copied = Dots::default();
        let left_out = all.copy_to(&keys, &mut copied);
        let number = |name: &SeriesName, of: &Shape| all.find(name.as_str(), of).unwrap();
        let kept: Vec<_> = all.iter().filter(|dot| number(dot.0, dot.1) as usize != without).collect();
        prop_assert_eq!(kept.len() as u64 + left_out, dots.len() as u64);
        prop_assert_eq!(kept.len(), copied.len());
        for (index, (name, of, time, value)) in kept.into_iter().enumerate() {
            prop_assert_eq!(copied.keys()[index].series(), 1000 + number(name, of));
            prop_assert!(!copied.keys()[index].is_clock());
            prop_assert_eq!((copied.times()[index], copied.cell(index)), (time.nanos(), value));
        }
    }
}

#[test]
fn a_series_has_one_number_and_is_found_by_its_canonical_name() {
    let mut dots = NamedDots::default();
    let (number, text) = (Shape::number(), shape(1));
    let tagged = |text: &str| SeriesName::new(text).unwrap();
    let a = dots.series(&tagged("a;y=1;x=2"), &number);
    let b = dots.series(&tagged("b"), &number);
    let log = dots.series(&tagged("b"), &text);
    assert_eq!(dots.series(&tagged("a;x=2;y=1"), &number), a);
    assert_eq!((dots.find("b", &number), dots.find("b", &text)), (Some(b), Some(log)));
    assert_eq!((dots.find("a;y=1;x=2", &number), dots.find("a;x=2;y=1", &number)), (None, Some(a)));
    dots.push_to(log, Timestamp::MIN, Cell::Row(b"\x02hi"));
    dots.push_to(b, Timestamp::MIN, Cell::number(1.0));
    // A series without dots is in the list alone.
    assert_eq!((dots.series_list().len(), dots.name_count(), dots.columns().count()), (3, 2, 1));
    assert!(dots.bytes() > 2 * 20 + 3);
}

#[test]
fn values_are_taken_as_the_shape_says_or_not_at_all() {
    let mut dots = NamedDots::default();
    let log = SeriesName::new("log").unwrap();
    dots.push_number(&log, Timestamp::MIN, 2.0);
    dots.push_values(&log, &shape(4), Timestamp::MIN, [Value::U64(7)]).unwrap();
    dots.push_values(&log, &shape(1), Timestamp::MIN, [Value::Text("hi")]).unwrap();
    let wrong = dots.push_values(&log, &shape(1), Timestamp::MIN, [Value::U64(7)]);
    assert!(matches!(wrong, Err(RowError::Letters { column: 0, .. })), "{wrong:?}");
    let cells: Vec<_> = dots.iter().map(|(_, _, _, cell)| cell).collect();
    assert_eq!(cells, [Cell::number(2.0), Cell::Word(7), Cell::Row(b"\x02hi")]);
    assert_eq!(dots.name_count(), 1);
}

#[test]
fn numbers_are_gathered_from_a_list() {
    let time = Timestamp::from_nanos;
    let dots =
        NamedDots::from(vec![(name(0), time(2), 1.0), (name(1), time(1), 2.0), (name(0), time(1), 3.0)]);
    let found: Vec<_> = dots.columns().map(|(name, dots)| (name.clone(), dots.times().to_vec())).collect();
    assert_eq!(found, [(name(1), vec![1]), (name(0), vec![2, 1])]);
}
