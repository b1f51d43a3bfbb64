//! A store that takes dots in as the collector does: one writer, and a thread beside it that seals and compacts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use dotter_dot::{Cell, Dots, Format, SeriesKey, SeriesName, Shape, Timestamp, Value, put_row};
use dotter_store::disk::{self, Disk, System};
use dotter_store::{Error, Machine, Transaction, Writer};

use crate::Failure;
use crate::lines::LineBatch;
use crate::work::Batch;

/// The series of all lines.
pub(crate) const LOG: &str = "web.log";
/// Log that may wait for a seal, as in the collector.
const UNSEALED_BYTES_MAX: u64 = 48 << 20;

/// What each part of the work writes to: for who wants to count it.
#[derive(Clone)]
pub(crate) struct Disks {
    pub(crate) log: Arc<dyn Disk>,
    pub(crate) seal: Arc<dyn Disk>,
    pub(crate) compaction: Arc<dyn Disk>,
}

impl Disks {
    pub(crate) fn system() -> Disks {
        let disk = Arc::new(System);
        Disks { log: disk.clone(), seal: disk.clone(), compaction: disk }
    }
}

/// Every commit is synced before it returns.
pub(crate) struct Intake {
    dir: PathBuf,
    disks: Disks,
    writer: Writer,
    keys: Vec<SeriesKey>,
    dots: Dots,
    row: Vec<u8>,
    background: Option<Background>,
}

impl Intake {
    pub(crate) fn open(dir: &Path) -> Result<Intake, Failure> {
        Intake::open_on(dir, Disks::system())
    }

    pub(crate) fn open_on(dir: &Path, disks: Disks) -> Result<Intake, Failure> {
        let mut intake = Intake::begin(dir, disks)?;
        intake.background = Some(Background::start(dir, &intake.disks));
        Ok(intake)
    }

    /// Where nothing is sealed, so that the log grows.
    pub(crate) fn unsealed(dir: &Path) -> Result<Intake, Failure> {
        Intake::begin(dir, Disks::system())
    }

    fn begin(dir: &Path, disks: Disks) -> Result<Intake, Failure> {
        let writer = disk::on(disks.log.clone(), || Writer::open(dir))?;
        let (dir, dots) = (dir.to_owned(), Dots::default());
        Ok(Intake { dir, disks, writer, keys: Vec::new(), dots, row: Vec::new(), background: None })
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
        disk::on(self.disks.seal, || {
            // A writer begins a file of its own, so that all before it can be sealed.
            let _writer = Writer::open(&self.dir)?;
            dotter_store::seal_all(&self.dir, &|| false)?;
            Ok(())
        })
    }
}

/// Compacts until there is nothing that a collector would compact.
pub(crate) fn catch_up(dir: &Path, disk: Arc<dyn Disk>) -> Result<(), Failure> {
    disk::on(disk, || {
        while dotter_store::compact(dir, &|| false)? {}
        dotter_store::tidy(dir, &Machine::now()?)?;
        Ok(())
    })
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
    fn start(dir: &Path, disks: &Disks) -> Background {
        let Disks { seal, compaction, .. } = disks.clone();
        let (dir, stop) = (dir.to_owned(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            // Relaxed: a wish that nothing else depends on.
            while !stopped.load(Relaxed) {
                let sealed = disk::on(seal.clone(), || dotter_store::seal(&dir, &|| false))?;
                let compact = || dotter_store::compact(&dir, &|| false);
                if sealed == 0 && !disk::on(compaction.clone(), compact)? {
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
