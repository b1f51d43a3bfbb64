//! The one writer of the log: transactions in, frames out, the ledger kept.
//!
//! Always true:
//!
//! - the ledger is what a fold over the frames written so far gives, so a process that replays them has the same
//! - nothing appended counts before [`Writer::sync`] has returned
//! - one process writes at a time: the writer holds `LOCK` as long as it lives
//!
//! The writer keeps no dots: followers read them from the log, and so does [`crate::seal`].

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use dotter_dot::{Incarnation, Reason, SeriesName, Timestamp};

use crate::error::Error;
use crate::layout::Layout;
use crate::ledger::{LaneRecords, Ledger};
use crate::manifest::{self, Stamp, StoreId};
use crate::wal::{self, Declared, FILE_BYTES, FinishFrame, Grouping, HEADER_BYTES, Item, Items, Log, Names};

/// Files of less than a file's worth wait together; this many are sealed whatever their size.
pub(crate) const SMALL_FILES_MAX: u64 = 32;

/// What a store takes in, one transaction after the other.
pub struct Writer {
    layout: Layout,
    store: StoreId,
    log: Log,
    ledger: Ledger,
    keys: HashMap<SeriesName, SeriesKey>,
    grouping: Grouping,
    backlog: Backlog,
    _lock: File,
}

/// What is known of the seal's progress, so that it need not be asked for each time.
struct Backlog {
    stamp: Option<Stamp>,
    wal_first: u64,
    /// Bytes of closed files, by id; those below `wal_first` are dropped.
    closed: Vec<(u64, u64)>,
}

/// A series of this writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeriesKey(u32);

/// Dots as columns, in the order of their commit.
#[derive(Debug, Default)]
pub struct Dots {
    pub(crate) keys: Vec<u32>,
    pub(crate) times: Vec<u64>,
    pub(crate) values: Vec<f64>,
}

/// What becomes visible and durable whole or not at all.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    /// The ring the dots came from, if they came from one.
    pub ring: Option<RingPart<'a>>,
    /// The ring's records that the dots stand for; empty without a ring.
    pub lanes: &'a [LaneRecords],
    /// The dots.
    pub dots: &'a Dots,
}

/// Which ring, and what it said of itself.
#[derive(Clone, Copy, Debug)]
pub struct RingPart<'a> {
    /// The ring's incarnation.
    pub incarnation: Incarnation,
    /// The application that made it.
    pub application: &'a str,
    /// Totals of the dots the ring refused.
    pub refusals: &'a [(Reason, u64)],
    /// Now: when a ring never heard of is first seen.
    pub now: Timestamp,
}

/// Log that waits for a seal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsealed {
    /// Bytes of closed files.
    pub bytes: u64,
    /// Closed files.
    pub files: u64,
}

impl Unsealed {
    /// Whether there is enough for a seal to begin.
    pub fn is_due(self) -> bool {
        self.bytes >= FILE_BYTES || self.files >= SMALL_FILES_MAX
    }
}

impl Dots {
    /// Adds one dot.
    ///
    /// - `clock`: whether the clock stamped it; such a dot replaces nothing and is replaced by nothing
    pub fn push(&mut self, series: SeriesKey, clock: bool, time: Timestamp, value: f64) {
        self.keys.push(series.0 << 1 | clock as u32);
        self.times.push(time.nanos());
        self.values.push(value);
    }

    /// Dots.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes all dots out.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.times.clear();
        self.values.clear();
    }
}

impl Writer {
    /// Opens a store for writing; makes one where there is none.
    ///
    /// The log is read to its last whole frame, which is put on disk; then a new file is begun behind it.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] where another process writes; [`Error::Version`] where a newer build has written.
    pub fn open(dir: &Path) -> Result<Writer, Error> {
        Writer::open_with(dir, FILE_BYTES)
    }

    /// As [`Writer::open`], with WAL files of another size than 16 MiB.
    ///
    /// # Errors
    ///
    /// As [`Writer::open`].
    pub fn open_with(dir: &Path, wal_file_bytes: u64) -> Result<Writer, Error> {
        let layout = Layout::new(dir);
        layout.create()?;
        let lock = layout.try_lock("LOCK")?;
        manifest::open_or_create(&layout, Timestamp::now())?;
        layout.sweep_temporary()?;
        manifest::sweep(&layout)?;
        // Read after the sweep: a seal by the process before may have ended meanwhile.
        let stamp = manifest::stamp(&layout)?;
        let manifest = manifest::read(&layout)?;
        let mut ledger = manifest.ledger.clone();
        let mut last_sequence =
            manifest.segments.iter().map(|segment| segment.order.sequence).max().unwrap_or(0);
        let files = wal::files(&layout, manifest.wal_first)?;
        let mut before = (0, 0);
        let mut closed = Vec::with_capacity(files.len() + 1);
        for file in &files {
            // A file may hold no frame, and those before it may be sealed: its header still tells the sequence.
            last_sequence =
                last_sequence.max(file.header.map_or(0, |header| header.first_sequence.saturating_sub(1)));
            let bytes = file.read_all()?;
            let mut names = Names::default();
            wal::declare(&bytes, file.id, &mut names);
            let mut items = Items::new(&bytes, HEADER_BYTES as u64, file.id);
            for item in &mut items {
                if let Item::Frame(frame) = item {
                    last_sequence = last_sequence.max(frame.sequence);
                    wal::apply(&frame, &names, &mut ledger);
                }
            }
            let counts = match file.measured {
                Some(bytes) => bytes,
                None => file.settle(&bytes, items.good_until())?,
            };
            before = (file.id, counts);
            closed.push(before);
        }
        let file_id = before.0.max(manifest.wal_first - 1) + 1;
        let log = Log::begin(&layout, manifest.store, before, file_id, last_sequence + 1, wal_file_bytes)?;
        Ok(Writer {
            layout,
            store: manifest.store,
            log,
            ledger,
            keys: HashMap::new(),
            grouping: Grouping::default(),
            backlog: Backlog { stamp: Some(stamp), wal_first: manifest.wal_first, closed },
            _lock: lock,
        })
    }

