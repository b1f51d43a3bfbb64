//! The publisher, its series, and the ring behind them, which may be replaced under way.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dotter_dot::{Incarnation, SeriesName, Timestamp};
use dotter_ring::directory::Place;
use dotter_ring::{Error, Identity, Refusal, Refusals, Ring, RingOptions, SlowPath};

use crate::local;
use crate::seat::Stamp;
use crate::{Lane, Options};

/// How long a ring that could not be made is not tried again.
const RETRY: Duration = Duration::from_secs(1);

/// One application's way to publish. Clones are the same publisher.
#[derive(Clone)]
pub struct Publisher {
    home: Arc<Home>,
}

/// What all handles of one publisher share.
pub(crate) struct Home {
    options: RingOptions,
    place: Place,
    /// Locked only on the slow path, so that a forked child finds it free.
    current: Mutex<Current>,
    /// Dots that were refused while there was no ring to count them in.
    homeless: AtomicU64,
}

struct Current {
    ring: Arc<Ring>,
    /// When a ring could last not be made.
    failed: Option<Instant>,
}

impl Publisher {
    /// Publishes as `application`, in the default directory: `$DOTTER_DIR`, else `/run/dotter`, else
    /// `/dev/shm/dotter-UID`.
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    pub fn open(application: &str) -> Result<Publisher, Error> {
        Publisher::options().application(application).open()
    }

    /// Publishes at `path`, a directory or an exact name, in lanes of `dots_per_lane` dots, rounded up.
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    pub fn create(path: &Path, dots_per_lane: u64) -> Result<Publisher, Error> {
        Publisher::options().lane_dots(dots_per_lane).path(path).open()
    }

    /// All the choices there are.
    pub fn options() -> Options {
        Options::new()
    }

    pub(crate) fn new(options: RingOptions, place: Place) -> Result<Publisher, Error> {
        let inside = enter(place.directory())?;
        let ring = Ring::create(&inside, &options, Identity::of_this_process()?, &place, false)?;
        let current = Mutex::new(Current { ring: Arc::new(ring), failed: None });
        Ok(Publisher { home: Arc::new(Home { options, place, current, homeless: AtomicU64::new(0) }) })
    }

    /// The series of that name, new or known; keep it, this is the expensive part of a dot.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] where the text is no name. A ring that has no room for another name gives a series
    /// all the same, whose dots it counts as refused.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let publisher = dotter_publisher::Publisher::create(dir.path(), 1)?;
    /// let temperature = publisher.series("room.temperature;floor=2")?.unit("°C");
    /// temperature.dot(21.5);
    /// assert!(publisher.series("two\nlines").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn series(&self, name: &str) -> Result<Series, Error> {
        let name = SeriesName::new(name)
            .map_err(|source| Error::Name { name: name.chars().take(80).collect(), source })?;
        let inside = enter(self.home.place.directory())?;
        let id = self.home.ring(&inside).series(&inside, &name, "");
        drop(inside);
        Ok(Series { home: Arc::clone(&self.home), id, name })
    }

    /// A lane for the thread that has most to say.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] only where a signal handler asks that interrupted the making of another.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let publisher = dotter_publisher::Publisher::create(dir.path(), 1)?;
    /// let ticks = publisher.series("ticks")?;
    /// let mut lane = publisher.lane()?;
    /// for value in 0..1000 {
    ///     lane.dot(&ticks, value as f64);
    /// }
    /// # drop(lane);
    /// # assert_eq!(publisher.published().iter().sum::<u64>(), 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lane(&self) -> Result<Lane, Error> {
        Ok(Lane::take(&enter(self.home.place.directory())?, &self.home))
    }

    /// The name of the ring's file.
    pub fn path(&self) -> PathBuf {
        self.look(|ring| ring.path().to_owned())
    }

    /// The random name of this life of the ring.
    pub fn incarnation(&self) -> Incarnation {
        self.look(Ring::incarnation)
    }

    /// Dots written so far, by lane.
    pub fn published(&self) -> Vec<u64> {
        self.look(Ring::published)
    }

    /// Dots refused so far, by reason.
    pub fn refused(&self) -> Refusals {
        let mut refused = self.look(Ring::refusals);
        refused.other += self.home.homeless.load(Relaxed);
        refused
    }

    fn look<T>(&self, look: impl FnOnce(&Ring) -> T) -> T {
        // A signal handler that asks may find the lock taken by the thread it interrupted; every other
        // caller is let in.
        let _inside = SlowPath::enter();
        look(&self.home.current().ring)
    }
}

