//! An expression bound to the rows of one series and shape.
//!
//! Conditions on the name are decided here, once. What is left compares the bytes of a row in place and allocates
//! nothing.

use std::ops::Range;

use dotter_dot::{Letter, Shape, get_varint};

use crate::read::filter::Node;
use crate::read::filter::condition::{Comparison, Condition, Field, StringCondition};
use crate::read::filter::number::Number;

/// Tells whether rows match.
#[derive(Debug)]
pub struct Matcher<'a>(Bound<'a>);

#[derive(Debug)]
enum Bound<'a> {
    Always,
    Never,
    All(Vec<Bound<'a>>),
    Any(Vec<Bound<'a>>),
    Not(Box<Bound<'a>>),
    Time(Comparison, u64),
    /// The word of the only column.
    Word(Letter, Comparison, Number),
    Number(Cell, Comparison, Number),
    /// A text's bytes, or raw bytes.
    String(Cell, &'a StringCondition),
    Cells(Cell, Comparison, Cell),
    Name(Cell, Comparison, Box<[u8]>),
}

/// Where a column is in row bytes.
#[derive(Debug)]
struct Cell {
    letter: Letter,
    /// The columns before it whose bytes have to be skipped one by one; numbers at the front are counted in `start`.
    before: Box<[Letter]>,
    start: usize,
    /// Whether this is the only column and a number, so that there are no row bytes.
    is_word: bool,
}

#[derive(Clone, Copy)]
struct Row<'a> {
    time: u64,
    word: u64,
    bytes: &'a [u8],
}

impl Matcher<'_> {
    /// Whether no row matches.
    pub fn is_never(&self) -> bool {
        matches!(self.0, Bound::Never)
    }

    /// Whether every row matches.
    pub fn is_always(&self) -> bool {
        matches!(self.0, Bound::Always)
    }

    /// Whether a row of one number matches.
    ///
    /// - `time`: nanoseconds since 1970
    #[inline]
    pub fn matches_word(&self, time: u64, word: u64) -> bool {
        self.0.holds(Row { time, word, bytes: &[] })
    }

    /// Whether a row of any other shape matches.
    ///
    /// - `bytes`: its row bytes; for bytes of another shape the result means nothing
    #[inline]
    pub fn matches_row(&self, time: u64, bytes: &[u8]) -> bool {
        self.0.holds(Row { time, word: 0, bytes })
    }
}

impl Matcher<'_> {
    /// Matches every row.
    pub const ALWAYS: Matcher<'static> = Matcher(Bound::Always);

    /// Whether a row matches that is being read and has the shape that this matcher was made for.
    #[inline]
    pub fn matches(&self, row: &crate::read::scan::Row<'_>) -> bool {
        match row.word() {
            Some(word) => self.matches_word(row.time().nanos(), word),
            None => !row.is_left_out() && self.matches_row(row.time().nanos(), row.row_bytes()),
        }
    }
}

pub(super) fn bind<'a>(node: &'a Node, name: &str, shape: &Shape) -> Matcher<'a> {
    Matcher(bound(node, name, shape))
}

fn bound<'a>(node: &'a Node, name: &str, shape: &Shape) -> Bound<'a> {
    match node {
        Node::All(nodes) => {
            let mut parts = Vec::new();
            for node in nodes {
                match bound(node, name, shape) {
                    Bound::Always => {}
                    Bound::Never => return Bound::Never,
                    part => parts.push(part),
                }
            }
            one_of(parts, Bound::Always, Bound::All)
        }
        Node::Any(nodes) => {
            let mut parts = Vec::new();
            for node in nodes {
                match bound(node, name, shape) {
                    Bound::Never => {}
                    Bound::Always => return Bound::Always,
                    part => parts.push(part),
                }
            }
            one_of(parts, Bound::Never, Bound::Any)
        }
        Node::Not(node) => match bound(node, name, shape) {
            Bound::Always => Bound::Never,
            Bound::Never => Bound::Always,
            part => Bound::Not(Box::new(part)),
        },
        Node::Condition(test) => bound_condition(test, name, shape),
    }
}

fn one_of<'a>(
    mut parts: Vec<Bound<'a>>,
    none: Bound<'a>,
    many: fn(Vec<Bound<'a>>) -> Bound<'a>,
) -> Bound<'a> {
    match parts.len() {
        0 => none,
        1 => parts.remove(0),
        _ => many(parts),
    }
}

