//! Exact comparison of numbers of different kinds.

use std::cmp::Ordering;

use dotter_dot::Letter;

/// A number of an expression or of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// Without a point or an exponent.
    Whole(i128),
    Float(f64),
}

impl Number {
    /// Reads `-12`, `1.5`, `1e9`, `inf`, `-inf`, `nan`.
    pub(super) fn parse(text: &str) -> Option<Number> {
        if let Ok(whole) = text.parse() {
            return Some(Number::Whole(whole));
        }
        text.parse().ok().map(Number::Float)
    }

    /// The number that a column's word stands for.
    #[inline]
    pub(super) fn of_word(letter: Letter, word: u64) -> Number {
        match letter {
            Letter::U32 | Letter::U64 => Number::Whole(word as i128),
            Letter::I32 | Letter::I64 => Number::Whole(word as i64 as i128),
            _ => Number::Float(letter.number(word)),
        }
    }

    /// The number as a column of this letter would hold it, to be compared with values of that column.
    pub(super) fn beside(self, letter: Letter) -> Number {
        match (letter, self) {
            (Letter::F32, Number::Whole(whole)) => Number::Float(whole as f32 as f64),
            (Letter::F32, Number::Float(float)) => Number::Float(float as f32 as f64),
            // The common case first: here the float is exact, so nothing is lost.
            (Letter::F64, Number::Whole(whole)) if whole as f64 as i128 == whole => {
                Number::Float(whole as f64)
            }
            (_, number) => number,
        }
    }

    /// Compares two numbers. `None` where one is NaN and the other is not; NaN equals NaN.
    #[inline]
    pub(super) fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Whole(left), Number::Whole(right)) => Some(left.cmp(&right)),
            (Number::Float(left), Number::Float(right)) if left.is_nan() && right.is_nan() => {
                Some(Ordering::Equal)
            }
            (Number::Float(left), Number::Float(right)) => left.partial_cmp(&right),
            (Number::Whole(left), Number::Float(right)) => compare_exactly(left, right),
            (Number::Float(left), Number::Whole(right)) => {
                compare_exactly(right, left).map(Ordering::reverse)
            }
        }
    }
}

fn compare_exactly(whole: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // 2^127, above every i128; the cast below saturates beyond it.
    if float >= 170_141_183_460_469_231_731_687_303_715_884_105_728.0 {
        return Some(Ordering::Less);
    }
    if float < -170_141_183_460_469_231_731_687_303_715_884_105_728.0 {
        return Some(Ordering::Greater);
    }
    let floor = float.floor();
    Some(whole.cmp(&(floor as i128)).then(if float > floor { Ordering::Less } else { Ordering::Equal }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_compared_to_the_last_digit() {
        let check = |left: &str, right: &str, expected| {
            let (left, right) = (Number::parse(left).unwrap(), Number::parse(right).unwrap());
            assert_eq!(left.compare(right), expected, "{left:?} {right:?}");
            assert_eq!(right.compare(left), expected.map(Ordering::reverse), "{right:?} {left:?}");
        };
        check("9007199254740993", "9007199254740992", Some(Ordering::Greater));
        check("9007199254740993", "9007199254740992.0", Some(Ordering::Greater));
        check("18446744073709551615", "18446744073709551616.0", Some(Ordering::Less));
        check("1", "1.5", Some(Ordering::Less));
        check("-1", "-1.5", Some(Ordering::Greater));
        check("-2", "-1.5", Some(Ordering::Less));
        check("0", "-0.0", Some(Ordering::Equal));
        check("5", "inf", Some(Ordering::Less));
        check("5", "-inf", Some(Ordering::Greater));
        check("5", "nan", None);
        check("nan", "nan", Some(Ordering::Equal));
        check("nan", "1.0", None);
        check("170141183460469231731687303715884105727", "1e300", Some(Ordering::Less));
    }

    #[test]
    fn a_literal_beside_an_f32_is_what_is_printed_of_it() {
        let stored = Number::of_word(Letter::F32, 0.1_f32.to_bits() as u64);
        let literal = Number::parse("0.1").unwrap();
        assert_eq!(stored.compare(literal), Some(Ordering::Greater));
        assert_eq!(stored.compare(literal.beside(Letter::F32)), Some(Ordering::Equal));
    }
}
