//! A store that takes dots in as the collector does: one writer, and a thread beside it that seals and compacts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use dotter_dot::{Cell, Dots, Format, SeriesKey, SeriesName, Shape, Timestamp, Value, put_row};
use dotter_store::{Error, Machine, Transaction, Writer};

use crate::Failure;
use crate::lines::LineBatch;
use crate::work::Batch;

/// The series of all lines.
pub(crate) const LOG: &str = "web.log";
/// Log that may wait for a seal, as in the collector.
const UNSEALED_BYTES_MAX: u64 = 48 << 20;

/// Every commit is synced before it returns.
pub(crate) struct Intake {
    dir: PathBuf,
    writer: Writer,
    keys: Vec<SeriesKey>,
    dots: Dots,
    row: Vec<u8>,
    background: Option<Background>,
}

impl Intake {
    pub(crate) fn open(dir: &Path) -> Result<Intake, Failure> {
        let mut intake = Intake::unsealed(dir)?;
        intake.background = Some(Background::start(dir));
        Ok(intake)
    }

    /// Where nothing is sealed, so that the log grows.
    pub(crate) fn unsealed(dir: &Path) -> Result<Intake, Failure> {
        let (writer, dots) = (Writer::open(dir)?, Dots::default());
        Ok(Intake { dir: dir.to_owned(), writer, keys: Vec::new(), dots, row: Vec::new(), background: None })
    }

    pub(crate) fn numbers(
        &mut self,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<(), Failure> {
        for name in names {
            self.keys.push(self.writer.series(&SeriesName::new(name.as_ref())?, &Shape::number()));
        }
        Ok(())
    }

    pub(crate) fn log(&mut self) -> Result<(), Failure> {
        let shape = Shape::from("s".parse::<Format>()?);
        self.keys.push(self.writer.series(&SeriesName::new(LOG)?, &shape));
        Ok(())
    }

    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<(), Failure> {
        for ((series, time), value) in batch.series.iter().zip(&batch.times).zip(&batch.values) {
            self.dots.push_number(self.keys[*series as usize], false, Timestamp::from_nanos(*time), *value);
        }
        self.sync()
    }

    pub(crate) fn commit_lines(&mut self, batch: &LineBatch) -> Result<(), Failure> {
        for (time, line) in batch.iter() {
            self.row.clear();
            put_row([Value::Text(line)], &mut self.row);
            self.dots.push(self.keys[0], false, Timestamp::from_nanos(time), Cell::Row(&self.row));
        }
        self.sync()
    }

    /// Bytes of log that wait for a seal.
    pub(crate) fn waiting_bytes(&mut self) -> u64 {
        self.writer.unsealed().bytes
    }

    fn sync(&mut self) -> Result<(), Failure> {
        while self.background.is_some() && self.waiting_bytes() > UNSEALED_BYTES_MAX {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.writer.append(&Transaction { ring: None, lanes: &[], dots: &self.dots })?;
        self.writer.sync()?;
        self.dots.clear();
        Ok(())
    }

    /// Ends; everything is in segments then.
    pub(crate) fn seal(self) -> Result<(), Failure> {
        self.background.map_or(Ok(()), Background::stop)?;
        drop(self.writer);
        seal(&self.dir)
    }
}

/// Puts what no writer holds any more into segments.
fn seal(dir: &Path) -> Result<(), Failure> {
    // A writer begins a file of its own, so that all before it can be sealed.
    let _writer = Writer::open(dir)?;
    dotter_store::seal_all(dir, &|| false)?;
    Ok(())
}

/// Makes one segment of all there are.
pub(crate) fn compact(dir: &Path) -> Result<(), Failure> {
    dotter_store::compact_major(dir, &|| false, &|_, _| {})?;
    dotter_store::tidy(dir, &Machine::now()?)?;
    Ok(())
}

/// Seals and compacts beside the writer.
struct Background {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Background {
    fn start(dir: &Path) -> Background {
        let (dir, stop) = (dir.to_owned(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            // Relaxed: a wish that nothing else depends on.
            while !stopped.load(Relaxed) {
                if dotter_store::seal(&dir, &|| false)? == 0 && !dotter_store::compact(&dir, &|| false)? {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            Ok(())
        });
        Background { stop, thread }
    }

    fn stop(self) -> Result<(), Failure> {
        self.stop.store(true, Relaxed);
        self.thread.join().map_err(|_| "the seal panicked")??;
        Ok(())
    }
}
