//! Dots of many series side by side, as a frame of the log takes them.

use dotter_dot::{Letter, ROW_BYTES_MAX, Timestamp};

use crate::format::run::row_word;

/// A series of this writer: a name with a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeriesKey {
    pub(crate) id: u32,
    /// Where its values are one word, what that word holds.
    pub(crate) word: Option<Letter>,
}

/// Dots as columns, in the order of their commit.
#[derive(Debug, Default)]
pub struct Dots {
    /// Series id * 2 + clock.
    pub(crate) keys: Vec<u32>,
    pub(crate) times: Vec<u64>,
    /// Of a number its word, else where in `rows` the row stands.
    pub(crate) words: Vec<u64>,
    pub(crate) rows: Vec<u8>,
}

impl Dots {
    /// Adds one dot of a series of format `F`.
    ///
    /// - `clock`: whether the clock stamped it; such a dot replaces nothing and is replaced by nothing
    ///
    /// # Panics
    ///
    /// Where the series is of another format.
    #[inline]
    pub fn push(&mut self, series: SeriesKey, clock: bool, time: Timestamp, value: f64) {
        assert!(series.word == Some(Letter::F64), "a plain number belongs to a series of format F");
        self.push_any(series, clock, time, value.to_bits());
    }

    /// Adds one dot of a series of one number, whatever its letter.
    ///
    /// # Panics
    ///
    /// Where the series holds rows, or its letter cannot hold the word.
    #[inline]
    pub fn push_word(&mut self, series: SeriesKey, clock: bool, time: Timestamp, word: u64) {
        assert!(
            series.word.is_some_and(|letter| letter.holds(word)),
            "the word is one of the series' format"
        );
        self.push_any(series, clock, time, word);
    }

    /// Adds one dot of a series that is not of one number.
    ///
    /// - `row`: row bytes of the series' format; that they are is checked by [`Writer::append`]
    ///
    /// # Panics
    ///
    /// Where the series is of one number, or the row has more than [`ROW_BYTES_MAX`] bytes.
    #[inline]
    pub fn push_row(&mut self, series: SeriesKey, clock: bool, time: Timestamp, row: &[u8]) {
        assert!(series.word.is_none(), "a row belongs to a series of several columns or a text");
        assert!(row.len() <= ROW_BYTES_MAX, "a row has at most {ROW_BYTES_MAX} bytes");
        let word = row_word(self.rows.len(), row.len());
        self.rows.extend_from_slice(row);
        self.push_any(series, clock, time, word);
    }

    #[inline]
    fn push_any(&mut self, series: SeriesKey, clock: bool, time: Timestamp, word: u64) {
        self.keys.push(series.id << 1 | clock as u32);
        self.times.push(time.nanos());
        self.words.push(word);
    }

    /// Dots.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes all dots out.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.times.clear();
        self.words.clear();
        self.rows.clear();
    }
}
