//! What a source gives of a series: dots, what is known of dots without reading them, and steps of archives.

use dotter_dot::{TimeRange, Timestamp};

/// A number at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dot {
    /// When.
    pub time: Timestamp,
    /// What.
    pub value: f64,
}

/// Dots of one series that lie together, with none of the others between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// Holds all of them and no other dot of the series.
    pub range: TimeRange,
    /// How many have to be looked at to read them; those that were replaced or deleted count too.
    pub dots: u64,
    /// What their numbers come to; `None` where only reading them tells.
    pub numbers: Option<Numbers>,
}

/// What numbers come to, all of them finite; those of nothing are [`Numbers::NONE`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// How many.
    pub count: u64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// All of them added up.
    pub sum: f64,
}

impl Numbers {
    /// Of a stretch that holds no number at all, such as one of texts.
    pub const NONE: Numbers = Numbers { count: 0, min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0.0 };
}

/// What is left of dots that have expired: what those of one step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rollup {
    /// Where the step begins.
    pub time: Timestamp,
    /// What they came to.
    pub numbers: Numbers,
    /// The latest of them.
    pub last: f64,
    /// Of how many steps, as they are kept, this one is put together; at least one.
    pub steps: u64,
    /// How many numbers could be in it; 0 where that is not known.
    pub possible: u64,
    /// How one number is made of it; `None` where too little of it is known for one.
    pub method: Option<Method>,
}

/// How many numbers become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Their mean.
    Average,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// All added up.
    Sum,
    /// The latest.
    Last,
    /// How many.
    Count,
    /// Their mean, where each that is missing of those that could be there counts as zero.
    AverageZero,
    /// The one that is farthest from zero.
    AbsMax,
    /// The one that is nearest to zero. Of numbers on both sides of zero only the least, the greatest and the latest are
    /// known, so it is the nearest of these.
    AbsMin,
}

impl Rollup {
    /// Its one number; `None` where it has none.
    pub(crate) fn one(&self) -> Option<f64> {
        let Numbers { count, min, max, sum } = self.numbers;
        let one = match self.method.filter(|_| count > 0)? {
            Method::Average => sum / count as f64,
            Method::Min => min,
            Method::Max => max,
            Method::Sum => sum,
            Method::Last => self.last,
            Method::Count => count as f64,
            Method::AverageZero => sum / count.max(self.possible) as f64,
            Method::AbsMax if min.abs() > max.abs() => min,
            Method::AbsMax => max,
            Method::AbsMin => {
                let nearer = |a: f64, b: f64| if b.abs() < a.abs() { b } else { a };
                nearer(nearer(min, max), self.last)
            }
        };
        Some(one)
    }

    /// What it adds to the average of a point: a sum, and of how many. As Graphite has it the numbers of steps are
    /// averaged, but for the dots of averages, which count as often as they are, or could be.
    pub(crate) fn share(&self) -> Option<(f64, u64)> {
        let one = self.one()?;
        Some(match self.method? {
            Method::Average => (self.numbers.sum, self.numbers.count),
            Method::AverageZero => (self.numbers.sum, self.numbers.count.max(self.possible)),
            Method::Sum | Method::Count => (one, self.steps.max(1)),
            Method::Min | Method::Max | Method::Last | Method::AbsMax | Method::AbsMin => (one, 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_one_number_as_its_method_says() {
        let numbers = Numbers { count: 6, min: -1.0, max: 9.0, sum: 30.0 };
        let step =
            |method| Rollup { time: Timestamp::MIN, numbers, last: 2.0, steps: 3, possible: 10, method };
        for (method, one, share) in [
            (Method::Average, 5.0, (30.0, 6)),
            (Method::Min, -1.0, (-1.0, 1)),
            (Method::Max, 9.0, (9.0, 1)),
            (Method::Sum, 30.0, (30.0, 3)),
            (Method::Last, 2.0, (2.0, 1)),
            (Method::Count, 6.0, (6.0, 3)),
            (Method::AverageZero, 3.0, (30.0, 10)),
            (Method::AbsMax, 9.0, (9.0, 1)),
            (Method::AbsMin, -1.0, (-1.0, 1)),
        ] {
            let step = step(Some(method));
            assert_eq!((step.one(), step.share()), (Some(one), Some(share)), "{method:?}");
        }
        let unknown = Rollup { possible: 0, ..step(Some(Method::AverageZero)) };
        assert_eq!((unknown.one(), unknown.share()), (Some(5.0), Some((30.0, 6))));
        let of = |min, max, last, method| {
            let numbers = Numbers { min, max, ..numbers };
            Rollup { numbers, last, ..step(Some(method)) }.one()
        };
        assert_eq!(of(-9.0, 4.0, 2.0, Method::AbsMax), Some(-9.0));
        assert_eq!(of(-9.0, -4.0, -5.0, Method::AbsMin), Some(-4.0));
        assert_eq!(of(-9.0, 4.0, 2.0, Method::AbsMin), Some(2.0));
        assert_eq!((step(None).one(), step(None).share()), (None, None));
        let empty = Rollup { numbers: Numbers::NONE, ..step(Some(Method::Sum)) };
        assert_eq!((empty.one(), empty.share()), (None, None));
    }
}
