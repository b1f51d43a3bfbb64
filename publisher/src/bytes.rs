//! A series of raw bytes.

use dotter_dot::{SeriesName, Timestamp};

use crate::handle::Handle;
use crate::local;
use crate::write::{Raw, RawAt};

/// Where raw bytes of one name go: hashes, packets, whatever is neither a number nor a text. Cheap to clone; any thread
/// may use it.
#[derive(Clone, Debug)]
pub struct Bytes {
    handle: Handle,
}

impl Bytes {
    pub(crate) fn new(handle: Handle) -> Bytes {
        Bytes { handle }
    }

    /// The name.
    pub fn name(&self) -> &SeriesName {
        &self.handle.name
    }

    /// Whether the ring had no room for the name: then its bytes are counted as refused.
    pub fn is_refused(&self) -> bool {
        self.handle.id.is_none()
    }

    /// Publishes bytes, now. More than [`TEXT_BYTES_MAX`](crate::TEXT_BYTES_MAX) are counted as refused.
    #[inline]
    pub fn dot(&self, bytes: &[u8]) {
        local::publish(&self.handle, Raw(bytes));
    }

    /// Publishes bytes of another time.
    #[inline]
    pub fn dot_at(&self, time: Timestamp, bytes: &[u8]) {
        local::publish(&self.handle, RawAt(time.nanos(), bytes));
    }

    #[inline(always)]
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}
