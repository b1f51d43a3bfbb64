//! The one writer of the log: it turns transactions into frames and keeps the ledger.
//!
//! Always true:
//!
//! - the ledger is a fold over the frames written so far, so a process that replays them has the same ledger
//! - nothing appended is acknowledged before [`Writer::sync`] has returned
//! - one process writes at a time: the writer holds `LOCK` as long as it lives
//!
//! The writer keeps no dots in memory: readers and [`crate::write::seal`] read them from the log.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use dotter_dot::{Dots, Incarnation, Reason, SeriesKey, SeriesName, Shape, Timestamp, check_row};

use crate::disk::layout::Layout;
use crate::disk::litter;
use crate::disk::manifest::{self, Stamp};
use crate::disk::names::{NamesFiles, Wants};
use crate::disk::wal::{self, FILE_BYTES, Log};
use crate::error::Error;
use crate::format::ledger::counters::is_of_counter;
use crate::format::ledger::{Counters, LaneRecords, Ledger};
use crate::format::listing::StoreId;
use crate::format::manifest::Manifest;
use crate::format::names::NamesEntry;
use crate::format::wal::{Declared, FinishFrame, Grouping, HEADER_BYTES, Items, Names, apply, open_account};

/// Small closed files wait for others; this many are sealed whatever their size.
pub(crate) const SMALL_FILES_MAX: u64 = 32;

/// Writes transactions to the log of a store.
pub struct Writer {
    layout: Layout,
    store: StoreId,
    log: Log,
    ledger: Ledger,
    /// The newest key of each name; `older` leads to the other keys of the name.
    keys: HashMap<SeriesName, SeriesKey>,
    /// For each key, the one that was the newest key of the same name before.
    older: Vec<Option<SeriesKey>>,
    grouping: Grouping,
    backlog: Backlog,
    _lock: File,
}

/// The progress of the seal as last read, so that the list need not be read each time.
struct Backlog {
    stamp: Option<Stamp>,
    wal_first: u64,
    /// Id epochs below this are spent.
    ids_from: u64,
    /// Bytes of closed files, by id; those below `wal_first` are dropped.
    closed: Vec<(u64, u64)>,
}

/// A transaction: it becomes visible and durable whole or not at all.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    /// The ring that the dots came from, if they came from one.
    pub ring: Option<RingPart<'a>>,
    /// The records of the ring that the dots stand for; empty without a ring.
    pub lanes: &'a [LaneRecords],
    /// The dots.
    pub dots: &'a Dots,
}

/// A ring, and what it says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct RingPart<'a> {
    /// The ring's incarnation.
    pub incarnation: Incarnation,
    /// The application that made it.
    pub application: &'a str,
    /// Uid of the ring's owner, where it is known. The first one given to this writer stays.
    pub owner: Option<u32>,
    /// Totals of the dots the ring refused.
    pub refusals: &'a [(Reason, u64)],
    /// Last totals of counters, as words; their series have format `U` or `F`. Empty at the end of a ring.
    pub counters: &'a [(SeriesKey, u64)],
    /// The current time, which becomes the time at which an unknown ring is first seen.
    pub now: Timestamp,
}

/// How much of the log waits for a seal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsealed {
    /// Bytes of closed files.
    pub bytes: u64,
    /// Closed files.
    pub files: u64,
}

