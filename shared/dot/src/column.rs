//! Dots of one series in memory, side by side: a time and a word each, and what shape they have.
//!
//! A series may change its shape at any dot. A column notes where it does, so that one shape costs nothing a dot,
//! and everything that puts dots in order works on columns of whatever shapes.

use std::ops::Range;

use crate::{Cell, Cells, Letter, Rows, Shape, Timestamp};

/// Times, words and row bytes of dots, side by side.
///
/// Where dots are complete there are as many words as times.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    /// Nanoseconds since 1970.
    pub times: Vec<u64>,
    /// Of a value of one number its word, of any other the word of its row in `rows`.
    pub words: Vec<u64>,
    /// Row bytes of the values that are not one number.
    pub rows: Rows,
}

impl Buffers {
    #[inline]
    pub(crate) fn push(&mut self, time: Timestamp, cell: Cell<'_>) {
        let word = match cell {
            Cell::Word(word) => word,
            Cell::Row(row) => self.rows.push(row),
        };
        self.times.push(time.nanos());
        self.words.push(word);
    }

    #[inline]
    pub(crate) fn cell(&self, index: usize, is_row: bool) -> Cell<'_> {
        let word = self.words[index];
        if is_row { Cell::Row(self.rows.get(word)) } else { Cell::Word(word) }
    }

    pub(crate) fn clear(&mut self) {
        self.times.clear();
        self.words.clear();
        self.rows.clear();
    }
}

/// Dots of one series in some order.
///
/// Always true: there are as many words as times; `changes` ascend and lie within them; `shape` is there where a dot
/// is; every word is one of the dot's shape.
#[derive(Clone, Debug, Default)]
pub struct Column {
    dots: Buffers,
    /// The shape of the first dot.
    shape: Option<Shape>,
    /// From which dot on another shape holds.
    changes: Vec<(usize, Shape)>,
}

impl Column {
    /// How many dots.
    pub fn len(&self) -> usize {
        self.dots.times.len()
    }

    /// Whether there are no dots.
    pub fn is_empty(&self) -> bool {
        self.dots.times.is_empty()
    }

    /// Nanoseconds since 1970 of every dot.
    #[inline]
    pub fn times(&self) -> &[u64] {
        &self.dots.times
    }

    /// The times, to be changed; the dots stay in the order they are in.
    pub fn times_mut(&mut self) -> &mut [u64] {
        &mut self.dots.times
    }

    /// Of every dot of one number its word; the words of other dots mean nothing to anybody else.
    #[inline]
    pub fn words(&self) -> &[u64] {
        &self.dots.words
    }

    /// Takes all dots out.
    pub fn clear(&mut self) {
        self.dots.clear();
        self.shape = None;
        self.changes.clear();
    }

    /// Makes room for so many dots more, and no more than that where it has none yet.
    pub fn reserve(&mut self, dots: usize) {
        let Buffers { times, words, .. } = &mut self.dots;
        if times.is_empty() {
            times.reserve_exact(dots);
            words.reserve_exact(dots);
        } else {
            times.reserve(dots);
            words.reserve(dots);
        }
    }

    /// Appends a dot.
    ///
    /// # Panics
    ///
    /// Where the value is none of the shape's format.
    pub fn push(&mut self, shape: &Shape, time: Timestamp, cell: Cell<'_>) {
        assert!(cell.is_of(shape.word()), "the value is one of the shape's format");
        self.dots.push(time, cell);
        self.note(self.len() - 1, shape);
    }

    /// Appends the dots of one shape that `fill` appends: rows of it, or words that its letter holds. Where `fill`
    /// fails all of them are taken back.
    ///
    /// # Errors
    ///
    /// Those of `fill`.
    ///
    /// # Panics
    ///
    /// Where `fill` leaves not as many words as times.
    pub fn append_with<T, E>(
        &mut self,
        shape: &Shape,
        fill: impl FnOnce(&mut Buffers) -> Result<T, E>,
    ) -> Result<T, E> {
        let (dots, rows) = (self.len(), self.dots.rows.bytes());
        let filled = fill(&mut self.dots);
        match &filled {
            Ok(_) => {
                assert_eq!(self.dots.times.len(), self.dots.words.len(), "each dot has a time and a word");
                self.note(dots, shape);
            }
            Err(_) => {
                self.dots.times.truncate(dots);
                self.dots.words.truncate(dots);
                self.dots.rows.truncate(rows);
            }
        }
        filled
    }

    /// Keeps the first `count` dots.
    pub fn truncate(&mut self, count: usize) {
        self.dots.times.truncate(count);
        self.dots.words.truncate(count);
        self.changes.truncate(self.changes.partition_point(|(at, _)| *at < count));
        if count == 0 {
            self.dots.rows.clear();
            self.shape = None;
        }
    }

