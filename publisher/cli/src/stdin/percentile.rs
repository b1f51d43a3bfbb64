//! A percentile of many numbers in little memory.
//!
//! Up to [`EXACT_MAX`] numbers are kept and the answer is one of them. With more, they are counted in
//! buckets, each a hundredth wider than the one below, and the answer is within half a percent of the
//! number that an exact count would give. At most [`BUCKETS_MAX`] buckets are kept; beyond that the two
//! lowest become one, which the upper half of the numbers does not notice before they span seventeen
//! orders of magnitude.
//!
//! Source: Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
//! guarantees" (2019), in its collapsing form; buckets of negative numbers mirror the positive ones.

use std::collections::BTreeMap;

/// So many numbers are kept as they are.
pub(super) const EXACT_MAX: usize = 1000;
const BUCKETS_MAX: usize = 2048;
/// The width of a bucket: its end over its beginning.
const GROWTH: f64 = 1.01;
/// What is nearer to zero counts as zero.
const SMALLEST: f64 = 1e-9;

/// A share of the numbers, in steps of a hundred-thousandth: whole numbers, so that ranks are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share(u32);

impl Share {
    const WHOLE: u64 = 100_000;

    /// Reads a percentage with up to three digits of a fraction, from 50 up to but not including 100.
    pub(super) fn parse_percent(text: &str) -> Option<Share> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, 2) || !digits(fraction, 3) {
            return None;
        }
        let share = Share(format!("{whole}{fraction:0<3}").parse().ok()?);
        (share.0 as u64 * 2 >= Share::WHOLE).then_some(share)
    }

    /// Which of `count` numbers in ascending order it is, from 1.
    fn rank(self, count: u64) -> u64 {
        (count as u128 * self.0 as u128).div_ceil(Share::WHOLE as u128) as u64
    }
}

/// Finite numbers, at least one by the time they are asked for.
#[derive(Debug)]
pub(super) enum Numbers {
    Kept(Vec<f64>),
    Counted(BTreeMap<i32, u64>),
}

impl Numbers {
    pub(super) fn new() -> Numbers {
        Numbers::Kept(Vec::new())
    }

    pub(super) fn add(&mut self, number: f64) {
        match self {
            Numbers::Kept(kept) if kept.len() < EXACT_MAX => kept.push(number),
            Numbers::Kept(kept) => {
                let kept = std::mem::take(kept);
                let mut buckets = BTreeMap::new();
                kept.into_iter().chain([number]).for_each(|number| count(&mut buckets, number));
                *self = Numbers::Counted(buckets);
            }
            Numbers::Counted(buckets) => count(buckets, number),
        }
    }

    /// How many numbers or buckets are kept.
    pub(super) fn kept(&self) -> usize {
        match self {
            Numbers::Kept(kept) => kept.len(),
            Numbers::Counted(buckets) => buckets.len(),
        }
    }

    /// The least number that is not less than `share` of all; NaN where there are none.
    pub(super) fn percentile(self, share: Share) -> f64 {
        match self {
            Numbers::Kept(mut kept) => {
                kept.sort_unstable_by(f64::total_cmp);
                let rank = share.rank(kept.len() as u64) as usize;
                kept.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
            }
            Numbers::Counted(buckets) => {
                let rank = share.rank(buckets.values().sum());
                let mut below = 0;
                let found = buckets.into_iter().find(|(_, count)| {
                    below += count;
                    below >= rank
                });
                found.map_or(f64::NAN, |(bucket, _)| middle(bucket))
            }
        }
    }
}

fn count(buckets: &mut BTreeMap<i32, u64>, number: f64) {
    *buckets.entry(bucket(number)).or_default() += 1;
    if buckets.len() > BUCKETS_MAX
        && let Some((_, lowest)) = buckets.pop_first()
        && let Some(mut next) = buckets.first_entry()
    {
        *next.get_mut() += lowest;
    }
}

/// Buckets ascend as the numbers in them do; zero is in bucket 0.
fn bucket(number: f64) -> i32 {
    let size = number.abs();
    if size <= SMALLEST {
        return 0;
    }
    // At most ln(1.8e308 / 1e-9) / ln(1.01), some 73,400.
    let place = ((size / SMALLEST).min(f64::MAX).ln() / GROWTH.ln()).ceil().max(1.0) as i32;
    if number < 0.0 { -place } else { place }
}

/// The number that is equally far, as a ratio, from both ends of a bucket.
fn middle(bucket: i32) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    let size = SMALLEST * (bucket.abs() as f64 * GROWTH.ln()).exp() * 2.0 / (GROWTH + 1.0);
    if bucket < 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact(numbers: &[f64], share: Share) -> f64 {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[share.rank(sorted.len() as u64) as usize - 1]
    }

    fn percentile(numbers: &[f64], share: Share) -> f64 {
        let mut all = Numbers::new();
        numbers.iter().for_each(|number| all.add(*number));
        assert!(all.kept() <= BUCKETS_MAX);
        all.percentile(share)
    }

    #[test]
    fn shares_are_percentages_of_the_upper_half() {
        let check = |text: &str, expected: Option<u32>| {
            assert_eq!(Share::parse_percent(text), expected.map(Share), "{text}");
        };
        check("99", Some(99_000));
        check("99.9", Some(99_900));
        check("50", Some(50_000));
        check("99.999", Some(99_999));
        for text in ["", ".", "100", "49.999", "99.", "99.9999", "-1", "+9", "9e1", "٩٩"] {
            check(text, None);
        }
    }

    #[test]
    fn ranks_are_exact() {
        let share = Share::parse_percent("99.9").unwrap();
        assert_eq!(
            [1, 1000, 1001, 2000, 1_000_000].map(|count| share.rank(count)),
            [1, 999, 1000, 1998, 999_000]
        );
    }

    #[test]
    fn so_few_numbers_are_exact() {
        let share = Share::parse_percent("99").unwrap();
        let numbers: Vec<f64> = (1..=EXACT_MAX).rev().map(|n| n as f64).collect();
        assert_eq!(percentile(&numbers, share), 990.0);
        assert_eq!(percentile(&[7.0], share), 7.0);
    }

    #[test]
    fn numbers_of_all_sizes_stay_in_bounds_and_the_high_ones_right() {
        let numbers: Vec<f64> =
            (0..30_000).map(|n| 10_f64.powi(n % 600 - 300) * if n % 3 == 0 { -1.0 } else { 1.0 }).collect();
        let share = Share::parse_percent("99").unwrap();
        let (found, expected) = (percentile(&numbers, share), exact(&numbers, share));
        assert!((found / expected - 1.0).abs() < 0.0051, "{found} {expected}");
    }

    proptest! {
        #[test]
        fn many_numbers_are_within_half_a_percent(
            numbers in prop::collection::vec(prop_oneof![-1e3_f64..1e3, 1e-6_f64..1e-3, Just(0.0)], 1001..3000),
            percent in prop_oneof![Just("50"), Just("90"), Just("99"), Just("99.9")],
        ) {
            let share = Share::parse_percent(percent).unwrap();
            let (found, expected) = (percentile(&numbers, share), exact(&numbers, share));
            prop_assert!((found - expected).abs() <= expected.abs() * 0.0051 + SMALLEST, "{} {}", found, expected);
        }
    }
}
