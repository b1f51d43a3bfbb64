//! The publisher: its series, and lanes of its ring.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dotter_dot::{Incarnation, SeriesName};
use dotter_ring::directory::Place;
use dotter_ring::{Error, Identity, Number, Refusals, Ring, RingOptions, Shape, SlowPath};

use crate::handle::Handle;
use crate::home::Home;
use crate::row;
use crate::{AnyRow, Bytes, Columns, Counter, Lane, Options, Row, Series, Text};

/// One application's way to publish. Clones are the same publisher.
#[derive(Clone)]
pub struct Publisher {
    home: Arc<Home>,
    /// What its series have as their tag `instance`.
    instance: Option<Arc<str>>,
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
        Ok(Publisher { home: Arc::new(Home::new(options, place, ring)), instance: None })
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
        self.home.look(|ring| ring.path().to_owned())
    }

    /// The random name of this life of the ring.
    pub fn incarnation(&self) -> Incarnation {
        self.home.look(|ring| ring.incarnation())
    }

    /// Dots written so far, by lane.
    pub fn published(&self) -> Vec<u64> {
        self.home.look(|ring| ring.published())
    }

    /// Dots refused so far, by reason, in this process: also those counted in earlier rings, or in none yet.
    pub fn refused(&self) -> Refusals {
        self.home.refused()
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

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Publisher({} at {:?})", self.home.options.application, self.home.place)
    }
}