    /// Says of what shape the dots from `from` on are.
    fn note(&mut self, from: usize, shape: &Shape) {
        if from == self.dots.words.len() {
            return;
        }
        match self.last_shape() {
            None => self.shape = Some(shape.clone()),
            Some(last) if last.is(shape) || last == shape => {}
            Some(_) => self.changes.push((from, shape.clone())),
        }
    }

    /// The row bytes of a dot that is not one number.
    #[inline]
    pub fn row(&self, index: usize) -> &[u8] {
        self.dots.rows.get(self.dots.words[index])
    }

    /// Bytes of all rows, among them some of dots that were taken out again.
    pub fn row_bytes(&self) -> usize {
        self.dots.rows.bytes()
    }

    /// Whether no dot changes the shape.
    pub fn is_uniform(&self) -> bool {
        self.changes.is_empty()
    }

    /// The shape of a dot.
    ///
    /// # Panics
    ///
    /// Where there are no dots.
    pub fn shape_at(&self, index: usize) -> &Shape {
        self.shape_after(self.changes.partition_point(|(at, _)| *at <= index))
    }

    /// The shape that holds after so many changes.
    fn shape_after(&self, changes: usize) -> &Shape {
        match changes {
            0 => self.shape.as_ref().expect("a column with dots has a shape"),
            count => &self.changes[count - 1].1,
        }
    }

    /// The shape of the last dot.
    pub fn last_shape(&self) -> Option<&Shape> {
        self.changes.last().map(|(_, shape)| shape).or(self.shape.as_ref())
    }

    /// The parts of `range` of one shape each.
    pub fn parts(&self, range: Range<usize>) -> impl Iterator<Item = (Range<usize>, &Shape)> {
        let mut change = self.changes.partition_point(|(at, _)| *at <= range.start);
        let mut start = range.start;
        std::iter::from_fn(move || {
            if start >= range.end {
                return None;
            }
            let end = self.changes.get(change).map_or(range.end, |(at, _)| (*at).min(range.end));
            let part = (start..end, self.shape_after(change));
            (start, change) = (end, change + 1);
            Some(part)
        })
    }

    /// Every dot in turn: its shape, its time, its value.
    pub fn iter(&self) -> impl Iterator<Item = (&Shape, Timestamp, Cell<'_>)> {
        self.parts(0..self.len()).flat_map(move |(part, shape)| {
            part.map(move |index| {
                (shape, Timestamp::from_nanos(self.dots.times[index]), self.cell(index, shape))
            })
        })
    }

