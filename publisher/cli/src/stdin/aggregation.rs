//! What becomes of many numbers: one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use dotter_daemon::duration_arg;

use super::percentile::{Numbers, Share};

/// What a series in a step weighs beyond its kept numbers.
const SERIES_WEIGHT: usize = 16;

/// What becomes of the numbers of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// Each is a dot.
    None,
    /// Those of a step are one dot, at the beginning of the step.
    Steps {
        /// What that dot says.
        function: Function,
        /// How long a step is.
        step: Duration,
    },
}

/// What one dot says of many numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Mean,
    Max,
    Min,
    Sum,
    Count,
    Percentile(Share),
}

impl Function {
    /// Whether it says how many numbers there were, whatever they measure.
    pub(super) fn counts(self) -> bool {
        self.0 == Kind::Count
    }
}

/// Why a text is no [`Aggregation`]; the text as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregationError(String);

impl fmt::Display for AggregationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is no aggregation: expected none, or mean, max, min, sum, count or p50 to p99.999 with a step of \
             1s to 1h, such as mean:1s",
            self.0
        )
    }
}

impl std::error::Error for AggregationError {}

/// `none`, or a function and a step: `mean:1s`, `p99.9:1m`.
impl FromStr for Aggregation {
    type Err = AggregationError;

    fn from_str(text: &str) -> Result<Aggregation, AggregationError> {
        let wrong = || AggregationError(text.chars().take(64).collect());
        if text == "none" {
            return Ok(Aggregation::None);
        }
        let (function, step) = text.split_once(':').ok_or_else(wrong)?;
        let kind = match function {
            "mean" => Kind::Mean,
            "max" => Kind::Max,
            "min" => Kind::Min,
            "sum" => Kind::Sum,
            "count" => Kind::Count,
            _ => {
                let percent = function.strip_prefix('p').ok_or_else(wrong)?;
                Kind::Percentile(Share::parse_percent(percent).ok_or_else(wrong)?)
            }
        };
        let step = duration_arg(step).map_err(|_| wrong())?;
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&step) {
            return Err(wrong());
        }
        Ok(Aggregation::Steps { function: Function(kind), step })
    }
}

/// The numbers of one series in one step; at least one.
#[derive(Debug)]
pub(super) enum Gathered {
    /// A sum, a greatest, a least, or nothing but how many there were.
    One {
        number: f64,
        count: u64,
    },
    All(Numbers, Share),
}

impl Gathered {
    pub(super) fn new(Function(kind): Function) -> Gathered {
        match kind {
            Kind::Mean | Kind::Sum | Kind::Count => Gathered::One { number: 0.0, count: 0 },
            Kind::Max => Gathered::One { number: f64::NEG_INFINITY, count: 0 },
            Kind::Min => Gathered::One { number: f64::INFINITY, count: 0 },
            Kind::Percentile(share) => Gathered::All(Numbers::new(), share),
        }
    }

    pub(super) fn add(&mut self, Function(kind): Function, added: f64) {
        match self {
            Gathered::One { number, count } => {
                *count += 1;
                match kind {
                    Kind::Max => *number = number.max(added),
                    Kind::Min => *number = number.min(added),
                    Kind::Mean | Kind::Sum => *number += added,
                    Kind::Count => *number = *count as f64,
                    Kind::Percentile(_) => {}
                }
            }
            Gathered::All(numbers, _) => numbers.add(added),
        }
    }

    /// What it takes of memory, in units of some 8 to 16 bytes.
    pub(super) fn weight(&self) -> usize {
        SERIES_WEIGHT
            + match self {
                Gathered::One { .. } => 0,
                Gathered::All(numbers, _) => numbers.kept(),
            }
    }

    pub(super) fn value(self, Function(kind): Function) -> f64 {
        match self {
            Gathered::One { number, count } if kind == Kind::Mean => number / count as f64,
            Gathered::One { number, .. } => number,
            Gathered::All(numbers, share) => numbers.percentile(share),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_says_what_its_name_says() {
        let check = |aggregation: &str, numbers: &[f64], expected: f64| {
            let Ok(Aggregation::Steps { function, .. }) = aggregation.parse() else {
                panic!("{aggregation}");
            };
            let mut gathered = Gathered::new(function);
            numbers.iter().for_each(|number| gathered.add(function, *number));
            assert_eq!(gathered.value(function), expected, "{aggregation} {numbers:?}");
        };
        check("mean:1s", &[3.0, 1.0, 8.0], 4.0);
        check("mean:1s", &[-1.0], -1.0);
        check("max:1s", &[3.0, 1.0, 8.0], 8.0);
        check("max:1s", &[-3.0, -1.0], -1.0);
        check("min:1s", &[3.0, 1.0, 8.0], 1.0);
        check("sum:1s", &[3.0, 1.0, 8.0], 12.0);
        check("count:1s", &[3.0, 1.0, 8.0], 3.0);
        check("p50:1s", &[3.0, 1.0, 8.0], 3.0);
        check("p99:10s", &[3.0, 1.0, 8.0], 8.0);
    }

    #[test]
    fn steps_are_read_with_their_units() {
        let check = |text: &str, seconds: u64| match text.parse() {
            Ok(Aggregation::Steps { step, .. }) => assert_eq!(step, Duration::from_secs(seconds), "{text}"),
            other => panic!("{text}: {other:?}"),
        };
        check("mean:1s", 1);
        check("max:10", 10);
        check("p99.9:1m", 60);
        check("count:1h", 3600);
        assert_eq!("none".parse(), Ok(Aggregation::None));
    }

    #[test]
    fn what_is_no_aggregation_is_refused() {
        for text in
            ["", "mean", "mean:", "mean:0", "mean:0.5s", "mean:2h", "median:1s", "p100:1s", "p:1s", "none:1s"]
        {
            assert!(text.parse::<Aggregation>().is_err(), "{text}");
        }
    }
}
