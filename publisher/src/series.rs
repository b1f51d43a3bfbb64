//! A series of numbers.

use std::fmt;
use std::marker::PhantomData;
use std::time::Instant;

use dotter_dot::{SeriesName, Timestamp};
use dotter_ring::{Number, Shape};

use crate::handle::Handle;
use crate::write::{Dot, DotAt};
use crate::{Timer, local, timer};

/// Where numbers of one name go. Cheap to clone; any thread may use it.
pub struct Series<N = f64> {
    handle: Handle,
    /// How many of its unit a second is.
    per_second: f64,
    number: PhantomData<fn(N)>,
}

impl<N> Clone for Series<N> {
    fn clone(&self) -> Series<N> {
        Series { handle: self.handle.clone(), ..*self }
    }
}

impl<N: Number> Series<N> {
    pub(crate) fn new(handle: Handle) -> Series<N> {
        Series { handle, per_second: 1.0, number: PhantomData }
    }

    /// Says what the values are measured in: for the page, and for [`Series::timer`].
    #[must_use = "the series with the unit is the one returned"]
    pub fn unit(self, unit: &str) -> Series<N> {
        let handle = self.handle.unit(&Shape::number::<N>(), unit);
        Series { handle, per_second: timer::per_second(unit), ..self }
    }

    /// The name.
    pub fn name(&self) -> &SeriesName {
        &self.handle.name
    }

    /// Whether the ring had no room for the name: then its dots are counted as refused.
    pub fn is_refused(&self) -> bool {
        self.handle.id.is_none()
    }

    /// Publishes a value, now.
    #[inline]
    pub fn dot(&self, value: N) {
        local::publish(&self.handle, Dot(value));
    }

    /// Publishes a value of another time.
    #[inline]
    pub fn dot_at(&self, time: Timestamp, value: N) {
        local::publish(&self.handle, DotAt(time.nanos(), value));
    }

    #[inline(always)]
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Series {
    /// Publishes how long it lives, when it is dropped, in the series' unit: s, ms, us or µs, ns, min or h,
    /// and in seconds where the unit is none of these.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let publisher = dotter_publisher::Publisher::create(dir.path(), 1)?;
    /// let latency = publisher.series("shop.checkout.latency")?.unit("ms");
    /// let checkout = || {
    ///     let _timer = latency.timer();
    ///     // Every way out of here publishes a dot.
    /// };
    /// checkout();
    /// # assert_eq!(publisher.published().iter().sum::<u64>(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn timer(&self) -> Timer<'_> {
        Timer::new(self, self.per_second, Instant::now())
    }
}

impl<N> fmt::Debug for Series<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Series({:?})", self.handle)
    }
}
