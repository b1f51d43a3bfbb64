//! The head line: which column is what.

use std::fmt;

use dotter_dot::{COLUMNS_MAX, Format, ShapeError};

use super::{FIELDS_MAX, Layout, Record};

const SERIES: [&str; 5] = ["series", "key", "name", "metric", "path"];
const TIMES: [&str; 5] = ["time", "timestamp", "date", "datetime", "ts"];

/// Where things stand in a record.
pub(super) struct Head {
    /// `None` where all rows are of one series, or each column is one.
    pub(super) series: Option<usize>,
    pub(super) time: usize,
    pub(super) format: Option<usize>,
    /// With their names.
    pub(super) values: Vec<(usize, String)>,
    /// Whether the names are worth keeping.
    pub(super) are_named: bool,
    /// The fewest fields of a record.
    least: usize,
    /// The most fields of a record: those of the head line.
    most: usize,
}

/// What a head line lacks, or what does not go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The column that was asked for is not there.
    NoColumn(String),
    /// None of the usual names of a column of times.
    NoTimes,
    /// None of the usual names of a column of series.
    NoSeries,
    /// Too many columns of values, or none.
    Values {
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// The format that was given has another number of columns.
    Format {
        /// Columns of values in the head line.
        columns: usize,
        /// The format.
        format: Format,
    },
    /// The unit makes no shape.
    Shape(ShapeError),
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadError::NoColumn(name) => write!(f, "no column '{name}' in the head line"),
            HeadError::NoTimes => write!(f, "the head line has none of {}", TIMES.join(", ")),
            HeadError::NoSeries => write!(f, "the head line has none of {}", SERIES.join(", ")),
            HeadError::Values { found, most } => {
                write!(f, "{found} columns of values in the head line, expected 1 to {most}")
            }
            HeadError::Format { columns, format } => {
                write!(f, "{columns} columns of values, but format {format} has {}", format.len())
            }
            HeadError::Shape(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HeadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            HeadError::Shape(error) => std::error::Error::source(error),
            _ => None,
        }
    }
}

impl Head {
    pub(super) fn new(names: &[String], layout: &Layout<'_>) -> Result<Head, HeadError> {
        let find = |wanted: &str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
        let column = |given: Option<&str>, usual: &[&str], none: HeadError| match given {
            Some(name) => find(name).ok_or_else(|| HeadError::NoColumn(name.to_owned())),
            None => usual.iter().find_map(|name| find(name)).ok_or(none),
        };
        let time = column(layout.time_column, &TIMES, HeadError::NoTimes)?;
        let series = if layout.is_wide || layout.series.is_some() {
            None
        } else {
            Some(column(layout.series_column, &SERIES, HeadError::NoSeries)?)
        };
        let format = if layout.is_wide || layout.format.is_some() { None } else { find("format") };
        let values: Vec<(usize, String)> = names
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != time && Some(*place) != series && Some(*place) != format)
            .map(|(place, name)| (place, name.clone()))
            .collect();
        let most = if layout.is_wide { FIELDS_MAX } else { COLUMNS_MAX };
        if values.is_empty() || values.len() > most {
            return Err(HeadError::Values { found: values.len(), most });
        }
        // What export calls columns that have no name.
        let is_plain = |(number, (_, name)): (usize, &(usize, String))| match number {
            0 => name == "value",
            number => *name == format!("c{}", number + 1),
        };
        let are_named = !values.iter().enumerate().all(is_plain);
        let most = names.len();
        let places = [Some(time), series, format].into_iter().flatten().max();
        let least = if format.is_some() { places.map_or(most, |last| last + 1) } else { most };
        Ok(Head { series, time, format, values, are_named, least, most })
    }

    /// Whether a record has as many fields as it may have.
    pub(super) fn check(&self, record: &Record<'_>) -> Result<(), String> {
        let found = record.len();
        if (self.least..=self.most).contains(&found) {
            return Ok(());
        }
        let range = if found < self.least && self.least < self.most { "at least " } else { "" };
        let expected = if found < self.least { self.least } else { self.most };
        Err(format!("{found} fields, expected {range}{expected} as in the head line"))
    }
}