    /// The store's name.
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// The ledger of everything appended so far, synced or not: what decisions are made on.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The key of a series that this writer has seen.
    pub fn find_series(&self, name: &SeriesName) -> Option<SeriesKey> {
        self.keys.get(name).copied()
    }

    /// The key of a series, seen or not.
    pub fn series(&mut self, name: &SeriesName) -> SeriesKey {
        if let Some(key) = self.keys.get(name) {
            return *key;
        }
        let key = SeriesKey(self.log.add_series(name.clone()));
        self.keys.insert(name.clone(), key);
        key
    }

    /// Series this writer has seen.
    pub fn series_count(&self) -> usize {
        self.keys.len()
    }

    /// Adds a transaction to what the next sync writes.
    ///
    /// # Errors
    ///
    /// [`Error::Gap`] where a lane's records do not begin at the next record wanted; [`Error::TooBig`] where it
    /// does not fit into a frame. In both cases nothing has happened.
    ///
    /// # Panics
    ///
    /// Where the dots are not as many as the records say are stored.
    pub fn append(&mut self, transaction: &Transaction<'_>) -> Result<(), Error> {
        let Transaction { ring, lanes, dots } = transaction;
        if let Some(ring) = ring {
            for records in *lanes {
                let wanted = self.ledger.next(ring.incarnation, records.lane);
                if records.first != wanted {
                    return Err(Error::Gap { wanted, found: records.first });
                }
            }
            let stored: u64 = lanes.iter().map(LaneRecords::stored_len).sum();
            assert_eq!(stored, dots.len() as u64, "dots are as many as the records say");
        } else {
            assert!(lanes.is_empty(), "records belong to a ring");
        }
        let id = ring.as_ref().map(|ring| self.log.incarnation(ring.incarnation, || declared(ring)));
        self.log.declare(&dots.keys, ring.as_ref().map(|ring| ring.incarnation))?;
        let refusals = ring.as_ref().map_or(&[][..], |ring| ring.refusals);
        let grouping = &mut self.grouping;
        self.log.push_dots(id.unwrap_or(0), lanes, refusals, dots, grouping)?;
        match ring {
            Some(ring) => {
                self.ledger.open(ring.incarnation, ring.application, ring.now);
                lanes.iter().for_each(|records| _ = self.ledger.book(ring.incarnation, records));
                for (reason, total) in ring.refusals {
                    self.ledger.book_refusal_total(ring.incarnation, *reason, *total);
                }
            }
            None => self.ledger.totals.stored_other += dots.len() as u64,
        }
        Ok(())
    }

    /// Books the end of a ring.
    ///
    /// - `lanes`: final next record of each lane, none above the next record wanted
    ///
    /// # Errors
    ///
    /// [`Error::Gap`] where a lane still misses records; nothing has happened then.
    pub fn finish(&mut self, ring: &RingPart<'_>, lanes: &[(u32, u64)], now: Timestamp) -> Result<(), Error> {
        for (lane, last) in lanes {
            let wanted = self.ledger.next(ring.incarnation, *lane);
            if *last > wanted {
                return Err(Error::Gap { wanted, found: *last });
            }
        }
        let id = self.log.incarnation(ring.incarnation, || declared(ring));
        self.log.declare(&[], Some(ring.incarnation))?;
        let refusals = ring.refusals.to_vec();
        self.log.push_finish(&FinishFrame { incarnation: id, time: now, lanes: lanes.to_vec(), refusals })?;
        self.ledger.open(ring.incarnation, ring.application, ring.now);
        for (reason, total) in ring.refusals {
            self.ledger.book_refusal_total(ring.incarnation, *reason, *total);
        }
        self.ledger.finish(ring.incarnation, lanes, now);
        Ok(())
    }

    /// Bytes appended and not yet synced.
    pub fn pending_bytes(&self) -> usize {
        self.log.pending_bytes()
    }

    /// Puts everything appended on disk and shows it to followers.
    ///
    /// # Errors
    ///
    /// After one the writer is of no more use: a new one has to be opened, and only its ledger says what counts.
    pub fn sync(&mut self) -> Result<(), Error> {
        let file_id = self.log.file_id();
        let closed = self.log.sync()?;
        if let Some(bytes) = closed {
            self.backlog.closed.push((file_id, bytes));
        }
        Ok(())
    }

    /// How much of the log waits for a seal.
    pub fn unsealed(&mut self) -> Unsealed {
        let backlog = &mut self.backlog;
        if let Ok(stamp) = manifest::stamp(&self.layout)
            && backlog.stamp != Some(stamp)
            && let Ok(manifest) = manifest::read(&self.layout)
        {
            backlog.stamp = Some(stamp);
            backlog.wal_first = manifest.wal_first;
            backlog.closed.retain(|(id, _)| *id >= manifest.wal_first);
        }
        let bytes = backlog.closed.iter().map(|(_, bytes)| bytes).sum();
        Unsealed { bytes, files: backlog.closed.len() as u64 }
    }
}

fn declared(ring: &RingPart<'_>) -> Declared {
    Declared { incarnation: ring.incarnation, application: ring.application.to_owned(), first_seen: ring.now }
}
