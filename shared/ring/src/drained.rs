//! What a reader gets out of a lane: dots, what they hold, and the gaps between them.

use dotter_dot::{Reason, TimeRange, Timestamp};

use crate::record::{Body, Kind, TEXT_BYTES_MAX};

/// A dot as a ring gives it out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RingDot {
    /// Its series, by number: see [`RingReader::series`](crate::RingReader::series).
    pub series: u32,
    /// Whether the clock stamped it, and not the application.
    pub clock: bool,
    /// What its record is. The publisher may be anybody: it need not be what the series' entry says.
    pub kind: Kind,
    /// When.
    pub time: Timestamp,
    /// How much: of an integer the nearest f64, of a text or a row NaN. [`Drained::value`] has the whole of it.
    pub value: f64,
    /// The word of a number; of a text or a row, where in [`Drained`] it is and how long.
    pub(crate) word: u64,
}

/// What a dot holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A plain number.
    F64(f64),
    /// An integer with a sign.
    I64(i64),
    /// One without.
    U64(u64),
    /// A short number.
    F32(f32),
    /// A text, or raw bytes: the series' letter says which. The publisher may be anybody, so a text may be no UTF-8.
    Text(&'a [u8]),
    /// A word per column, whose letters the series' entry has.
    Row(&'a [u64]),
}

/// Records that are gone: `first <= number < next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The first number that is missing.
    pub first: u64,
    /// The first number that is not.
    pub next: u64,
    /// Why.
    pub reason: Reason,
    /// When they were published, as far as the blocks around them tell.
    pub times: Option<TimeRange>,
}

/// What [`LaneCursor::drain`](crate::LaneCursor::drain) appends to: dots and losses in record order, together `first <= number < next`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drained {
    /// The dots.
    pub dots: Vec<RingDot>,
    /// The texts among them, one after the other.
    texts: Vec<u8>,
    /// The rows among them, likewise.
    cells: Vec<u64>,
    /// The gaps between them, and at either end.
    pub losses: Vec<Loss>,
    /// The first number in here.
    pub first: u64,
    /// The first number that is not.
    pub next: u64,
}

impl Drained {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.dots.clear();
        self.texts.clear();
        self.cells.clear();
        self.losses.clear();
        (self.first, self.next) = (0, 0);
    }

    /// What one of its dots holds.
    ///
    /// # Panics
    ///
    /// Where the dot is another's.
    pub fn value(&self, dot: &RingDot) -> Value<'_> {
        let (from, until) = part(dot.word);
        match dot.kind {
            Kind::F64 => Value::F64(f64::from_bits(dot.word)),
            Kind::I64 => Value::I64(dot.word as i64),
            Kind::U64 => Value::U64(dot.word),
            Kind::F32 => Value::F32(f32::from_bits(dot.word as u32)),
            Kind::Text => Value::Text(&self.texts[from..until]),
            Kind::Row => Value::Row(&self.cells[from..until]),
        }
    }

    /// Keeps a text or a row out of a copied block; gives the word that finds it.
    pub(crate) fn keep(&mut self, words: &[u64], body: Body) -> u64 {
        let (from, count) = match body {
            Body::Number(word) => return word,
            Body::Text { at, bytes } => {
                let from = self.texts.len();
                let words = &words[at..at + bytes.div_ceil(8)];
                self.texts.extend(words.iter().flat_map(|word| word.to_le_bytes()).take(bytes));
                (from, bytes)
            }
            Body::Row { at, columns } => {
                let from = self.cells.len();
                self.cells.extend_from_slice(&words[at..at + columns]);
                (from, columns)
            }
        };
        (from as u64) << PART_BITS | count as u64
    }

    /// Whether nothing is in here.
    pub fn is_empty(&self) -> bool {
        self.dots.is_empty() && self.losses.is_empty()
    }
}

/// Bits of a text's or row's length in the word that finds it; above them, where it starts.
const PART_BITS: u32 = 12;
const _: () = assert!(TEXT_BYTES_MAX < 1 << PART_BITS, "a text's length fits");

fn part(word: u64) -> (usize, usize) {
    let (from, count) = (word >> PART_BITS, word & ((1 << PART_BITS) - 1));
    (from as usize, (from + count) as usize)
}
