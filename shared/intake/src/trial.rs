//! Dots as tests compare them.

use dotter_dot::NamedDots;

/// Each dot: name, format, nanoseconds, row bytes.
pub(crate) fn all(dots: &NamedDots) -> Vec<(String, String, u64, Vec<u8>)> {
    let dot = dots.iter().map(|(name, shape, time, cell)| {
        let mut row = Vec::new();
        cell.put_row(&mut row);
        (name.to_string(), shape.format().to_string(), time.nanos(), row)
    });
    dot.collect()
}

/// Each dot of plain numbers alone: name, nanoseconds, value.
pub(crate) fn numbers(dots: &NamedDots) -> Vec<(String, u64, f64)> {
    let number = |row: &[u8]| f64::from_le_bytes(row.try_into().unwrap());
    all(dots).into_iter().map(|(name, _, time, row)| (name, time, number(&row))).collect()
}
