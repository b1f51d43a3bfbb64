//! The slow way of a dot, where a thread has no lane or its lane has moved.

use dotter_ring::{LaneWriter, SlowPath};

use crate::handle::Handle;
use crate::homeless::Refusal;
use crate::seat::Seat;
use crate::write::Write;

/// Publishes where the quick way failed: through the shared lane, or in a new ring.
#[cold]
pub(crate) fn publish_slowly(series: &Handle, seat: &mut Option<Seat>, write: &dyn Write) {
    let home = &series.home;
    let Some(id) = series.id else { return home.refuse_series() };
    let Some(inside) = SlowPath::enter() else { return home.refuse(Refusal::SignalHandler) };
    let write = |writer: &mut LaneWriter| write.write(writer, id);
    let here = seat.as_mut().map(|seat| seat.write(&inside, &write));
    if here == Some(Ok(())) {
        return;
    }
    if let Some(old) = seat.take() {
        old.leave(&inside);
    }
    let seat = seat.insert(Seat::take(&inside, home.ring(&inside)));
    if seat.write(&inside, &write).is_err() {
        home.refuse_inside(&inside, Refusal::Other);
    }
}