impl Writer {
    /// Opens a store for writing; makes one where there is none.
    ///
    /// The log is read and settled: its last file is rolled forward, then a new file is begun.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] where another process writes; [`Error::OtherStore`] and [`Error::Version`] where another
    /// build has written the store.
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
        let writer = manifest::locked(&layout, Timestamp::now(), |list| {
            // LOCK is taken under MANIFEST.lock, which is held until the log is settled: disk/order.rs says why.
            let lock = layout.try_lock("LOCK")?;
            let writer = Writer::begin(layout.clone(), lock, list.clone(), wal_file_bytes)?;
            // Only where files of the log are lost may there be names of an epoch that is to come.
            let is_past = |entry: &NamesEntry| entry.epoch < writer.log.file_id();
            if !list.names.iter().all(is_past) {
                list.change(|manifest| {
                    manifest.drop_names(is_past);
                    Ok(())
                })?;
            }
            Ok(writer)
        })?;
        litter::remove(&writer.layout)?;
        Ok(writer)
    }

    /// Reads the log, rolls its last file forward, and begins a file behind it.
    fn begin(layout: Layout, lock: File, list: Manifest, wal_file_bytes: u64) -> Result<Writer, Error> {
        let mut ledger = list.ledger.clone();
        let mut last_sequence = list.last_sequence();
        let files = wal::files(&layout, list.log_start())?;
        let mut before = (0, 0);
        let mut closed = Vec::with_capacity(files.len() + 1);
        let (mut names, mut names_files) = (Names::default(), NamesFiles::default());
        let mut bytes = Vec::new();
        for file in &files {
            // The file may have no frame and those before it may be sealed; its header still says the sequence.
            last_sequence =
                last_sequence.max(file.header.map_or(0, |header| header.first_sequence.saturating_sub(1)));
            file.read_all_into(&mut bytes)?;
            let counts = match file.measured {
                Some(bytes) => bytes,
                None => file.roll_forward(&*layout.disk, &bytes)?.bytes,
            };
            bytes.truncate(counts.saturating_sub(HEADER_BYTES as u64) as usize);
            names.begin_file(file.epoch(&bytes));
            let mut items = Items::new(&bytes, HEADER_BYTES as u64, file.id);
            // The list is held, so a file that is missing is missing for good.
            let (frames, _) =
                names_files.frames((&layout, &list), &mut items, &mut names, Wants::Counters, || true)?;
            for frame in frames {
                last_sequence = last_sequence.max(frame.sequence);
                apply(&frame, &names, &mut ledger);
            }
            before = (file.id, counts);
            closed.push(before);
        }
        let file_id = before.0.max(list.wal_first - 1) + 1;
        let log = Log::begin(
            &layout,
            (list.store, list.lineage),
            before,
            file_id,
            last_sequence + 1,
            wal_file_bytes,
        )?;
        Ok(Writer {
            store: list.store,
            log,
            ledger,
            keys: HashMap::new(),
            older: Vec::new(),
            grouping: Grouping::default(),
            backlog: Backlog {
                stamp: manifest::stamp(&layout).ok(),
                wal_first: list.wal_first,
                ids_from: list.ids_from,
                closed,
            },
            layout,
            _lock: lock,
        })
    }

    /// The store id.
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// The ledger with everything appended so far, synced or not; decisions are based on it.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The key of a series that this writer has seen with this shape.
    pub fn find_series(&self, name: &SeriesName, shape: &Shape) -> Option<SeriesKey> {
        let mut key = self.keys.get(name).copied();
        while let Some(found) = key {
            if self.log.series(found.number()).1 == shape {
                return key;
            }
            key = self.older[found.number() as usize];
        }
        None
    }

    /// The key of a series with this shape, seen or not.
    pub fn series(&mut self, name: &SeriesName, shape: &Shape) -> SeriesKey {
        if let Some(key) = self.find_series(name, shape) {
            return key;
        }
        let older = self.keys.get(name).copied();
        let id = self.log.add_series(name.clone(), shape.clone(), older.map(SeriesKey::number));
        let key = SeriesKey::new(id, shape);
        self.older.push(older);
        self.keys.insert(name.clone(), key);
        key
    }

    /// How many shapes of a name this writer has seen.
    pub fn shapes_seen(&self, name: &SeriesName) -> usize {
        let newest = self.keys.get(name).copied();
        std::iter::successors(newest, |key| self.older[key.number() as usize]).count()
    }

    /// How many series this writer has seen; a name counts once for each shape.
    pub fn series_count(&self) -> usize {
        self.older.len()
    }

    /// Adds a transaction to what the next sync writes.
    ///
    /// # Errors
    ///
    /// [`Error::Finished`] where the ring has finished; [`Error::Gap`] where a lane's records do not begin at the next
    /// record wanted; [`Error::TooBig`] where it does
    /// not fit into a frame; [`Error::TooManyCounters`] where the account has no room for further counters of the
    /// ring (ask [`Counters::room`] before); [`Error::Row`] where a row does not fit its series' format. In all cases
    /// nothing has changed.
    ///
    /// # Panics
    ///
    /// Where there are not as many dots as the records say are stored, or a counter's series has another format than
    /// `U` or `F`.
    pub fn append(&mut self, transaction: &Transaction<'_>) -> Result<(), Error> {
        let Transaction { ring, lanes, dots } = transaction;
        self.check_rows(dots)?;
        if let Some(ring) = ring {
            self.check_is_open(ring)?;
            self.check_counters(ring)?;
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
        let refusals = ring.as_ref().map_or(&[][..], |ring| ring.refusals);
        let counters = ring.as_ref().map_or(&[][..], |ring| ring.counters);
        let keys = dots.keys().iter().map(|key| key.series());
        let keys = keys.chain(counters.iter().map(|(key, _)| key.number()));
        self.log.declare(keys, ring.as_ref().map(|ring| ring.incarnation))?;
        let grouping = &mut self.grouping;
        self.log.push_dots(id.unwrap_or(0), lanes, refusals, counters, dots, grouping)?;
        match ring.zip(id) {
            Some((ring, id)) => {
                open_account(&mut self.ledger, self.log.declared(id));
                lanes.iter().for_each(|records| _ = self.ledger.book(ring.incarnation, records));
                for (reason, total) in ring.refusals {
                    self.ledger.book_refusal_total(ring.incarnation, *reason, *total);
                }
                for (key, total) in ring.counters {
                    let (name, shape) = self.log.series(key.number());
                    self.ledger.book_counter(ring.incarnation, name, shape, *total);
                }
            }
            None => self.ledger.totals.stored_other += dots.len() as u64,
        }
        Ok(())
    }

    fn check_is_open(&self, ring: &RingPart<'_>) -> Result<(), Error> {
        let incarnation = ring.incarnation;
        if self.ledger.is_finished(incarnation) { Err(Error::Finished { incarnation }) } else { Ok(()) }
    }

    fn check_counters(&self, ring: &RingPart<'_>) -> Result<(), Error> {
        let mut wanted = 0;
        let known = self.ledger.account(ring.incarnation).map(|account| &account.counters);
        let nothing = Counters::default();
        let known = known.unwrap_or(&nothing);
        for (key, _) in ring.counters {
            let (name, shape) = self.log.series(key.number());
            assert!(is_of_counter(shape), "a total belongs to a series of format U or F");
            wanted += known.bytes_wanted(name, shape);
        }
        if wanted > known.room() {
            return Err(Error::TooManyCounters { incarnation: ring.incarnation, wanted, room: known.room() });
        }
        Ok(())
    }

    fn check_rows(&self, dots: &Dots) -> Result<(), Error> {
        if dots.rows().is_empty() {
            return Ok(());
        }
        for (key, word) in dots.keys().iter().zip(dots.words()).filter(|(key, _)| key.is_row()) {
            let (name, shape) = self.log.series(key.series());
            check_row(shape.format(), dots.rows().get(*word))
                .map_err(|source| Error::Row { series: name.clone(), source })?;
        }
        Ok(())
    }

    /// Appends the end of a ring to what the next sync writes.
    ///
    /// - `lanes`: the final next record of each lane
    ///
    /// # Errors
    ///
    /// [`Error::Finished`] where it has ended before; [`Error::Gap`] where records of a lane are still missing. Nothing has
    /// changed then.
    pub fn finish(&mut self, ring: &RingPart<'_>, lanes: &[(u32, u64)], now: Timestamp) -> Result<(), Error> {
        self.check_is_open(ring)?;
        for (lane, last) in lanes {
            let wanted = self.ledger.next(ring.incarnation, *lane);
            if *last > wanted {
                return Err(Error::Gap { wanted, found: *last });
            }
        }
        let id = self.log.incarnation(ring.incarnation, || declared(ring));
        self.log.declare([].into_iter(), Some(ring.incarnation))?;
        let refusals = ring.refusals.to_vec();
        self.log.push_finish(&FinishFrame { incarnation: id, time: now, lanes: lanes.to_vec(), refusals })?;
        open_account(&mut self.ledger, self.log.declared(id));
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

    /// Syncs everything appended and publishes it to readers.
    ///
    /// # Errors
    ///
    /// After an error the writer can no longer be used, and what it had not published never counts. Open a new
    /// writer; its ledger says what counts. [`Error::Unknown`] where the unpublished frames could not be voided: then
    /// the ledger of the next writer tells whether they count.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.sync_where(false)
    }

    /// As [`Writer::sync`], and then begins a new file of the log where the last one has anything: so all that was
    /// appended until now can be sealed.
    ///
    /// # Errors
    ///
    /// As [`Writer::sync`]. Everything appended may count all the same, where no new file can be begun.
    pub fn close_file(&mut self) -> Result<(), Error> {
        let file_id = self.log.file_id();
        self.sync_where(true)?;
        // Where no file could be begun, the next sync says why.
        if self.log.file_id() == file_id { self.sync_where(true) } else { Ok(()) }
    }

    fn sync_where(&mut self, is_full: bool) -> Result<(), Error> {
        let file_id = self.log.file_id();
        let Writer { log, layout, ledger, backlog, .. } = self;
        let closed = match log.sync(is_full, || backlog.ids_from(layout, ledger)) {
            // Before the error is returned, so that no process counts later what is said to have failed.
            Err(error) if self.void().is_ok() => return Err(error),
            Err(error) => return Err(Error::Unknown(Box::new(error))),
            Ok(closed) => closed,
        };
        if let Some(bytes) = closed {
            self.backlog.closed.push((file_id, bytes));
        }
        Ok(())
    }

    /// Voids the unpublished frames: fixes that only the published bytes of the last file count.
    fn void(&mut self) -> Result<(), Error> {
        let log = &self.log;
        manifest::locked(&self.layout, Timestamp::now(), |list| match log.void() {
            Ok(()) => Ok(()),
            // Where no file can be made, the list says it: MANIFEST has preallocated room.
            Err(_) => list.change(|manifest| {
                manifest.fixed = Some(log.published());
                Ok(())
            }),
        })
    }

    /// How much of the log waits for a seal.
    pub fn unsealed(&mut self) -> Unsealed {
        let backlog = &mut self.backlog;
        backlog.look(&self.layout, &mut self.ledger);
        let bytes = backlog.closed.iter().map(|(_, bytes)| bytes).sum();
        Unsealed { bytes, files: backlog.closed.len() as u64 }
    }
}

impl Backlog {
    /// Reads the list where it has changed.
    ///
    /// - `ledger`: takes over what other commits changed
    fn look(&mut self, layout: &Layout, ledger: &mut Ledger) {
        if let Ok(stamp) = manifest::stamp(layout)
            && self.stamp != Some(stamp)
            && let Ok(manifest) = manifest::read_with_files(layout, ledger.files())
        {
            ledger.follow(&manifest.ledger);
            self.stamp = Some(stamp);
            self.wal_first = manifest.wal_first;
            self.ids_from = manifest.ids_from;
            self.closed.retain(|(id, _)| *id >= manifest.wal_first);
        }
    }

    /// Id epochs below this are spent, by the list as it is now, or as it was last where it cannot be read.
    fn ids_from(&mut self, layout: &Layout, ledger: &mut Ledger) -> u64 {
        self.look(layout, ledger);
        self.ids_from
    }
}

fn declared(ring: &RingPart<'_>) -> Declared {
    Declared {
        incarnation: ring.incarnation,
        application: ring.application.to_owned(),
        owner: ring.owner,
        first_seen: ring.now,
    }
}
