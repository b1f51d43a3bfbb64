//! Dots of one series in memory, side by side: a time and a word each, and what shape they have.
//!
//! A series may change its shape at any dot. A run notes where it does, so that one shape costs nothing a dot,
//! and everything that puts dots in order works on runs of whatever shapes.

use std::ops::Range;

use dotter_dot::{Cells, Letter, Shape};

/// Bits of a row's length in its word; its place in `rows` stands above them.
const LENGTH_BITS: u32 = 24;
const _: () = assert!(dotter_dot::ROW_BYTES_MAX < 1 << LENGTH_BITS, "the length of a row fits its word");

/// Dots in some order.
///
/// Always true: as many words as times; `changes` ascend and lie within them; `shape` is there where a dot is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// Nanoseconds since 1970.
    pub(crate) times: Vec<u64>,
    /// Of a dot of one number its word; of any other where in `rows` its row bytes stand.
    pub(crate) words: Vec<u64>,
    /// The shape of the first dot.
    shape: Option<Shape>,
    /// From which dot on another shape holds.
    changes: Vec<(usize, Shape)>,
    rows: Vec<u8>,
}

/// The word of a row at byte `at`.
pub(crate) fn row_word(at: usize, length: usize) -> u64 {
    debug_assert!(length < 1 << LENGTH_BITS);
    (at as u64) << LENGTH_BITS | length as u64
}

/// The row bytes that a word stands for.
pub(crate) fn row_of(rows: &[u8], word: u64) -> &[u8] {
    let (at, length) = ((word >> LENGTH_BITS) as usize, word as usize & ((1 << LENGTH_BITS) - 1));
    &rows[at..at + length]
}

/// How long a run was, to go back to.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    dots: usize,
    rows: usize,
}

