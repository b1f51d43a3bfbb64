//! What all handles of one publisher share: the ring that they write to, which may be replaced under way, and what is
//! counted beside it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dotter_dot::SeriesName;
use dotter_ring::directory::Place;
use dotter_ring::{Error, Identity, Refusals, Ring, RingOptions, SlowPath};

use crate::homeless::{Homeless, Refusal};
use crate::total::Total;

/// How long a ring that could not be made is not tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long a ring that had its name is taken to have it, where refused dots are to be counted in it.
const LOOK: Duration = Duration::from_millis(20);

/// What all handles of one publisher share.
pub(crate) struct Home {
    pub(crate) options: RingOptions,
    pub(crate) place: Place,
    /// Locked only on the slow path, so that a forked child finds it free.
    current: Mutex<Current>,
    /// Dots that were refused and are not counted in a ring yet.
    homeless: Homeless,
    /// What counters have come to, by name; locked only on the slow path.
    totals: Mutex<HashMap<SeriesName, Arc<Total>>>,
}

struct Current {
    ring: Arc<Ring>,
    /// When a ring could last not be made.
    failed: Option<Instant>,
    /// Whether the ring was seen to be another process's, or without a name; and when that was last looked at.
    moved: bool,
    looked: Instant,
    /// What was refused in rings before this one, of this process.
    earlier: Refusals,
}

impl Current {
    fn new(ring: Ring, earlier: Refusals) -> Current {
        Current { ring: Arc::new(ring), failed: None, moved: false, looked: Instant::now(), earlier }
    }

    /// Whether a new ring is due, as of now.
    fn has_moved(&mut self) -> bool {
        self.looked = Instant::now();
        self.moved = self.ring.has_moved();
        self.moved
    }

    /// Whether what is counted in the ring will be read; looks anew once in [`LOOK`].
    fn counts(&mut self) -> bool {
        if !self.moved && self.ring.is_ours() && self.looked.elapsed() >= LOOK {
            self.has_moved();
        }
        !self.moved && self.ring.is_ours()
    }

    /// Counts in the ring what has no home, if the ring will be read.
    fn take_in(&mut self, homeless: &Homeless) {
        if self.counts() {
            self.ring.add_refusals(&homeless.take());
        }
    }

    /// What this process's rings have counted.
    fn refused(&self) -> Refusals {
        // A parent's ring counts what the parent refused.
        if self.ring.is_ours() { sum(self.earlier, self.ring.refusals()) } else { Refusals::default() }
    }
}

fn sum(a: Refusals, b: Refusals) -> Refusals {
    Refusals {
        series: a.series.saturating_add(b.series),
        signal_handler: a.signal_handler.saturating_add(b.signal_handler),
        too_big: a.too_big.saturating_add(b.too_big),
        other: a.other.saturating_add(b.other),
    }
}

impl Home {
    pub(crate) fn new(options: RingOptions, place: Place, ring: Ring) -> Home {
        let current = Mutex::new(Current::new(ring, Refusals::default()));
        Home { options, place, current, homeless: Homeless::default(), totals: Mutex::default() }
    }

    pub(crate) fn totals(&self, _inside: &SlowPath) -> MutexGuard<'_, HashMap<SeriesName, Arc<Total>>> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the ring as it is.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Ring) -> T) -> T {
        self.look_at_current(|current| look(&current.ring))
    }

    /// What was refused so far, in a ring or in none.
    pub(crate) fn refused(&self) -> Refusals {
        self.look_at_current(|current| sum(current.refused(), self.homeless.look()))
    }

    fn look_at_current<T>(&self, look: impl FnOnce(&Current) -> T) -> T {
        // A signal handler that asks may find the lock taken by the thread it interrupted; every other
        // caller is let in.
        let _inside = SlowPath::enter();
        look(&self.current())
    }

    /// The ring to write to: a new one after a fork, or where somebody removed the file, if one can be made.
    pub(crate) fn ring(&self, inside: &SlowPath) -> Arc<Ring> {
        let mut current = self.current();
        let resting = current.failed.is_some_and(|failed| failed.elapsed() < RETRY);
        if !resting && current.has_moved() {
            match self.renew(inside, &current.ring) {
                Ok(ring) => *current = Current::new(ring, current.refused()),
                // Nobody to tell: the application goes on, its dots are counted.
                Err(_) => current.failed = Some(Instant::now()),
            }
        }
        current.take_in(&self.homeless);
        Arc::clone(&current.ring)
    }

    fn renew(&self, inside: &SlowPath, old: &Ring) -> Result<Ring, Error> {
        // The parent still publishes under an exact name.
        let beside = !old.is_ours();
        let ring = Ring::create(inside, &self.options, Identity::of_this_process()?, &self.place, beside)?;
        ring.adopt_series(inside, old);
        Ok(ring)
    }

    /// Counts a dot that no ring could take; any thread may, and a signal handler.
    ///
    /// Nothing is locked where a fork could happen, and nobody is waited for: while another thread is on the slow
    /// path, or this one is, the count stays where the next on that path finds it.
    #[cold]
    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.homeless.add(refusal);
        if let Some(inside) = SlowPath::try_enter() {
            self.settle(&inside);
        }
    }

    /// The same from the slow path.
    #[cold]
    pub(crate) fn refuse_inside(&self, inside: &SlowPath, refusal: Refusal) {
        self.homeless.add(refusal);
        self.settle(inside);
    }

    /// Counts in the ring what has no home.
    fn settle(&self, _inside: &SlowPath) {
        self.current().take_in(&self.homeless);
    }

    /// Counts a dot on a series that the registry had no room for, in a new ring if one is due.
    #[cold]
    pub(crate) fn refuse_series(&self) {
        self.homeless.add(Refusal::Series);
        if let Some(inside) = SlowPath::try_enter() {
            let counts = self.current().counts();
            if counts {
                self.settle(&inside);
            } else {
                self.ring(&inside);
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The last handle is gone, so nobody writes; lanes that threads still hold are never used again.
        let current = self.current.get_mut().unwrap_or_else(PoisonError::into_inner);
        current.take_in(&self.homeless);
        current.ring.close();
    }
}