/// Waits for the slow path; an error in a signal handler that interrupted it.
fn enter(dir: &Path) -> Result<SlowPath, Error> {
    SlowPath::enter().ok_or_else(|| Error::Io {
        doing: "cannot be done inside a signal handler, for rings in",
        path: dir.to_owned(),
        source: io::ErrorKind::WouldBlock.into(),
    })
}

impl Home {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ring to write to: a new one after a fork, or where somebody removed the file, if one can be made.
    pub(crate) fn ring(&self, _inside: &SlowPath) -> Arc<Ring> {
        let mut current = self.current();
        let resting = current.failed.is_some_and(|failed| failed.elapsed() < RETRY);
        if !resting && current.ring.has_moved() {
            match self.renew(_inside, &current.ring) {
                Ok(ring) => *current = Current { ring: Arc::new(ring), failed: None },
                // Nobody to tell: the application goes on, its dots are counted.
                Err(_) => current.failed = Some(Instant::now()),
            }
        }
        Arc::clone(&current.ring)
    }

    fn renew(&self, inside: &SlowPath, old: &Ring) -> Result<Ring, Error> {
        // The parent still publishes under an exact name.
        let beside = !old.is_ours();
        let ring = Ring::create(inside, &self.options, Identity::of_this_process()?, &self.place, beside)?;
        ring.adopt_series(inside, old);
        for _ in 0..self.homeless.swap(0, Relaxed) {
            ring.refuse(Refusal::Other);
        }
        Ok(ring)
    }

    /// Counts a dot that no ring could take.
    #[cold]
    pub(crate) fn refuse(&self, refusal: Refusal) {
        // Only where the lock is free: a signal handler may ask.
        match self.current.try_lock() {
            Ok(current) if current.ring.is_ours() => current.ring.refuse(refusal),
            _ => {
                self.homeless.fetch_add(1, Relaxed);
            }
        }
    }

    /// Counts a dot on a series that the registry had no room for.
    #[cold]
    pub(crate) fn refuse_series(&self) {
        match self.current.try_lock() {
            Ok(current) if current.ring.is_ours() => current.ring.refuse_series(),
            _ => {
                self.homeless.fetch_add(1, Relaxed);
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The last handle is gone, so nobody writes; lanes that threads still hold are never used again.
        self.current.get_mut().unwrap_or_else(PoisonError::into_inner).ring.close();
    }
}

/// Where dots of one name go. Cheap to clone; any thread may use it.
#[derive(Clone)]
pub struct Series {
    home: Arc<Home>,
    id: Option<u32>,
    name: SeriesName,
}

impl Series {
    /// Says what the values are measured in; for the page, changes nothing else.
    #[must_use = "the series with the unit is the one returned"]
    pub fn unit(self, unit: &str) -> Series {
        let Some(inside) = SlowPath::enter() else { return self };
        let id = self.home.ring(&inside).series(&inside, &self.name, unit);
        Series { id, ..self }
    }

    /// The name.
    pub fn name(&self) -> &SeriesName {
        &self.name
    }

    /// Whether the ring had no room for the name: then its dots are counted as refused.
    pub fn is_refused(&self) -> bool {
        self.id.is_none()
    }

    /// Publishes a value, now.
    #[inline]
    pub fn dot(&self, value: f64) {
        local::publish(self, Stamp::Clock, value);
    }

    /// Publishes a value of another time.
    #[inline]
    pub fn dot_at(&self, time: Timestamp, value: f64) {
        local::publish(self, Stamp::At(time.nanos()), value);
    }

    /// Its number in the ring; `None` where the registry had no room.
    #[inline(always)]
    pub(crate) fn id(&self) -> Option<u32> {
        self.id
    }

    #[inline(always)]
    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Publisher({} at {:?})", self.home.options.application, self.home.place)
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Series({})", self.name)
    }
}
