//! Positions: where a commit stands in the order of commits, and how far somebody has followed a store.

use std::fmt;

use dotter_dot::TimeRange;

use crate::format::listing::Order;

/// A sequence of the log and the number of an edit of the list.
///
/// Of a commit it is its place in the order of commits: a commit through the log has its sequence and edit 0, a commit of
/// another process the last sequence before it and the number of its edit. Of a follower it says what it has been told:
/// every commit through the log up to the sequence, and every other commit up to the edit.
///
/// As text it is both numbers with a colon between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// A sequence of the log.
    pub sequence: u64,
    /// The number of an edit.
    pub edit: u64,
}

/// What somebody who follows a store cannot be told any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Commits behind this position are missing.
    pub from: Position,
    /// Those behind this position are there.
    pub until: Position,
    /// The times of all dots that may be among them; `None` where nothing says it.
    pub times: Option<TimeRange>,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missed { from, until, times } = self;
        write!(f, "commits behind position {from} and up to {until} are not kept any more")?;
        if let Some(TimeRange { from, until }) = times {
            write!(f, "; their dots have times from {from} to {until}, and can be read")?;
        }
        Ok(())
    }
}

impl From<Order> for Position {
    fn from(order: Order) -> Position {
        Position { sequence: order.sequence, edit: order.generation }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.edit)
    }
}
