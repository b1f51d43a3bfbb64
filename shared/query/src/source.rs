//! Where queries get series from: a source says which there are, what is known of them, and what their dots are.
//!
//! Queries know no store: whoever has one implements [`Source`] over it.

use std::error::Error as StdError;
use std::ops::ControlFlow;
use std::time::Duration;

use dotter_dot::{SeriesName, Shape, TimeRange, Timestamp};

use crate::{Budget, Dot, Error, Method, Pattern, Rollup, Stretch};

/// What went wrong inside a source.
pub type SourceError = Box<dyn StdError + Send + Sync>;

/// Series as they are at one moment.
pub trait Source: Send + Sync {
    /// Shows every node of the tree of names that `pattern` means, in any order, and every series with tags that it
    /// means, though these stand outside of the tree. Ends with the error of `visit`, where it gives one.
    ///
    /// - `live`: only series of which the span meets this range, and branches above such series
    /// - `budget`: of it the deadline is looked at
    ///
    /// # Errors
    ///
    /// Past the deadline, or where the names cannot be read.
    fn find(
        &self,
        pattern: &Pattern,
        live: Option<TimeRange>,
        budget: &Budget,
        visit: &mut dyn FnMut(Node) -> Result<(), Error>,
    ) -> Result<(), Error>;

    /// What is known of each series, in the order of `names`. One that is not there has neither a span nor a shape; a
    /// rule may be meant for it.
    ///
    /// # Errors
    ///
    /// Where the source cannot be asked.
    fn known(&self, names: &[&str]) -> Result<Vec<Known>, SourceError>;

    /// Puts what is wanted into `sink`, one want after the other, each in pieces of any length, oldest first; nothing
    /// for a series that is not there. Ends as soon as the sink breaks off.
    ///
    /// # Errors
    ///
    /// Where the source cannot be read.
    fn fetch(&self, wants: &[Want<'_>], sink: Sink<'_>) -> Result<Report, SourceError>;
}

/// One node of the tree of names, or a series with tags. A name may be both a series and a branch, and is then two
/// nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A series.
    Series(SeriesName),
    /// The path above some series.
    Branch(String),
}

impl Node {
    /// The whole path down to it; of a series its name.
    pub fn path(&self) -> &str {
        match self {
            Node::Series(name) => name.as_str(),
            Node::Branch(path) => path,
        }
    }

    /// The last part of the path.
    pub fn text(&self) -> &str {
        self.path().rsplit('.').next().unwrap_or_default()
    }

    /// Whether it is a series.
    pub fn is_series(&self) -> bool {
        matches!(self, Node::Series(_))
    }
}

/// What is known of a series without reading its dots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The first and the last moment of its dots with numbers; `None` where it has none, or only steps are left.
    pub span: Option<(Timestamp, Timestamp)>,
    /// What its dots look like; of several shapes that of the dot committed last.
    pub shape: Option<Shape>,
    /// How long it is kept; `None` where it has no rule and is kept for ever.
    pub rule: Option<Rule>,
    /// The steps that there are instead of dots, each width once. Where they lie there may be dots too.
    pub stepped: Vec<Stepped>,
}

/// Steps of one width that a series has instead of dots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// Their width.
    pub step: Duration,
    /// From where the first of them begins to where the last of them ends.
    pub range: TimeRange,
}

/// What becomes of a series as it grows old.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Time between dots, where the first of its retentions says one.
    pub interval: Option<Duration>,
    /// How long dots are kept as they came.
    pub raw: Duration,
    /// The steps that they become then, finest first.
    pub archives: Vec<Archive>,
    /// How one number is made of a step.
    pub method: Method,
    /// Share of a step, from 0 to 1, that must be known for it to have a number.
    pub x_files_factor: f64,
}

/// Steps of one width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Their width.
    pub step: Duration,
    /// How long they are kept.
    pub keep: Duration,
}

/// What is wanted of one series.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// Its name.
    pub name: &'a str,
    /// What of it.
    pub what: What,
}

/// What can be wanted of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// The dots inside a range.
    Dots(TimeRange),
    /// What is known of the dots inside a range without reading them: no dot lies outside of all stretches, and no two
    /// stretches meet.
    Stretches(TimeRange),
    /// What the numbers inside a range come to per step of that width, for every step with any: those of the dots, and
    /// those of kept steps as far as the width is a multiple of theirs. The range is rounded outwards to whole steps.
    Steps(TimeRange, Duration),
    /// The newest dots of all time, at most so many.
    Newest(usize),
}

/// Some of what was wanted, oldest first.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// Of [`What::Dots`] and [`What::Newest`].
    Dots(&'a [Dot]),
    /// Of [`What::Dots`] of a histogram: how many observations each dot stands for comes beside it.
    Observations(&'a [Dot], &'a [u64]),
    /// Of [`What::Stretches`].
    Stretches(&'a [Stretch]),
    /// Of [`What::Steps`].
    Steps(&'a [Rollup]),
}

/// Takes what a source gives, within a budget.
pub struct Sink<'a> {
    budget: &'a Budget,
    take: &'a mut dyn FnMut(usize, Piece<'_>),
    report: Report,
}

impl<'a> Sink<'a> {
    /// - `budget`: what may still be looked at, and until when
    /// - `take`: gets each piece and the index of the want it belongs to
    pub fn new(budget: &'a Budget, take: &'a mut dyn FnMut(usize, Piece<'_>)) -> Sink<'a> {
        Sink { budget, take, report: Report::default() }
    }

    /// Asked before so many dots are looked at for the want with that index: those that come out, and those that were
    /// replaced, deleted or texts. A step counts as a dot, beside the dots that it is made of; stretches and the newest
    /// dots count as none.
    /// Where it breaks, the source ends.
    pub fn look_at(&mut self, want: usize, dots: u64) -> ControlFlow<()> {
        self.report.looked_at = self.report.looked_at.saturating_add(dots);
        match self.budget.allows(self.report.looked_at) {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => {
                self.report.missing = Some(Missing { want, why });
                ControlFlow::Break(())
            }
        }
    }

    /// Takes a piece of what the want with that index asks for.
    pub fn put(&mut self, want: usize, piece: Piece<'_>) {
        (self.take)(want, piece);
    }

    /// How it went.
    pub fn report(self) -> Report {
        self.report
    }
}

/// How a fetch went.
#[derive(Debug, Default)]
#[must_use]
pub struct Report {
    /// How many dots were looked at, as [`Sink::look_at`] counts them.
    pub looked_at: u64,
    /// What is missing; `None` where all that is wanted was put into the sink.
    pub missing: Option<Missing>,
}

/// What a fetch did not give.
#[derive(Debug)]
pub struct Missing {
    /// The index of the want that has a part missing; all of those behind it are missing.
    pub want: usize,
    /// Which budget was used up.
    pub why: Error,
}
