//! A lane in the hands of the application.

use std::sync::Arc;

use dotter_dot::Timestamp;
use dotter_ring::{Refusal, SlowPath};

use crate::Series;
use crate::publisher::Home;
use crate::seat::{Seat, Stamp};

/// A lane of its own for a thread with much to publish: the fastest way there is.
///
/// Goes back to the ring when dropped; another thread then continues in it.
pub struct Lane {
    home: Arc<Home>,
    /// `None` only while it is exchanged.
    seat: Option<Seat>,
}

impl Lane {
    pub(crate) fn take(inside: &SlowPath, home: &Arc<Home>) -> Lane {
        let seat = Seat::take(inside, home.ring(inside));
        Lane { home: Arc::clone(home), seat: Some(seat) }
    }

    /// Publishes a value, now.
    #[inline]
    pub fn dot(&mut self, series: &Series, value: f64) {
        if let Some(id) = self.id_here(series)
            && let Some(writer) = self.seat.as_mut().and_then(Seat::writer)
            && writer.dot(id, value).is_ok()
        {
            return;
        }
        self.publish(series, Stamp::Clock, value);
    }

    /// Publishes a value of another time.
    #[inline]
    pub fn dot_at(&mut self, series: &Series, time: Timestamp, value: f64) {
        if let Some(id) = self.id_here(series)
            && let Some(writer) = self.seat.as_mut().and_then(Seat::writer)
            && writer.dot_at(id, time.nanos(), value).is_ok()
        {
            return;
        }
        self.publish(series, Stamp::At(time.nanos()), value);
    }

    /// The series' number, if it is one of this lane's publisher.
    #[inline(always)]
    fn id_here(&self, series: &Series) -> Option<u32> {
        if Arc::ptr_eq(&self.home, series.home()) { series.id() } else { None }
    }

    #[cold]
    #[inline(never)]
    fn publish(&mut self, series: &Series, stamp: Stamp, value: f64) {
        if !Arc::ptr_eq(&self.home, series.home()) {
            // A series of another publisher knows its own way.
            return match stamp {
                Stamp::Clock => series.dot(value),
                Stamp::At(nanos) => series.dot_at(Timestamp::from_nanos(nanos), value),
            };
        }
        publish_slowly(&self.home, &mut self.seat, series, stamp, value);
    }
}

/// Publishes where the quick way failed: through the shared lane, or in a new ring.
#[cold]
pub(crate) fn publish_slowly(
    home: &Home,
    seat: &mut Option<Seat>,
    series: &Series,
    stamp: Stamp,
    value: f64,
) {
    let Some(id) = series.id() else { return home.refuse_series() };
    let Some(inside) = SlowPath::enter() else { return home.refuse(Refusal::SignalHandler) };
    let here = seat.as_mut().map(|seat| seat.dot(&inside, id, stamp, value));
    if here == Some(Ok(())) {
        return;
    }
    if let Some(old) = seat.take() {
        old.leave(&inside);
    }
    let seat = seat.insert(Seat::take(&inside, home.ring(&inside)));
    if seat.dot(&inside, id, stamp, value).is_err() {
        home.refuse(Refusal::Other);
    }
}
