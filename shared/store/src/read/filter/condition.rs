//! Conditions of an expression on one field, or on two.

use std::cmp::Ordering;

use dotter_dot::{Shape, Timestamp};
use memchr::memmem::{self, Finder};
use regex::bytes::Regex;

use crate::read::filter::number::Number;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Key,
    Column(Column),
}

/// A column as the expression names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// `value`: the first column, or a column of that name.
    First,
    /// A name; with a number where the name has the form `c1`.
    Named(Box<str>),
}

#[derive(Debug)]
pub(super) enum Condition {
    Time(Comparison, Timestamp),
    Number(Column, Comparison, Number),
    Text(Field, StringCondition),
    /// Of raw bytes; they have no regular expressions.
    Bytes(Column, StringCondition),
    Fields(Field, Comparison, Field),
}

/// What is asked of a text's bytes, or of raw bytes.
#[derive(Debug)]
pub(super) enum StringCondition {
    Compare(Comparison, Box<[u8]>),
    Contains(Box<Finder<'static>>),
    Starts(Box<[u8]>),
    Ends(Box<[u8]>),
    Matches(Box<Regex>),
    MatchesNot(Box<Regex>),
}

impl Comparison {
    pub(super) fn of_sign(sign: &str) -> Option<Comparison> {
        Some(match sign {
            "=" | "==" => Comparison::Equal,
            "!=" => Comparison::Unequal,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        })
    }

    /// The comparison with its two sides exchanged.
    pub(super) fn mirrored(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
            same => same,
        }
    }

    /// - `order`: the order of two numbers, `None` where one of them is NaN
    #[inline]
    pub(super) fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Comparison::Equal => order == Some(Ordering::Equal),
            Comparison::Unequal => order != Some(Ordering::Equal),
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Comparison::Greater => order == Some(Ordering::Greater),
            Comparison::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

impl StringCondition {
    #[inline]
    pub(super) fn matches(&self, bytes: &[u8]) -> bool {
        match self {
            StringCondition::Compare(comparison, other) => comparison.holds(Some(bytes.cmp(other))),
            StringCondition::Contains(finder) => finder.find(bytes).is_some(),
            StringCondition::Starts(start) => bytes.starts_with(start),
            StringCondition::Ends(end) => bytes.ends_with(end),
            StringCondition::Matches(regex) => regex.is_match(bytes),
            StringCondition::MatchesNot(regex) => !regex.is_match(bytes),
        }
    }
}

impl StringCondition {
    /// Whether it can be true for texts of these pieces, with one or more digits between two of them, and whether it can
    /// be false. What is not clear at once can be both.
    ///
    /// - `pieces`: at least one; they may have digits too
    pub(super) fn possible(&self, pieces: &[&[u8]]) -> (bool, bool) {
        let ([first, rest @ ..], [.., last]) = (pieces, pieces) else { return (true, true) };
        if rest.is_empty() {
            let matches = self.matches(first);
            return (matches, !matches);
        }
        // A longer start goes on with a digit, and a longer end has one before the last piece.
        let may_start = |start: &[u8]| match start.strip_prefix(*first) {
            Some([next, ..]) => next.is_ascii_digit(),
            _ => first.starts_with(start),
        };
        let may_end = |end: &[u8]| match end.strip_suffix(*last) {
            Some([.., next]) => next.is_ascii_digit(),
            _ => last.ends_with(end),
        };
        match self {
            StringCondition::Compare(comparison, other) => {
                let may_equal = other.len() > first.len() + last.len() && may_start(other) && may_end(other);
                match comparison {
                    Comparison::Equal => (may_equal, true),
                    Comparison::Unequal => (true, may_equal),
                    _ => (true, true),
                }
            }
            StringCondition::Contains(finder) => {
                let needle = finder.needle();
                if pieces.iter().any(|piece| finder.find(piece).is_some()) {
                    return (true, false);
                }
                // Of what stands between digits, each part is in one piece as a whole.
                let may_contain =
                    |part: &[u8]| pieces.iter().any(|piece| memmem::find(piece, part).is_some());
                let has_digits = needle.iter().any(u8::is_ascii_digit);
                (has_digits && needle.split(u8::is_ascii_digit).all(may_contain), true)
            }
            StringCondition::Starts(start) => (may_start(start), !first.starts_with(start)),
            StringCondition::Ends(end) => (may_end(end), !last.ends_with(end)),
            StringCondition::Matches(_) | StringCondition::MatchesNot(_) => (true, true),
        }
    }
}

impl Column {
    /// As an expression names it.
    pub(super) fn name(&self) -> &str {
        match self {
            Column::First => "value",
            Column::Named(name) => name,
        }
    }

    /// The index of the column in a shape.
    pub(super) fn place(&self, shape: &Shape) -> Option<usize> {
        let named = |name: &str| shape.columns().iter().position(|column| **column == *name);
        match self {
            Column::First => named("value").or(Some(0)),
            Column::Named(name) => named(name).or_else(|| {
                let number: usize = name.strip_prefix('c')?.parse().ok()?;
                number.checked_sub(1).filter(|place| *place < shape.format().len())
            }),
        }
    }
}
