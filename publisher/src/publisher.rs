//! The publisher, and the ring behind it, which may be replaced under way.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dotter_dot::{Incarnation, SeriesName};
use dotter_ring::directory::Place;
use dotter_ring::{Error, Identity, Number, Refusals, Ring, RingOptions, Shape, SlowPath};

use crate::counter::Total;
use crate::handle::Handle;
use crate::homeless::{Homeless, Refusal};
use crate::row;
use crate::{AnyRow, Bytes, Columns, Counter, Lane, Options, Row, Series, Text};

/// How long a ring that could not be made is not tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long a ring that had its name is taken to have it, where refused dots are to be counted in it.
const LOOK: Duration = Duration::from_millis(20);

/// One application's way to publish. Clones are the same publisher.
#[derive(Clone)]
pub struct Publisher {
    home: Arc<Home>,
    /// What its series have as their tag `instance`.
    instance: Option<Arc<str>>,
}

/// What all handles of one publisher share.
pub(crate) struct Home {
    options: RingOptions,
    place: Place,
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
        let current = Mutex::new(Current::new(ring, Refusals::default()));
        let (homeless, totals) = (Homeless::default(), Mutex::default());
        let home = Arc::new(Home { options, place, current, homeless, totals });
        Ok(Publisher { home, instance: None })
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
        self.series_of(name)
    }

    /// A series of another kind of number: i64, u64 or f32.
    ///
    /// # Errors
    ///
    /// As [`Publisher::series`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let publisher = dotter_publisher::Publisher::create(dir.path(), 1)?;
    /// let offset = publisher.series_of::<i64>("queue.offset")?.unit("bytes");
    /// offset.dot(9_007_199_254_740_993); // one more than an f64 can count to
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn series_of<N: Number>(&self, name: &str) -> Result<Series<N>, Error> {
        Ok(Series::new(self.handle(name, &Shape::number::<N>())?))
    }

    /// A series of lines of text; keep it where there are many.
    ///
    /// # Errors
    ///
    /// As [`Publisher::series`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let publisher = dotter_publisher::Publisher::create(dir.path(), 1)?;
    /// let log = publisher.lines("shop.log")?;
    /// log.line("the shop is open");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lines(&self, name: &str) -> Result<Text, Error> {
        Ok(Text::new(self.handle(name, &Shape::text())?))
    }

    /// Publishes one line of text, now. Finds the series anew each time; [`Publisher::lines`] keeps it.
    ///
    /// # Errors
    ///
    /// As [`Publisher::series`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let publisher = dotter_publisher::Publisher::create(dir.path(), 1)?;
    /// publisher.text("shop.log", "the shop is open")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn text(&self, name: &str, line: &str) -> Result<(), Error> {
        self.lines(name)?.line(line);
        Ok(())
    }

    /// A series of raw bytes: what is neither a number nor a text.
    ///
    /// # Errors
    ///
    /// As [`Publisher::series`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let publisher = dotter_publisher::Publisher::create(dir.path(), 1)?;
    /// let packets = publisher.bytes("net.packet")?;
    /// packets.dot(&[0x45, 0x00, 0xff]);
    /// # assert_eq!(publisher.published().iter().sum::<u64>(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bytes(&self, name: &str) -> Result<Bytes, Error> {
        Ok(Bytes::new(self.handle(name, &Shape::bytes())?))
    }

    /// A series of rows: several numbers at one time, each in a column with a name.
    ///
    /// The columns' types are those of a tuple of up to 12 numbers, or of an array of up to 64 of one type.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] as [`Publisher::series`]; [`Error::Columns`] where there is not one name for each
    /// column, or a name is empty, longer than 255 bytes, or has a control character.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let publisher = dotter_publisher::Publisher::create(dir.path(), 1)?;
    /// let disk = publisher.row::<(f64, u64, u64)>("disk.sda", &["busy", "read", "written"])?;
    /// disk.dot((0.25, 4096, 512));
    /// let load = publisher.row::<[f32; 3]>("load", &["1m", "5m", "15m"])?;
    /// load.dot([0.5, 0.25, 0.125]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn row<C: Columns>(&self, name: &str, columns: &[&str]) -> Result<Row<C>, Error> {
        let shape = row::shape(name, &C::letters(), columns)?;
        Ok(Row::new(self.handle(name, &shape)?, shape))
    }

    /// A series of rows whose columns are known only when the program runs: up to 64 letters of a format, `F`
    /// f64, `f` f32, `I` i64, `U` u64, `i` i32, `u` u32, and a name for each.
    ///
    /// # Errors
    ///
    /// As [`Publisher::row`]; [`Error::Columns`] also where a letter is another.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let publisher = dotter_publisher::Publisher::create(dir.path(), 1)?;
    /// use dotter_publisher::Cell;
    ///
    /// let disk = publisher.any_row("disk.sda", "FU", &["busy", "read"])?;
    /// disk.dot(&[0.25.to_word(), 4096_u64.to_word()]);
    /// # assert_eq!(publisher.published().iter().sum::<u64>(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn any_row(&self, name: &str, letters: &str, columns: &[&str]) -> Result<AnyRow, Error> {
        let shape = row::shape(name, letters, columns)?;
        Ok(AnyRow::new(self.handle(name, &shape)?, shape))
    }

    /// A counter: publishes how many there were since the program began, with each that are counted.
    ///
    /// All counters of one name count together.
    ///
    /// # Errors
    ///
    /// As [`Publisher::series`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let publisher = dotter_publisher::Publisher::create(dir.path(), 1)?;
    /// let requests = publisher.counter("shop.requests")?;
    /// requests.count(1);
    /// requests.count(2);
    /// assert_eq!(requests.total(), 3); // and the dots 1 and 3 are published
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn counter(&self, name: &str) -> Result<Counter, Error> {
        let series = self.series(name)?;
        let inside = enter(self.home.place.directory())?;
        let total = Arc::clone(self.home.totals(&inside).entry(series.name().clone()).or_default());
        drop(inside);
        Ok(Counter::new(series, total))
    }

    /// The same publisher as one of several processes of its application: each series it gives from here
    /// on has the tag `instance` with that value, unless its name says another.
    ///
    /// A value that no tag can have makes every name one that [`Publisher::series`] refuses.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    /// use dotter_publisher::Publisher;
    ///
    /// let publisher = Publisher::create(path, 1)?.instance("worker-3"); // or Publisher::open("app")?
    /// let busy = publisher.series("worker.busy;dc=x")?;
    /// assert_eq!(busy.name().as_str(), "worker.busy;dc=x;instance=worker-3");
    /// assert!(publisher.instance("a;b=c").series("worker.busy").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "the publisher with the instance is the one returned"]
    pub fn instance(self, instance: &str) -> Publisher {
        Publisher { instance: Some(instance.into()), ..self }
    }

    /// A series whose dots are counted as refused: for names of other libraries that are none here.
    #[cfg(any(feature = "metrics", feature = "tracing"))]
    pub(crate) fn refused_series(&self) -> Series {
        let name = SeriesName::new("refused").expect("these are letters");
        Series::new(Handle { home: Arc::clone(&self.home), id: None, name })
    }

    fn handle(&self, name: &str, shape: &Shape) -> Result<Handle, Error> {
        let named = match &self.instance {
            None => SeriesName::new(name),
            Some(instance) => {
                // In front of the name's own tags, of which the last of its kind wins.
                let (path, tags) = name.split_at(name.find(';').unwrap_or(name.len()));
                // A value that would begin another tag is none, as no value at all is none.
                let instance = if instance.contains(';') { "" } else { instance };
                SeriesName::new(&format!("{path};instance={instance}{tags}"))
            }
        };
        let name = named.map_err(|source| Error::Name { name: name.chars().take(80).collect(), source })?;
        let inside = enter(self.home.place.directory())?;
        let id = self.home.ring(&inside).series_of(&inside, &name, shape, "");
        drop(inside);
        Ok(Handle { home: Arc::clone(&self.home), id, name })
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
        self.look(|current| current.ring.path().to_owned())
    }

    /// The random name of this life of the ring.
    pub fn incarnation(&self) -> Incarnation {
        self.look(|current| current.ring.incarnation())
    }

    /// Dots written so far, by lane.
    pub fn published(&self) -> Vec<u64> {
        self.look(|current| current.ring.published())
    }

    /// Dots refused so far, by reason, in this process: also those counted in earlier rings, or in none yet.
    pub fn refused(&self) -> Refusals {
        self.look(|current| sum(current.refused(), self.home.homeless.look()))
    }

    fn look<T>(&self, look: impl FnOnce(&Current) -> T) -> T {
        // A signal handler that asks may find the lock taken by the thread it interrupted; every other
        // caller is let in.
        let _inside = SlowPath::enter();
        look(&self.home.current())
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
    fn totals(&self, _inside: &SlowPath) -> MutexGuard<'_, HashMap<SeriesName, Arc<Total>>> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
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

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Publisher({} at {:?})", self.home.options.application, self.home.place)
    }
}
