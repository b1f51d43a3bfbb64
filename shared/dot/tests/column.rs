//! Columns beside plain lists of dots.

mod support;

use std::collections::BTreeMap;
use std::ops::Range;

use dotter_dot::{Cell, Column, Shape, Timestamp};
use proptest::prelude::*;
use support::{cell, column, push, shape};

fn dots(times: Range<u64>, count: usize) -> impl Strategy<Value = Vec<(u8, u64, u64)>> {
    prop::collection::vec((0..support::SHAPES, times, any::<u64>()), 0..count)
}

proptest! {
    #[test]
    fn sorting_and_keeping_the_last_is_what_a_map_gives(dots in dots(0..50, 200)) {
        let mut found = column(&dots);
        found.sort();
        let mut expected = dots.clone();
        expected.sort_by_key(|dot| dot.1);
        prop_assert_eq!(&found, &column(&expected));
        let replaced = found.keep_last();
        let map: BTreeMap<u64, (u8, u64, u64)> = dots.iter().map(|dot| (dot.1, *dot)).collect();
        prop_assert_eq!(replaced as usize, dots.len() - map.len());
        prop_assert_eq!(&found, &column(&map.into_values().collect::<Vec<_>>()));
    }

    #[test]
    fn columns_are_put_together_and_taken_apart(a in dots(0..50, 60), b in dots(0..50, 60), cut in 0..60_usize) {
        let (first, second) = (column(&a), column(&b));
        let all = [&a[..], &b[..]].concat();
        let mut both = first.clone();
        both.extend(&second, 0..second.len());
        prop_assert_eq!(&both, &column(&all));
        let mut front = both.clone();
        let cut = cut.min(front.len());
        let rest = front.split_off(cut);
        prop_assert_eq!(&front, &column(&all[..cut]));
        prop_assert_eq!(&rest, &column(&all[cut..]));
        // What was cut may grow again, by any shape.
        front.extend(&rest, 0..rest.len());
        prop_assert_eq!(&front, &both);
        if let (Some(last), false) = (a.last(), b.is_empty()) {
            let mut replaced = both.clone();
            replaced.replace_last(&first, a.len() - 1);
            let mut all = all.clone();
            *all.last_mut().unwrap() = *last;
            prop_assert_eq!(&replaced, &column(&all));
        }
        let parts: Vec<_> = first.parts(0..first.len()).collect();
        prop_assert!(parts.iter().flat_map(|(part, _)| part.clone()).eq(0..first.len()));
        prop_assert!(parts.windows(2).all(|pair| pair[0].1 != pair[1].1));
    }

    #[test]
    fn every_dot_comes_back_as_it_was_pushed(dots in dots(0..50, 60)) {
        let found = column(&dots);
        prop_assert_eq!(found.iter().count(), dots.len());
        for (index, ((of, time, value), (number, at, bits))) in found.iter().zip(&dots).enumerate() {
            let mut row = Vec::new();
            prop_assert_eq!((of, time), (&shape(*number), Timestamp::from_nanos(*at)));
            prop_assert_eq!(value, cell(*number, *bits, &mut row));
            prop_assert_eq!((found.shape_at(index), found.cell(index, of)), (of, value));
        }
        // Numbers are those of the columns' values, one after the other.
        let number = |(shape, time, cell): (&Shape, Timestamp, Cell<'_>)| {
            cell.values(shape.format()).number().map(|number| (time.nanos(), number.to_bits()))
        };
        let mut numbers = Vec::new();
        found.numbers(0..found.len(), |time, number| numbers.push((time, number.to_bits())));
        prop_assert_eq!(&numbers, &found.iter().filter_map(number).collect::<Vec<_>>());
        // Observations are the same numbers, each as often as a weighted row says.
        let weight = |(number, _, bits): &(u8, u64, u64)| if *number == 8 { *bits % 1000 } else { 1 };
        let mut observed = Vec::new();
        found.observations(0..found.len(), |time, number, weight| observed.push((time, number.to_bits(), weight)));
        let weights: Vec<u64> = dots.iter().map(weight).collect();
        let told: Vec<u64> = (0..found.len()).map(|index| found.weight(index, found.shape_at(index))).collect();
        prop_assert_eq!(&told, &weights);
        let is_text = |number: u8| shape(number).is_text();
        let weights: Vec<u64> = dots.iter().zip(weights).filter(|((n, ..), _)| !is_text(*n)).map(|(_, w)| w).collect();
        prop_assert_eq!(observed, numbers.iter().zip(weights).map(|((t, n), w)| (*t, *n, w)).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_filled_in_counts_whole_or_not_at_all(
        a in dots(0..50, 60), number in 0..support::SHAPES, bits in prop::collection::vec(any::<u64>(), 0..20),
    ) {
        let mut found = column(&a);
        let mut row = Vec::new();
        let mut fill = |fails: bool| {
            found.append_with(&shape(number), |buffers| {
                for (time, bits) in bits.iter().enumerate() {
                    buffers.times.push(time as u64);
                    let word = match cell(number, *bits, &mut row) {
                        Cell::Word(word) => word,
                        Cell::Row(row) => buffers.rows.push(row),
                    };
                    buffers.words.push(word);
                }
                // One that failed in the midst of a dot.
                if fails { buffers.times.push(7) }
                if fails { Err(bits.len()) } else { Ok(bits.len()) }
            })
        };
        prop_assert_eq!(fill(true), Err(bits.len()));
        prop_assert_eq!(fill(false), Ok(bits.len()));
        let mut expected = column(&a);
        bits.iter().enumerate().for_each(|(time, bits)| push(&mut expected, number, time as u64, *bits));
        prop_assert_eq!(found.row_bytes(), expected.row_bytes());
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn columns_of_equal_words_and_other_rows_or_shapes_differ() {
    let text = |text: &[u8]| {
        let mut column = Column::default();
        column.push(&shape(1), Timestamp::MIN, Cell::Row(text));
        column
    };
    assert_eq!(text(b"\x01a"), text(b"\x01a"));
    assert_ne!(text(b"\x01a"), text(b"\x01b"));
    assert_ne!(column(&[(0, 1, 7)]), column(&[(2, 1, 7)]));
    assert_ne!(column(&[(0, 1, 7)]), column(&[(0, 2, 7)]));
    assert_ne!(column(&[(0, 1, 7)]), column(&[(0, 1, 7), (0, 1, 7)]));
}

#[test]
fn a_column_ascends_where_each_time_is_later_than_the_one_before() {
    let check = |times: &[u64], ascends: bool| {
        let dots: Vec<_> = times.iter().map(|time| (0, *time, 0)).collect();
        assert_eq!(column(&dots).is_ascending(), ascends, "{times:?}");
    };
    let (half, last) = (1 << 63, u64::MAX);
    check(&[], true);
    check(&[last], true);
    check(&[0, 1, 2, 30, 31], true);
    check(&[0, 1, 1, 2], false);
    check(&[0, 2, 1, 3], false);
    check(&[5, 5], false);
    // Differences of times far apart have another sign.
    check(&[0, half - 1, half, half + 1, last], true);
    check(&[0, last], true);
    check(&[last, 0], false);
    check(&[half, 1], false);
    check(&[half - 1, last, last], false);
}
