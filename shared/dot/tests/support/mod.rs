//! Dots of several shapes, for tests of whatever keeps them.
#![allow(dead_code, unreachable_pub)]

use dotter_dot::{Cell, Column, Format, Kind, Shape, Timestamp, Value, put_row};

/// How many shapes there are.
pub const SHAPES: u8 = 9;

/// A handful of shapes, words and rows among them.
pub fn shape(number: u8) -> Shape {
    let format = |letters| Format::new(letters).unwrap();
    match number % SHAPES {
        0 => Shape::number(),
        1 => Shape::from(format("s")),
        2 => Shape::new(format("F"), "ms", &["took"]).unwrap(),
        3 => Shape::new(format("suF"), "", &["path", "code", "took"]).unwrap(),
        4 => Shape::from(format("U")),
        5 => Shape::from(format("i")),
        6 => Shape::from(format("b")),
        7 => Shape::from(format("bsF")),
        _ => Shape::new(format("FU"), "s", &["took", "count"]).unwrap().with_kind(Kind::Histogram),
    }
}

/// A value of one of those shapes, made from `bits`; its row bytes, where it has some, replace those in `row`.
pub fn cell(number: u8, bits: u64, row: &mut Vec<u8>) -> Cell<'_> {
    row.clear();
    match number % SHAPES {
        1 => put_row([Value::Text(&bits.to_string())], row),
        3 => {
            let text = "x".repeat(bits as usize % 5);
            put_row([Value::Text(&text), Value::U32(bits as u32), Value::F64(f64::from_bits(bits))], row);
        }
        5 => return Cell::Word(bits as i32 as i64 as u64),
        // Hardly ever UTF-8, which nothing may expect of them.
        6 => put_row([Value::Bytes(&bits.to_be_bytes()[bits as usize % 9..])], row),
        7 => put_row(
            [Value::Bytes(&[0xff, bits as u8]), Value::Text("é"), Value::F64(f64::from_bits(bits))],
            row,
        ),
        8 => put_row([Value::F64(f64::from_bits(bits)), Value::U64(bits % 1000)], row),
        _ => return Cell::Word(bits),
    }
    Cell::Row(row)
}

/// Appends a dot of one of those shapes.
pub fn push(column: &mut Column, number: u8, time: u64, bits: u64) {
    column.push(&shape(number), Timestamp::from_nanos(time), cell(number, bits, &mut Vec::new()));
}

/// Dots as (number of the shape, time, bits).
pub fn column(dots: &[(u8, u64, u64)]) -> Column {
    let mut column = Column::default();
    dots.iter().for_each(|(shape, time, bits)| push(&mut column, *shape, *time, *bits));
    column
}