    /// The value of a dot, whose shape is `shape`.
    #[inline]
    pub fn cell(&self, index: usize, shape: &Shape) -> Cell<'_> {
        self.dots.cell(index, shape.word().is_none())
    }

    /// The values of a dot's columns, whose shape is `shape`.
    pub fn values<'a>(&'a self, index: usize, shape: &'a Shape) -> Cells<'a> {
        self.cell(index, shape).values(shape.format())
    }

    /// How many observations a dot is, whose shape is `shape`: one, or what a weighted row says
    /// ([`Shape::is_weighted`]), which may be none.
    #[inline]
    pub fn weight(&self, index: usize, shape: &Shape) -> u64 {
        if !shape.is_weighted() {
            return 1;
        }
        weighted(self.row(index)).map_or(1, |(_, weight)| weight)
    }

    /// Calls `each` with the time and the number of every dot of `range` that has one: the nearest f64, of a row
    /// that of its first number column.
    pub fn numbers(&self, range: Range<usize>, mut each: impl FnMut(u64, f64)) {
        let Buffers { times, words, .. } = &self.dots;
        for (part, shape) in self.parts(range) {
            match shape.word() {
                Some(Letter::F64) => {
                    for (time, word) in times[part.clone()].iter().zip(&words[part]) {
                        each(*time, f64::from_bits(*word));
                    }
                }
                Some(letter) => {
                    for (time, word) in times[part.clone()].iter().zip(&words[part]) {
                        each(*time, letter.number(*word));
                    }
                }
                None if shape.format().letters().all(|letter| !letter.is_number()) => {}
                None => {
                    for index in part {
                        if let Some(number) = Cells::new(shape.format(), self.row(index)).number() {
                            each(times[index], number);
                        }
                    }
                }
            }
        }
    }

    /// As [`Column::numbers`], with how many observations each dot is, as [`Column::weight`] says.
    pub fn observations(&self, range: Range<usize>, mut each: impl FnMut(u64, f64, u64)) {
        for (part, shape) in self.parts(range) {
            if !shape.is_weighted() {
                self.numbers(part, |time, number| each(time, number, 1));
                continue;
            }
            for index in part {
                if let Some((number, weight)) = weighted(self.row(index)) {
                    each(self.dots.times[index], number, weight);
                }
            }
        }
    }

    /// Appends dots of another column.
    pub fn extend(&mut self, from: &Column, range: Range<usize>) {
        self.dots.times.extend_from_slice(&from.dots.times[range.clone()]);
        for (part, shape) in from.parts(range) {
            let Buffers { words, rows, .. } = &mut self.dots;
            let before = words.len();
            if shape.word().is_some() {
                words.extend_from_slice(&from.dots.words[part]);
            } else {
                words.extend(part.map(|index| rows.push(from.row(index))));
            }
            self.note(before, shape);
        }
    }

    /// Puts a dot of another column in the place of the last one.
    pub fn replace_last(&mut self, from: &Column, index: usize) {
        self.truncate(self.len() - 1);
        self.extend(from, index..index + 1);
    }

    /// Keeps the first `count` dots and gives the others.
    pub fn split_off(&mut self, count: usize) -> Column {
        let mut rest = Column::default();
        rest.extend(self, count..self.len());
        self.truncate(count);
        rest
    }

    /// Whether each dot is later than the one before it.
    pub fn is_ascending(&self) -> bool {
        let times = &self.dots.times;
        let pairs = times.iter().zip(times.get(1..).unwrap_or_default());
        // Below half of what a u64 holds, which is until the year 2262, a time is earlier than another where their
        // difference is negative. Without a comparison, and without an end before the last pair, a compiler makes
        // vector instructions of this.
        let (differences, all) = pairs.clone().fold((-1, 0), |(differences, all), (one, next)| {
            (differences & one.wrapping_sub(*next) as i64, all | one | next)
        });
        (differences < 0 && all as i64 >= 0) || pairs.into_iter().all(|(one, next)| one < next)
    }

    /// Sorts by time; dots of equal time stay in the order they are in.
    pub fn sort(&mut self) {
        if self.dots.times.is_sorted() {
            return;
        }
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        // Stable, and quick on columns that are sorted already, which is what commits one after the other give.
        order.sort_by_key(|index| self.dots.times[*index as usize]);
        self.select(&order);
    }

    /// Of sorted dots of equal time keeps the last; returns how many went.
    pub fn keep_last(&mut self) -> u64 {
        let times = &self.dots.times;
        let Some(first) = times.windows(2).position(|pair| pair[0] == pair[1]) else { return 0 };
        let before = times.len();
        if self.is_uniform() {
            let Buffers { times, words, .. } = &mut self.dots;
            let mut kept = first + 1;
            for index in first + 1..before {
                if times[kept - 1] == times[index] {
                    words[kept - 1] = words[index];
                } else {
                    times[kept] = times[index];
                    words[kept] = words[index];
                    kept += 1;
                }
            }
            times.truncate(kept);
            words.truncate(kept);
        } else {
            let is_last = |index: &u32| {
                let index = *index as usize;
                index + 1 == before || times[index] != times[index + 1]
            };
            let order: Vec<u32> = (0..before as u32).filter(is_last).collect();
            self.select(&order);
        }
        (before - self.len()) as u64
    }

    /// Keeps the dots at these places, in this order.
    ///
    /// # Panics
    ///
    /// Where a place is not below [`Column::len`].
    pub fn select(&mut self, order: &[u32]) {
        if !self.is_uniform() {
            // Number 0 is the first shape, number n that of the n-th change.
            let mut shapes = vec![0_u32; self.len()];
            for (number, (at, _)) in self.changes.iter().enumerate() {
                shapes[*at..].fill(number as u32 + 1);
            }
            self.select_shapes(order, &shapes);
        }
        let Buffers { times, words, .. } = &mut self.dots;
        *times = order.iter().map(|index| times[*index as usize]).collect();
        *words = order.iter().map(|index| words[*index as usize]).collect();
    }

    fn select_shapes(&mut self, order: &[u32], shapes: &[u32]) {
        let first = self.shape.take();
        let old = std::mem::take(&mut self.changes);
        let mut before: Option<(u32, &Shape)> = None;
        let mut changes = Vec::new();
        for (place, index) in order.iter().enumerate() {
            let number = shapes[*index as usize];
            if before.is_some_and(|(same, _)| same == number) {
                continue;
            }
            let shape = match number {
                0 => first.as_ref().expect("a column with dots has a shape"),
                number => &old[number as usize - 1].1,
            };
            match before {
                None => self.shape = Some(shape.clone()),
                Some((_, same)) if same == shape => {}
                Some(_) => changes.push((place, shape.clone())),
            }
            before = Some((number, shape));
        }
        self.changes = changes;
    }
}

/// Dots are the same where times, shapes and the bits of values are.
impl PartialEq for Column {
    fn eq(&self, other: &Column) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

/// The value of a weighted row, and how many observations of it there were; `None` of bytes that are no such row.
#[inline]
fn weighted(row: &[u8]) -> Option<(f64, u64)> {
    let (value, weight) = row.split_first_chunk()?;
    Some((f64::from_le_bytes(*value), u64::from_le_bytes(*weight.first_chunk()?)))
}
