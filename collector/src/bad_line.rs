//! Why a Graphite line was not kept.

use dotter_intake::graphite::LineError;

/// What is wrong with the line, or what happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadLine {
    /// Longer than lines may be.
    TooLong,
    /// Not three fields.
    Fields,
    /// The name is no series name.
    Name,
    /// The value is no number.
    Value,
    /// The time is none.
    Time,
    /// The connection ended within the line.
    Unfinished,
    /// One series more than the limit allows.
    SeriesLimit,
}

impl BadLine {
    /// All of them, each at its own number.
    pub(crate) const ALL: [BadLine; 7] = [
        BadLine::TooLong,
        BadLine::Fields,
        BadLine::Name,
        BadLine::Value,
        BadLine::Time,
        BadLine::Unfinished,
        BadLine::SeriesLimit,
    ];

    /// The word used in metrics and log lines.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            BadLine::TooLong => "too-long",
            BadLine::Fields => "fields",
            BadLine::Name => "name",
            BadLine::Value => "value",
            BadLine::Time => "time",
            BadLine::Unfinished => "unfinished",
            BadLine::SeriesLimit => "series-limit",
        }
    }

    /// Under which the log holds lines of this kind back.
    pub(crate) fn key(self) -> &'static str {
        match self {
            BadLine::TooLong => "graphite-too-long",
            BadLine::Fields => "graphite-fields",
            BadLine::Name => "graphite-name",
            BadLine::Value => "graphite-value",
            BadLine::Time => "graphite-time",
            BadLine::Unfinished => "graphite-unfinished",
            BadLine::SeriesLimit => "graphite-series-limit",
        }
    }
}

impl From<LineError> for BadLine {
    fn from(error: LineError) -> BadLine {
        match error {
            LineError::TooLong => BadLine::TooLong,
            LineError::Fields => BadLine::Fields,
            LineError::Name => BadLine::Name,
            LineError::Value => BadLine::Value,
            LineError::Time => BadLine::Time,
        }
    }
}