impl Run {
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.times.clear();
        self.words.clear();
        self.shape = None;
        self.changes.clear();
        self.rows.clear();
    }

    /// Makes room for so many dots more, and no more than that where it has none yet.
    pub(crate) fn reserve(&mut self, dots: usize) {
        if self.is_empty() {
            self.times.reserve_exact(dots);
            self.words.reserve_exact(dots);
        } else {
            self.times.reserve(dots);
            self.words.reserve(dots);
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { dots: self.len(), rows: self.rows.len() }
    }

    /// Takes back what was appended since `mark`, noted or not.
    pub(crate) fn back_to(&mut self, mark: Mark) {
        self.truncate(mark.dots);
        self.rows.truncate(mark.rows);
    }

    /// Keeps the first `count` dots.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.times.truncate(count);
        self.words.truncate(count);
        self.changes.truncate(self.changes.partition_point(|(at, _)| *at < count));
        if count == 0 {
            self.shape = None;
        }
    }

    /// Says of what shape the dots from `from` on are, whose words were appended by hand.
    pub(crate) fn note(&mut self, from: usize, shape: &Shape) {
        if from == self.words.len() {
            return;
        }
        match self.changes.last().map(|(_, shape)| shape).or(self.shape.as_ref()) {
            None => self.shape = Some(shape.clone()),
            Some(last) if last.is(shape) || last == shape => {}
            Some(_) => self.changes.push((from, shape.clone())),
        }
    }

    /// Appends row bytes and gives the word that stands for them; its dot is noted by the caller.
    pub(crate) fn push_row_bytes(&mut self, row: &[u8]) -> u64 {
        let word = row_word(self.rows.len(), row.len());
        self.rows.extend_from_slice(row);
        word
    }

    /// Appends row bytes piece by piece: `fill` gets them to append to.
    pub(crate) fn push_row_with(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let at = self.rows.len();
        fill(&mut self.rows);
        row_word(at, self.rows.len() - at)
    }

    /// Appends the bytes of many rows: `fill` gets those there are to append to. Gives where the first stands.
    pub(crate) fn push_rows_with(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<usize> {
        let at = self.rows.len();
        fill(&mut self.rows).map(|()| at)
    }

    pub(crate) fn push_word(&mut self, shape: &Shape, time: u64, word: u64) {
        self.times.push(time);
        self.words.push(word);
        self.note(self.len() - 1, shape);
    }

    pub(crate) fn push_row(&mut self, shape: &Shape, time: u64, row: &[u8]) {
        let word = self.push_row_bytes(row);
        self.push_word(shape, time, word);
    }

    /// Length of the row that a word stands for.
    pub(crate) fn row_length(&self, word: u64) -> usize {
        word as usize & ((1 << LENGTH_BITS) - 1)
    }

    /// The row bytes of a dot that is no single number.
    pub(crate) fn row(&self, index: usize) -> &[u8] {
        row_of(&self.rows, self.words[index])
    }

    /// Row bytes of all dots.
    pub(crate) fn row_bytes(&self) -> usize {
        self.rows.len()
    }

    /// Whether no dot changes the shape.
    pub(crate) fn is_uniform(&self) -> bool {
        self.changes.is_empty()
    }

    /// The shape of a dot.
    pub(crate) fn shape_at(&self, index: usize) -> &Shape {
        let changes = self.changes.partition_point(|(at, _)| *at <= index);
        match changes {
            0 => self.shape.as_ref().expect("a run with dots has a shape"),
            count => &self.changes[count - 1].1,
        }
    }

    /// The shape of the last dot.
    pub(crate) fn last_shape(&self) -> Option<&Shape> {
        self.changes.last().map(|(_, shape)| shape).or(self.shape.as_ref())
    }

    /// The parts of `range` of one shape each.
    pub(crate) fn parts(&self, range: Range<usize>) -> impl Iterator<Item = (Range<usize>, &Shape)> {
        let mut change = self.changes.partition_point(|(at, _)| *at <= range.start);
        let mut start = range.start;
        std::iter::from_fn(move || {
            if start >= range.end {
                return None;
            }
            let end = self.changes.get(change).map_or(range.end, |(at, _)| (*at).min(range.end));
            let shape = match change {
                0 => self.shape.as_ref().expect("a run with dots has a shape"),
                count => &self.changes[count - 1].1,
            };
            let part = (start..end, shape);
            (start, change) = (end, change + 1);
            Some(part)
        })
    }

    /// Appends dots of another run.
    pub(crate) fn extend(&mut self, from: &Run, range: Range<usize>) {
        self.times.extend_from_slice(&from.times[range.clone()]);
        for (part, shape) in from.parts(range) {
            let before = self.words.len();
            if shape.word().is_some() {
                self.words.extend_from_slice(&from.words[part]);
            } else {
                for index in part {
                    let word = self.push_row_bytes(from.row(index));
                    self.words.push(word);
                }
            }
            self.note(before, shape);
        }
    }

    /// Puts a dot of another run in the place of the last one.
    pub(crate) fn replace_last(&mut self, from: &Run, index: usize) {
        self.truncate(self.len() - 1);
        self.extend(from, index..index + 1);
    }

    /// Takes the first `count` dots out.
    pub(crate) fn split_front(&mut self, count: usize) {
        let mut rest = Run::default();
        rest.extend(self, count..self.len());
        *self = rest;
    }

    /// Sorts by time; dots of equal time stay in the order they are in.
    pub(crate) fn sort(&mut self) {
        if self.times.is_sorted() {
            return;
        }
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        // Stable, and quick on runs that are sorted already, which is what commits one after the other give.
        order.sort_by_key(|index| self.times[*index as usize]);
        self.select(&order);
    }

    /// Of sorted dots of equal time keeps the last; returns how many went.
    pub(crate) fn keep_last(&mut self) -> u64 {
        let Some(first) = self.times.windows(2).position(|pair| pair[0] == pair[1]) else { return 0 };
        let before = self.len();
        if self.is_uniform() {
            let mut kept = first + 1;
            for index in first + 1..before {
                if self.times[kept - 1] == self.times[index] {
                    self.words[kept - 1] = self.words[index];
                } else {
                    self.times[kept] = self.times[index];
                    self.words[kept] = self.words[index];
                    kept += 1;
                }
            }
            self.times.truncate(kept);
            self.words.truncate(kept);
        } else {
            let is_last = |index: &u32| {
                let index = *index as usize;
                index + 1 == before || self.times[index] != self.times[index + 1]
            };
            let order: Vec<u32> = (0..before as u32).filter(is_last).collect();
            self.select(&order);
        }
        (before - self.len()) as u64
    }

    /// Keeps the dots at these places, in this order.
    fn select(&mut self, order: &[u32]) {
        if !self.is_uniform() {
            // Number 0 is the first shape, number n that of the n-th change.
            let mut shapes = vec![0_u32; self.len()];
            for (number, (at, _)) in self.changes.iter().enumerate() {
                shapes[*at..].fill(number as u32 + 1);
            }
            self.select_shapes(order, &shapes);
        }
        self.times = order.iter().map(|index| self.times[*index as usize]).collect();
        self.words = order.iter().map(|index| self.words[*index as usize]).collect();
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
                0 => first.as_ref().expect("a run with dots has a shape"),
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

    /// The cells of a dot, whose shape is `shape`.
    pub(crate) fn cells<'a>(&'a self, index: usize, shape: &'a Shape) -> Cells<'a> {
        match shape.word() {
            Some(_) => Cells::of_word(shape.format(), self.words[index]),
            None => Cells::new(shape.format(), self.row(index)),
        }
    }

    /// Calls `each` with the time and the number of every dot of `range` that has one: the nearest f64, of a row
    /// that of its first number column.
    pub(crate) fn numbers(&self, range: Range<usize>, mut each: impl FnMut(u64, f64)) {
        for (part, shape) in self.parts(range) {
            match shape.word() {
                Some(Letter::F64) => {
                    for (time, word) in self.times[part.clone()].iter().zip(&self.words[part]) {
                        each(*time, f64::from_bits(*word));
                    }
                }
                Some(letter) => {
                    for (time, word) in self.times[part.clone()].iter().zip(&self.words[part]) {
                        each(*time, letter.number(*word));
                    }
                }
                None if shape.format().letters().all(|letter| !letter.is_number()) => {}
                None => {
                    for index in part {
                        if let Some(number) = Cells::new(shape.format(), self.row(index)).number() {
                            each(self.times[index], number);
                        }
                    }
                }
            }
        }
    }
}

/// Dots are the same where times, shapes and the bits of values are.
impl PartialEq for Run {
    fn eq(&self, other: &Run) -> bool {
        let same = |index: usize| {
            let (ours, theirs) = (self.shape_at(index), other.shape_at(index));
            let value = |run: &Run, shape: &Shape| match shape.word() {
                Some(_) => (Some(run.words[index]), None),
                None => (None, Some(run.row(index).to_vec())),
            };
            ours == theirs && value(self, ours) == value(other, theirs)
        };
        self.times == other.times && (0..self.len()).all(same)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use dotter_dot::{Format, Value, put_row};
    use proptest::prelude::*;

    use super::*;

    /// A handful of shapes, words and rows among them.
    pub(crate) fn shape(number: u8) -> Shape {
        let format = |letters| Format::new(letters).unwrap();
        match number % 6 {
            0 => Shape::number(),
            1 => Shape::from(format("s")),
            2 => Shape::new(format("F"), "ms", &["took"]).unwrap(),
            3 => Shape::new(format("suF"), "", &["path", "code", "took"]).unwrap(),
            4 => Shape::from(format("U")),
            _ => Shape::from(format("i")),
        }
    }

    /// Appends a dot of one of those shapes, made from `bits`.
    pub(crate) fn push(run: &mut Run, number: u8, time: u64, bits: u64) {
        let shape = shape(number);
        let mut row = Vec::new();
        match number % 6 {
            1 => put_row([Value::Text(&bits.to_string())], &mut row),
            3 => {
                let text = "x".repeat(bits as usize % 5);
                put_row(
                    [Value::Text(&text), Value::U32(bits as u32), Value::F64(f64::from_bits(bits))],
                    &mut row,
                );
            }
            5 => return run.push_word(&shape, time, bits as i32 as i64 as u64),
            _ => return run.push_word(&shape, time, bits),
        }
        run.push_row(&shape, time, &row);
    }

    pub(crate) fn run(dots: &[(u8, u64, u64)]) -> Run {
        let mut run = Run::default();
        dots.iter().for_each(|(shape, time, bits)| push(&mut run, *shape, *time, *bits));
        run
    }

    fn dots(times: std::ops::Range<u64>, count: usize) -> impl Strategy<Value = Vec<(u8, u64, u64)>> {
        prop::collection::vec((0..6_u8, times, any::<u64>()), 0..count)
    }

    proptest! {
        #[test]
        fn sorting_and_keeping_the_last_is_what_a_map_gives(dots in dots(0..50, 200)) {
            let mut found = run(&dots);
            found.sort();
            let mut expected = dots.clone();
            expected.sort_by_key(|dot| dot.1);
            prop_assert_eq!(&found, &run(&expected));
            let replaced = found.keep_last();
            let map: std::collections::BTreeMap<u64, (u8, u64, u64)> =
                dots.iter().map(|dot| (dot.1, *dot)).collect();
            prop_assert_eq!(replaced as usize, dots.len() - map.len());
            prop_assert_eq!(&found, &run(&map.into_values().collect::<Vec<_>>()));
        }

        #[test]
        fn runs_are_put_together_taken_apart_and_taken_back(a in dots(0..50, 60), b in dots(0..50, 60), cut in 0..60_usize) {
            let (first, second) = (run(&a), run(&b));
            let mut both = first.clone();
            let mark = both.mark();
            both.extend(&second, 0..second.len());
            prop_assert_eq!(&both, &run(&[&a[..], &b[..]].concat()));
            let mut rest = both.clone();
            let cut = cut.min(rest.len());
            rest.split_front(cut);
            prop_assert_eq!(&rest, &run(&[&a[..], &b[..]].concat()[cut..]));
            if let (Some(last), false) = (a.last(), b.is_empty()) {
                let mut replaced = both.clone();
                replaced.replace_last(&first, a.len() - 1);
                let mut all = [&a[..], &b[..]].concat();
                *all.last_mut().unwrap() = *last;
                prop_assert_eq!(&replaced, &run(&all));
            }
            both.back_to(mark);
            prop_assert_eq!(&both, &first);
            let parts: Vec<_> = first.parts(0..first.len()).collect();
            prop_assert!(parts.iter().flat_map(|(part, _)| part.clone()).eq(0..first.len()));
            prop_assert!(parts.windows(2).all(|pair| pair[0].1 != pair[1].1));
        }
    }
}
