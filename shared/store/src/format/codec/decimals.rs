//! Doubles that were printed with few decimals, as whole numbers.
//!
//! `v = m / 10^exponent`, rounded once as IEEE 754 does, gives the very bits of `v`. Numbers for which no such `m`
//! exists are exceptions; they are stored apart, as long as they are few.

/// Most decimals looked for.
pub(super) const EXPONENT_MAX: u8 = 15;

/// Powers of ten that a double holds exactly.
const POWERS: [f64; EXPONENT_MAX as usize + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Added and taken away again, this rounds a double below [`WHOLE_MAX`] to a whole number; its bits count up by one
/// for each.
const ROUND: f64 = 6_755_399_441_055_744.0;

const WHOLE_MAX: f64 = 2_251_799_813_685_248.0;

/// Numbers looked at before all are.
const SAMPLE: usize = 24;

/// One of this many numbers may be an exception.
const BESIDE_SHARE: usize = 32;

/// Numbers as decimals.
pub(super) struct Decimals {
    pub(super) exponent: u8,
    /// One for each number; for an exception, a copy of the one before it.
    pub(super) wholes: Vec<i64>,
    /// The places of the exceptions: numbers that are no decimals.
    pub(super) beside: Vec<usize>,
}

/// `values` as decimals, if nearly all are; `narrow` where they come from an f32 and need only come back to that.
pub(super) fn of(values: &[f64], narrow: bool) -> Option<Decimals> {
    let beside_max = values.len() / BESIDE_SHARE;
    let mut exponent = exponent_of_sample(values, narrow)?;
    let mut wholes = Vec::with_capacity(values.len());
    let mut beside: Vec<usize> = Vec::new();
    'exponents: loop {
        wholes.clear();
        beside.clear();
        let power = POWERS[exponent as usize];
        let mut before = 0;
        for (index, value) in values.iter().enumerate() {
            match whole(*value, power, narrow) {
                Some(whole) => before = whole,
                None if beside.len() < beside_max => beside.push(index),
                None => {
                    exponent = least_exponent(*value, exponent + 1, narrow)?;
                    continue 'exponents;
                }
            }
            wholes.push(before);
        }
        return Some(Decimals { exponent, wholes, beside });
    }
}

/// The least exponent at which nearly all of a sample are decimals.
fn exponent_of_sample(values: &[f64], narrow: bool) -> Option<u8> {
    let (mut exponent, mut looked, mut failed) = (0, 0, 0);
    for value in values.iter().step_by(values.len().div_ceil(SAMPLE)) {
        looked += 1;
        match least_exponent(*value, exponent, narrow) {
            Some(found) => exponent = found,
            None => failed += 1,
        }
    }
    (failed * 8 <= looked).then_some(exponent)
}

fn least_exponent(value: f64, from: u8, narrow: bool) -> Option<u8> {
    (from..=EXPONENT_MAX).find(|exponent| whole(value, POWERS[*exponent as usize], narrow).is_some())
}

#[inline(always)]
fn whole(value: f64, power: f64, narrow: bool) -> Option<i64> {
    let scaled = value * power;
    let rounded = scaled + ROUND;
    let back = (rounded - ROUND) / power;
    let same = if narrow {
        (back as f32).to_bits() == (value as f32).to_bits()
    } else {
        back.to_bits() == value.to_bits()
    };
    (same && scaled.abs() < WHOLE_MAX)
        .then(|| (rounded.to_bits() as i64).wrapping_sub(ROUND.to_bits() as i64))
}

/// What `of` took apart, as bits of an f64: in place of each whole number (the bits of an i64) its value.
pub(super) fn put_together(exponent: u8, words: &mut [u64], narrow: bool) -> Option<()> {
    let power = *POWERS.get(exponent as usize)?;
    // All that `of` takes apart are small. Of these a compiler makes vector instructions; x86-64 has none that make a
    // double of any i64.
    if are_small(words) {
        put_quotients(power, words, narrow, |word| {
            f64::from_bits(word.wrapping_add(ROUND.to_bits())) - ROUND
        });
    } else {
        put_quotients(power, words, narrow, |word| word as i64 as f64);
    }
    Some(())
}

/// Puts in place of each word its double, divided by `power`.
#[inline(always)]
fn put_quotients(power: f64, words: &mut [u64], narrow: bool, double: impl Fn(u64) -> f64) {
    match narrow {
        false if power == 1.0 => words.iter_mut().for_each(|word| *word = double(*word).to_bits()),
        false => words.iter_mut().for_each(|word| *word = (double(*word) / power).to_bits()),
        true => words.iter_mut().for_each(|word| *word = ((double(*word) / power) as f32).to_bits() as u64),
    }
}

/// Whether every word, as an i64, is one that [`ROUND`] gives back: from `-WHOLE_MAX` to before [`WHOLE_MAX`].
fn are_small(words: &[u64]) -> bool {
    let whole_max = WHOLE_MAX as u64;
    words.iter().fold(0, |all, word| all | word.wrapping_add(whole_max)) < 2 * whole_max
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_is_the_decimals_printed() {
        let check = |values: &[f64], exponent: u8, first: i64| {
            let decimals = of(values, false).unwrap();
            assert_eq!((decimals.exponent, decimals.wholes[0]), (exponent, first), "{values:?}");
        };
        check(&[1.0, 2.0, -7.0], 0, 1);
        check(&[0.1, 20.5], 1, 1);
        check(&[98.76, 0.01, 5.0], 2, 9876);
        check(&[1e-15, 0.0], 15, 1);
        check(&[2_251_799_813_685_247.0, 1.0], 0, 2_251_799_813_685_247);
    }

    #[test]
    fn a_small_whole_number_and_a_large_one_are_divided_alike() {
        let edge = WHOLE_MAX as i64;
        let small = [0, 1, -1, 5, 123_456_789, edge - 1, -edge];
        let words = |wholes: &[i64]| wholes.iter().map(|whole| *whole as u64).collect::<Vec<_>>();
        assert!(are_small(&[]) && are_small(&words(&small)));
        for large in [edge, -edge - 1, i64::MAX, i64::MIN] {
            assert!(!are_small(&words(&[0, large, 0])), "{large}");
            let all = [&small[..], &[large]].concat();
            for (exponent, power) in (0..).zip(POWERS) {
                for narrow in [false, true] {
                    let bits = |whole: &i64| {
                        let value = *whole as f64 / power;
                        if narrow { (value as f32).to_bits() as u64 } else { value.to_bits() }
                    };
                    for wholes in [&small[..], &all] {
                        let mut back = words(wholes);
                        put_together(exponent, &mut back, narrow).unwrap();
                        assert!(back.into_iter().eq(wholes.iter().map(bits)), "{exponent} {narrow}");
                    }
                }
            }
        }
        assert!(put_together(EXPONENT_MAX + 1, &mut [1], false).is_none());
    }

    #[test]
    fn what_no_decimal_is_stands_beside_if_it_is_rare() {
        let mut values: Vec<f64> = (0..4096).map(|n| n as f64 / 100.0).collect();
        for (place, value) in [(7, f64::NAN), (9, -0.0), (1000, f64::INFINITY), (4000, std::f64::consts::PI)]
        {
            values[place] = value;
        }
        let decimals = of(&values, false).unwrap();
        assert_eq!((decimals.exponent, &decimals.beside[..]), (2, &[7, 9, 1000, 4000][..]));
        let walk: Vec<f64> = (0..4096).map(|n| (n as f64).sin()).collect();
        assert!(of(&walk, false).is_none());
    }
}
