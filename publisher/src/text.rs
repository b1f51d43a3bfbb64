//! A series of lines of text.

use dotter_dot::{SeriesName, Timestamp};

use crate::handle::Handle;
use crate::local;
use crate::write::{Line, LineAt};

/// Where lines of one name go. Cheap to clone; any thread may use it.
#[derive(Clone, Debug)]
pub struct Text {
    handle: Handle,
}

impl Text {
    pub(crate) fn new(handle: Handle) -> Text {
        Text { handle }
    }

    /// The name.
    pub fn name(&self) -> &SeriesName {
        &self.handle.name
    }

    /// Whether the ring had no room for the name: then its lines are counted as refused.
    pub fn is_refused(&self) -> bool {
        self.handle.id.is_none()
    }

    /// Publishes a line, now. One longer than [`TEXT_BYTES_MAX`](crate::TEXT_BYTES_MAX) is counted as
    /// refused: cutting it is for who knows what may go.
    #[inline]
    pub fn line(&self, line: &str) {
        local::publish(&self.handle, Line(line));
    }

    /// Publishes a line of another time.
    #[inline]
    pub fn line_at(&self, time: Timestamp, line: &str) {
        local::publish(&self.handle, LineAt(time.nanos(), line));
    }

    #[inline(always)]
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}
