//! Dots that came without record numbers: each series once, then one entry a dot.

use std::collections::HashMap;

use dotter_dot::{Cell, SeriesName, Shape, Timestamp};

/// Dots with explicit times, in the order they came; of equal times the last counts.
#[derive(Debug, Default)]
pub struct Rows {
    series: Vec<(SeriesName, Shape)>,
    /// The series of plain numbers, which are nearly all.
    numbers: HashMap<SeriesName, u32>,
    others: HashMap<(SeriesName, Shape), u32>,
    /// By dot: its series.
    of: Vec<u32>,
    times: Vec<Timestamp>,
    /// By dot: of a series of one number its word, else where in `bytes` its row starts.
    words: Vec<u64>,
    bytes: Vec<u8>,
}

impl Rows {
    /// The number of a series of plain numbers, where the text is a canonical name that is known already.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The number of a series of plain numbers.
    pub fn series(&mut self, name: SeriesName) -> u32 {
        let series = &mut self.series;
        *self.numbers.entry(name).or_insert_with_key(|name| {
            series.push((name.clone(), Shape::number()));
            // Fits: each takes a byte of a body or a line at least, and those are bounded far below.
            series.len() as u32 - 1
        })
    }

    /// The number of a series of any shape.
    pub fn series_of(&mut self, name: SeriesName, shape: Shape) -> u32 {
        if shape == Shape::number() {
            return self.series(name);
        }
        let series = &mut self.series;
        *self.others.entry((name, shape)).or_insert_with_key(|named| {
            series.push(named.clone());
            series.len() as u32 - 1
        })
    }

    /// Puts a dot of one plain number behind the others.
    ///
    /// - `series`: as [`series`](Self::series) gave it
    pub fn push(&mut self, series: u32, time: Timestamp, value: f64) {
        self.push_word(series, time, value.to_bits());
    }

    /// Puts a dot of a series of one number behind the others.
    ///
    /// - `word`: one that the series' letter holds
    pub fn push_word(&mut self, series: u32, time: Timestamp, word: u64) {
        self.of.push(series);
        self.times.push(time);
        self.words.push(word);
    }

    /// Puts a dot of any other series behind the others.
    ///
    /// - `row`: row bytes of the series' format, which is not of one number
    pub fn push_row(&mut self, series: u32, time: Timestamp, row: &[u8]) {
        self.push_word(series, time, self.bytes.len() as u64);
        self.bytes.extend_from_slice(row);
    }

    /// Says only now which series the dots from `first` on belong to; it is of the shape they were made for.
    pub fn assign(&mut self, first: usize, series: u32) {
        self.of[first..].fill(series);
    }

    /// Every series, by its number.
    pub fn series_list(&self) -> &[(SeriesName, Shape)] {
        &self.series
    }

    /// How many dots.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Every dot in the order they came: the number of its series, its time, its value.
    pub fn dots(&self) -> impl Iterator<Item = (u32, Timestamp, Cell<'_>)> {
        (0..self.len()).map(|index| {
            let series = self.of[index];
            let cell = match self.is_word(series) {
                true => Cell::Word(self.words[index]),
                false => Cell::Row(self.row(index)),
            };
            (series, self.times[index], cell)
        })
    }

    fn is_word(&self, series: u32) -> bool {
        self.series[series as usize].1.word().is_some()
    }

    /// The row of a dot: it ends where the next one starts, in whatever series.
    fn row(&self, index: usize) -> &[u8] {
        let next = (index + 1..self.len()).find(|next| !self.is_word(self.of[*next]));
        let until = next.map_or(self.bytes.len(), |next| self.words[next] as usize);
        &self.bytes[self.words[index] as usize..until]
    }
}

#[cfg(test)]
impl Rows {
    /// Each dot: name, format, nanoseconds, bytes of the row.
    pub(crate) fn all(&self) -> Vec<(String, String, u64, Vec<u8>)> {
        let dot = |(series, time, cell): (u32, Timestamp, Cell<'_>)| {
            let (name, shape) = &self.series[series as usize];
            let row = match cell {
                Cell::Word(word) => word.to_le_bytes().to_vec(),
                Cell::Row(row) => row.to_vec(),
            };
            (name.to_string(), shape.format().to_string(), time.nanos(), row)
        };
        self.dots().map(dot).collect()
    }

    /// Each dot of plain numbers alone: name, nanoseconds, value.
    pub(crate) fn numbers(&self) -> Vec<(String, u64, f64)> {
        let number = |row: &[u8]| f64::from_le_bytes(row.try_into().unwrap());
        self.all().into_iter().map(|(name, _, time, row)| (name, time, number(&row))).collect()
    }
}

#[cfg(test)]
mod tests {
    use dotter_dot::Format;

    use super::*;

    #[test]
    fn rows_keep_a_name_once_and_the_order_of_dots() {
        let mut rows = Rows::default();
        let a = rows.series(SeriesName::new("a;y=1;x=2").unwrap());
        let b = rows.series(SeriesName::new("b").unwrap());
        assert_eq!(rows.series(SeriesName::new("a;x=2;y=1").unwrap()), a);
        assert_eq!((rows.find("b"), rows.find("c")), (Some(b), None));
        rows.push(b, Timestamp::from_nanos(2), 1.0);
        rows.push(b, Timestamp::from_nanos(1), 2.0);
        rows.assign(1, a);
        assert_eq!(rows.numbers(), [("b".into(), 2, 1.0), ("a;x=2;y=1".into(), 1, 2.0)]);
    }

    #[test]
    fn rows_of_any_shape_stand_between_numbers() {
        let mut rows = Rows::default();
        let text = Shape::from(Format::new("s").unwrap());
        let number = rows.series(SeriesName::new("a").unwrap());
        let log = rows.series_of(SeriesName::new("a").unwrap(), text.clone());
        assert_eq!(rows.series_of(SeriesName::new("a").unwrap(), text), log);
        assert_eq!(rows.series_of(SeriesName::new("a").unwrap(), Shape::number()), number);
        let time = Timestamp::from_nanos(1);
        rows.push_row(log, time, b"\x02hi");
        rows.push(number, time, 1.0);
        rows.push_row(log, time, b"\x00");
        rows.push_row(log, time, b"\x01x");
        let found: Vec<_> = rows.all().into_iter().map(|(_, format, _, row)| (format, row)).collect();
        let expected = [
            ("s", b"\x02hi".to_vec()),
            ("F", 1.0_f64.to_le_bytes().to_vec()),
            ("s", b"\x00".to_vec()),
            ("s", b"\x01x".to_vec()),
        ];
        assert_eq!(found, expected.map(|(format, row)| (format.to_owned(), row)));
    }
}
