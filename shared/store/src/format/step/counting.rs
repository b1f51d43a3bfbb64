//! How the values of a step become its one number, and the text that says so in the name of column `acc`.

use std::sync::LazyLock;

use dotter_dot::{Format, Kind, Shape};

use crate::format::rules::Aggregation;

/// The columns of a row before the one whose name says how values are counted.
const BEFORE_ACC: [&str; 7] = ["min", "max", "sum", "count", "last", "last_at", "first_at"];
/// The column behind it.
const KNOWN: &str = "known";

static FORMAT: LazyLock<Format> = LazyLock::new(|| Format::new("FFFUFUUFU").expect("nine letters"));

/// Every method with its name in files; names are only ever added.
pub(super) const METHODS: [(Aggregation, &str); 9] = [
    (Aggregation::Average, "average"),
    (Aggregation::Min, "min"),
    (Aggregation::Max, "max"),
    (Aggregation::Sum, "sum"),
    (Aggregation::Last, "last"),
    (Aggregation::Count, "count"),
    (Aggregation::AverageZero, "avg_zero"),
    (Aggregation::AbsMax, "absmax"),
    (Aggregation::AbsMin, "absmin"),
];

/// How two results of a method become one.
enum Joining {
    Added,
    Least,
    Greatest,
    Latest,
    Farthest,
    Nearest,
}

fn joining(aggregation: Aggregation) -> Joining {
    match aggregation {
        Aggregation::Average | Aggregation::AverageZero | Aggregation::Sum | Aggregation::Count => {
            Joining::Added
        }
        Aggregation::Min => Joining::Least,
        Aggregation::Max => Joining::Greatest,
        Aggregation::Last => Joining::Latest,
        Aggregation::AbsMax => Joining::Farthest,
        Aggregation::AbsMin => Joining::Nearest,
    }
}

/// How the values of a step become its one number.
///
/// Always true: the factor lies between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counting {
    aggregation: Aggregation,
    factor: f64,
    possible: u64,
}

/// Values of a step put together by a method.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Values {
    /// What the method has come to: their sum for average, how many for count; 0 where none is known.
    pub(crate) acc: f64,
    /// How many are known.
    pub(crate) known: u64,
    /// The time of the latest, in nanoseconds.
    pub(crate) at: u64,
}

impl Counting {
    /// - `factor`: the part of the values that must be known; what lies outside of 0 to 1 is brought there
    /// - `possible`: how many values of the finer tier a whole step has; 0 where that is not known: then one is enough
    pub(crate) fn new(aggregation: Aggregation, factor: f64, possible: u64) -> Counting {
        let factor = if factor > 0.0 { factor.min(1.0) } else { 0.0 };
        Counting { aggregation, factor, possible }
    }

    /// How many values of the finer tier a whole step has; 0 where that is not known.
    pub(crate) fn possible(&self) -> u64 {
        self.possible
    }

    /// The name of column `acc`: `average 0.5 of 6`, or `average 0.5` where nobody knows of how many.
    pub(crate) fn name(&self) -> String {
        let named = METHODS.iter().find(|(method, _)| *method == self.aggregation);
        let method = named.map_or("average", |(_, name)| *name);
        // Both forms are the shortest that is read back exactly; the first of a tiny number is long.
        let factor = match self.factor {
            tiny if tiny > 0.0 && tiny < 1e-6 => format!("{tiny:e}"),
            factor => factor.to_string(),
        };
        match self.possible {
            0 => format!("{method} {factor}"),
            possible => format!("{method} {factor} of {possible}"),
        }
    }

    /// Reads what [`Counting::name`] writes; `None` for anything else.
    pub(crate) fn from_name(name: &str) -> Option<Counting> {
        let mut words = name.split(' ');
        let method = words.next()?;
        let (aggregation, _) = METHODS.iter().find(|(_, name)| *name == method)?;
        let factor: f64 = words.next()?.parse().ok()?;
        let possible = match words.next() {
            None => 0,
            Some("of") => words.next()?.parse().ok()?,
            Some(_) => return None,
        };
        let read = Counting::new(*aggregation, factor, possible);
        (read.name() == name).then_some(read)
    }

    /// The shape of its rows.
    ///
    /// - `unit`, `kind`: of the series
    pub(crate) fn shape(&self, unit: &str, kind: Kind) -> Shape {
        let name = self.name();
        let columns = BEFORE_ACC.into_iter().chain([name.as_str(), KNOWN]);
        let columns: Vec<&str> = columns.collect();
        let shape = Shape::new(FORMAT.clone(), unit, &columns);
        // The unit is that of a shape already, and every name here is short.
        shape.or_else(|_| Shape::new(FORMAT.clone(), "", &columns)).expect("nine short names").with_kind(kind)
    }

    /// What a shape says; `None` where it is no shape of steps, and `Some(None)` where only the name of column `acc`
    /// cannot be read.
    pub(crate) fn of_shape(shape: &Shape) -> Option<Option<Counting>> {
        if *shape.format() != *FORMAT {
            return None;
        }
        match shape.columns() {
            [before @ .., acc, known]
                if **known == *KNOWN && before.iter().map(|name| &**name).eq(BEFORE_ACC) =>
            {
                Some(Counting::from_name(acc))
            }
            _ => None,
        }
    }

