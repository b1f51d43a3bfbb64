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

/// What the numbers of one step of a series come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rollup {
    /// Where the step begins.
    pub time: Timestamp,
    /// What they come to.
    pub numbers: Numbers,
    /// The latest of them.
    pub last: f64,
    /// The one number that stands for the step, as the rule of the series makes it; `None` where too little is known for
    /// one.
    pub value: Option<f64>,
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
    /// The one that is nearest to zero.
    AbsMin,
}