fn bound_condition<'a>(test: &'a Condition, name: &str, shape: &Shape) -> Bound<'a> {
    let decided = |holds| if holds { Bound::Always } else { Bound::Never };
    let cell = |field: &Field| match field {
        Field::Key => None,
        Field::Column(column) => column.place(shape).map(|place| Cell::new(shape, place)),
    };
    match test {
        Condition::Time(comparison, time) => Bound::Time(*comparison, time.nanos()),
        Condition::Number(column, comparison, number) => {
            let Some(place) = column.place(shape) else { return Bound::Never };
            let cell = Cell::new(shape, place);
            if !cell.letter.is_number() {
                return Bound::Never;
            }
            let number = number.beside(cell.letter);
            if cell.is_word {
                return Bound::Word(cell.letter, *comparison, number);
            }
            Bound::Number(cell, *comparison, number)
        }
        Condition::Text(Field::Key, test) => decided(test.matches(name.as_bytes())),
        Condition::Text(field, test) => match cell(field) {
            Some(cell) if cell.letter == Letter::Text => Bound::String(cell, test),
            _ => Bound::Never,
        },
        Condition::Bytes(column, test) => match column.place(shape).map(|place| Cell::new(shape, place)) {
            Some(cell) if cell.letter == Letter::Bytes => Bound::String(cell, test),
            _ => Bound::Never,
        },
        Condition::Fields(Field::Key, comparison, Field::Key) => {
            decided(comparison.holds(Some(std::cmp::Ordering::Equal)))
        }
        Condition::Fields(left, comparison, right) => match (cell(left), cell(right)) {
            (Some(left), Some(right)) if are_comparable(left.letter, right.letter) => {
                Bound::Cells(left, *comparison, right)
            }
            (Some(cell), None) if *right == Field::Key && cell.letter == Letter::Text => {
                Bound::Name(cell, *comparison, name.as_bytes().into())
            }
            (None, Some(cell)) if *left == Field::Key && cell.letter == Letter::Text => {
                Bound::Name(cell, comparison.mirrored(), name.as_bytes().into())
            }
            _ => Bound::Never,
        },
    }
}

/// Numbers of whatever letters are, texts are, and raw bytes are.
fn are_comparable(left: Letter, right: Letter) -> bool {
    left == right || left.is_number() && right.is_number()
}

impl Bound<'_> {
    fn holds(&self, row: Row<'_>) -> bool {
        match self {
            Bound::Always => true,
            Bound::Never => false,
            Bound::All(parts) => parts.iter().all(|part| part.holds(row)),
            Bound::Any(parts) => parts.iter().any(|part| part.holds(row)),
            Bound::Not(part) => !part.holds(row),
            Bound::Time(comparison, time) => comparison.holds(Some(row.time.cmp(time))),
            Bound::Word(letter, comparison, number) => {
                comparison.holds(Number::of_word(*letter, row.word).compare(*number))
            }
            Bound::Number(cell, comparison, number) => {
                cell.number(row).is_some_and(|found| comparison.holds(found.compare(*number)))
            }
            Bound::String(cell, test) => cell.string(row).is_some_and(|bytes| test.matches(bytes)),
            Bound::Cells(left, comparison, right) if left.letter.is_number() => {
                let pair = left.number(row).zip(right.number(row));
                pair.is_some_and(|(left, right)| comparison.holds(left.compare(right)))
            }
            Bound::Cells(left, comparison, right) => {
                let pair = left.string(row).zip(right.string(row));
                pair.is_some_and(|(left, right)| comparison.holds(Some(left.cmp(right))))
            }
            Bound::Name(cell, comparison, name) => {
                cell.string(row).is_some_and(|text| comparison.holds(Some(text.cmp(name))))
            }
        }
    }
}

impl Cell {
    fn new(shape: &Shape, place: usize) -> Cell {
        let letters: Vec<Letter> = shape.format().letters().take(place + 1).collect();
        let fixed = letters[..place].iter().take_while(|letter| letter.is_number()).count();
        Cell {
            letter: letters[place],
            before: letters[fixed..place].into(),
            start: fixed * 8,
            is_word: shape.word().is_some(),
        }
    }

    /// The row's bytes from this column on.
    #[inline]
    fn rest<'a>(&self, row: Row<'a>) -> Option<&'a [u8]> {
        let mut rest = row.bytes.get(self.start..)?;
        for letter in &self.before {
            let length = if letter.is_number() { 8 } else { string_length(&mut rest)? };
            rest = rest.get(length..)?;
        }
        Some(rest)
    }

    #[inline]
    fn number(&self, row: Row<'_>) -> Option<Number> {
        if self.is_word {
            return Some(Number::of_word(self.letter, row.word));
        }
        let (word, _) = self.rest(row)?.split_first_chunk()?;
        Some(Number::of_word(self.letter, u64::from_le_bytes(*word)))
    }

    #[inline]
    fn string<'a>(&self, row: Row<'a>) -> Option<&'a [u8]> {
        let mut rest = self.rest(row)?;
        let length = string_length(&mut rest)?;
        rest.get(Range { start: 0, end: length })
    }
}

#[inline]
fn string_length(rest: &mut &[u8]) -> Option<usize> {
    if let [length @ 0..0x80, after @ ..] = rest {
        *rest = after;
        return Some(*length as usize);
    }
    usize::try_from(get_varint(rest)?).ok()
}
