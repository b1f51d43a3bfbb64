//! A thread's place in a ring: a lane of its own, or a share of the last one.

use std::sync::Arc;

use dotter_ring::{LaneWriter, Moved, Ring, SlowPath};

/// A lane of a ring, given back when dropped.
pub(crate) struct Seat {
    ring: Arc<Ring>,
    /// `None`: the ring has no more lanes, so this is a share of the last one.
    writer: Option<LaneWriter>,
}

impl Seat {
    pub(crate) fn take(inside: &SlowPath, ring: Arc<Ring>) -> Seat {
        Seat { writer: ring.take(inside), ring }
    }

    /// The lane, where it is this seat's alone.
    #[inline(always)]
    pub(crate) fn writer(&mut self) -> Option<&mut LaneWriter> {
        self.writer.as_mut()
    }

    /// Writes by whichever way there is.
    pub(crate) fn write(
        &mut self,
        inside: &SlowPath,
        write: &dyn Fn(&mut LaneWriter) -> Result<(), Moved>,
    ) -> Result<(), Moved> {
        match &mut self.writer {
            Some(writer) => write(writer),
            None => self.ring.shared(inside, write),
        }
    }

    /// Gives the lane back, from inside.
    pub(crate) fn leave(mut self, inside: &SlowPath) {
        if let Some(writer) = self.writer.take() {
            self.ring.give_back(inside, writer);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Where this thread is inside already, its ring has ended and nobody wants the lane.
        if let Some(writer) = self.writer.take()
            && let Some(inside) = SlowPath::enter()
        {
            self.ring.give_back(&inside, writer);
        }
    }
}