    /// A number as values: one that stands for `weight` equal ones.
    pub(crate) fn number(&self, number: f64, weight: u64, at: u64) -> Values {
        let acc = match self.aggregation {
            Aggregation::Average | Aggregation::AverageZero | Aggregation::Sum => number * weight as f64,
            Aggregation::Count => weight as f64,
            Aggregation::Min
            | Aggregation::Max
            | Aggregation::Last
            | Aggregation::AbsMax
            | Aggregation::AbsMin => number,
        };
        Values { acc, known: weight, at }
    }

    /// The value of a finer step as values. Of counts it is how many values that step had.
    pub(crate) fn finer(&self, value: f64, at: u64) -> Values {
        Values { acc: value, known: 1, at }
    }

    /// Puts values together; of equal times the later ones are the latest.
    pub(crate) fn join(&self, earlier: Values, later: Values) -> Values {
        if earlier.known == 0 {
            return later;
        }
        if later.known == 0 {
            return earlier;
        }
        let acc = match joining(self.aggregation) {
            Joining::Added => earlier.acc + later.acc,
            Joining::Least => earlier.acc.min(later.acc),
            Joining::Greatest => earlier.acc.max(later.acc),
            Joining::Latest if later.at >= earlier.at => later.acc,
            // Of two that are as far the earlier one, as in Whisper.
            Joining::Farthest if later.acc.abs() > earlier.acc.abs() => later.acc,
            Joining::Nearest if later.acc.abs() < earlier.acc.abs() => later.acc,
            Joining::Latest | Joining::Farthest | Joining::Nearest => earlier.acc,
        };
        Values { acc, known: earlier.known.saturating_add(later.known), at: earlier.at.max(later.at) }
    }

    /// The same values, not more of them than a step can have. Late values of slots that had one make more: then each
    /// counts as the mean of all.
    pub(crate) fn settled(&self, values: Values) -> Values {
        let Values { acc, known, at } = values;
        if self.possible == 0 || known <= self.possible {
            return values;
        }
        let acc = match joining(self.aggregation) {
            Joining::Added => acc / known as f64 * self.possible as f64,
            _ => acc,
        };
        Values { acc, known: self.possible, at }
    }

    /// The one number of a step; `None` where too few values are known, and where it is no finite number.
    ///
    /// Source: Whisper's `aggregate` and its `xFilesFactor`.
    pub(crate) fn value(&self, values: Values) -> Option<f64> {
        let Values { acc, known, .. } = self.settled(values);
        let is_enough = match self.possible {
            0 => known > 0,
            possible => known > 0 && known as f64 / possible as f64 >= self.factor,
        };
        let value = match self.aggregation {
            Aggregation::AverageZero if self.possible > 0 => acc / self.possible as f64,
            Aggregation::Average | Aggregation::AverageZero => acc / known as f64,
            Aggregation::Min
            | Aggregation::Max
            | Aggregation::Sum
            | Aggregation::Last
            | Aggregation::Count
            | Aggregation::AbsMax
            | Aggregation::AbsMin => acc,
        };
        (is_enough && value.is_finite()).then_some(value)
    }
}

impl Default for Counting {
    /// Graphite's default.
    fn default() -> Counting {
        Counting::new(Aggregation::Average, 0.5, 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_no_way_of_counting_has_written_is_no_way_of_counting() {
        for name in [
            "",
            " ",
            "average",
            "average ",
            "average 0.5 ",
            "average 0.50",
            "average 2",
            "average -1",
            "average NaN",
            "average inf",
            "average 0.5 of",
            "average 0.5 of 0",
            "average 0.5 of 06",
            "average 0.5 of -1",
            "average 0.5 of 6 7",
            "average 0.5 in 6",
            "p95 0.5",
            "Average 0.5",
            "average  0.5",
            "acc",
            "average -0",
            "average 0.5 of 99999999999999999999",
            "\u{1F600} 0.5",
        ] {
            assert_eq!(Counting::from_name(name), None, "{name:?}");
        }
        let check = |aggregation, factor, possible, name: &str| {
            let counting = Counting::new(aggregation, factor, possible);
            assert_eq!((counting.name().as_str(), Counting::from_name(name)), (name, Some(counting)));
        };
        check(Aggregation::Average, 0.5, 6, "average 0.5 of 6");
        check(Aggregation::Sum, 0.0, 0, "sum 0");
        check(Aggregation::Last, 1.0, u64::MAX, "last 1 of 18446744073709551615");
        check(Aggregation::Max, 5e-324, 0, "max 5e-324");
        assert_eq!(Counting::new(Aggregation::Sum, f64::NAN, 1), Counting::new(Aggregation::Sum, 0.0, 1));
    }

    proptest! {
        #[test]
        fn any_text_is_a_way_of_counting_or_none(name in "(average|sum|last|[a-z]{0,3})( [0-9.e-]{0,5}( of [0-9]{0,4})?)?|.{0,20}") {
            if let Some(read) = Counting::from_name(&name) {
                prop_assert_eq!(read.name(), name);
            }
        }
    }
}
