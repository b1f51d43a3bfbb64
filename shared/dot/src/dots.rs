//! Dots of many series in the order they were pushed.

use crate::column::Buffers;
use crate::{Cell, Letter, Rows, Shape, Timestamp};

/// What a key holds besides the number of the series, which stands above these bits. The kind of value stands lowest:
/// without it the key counts the two kinds of dots of each series, which is what the log groups by.
const ROW: u32 = 1;
const CLOCK: u32 = 2;
const FLAG_BITS: u32 = 2;

/// One past the greatest number of a series.
pub const SERIES_MAX: u32 = 1 << (u32::BITS - FLAG_BITS);

/// A series, as whoever fills [`Dots`] knows it: a number of the holder's own, and what its values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeriesKey {
    number: u32,
    /// The letter where a value is one number.
    word: Option<Letter>,
}

/// Of which series a dot is, whether its value is row bytes, and whether the clock stamped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DotKey(u32);

/// Dots of many series as columns, in the order they were pushed.
///
/// Always true: there are as many keys as times and words.
#[derive(Clone, Debug, Default)]
pub struct Dots {
    keys: Vec<DotKey>,
    dots: Buffers,
}

impl SeriesKey {
    /// - `number`: whose meaning is the holder's
    ///
    /// # Panics
    ///
    /// Where `number` is not below [`SERIES_MAX`].
    pub fn new(number: u32, shape: &Shape) -> SeriesKey {
        assert!(number < SERIES_MAX, "at most {SERIES_MAX} series have numbers");
        SeriesKey { number, word: shape.word() }
    }

    /// The holder's number.
    #[inline]
    pub fn number(self) -> u32 {
        self.number
    }

    #[inline]
    fn of_dot(self, clock: bool) -> DotKey {
        let row = if self.word.is_none() { ROW } else { 0 };
        let clock = if clock { CLOCK } else { 0 };
        DotKey(self.number << FLAG_BITS | row | clock)
    }
}

impl DotKey {
    /// Number of the series.
    #[inline]
    pub fn series(self) -> u32 {
        self.0 >> FLAG_BITS
    }

    /// Whether the value is row bytes, and not one number.
    #[inline]
    pub fn is_row(self) -> bool {
        self.0 & ROW == ROW
    }

    /// Whether the clock stamped it.
    #[inline]
    pub fn is_clock(self) -> bool {
        self.0 & CLOCK == CLOCK
    }
}

impl Dots {
    /// Appends a dot.
    ///
    /// - `clock`: whether the clock stamped it; a number stamped so replaces nothing and is replaced by nothing
    /// - `cell`: a value of the series' format; whether row bytes are a row of it is not looked at
    ///
    /// # Panics
    ///
    /// Where the series' format has no such value, or row bytes are more than [`ROW_BYTES_MAX`](crate::ROW_BYTES_MAX).
    #[inline]
    pub fn push(&mut self, series: SeriesKey, clock: bool, time: Timestamp, cell: Cell<'_>) {
        assert!(cell.is_of(series.word), "the value is one of the series' format");
        self.push_checked(series, clock, time, cell);
    }

    /// Appends a dot of a series of format `F`; otherwise as [`push`](Self::push).
    ///
    /// # Panics
    ///
    /// Where the series is of another format.
    #[inline]
    pub fn push_number(&mut self, series: SeriesKey, clock: bool, time: Timestamp, value: f64) {
        assert!(series.word == Some(Letter::F64), "a plain number belongs to a series of format F");
        self.push_checked(series, clock, time, Cell::number(value));
    }

    #[inline]
    fn push_checked(&mut self, series: SeriesKey, clock: bool, time: Timestamp, cell: Cell<'_>) {
        self.keys.push(series.of_dot(clock));
        self.dots.push(time, cell);
    }

    /// How many dots.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are no dots.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes all dots out.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.dots.clear();
    }

    /// The key of every dot.
    #[inline]
    pub fn keys(&self) -> &[DotKey] {
        &self.keys
    }

    /// Nanoseconds since 1970 of every dot.
    #[inline]
    pub fn times(&self) -> &[u64] {
        &self.dots.times
    }

    /// Of every dot of one number its word, of any other the word of its row in [`rows`](Self::rows).
    #[inline]
    pub fn words(&self) -> &[u64] {
        &self.dots.words
    }

    /// The row bytes of the dots that are not one number.
    #[inline]
    pub fn rows(&self) -> &Rows {
        &self.dots.rows
    }

    /// The value of a dot.
    #[inline]
    pub fn cell(&self, index: usize) -> Cell<'_> {
        self.dots.cell(index, self.keys[index].is_row())
    }

    /// Bytes that the dots take in memory.
    pub fn bytes(&self) -> usize {
        self.len() * (size_of::<DotKey>() + 2 * size_of::<u64>()) + self.dots.rows.bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;
    use crate::{Format, ROW_BYTES_MAX};

    fn key(number: u32, letters: &str) -> SeriesKey {
        SeriesKey::new(number, &Shape::from(Format::new(letters).unwrap()))
    }

    #[test]
    fn dots_keep_what_they_are_and_their_order() {
        let mut dots = Dots::default();
        let time = Timestamp::from_nanos;
        dots.push(key(SERIES_MAX - 1, "s"), true, time(3), Cell::Row(b"\x02hi"));
        dots.push(key(0, "i"), false, time(1), Cell::Word(-1_i64 as u64));
        dots.push_number(key(7, "F"), true, time(u64::MAX), 1.5);
        dots.push(key(SERIES_MAX - 1, "s"), false, time(3), Cell::Row(b""));
        let found: Vec<_> =
            dots.keys().iter().map(|key| (key.series(), key.is_row(), key.is_clock())).collect();
        let last = SERIES_MAX - 1;
        assert_eq!(found, [(last, true, true), (0, false, false), (7, false, true), (last, true, false)]);
        assert_eq!(dots.times(), [3, 1, u64::MAX, 3]);
        let cells: Vec<_> = (0..dots.len()).map(|index| dots.cell(index)).collect();
        let expected = [Cell::Row(b"\x02hi"), Cell::Word(-1_i64 as u64), Cell::number(1.5), Cell::Row(b"")];
        assert_eq!(cells, expected);
        assert_eq!((dots.bytes(), dots.rows().bytes()), (4 * 20 + 3, 3));
        dots.clear();
        assert!(dots.is_empty() && dots.rows().is_empty());
    }

    #[test]
    fn a_value_of_another_format_is_a_bug_of_whoever_pushes_it() {
        let push = |letters: &'static str, cell: Cell<'static>| {
            catch_unwind(move || Dots::default().push(key(0, letters), false, Timestamp::MIN, cell)).is_ok()
        };
        static LONG: [u8; ROW_BYTES_MAX + 1] = [0; ROW_BYTES_MAX + 1];
        assert!(push("u", Cell::Word(7)) && push("FF", Cell::Row(&[0; 16])));
        assert!(!push("u", Cell::Word(1 << 32)));
        assert!(!push("s", Cell::Word(1)));
        assert!(!push("F", Cell::Row(&[0; 8])));
        assert!(!push("s", Cell::Row(&LONG)));
        let number = |letters: &'static str| {
            catch_unwind(move || Dots::default().push_number(key(0, letters), false, Timestamp::MIN, 1.0))
        };
        assert!(number("F").is_ok() && number("U").is_err());
        assert!(catch_unwind(|| key(SERIES_MAX, "F")).is_err());
    }
}
