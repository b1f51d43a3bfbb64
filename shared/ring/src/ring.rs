//! The ring as its process makes and keeps it: the file, its names, its lanes.
//!
//! Always true: a file is seen under its name only when it is whole, and its owner holds the lock from
//! before that until it ends; every lane has one writer, the last lane is everybody's under a mutex.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use dotter_dot::{Incarnation, SeriesName};

use crate::clock::Clock;
use crate::directory::{self, NameLock, Place, ring_name};
use crate::error::Error;
use crate::fork::{self, SlowPath};
use crate::header::{Header, Identity, is_application};
use crate::lane::{LaneWriter, Moved, Resting, incarnation_word};
use crate::layout::{
    BLOCK_BYTES, CONTROL_BYTES, CONTROL_OTHER, CONTROL_OVERSIZE, CONTROL_REENTRANT, CONTROL_STATE,
    CONTROL_THREAD, Geometry, HEADER_REFUSED_SERIES, HEADER_STATE, LANE_BYTES, LANE_LOG2_MAX, LANE_LOG2_MIN,
    LANES_LIMIT, LANES_MAX, REGISTRY_BYTES, STATE_CLOSED, STATE_LIVE, word,
};
use crate::life::{FileId, Life, Owner, is_known, is_ours};
use crate::map::{Map, Span};
use crate::newest;
use crate::reader::{Refusals, refusals};
use crate::record::Shape;
use crate::sync::{Acquire, Relaxed, Release};
use crate::unfinished::Unfinished;
use crate::unmapped::UnmappedRing;
use crate::{process, registry, sys};

/// What a new ring is to be like.
#[derive(Clone, Debug)]
pub struct RingOptions {
    /// Who publishes: 1 to 64 bytes, stands in front of file names in a directory.
    pub application: String,
    /// Bytes of a lane; rounded up to a power of two, 64 KiB at least.
    pub lane_bytes: u64,
    /// Lanes, the shared last one included.
    pub lanes_max: u32,
    /// Bytes for the names of series; rounded up to pages.
    pub registry_bytes: u64,
    /// Where times come from.
    pub clock: Clock,
    /// Bytes on the disk that dead rings at the same place may take; where it is more, or where there is no room
    /// for this one, the oldest go and leave a stub: see [`directory::make_room`].
    pub dead_bytes_max: u64,
}

/// What dead rings at one place may take on the disk unless told otherwise, in bytes.
pub const DEAD_BYTES_MAX: u64 = 1 << 30;

impl RingOptions {
    /// Lanes of 4 MiB, 64 of them, the cheapest clock.
    pub fn new(application: &str) -> RingOptions {
        RingOptions {
            application: application.to_owned(),
            lane_bytes: LANE_BYTES,
            lanes_max: LANES_MAX,
            registry_bytes: REGISTRY_BYTES,
            clock: Clock::best(),
            dead_bytes_max: DEAD_BYTES_MAX,
        }
    }

    fn geometry(&self) -> Result<Geometry, Error> {
        let size = |of, found, expected: &str| Err(Error::Size { of, found, expected: expected.to_owned() });
        if !is_application(&self.application) {
            return Err(Error::Application { name: self.application.chars().take(80).collect() });
        }
        if !(1..=LANES_LIMIT).contains(&self.lanes_max) {
            return size("lanes", self.lanes_max.into(), &format!("1 to {LANES_LIMIT}"));
        }
        if self.lane_bytes > 1 << LANE_LOG2_MAX {
            return size("bytes in a lane", self.lane_bytes, &format!("at most {}", 1_u64 << LANE_LOG2_MAX));
        }
        if self.registry_bytes > 1 << 32 {
            return size("bytes in the registry", self.registry_bytes, &format!("at most {}", 1_u64 << 32));
        }
        let lane_log2 = self.lane_bytes.next_power_of_two().ilog2().max(LANE_LOG2_MIN);
        let registry_bytes = self.registry_bytes.next_multiple_of(4096).max(4096);
        let geometry = Geometry::new(registry_bytes, self.lanes_max, lane_log2);
        if !geometry.is_sound() {
            return size("bytes", geometry.file_bytes, "fewer or smaller lanes");
        }
        Ok(geometry)
    }
}

/// One life of one ring, in the process that made it.
pub struct Ring {
    header: Header,
    path: PathBuf,
    map: Arc<Map>,
    /// The whole file.
    words: Span,
    clock: Clock,
    state: Mutex<State>,
    shared: Mutex<LaneWriter>,
    life: Arc<Life>,
    without_lane: AtomicU64,
}

/// What changes only on the slow path.
struct State {
    resting: Vec<Resting>,
    taken: u32,
    shared_taken: bool,
    registry: registry::Writer,
    /// Every number a name has, by shape and unit.
    names: HashMap<SeriesName, Vec<u32>>,
    /// By number.
    series: Vec<Named>,
}

/// What a series number stands for.
struct Named {
    name: SeriesName,
    shape: Arc<Shape>,
    unit: Box<str>,
}

impl Ring {
    /// Makes a ring in a directory, or under an exact name.
    ///
    /// `beside` puts a ring meant for an exact name beside it, where a dead one would have been moved: for
    /// a process whose own parent publishes under the name.
    ///
    /// # Errors
    ///
    /// [`Error::Owned`] where a living process publishes under that exact name, [`Error::NotARing`] where
    /// something else stands there; sizes and names that cannot be; whatever the system refuses, a full
    /// disk above all: nothing is left behind then.
    pub fn create(
        inside: &SlowPath,
        options: &RingOptions,
        identity: Identity,
        place: &Place,
        beside: bool,
    ) -> Result<Ring, Error> {
        if cfg!(target_endian = "big") {
            return Err(Error::ByteOrder);
        }
        let geometry = options.geometry()?;
        let dir = place.directory();
        fork::watch().map_err(Error::io("cannot watch for forks in", dir))?;
        directory::ensure(dir)?;
        let header = Header {
            identity,
            application: options.application.clone(),
            clock: options.clock.kind(),
            tick_hz: options.clock.hz_hint(),
            geometry,
        };
        // Best effort: a dead ring that cannot go is no reason not to publish.
        // A ring of another copy of this library in the process is mapped, and not known here. Its lock would fall
        // with the descriptor of whoever looked at it.
        let mapped = OnceCell::new();
        let is_mapped = |id: FileId| mapped.get_or_init(process::mapped_inodes).contains(&id.inode);
        let ours = |id| is_ours(inside, id) || !is_known(inside, id) && is_mapped(id);
        let make_room = |bytes_max| directory::make_room_beside(place, bytes_max, ours);
        let _ = make_room(options.dead_bytes_max);
        let exact = place.name().filter(|_| !beside);
        if let Some(name) = exact {
            // Turned away before anything is made.
            dead_under(inside, dir, name)?;
        }
        let unfinished = Unfinished::create(dir)?;
        let map = match unfinished.fill(&header) {
            // All the dead go before the living are turned away.
            Err(error) if is_disk_full(&error) && make_room(0).is_ok_and(|gone| !gone.is_empty()) => {
                unfinished.fill(&header)?
            }
            filled => filled?,
        };
        // The name comes last: nobody who wants it, too, waits for the file to get its room.
        let prefix = place.name().unwrap_or(OsStr::new(&options.application));
        let sibling = dir.join(ring_name(prefix, header.identity.incarnation));
        let (path, _lock) = match exact.map(|name| (name, NameLock::take(dir, name))) {
            None => (sibling, None),
            Some((name, Ok(lock))) => {
                move_aside(inside, dir, name)?;
                (dir.join(name), Some(lock))
            }
            // The application waits for nobody. Whoever reads the exact name reads its siblings, too.
            Some((name, Err(error))) if is_taken(&error) => {
                dead_under(inside, dir, name)?;
                (sibling, None)
            }
            Some((_, Err(error))) => return Err(error),
        };
        let held = unfinished.finish(&path)?;

        let life = Arc::new(Life::hold(inside, held, &path, &map));
        let shared =
            lane_writer(&map, &header, &options.clock, &life, Resting::fresh(geometry.lanes_max - 1));
        Ok(Ring {
            words: Span::new(&map, 0, geometry.file_bytes),
            path,
            clock: options.clock.clone(),
            state: Mutex::new(State {
                resting: Vec::new(),
                taken: 0,
                shared_taken: false,
                registry: registry::Writer::new(),
                names: HashMap::new(),
                series: Vec::new(),
            }),
            shared: Mutex::new(shared),
            life,
            map,
            header,
            without_lane: AtomicU64::new(0),
        })
    }

    /// The random name of this life.
    pub fn incarnation(&self) -> Incarnation {
        self.header.identity.incarnation
    }

    /// The name it was made under; somebody may have moved it since.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of a lane.
    pub fn lane_bytes(&self) -> u64 {
        self.header.geometry.lane_bytes()
    }

    /// Whether this process made it, and not its parent before a fork.
    pub fn is_ours(&self) -> bool {
        self.life.is_ours()
    }

    /// Whether a new ring is due: in a forked child, and where the file has lost its name.
    pub fn has_moved(&self) -> bool {
        !self.is_ours() || self.life.is_unlinked()
    }

    fn state(&self, _inside: &SlowPath) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a series of plain numbers, as [`Ring::series_of`].
    pub fn series(&self, inside: &SlowPath, name: &SeriesName, unit: &str) -> Option<u32> {
        self.series_of(inside, name, &Shape::number::<f64>(), unit)
    }

    /// The number of a series, new or known; `None` where the registry has no room for another.
    ///
    /// A known one that gets a unit, or another one, or another shape, gets a new number too: entries never
    /// change. Without a unit it is the newest of that name and shape.
    pub fn series_of(&self, inside: &SlowPath, name: &SeriesName, shape: &Shape, unit: &str) -> Option<u32> {
        let mut state = self.state(inside);
        let known = state.names.get(name).and_then(|ids| {
            ids.iter().rev().copied().find(|id| {
                let known = &state.series[*id as usize];
                *known.shape == *shape && (unit.is_empty() || &*known.unit == unit)
            })
        });
        known.or_else(|| {
            // Most series have the shape of the one before.
            let last = state.series.last().filter(|last| *last.shape == *shape);
            let shape = last.map_or_else(|| Arc::new(shape.clone()), |last| Arc::clone(&last.shape));
            self.register(&mut state, name, shape, unit)
        })
    }

    fn register(&self, state: &mut State, name: &SeriesName, shape: Arc<Shape>, unit: &str) -> Option<u32> {
        let id = state.registry.push(self.header.geometry.registry(&self.words), name, &shape, unit)?;
        state.names.entry(name.clone()).or_default().push(id);
        state.series.push(Named { name: name.clone(), shape, unit: unit.into() });
        Some(id)
    }

    /// Gives a new ring all series of the one it replaces, under the same numbers.
    ///
    /// # Panics
    ///
    /// Where this ring is not new, or has a smaller registry.
    pub fn adopt_series(&self, inside: &SlowPath, old: &Ring) {
        let mut state = self.state(inside);
        assert!(state.series.is_empty());
        for known in &old.state(inside).series {
            let shape = Arc::clone(&known.shape);
            assert!(self.register(&mut state, &known.name, shape, &known.unit).is_some());
        }
    }

    /// Counts dots that no lane took; not in a forked child. Only while the file has a name will anybody read it.
    pub fn add_refusals(&self, refused: &Refusals) {
        if !self.is_ours() {
            return;
        }
        // Relaxed: totals, each for itself.
        self.words[word(HEADER_REFUSED_SERIES)].fetch_add(refused.series, Relaxed);
        let geometry = &self.header.geometry;
        let control = geometry.control(geometry.lanes_max - 1) as usize;
        for (offset, count) in [
            (CONTROL_REENTRANT, refused.signal_handler),
            (CONTROL_OVERSIZE, refused.too_big),
            (CONTROL_OTHER, refused.other),
        ] {
            self.words[word(control + offset)].fetch_add(count, Relaxed);
        }
    }

    /// What was refused so far.
    pub fn refusals(&self) -> Refusals {
        refusals(&self.words, &self.header.geometry)
    }

    /// A lane for one thread: one that another has left, else a new one; `None` where all are taken or
    /// the disk has no room for another: then [`Ring::shared`] is left. `None` in a forked child, too.
    ///
    /// It must come back through [`Ring::give_back`].
    pub fn take(&self, inside: &SlowPath) -> Option<LaneWriter> {
        if !self.is_ours() {
            return None;
        }
        let mut state = self.state(inside);
        let geometry = &self.header.geometry;
        let resting = match state.resting.pop() {
            Some(resting) => resting,
            None if state.taken + 1 < geometry.lanes_max => {
                let lane = state.taken;
                // The first lane got its room when the file was made.
                if lane > 0 && self.life.allocate(inside, geometry.lane(lane), geometry.lane_bytes()).is_err()
                {
                    self.without_lane.fetch_add(1, Relaxed);
                    return None;
                }
                state.taken += 1;
                Resting::fresh(lane)
            }
            None => {
                self.without_lane.fetch_add(1, Relaxed);
                return None;
            }
        };
        let writer = lane_writer(&self.map, &self.header, &self.clock, &self.life, resting);
        self.mark(&state, &writer, true);
        Some(writer)
    }

    /// Lets the next thread go on where this one stopped.
    pub fn give_back(&self, inside: &SlowPath, writer: LaneWriter) {
        let mut state = self.state(inside);
        if self.is_ours() {
            self.mark(&state, &writer, false);
            state.resting.push(writer.rest());
        }
    }

    /// Says in the file who has the lane, and how many lanes there are to read.
    fn mark(&self, state: &State, writer: &LaneWriter, taken: bool) {
        let control = writer.control();
        control[word(CONTROL_THREAD)].store(if taken { sys::thread_id() } else { 0 }, Relaxed);
        control[word(CONTROL_STATE)].store(taken.into(), Relaxed);
        self.publish_state(state);
    }

    fn publish_state(&self, state: &State) {
        let lanes = if state.shared_taken { self.header.geometry.lanes_max } else { state.taken };
        let closed = self.words[word(HEADER_STATE)].load(Relaxed) as u32 == STATE_CLOSED;
        let now = if closed { STATE_CLOSED } else { STATE_LIVE };
        // Release, pair "ring state": a reader that sees the count sees lanes that are ready. The Acquire
        // half is in `RingReader::state`.
        self.words[word(HEADER_STATE)].store(now as u64 | (lanes as u64) << 32, Release);
    }

    /// Writes through the lane that all share who have none of their own.
    ///
    /// # Errors
    ///
    /// What `work` says; [`Moved`] in a forked child.
    ///
    /// `inside` keeps forks and this thread's signal handlers away while the mutex is held.
    pub fn shared<T>(
        &self,
        inside: &SlowPath,
        work: impl FnOnce(&mut LaneWriter) -> Result<T, Moved>,
    ) -> Result<T, Moved> {
        if !self.is_ours() {
            return Err(Moved);
        }
        let mut state = self.state(inside);
        if !state.shared_taken {
            state.shared_taken = true;
            self.publish_state(&state);
        }
        drop(state);
        work(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often a thread was sent to the shared lane.
    pub fn without_lane(&self) -> u64 {
        self.without_lane.load(Relaxed)
    }

    /// Dots committed so far, lane by lane, as a reader of the file would count them.
    pub fn published(&self) -> Vec<u64> {
        let (geometry, incarnation) = (&self.header.geometry, incarnation_word(self.incarnation()));
        (0..geometry.lanes_max)
            .map(|lane| newest::next_record(&geometry.view(&self.words, lane), incarnation))
            .collect()
    }

    /// Says that nobody will write any more. Whoever holds a lane still must not.
    pub fn close(&self) {
        if self.is_ours() {
            let state = self.words[word(HEADER_STATE)].load(Acquire);
            // Release, pair "ring state": a reader that sees the ring closed sees its last dot.
            self.words[word(HEADER_STATE)].store(state >> 32 << 32 | STATE_CLOSED as u64, Release);
            self.life.retire();
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.close();
    }
}

fn lane_writer(
    map: &Arc<Map>,
    header: &Header,
    clock: &Clock,
    life: &Arc<Life>,
    resting: Resting,
) -> LaneWriter {
    let geometry = &header.geometry;
    let control = Span::new(map, geometry.control(resting.lane), CONTROL_BYTES);
    let data = Span::new(map, geometry.lane(resting.lane), geometry.lane_bytes());
    let incarnation = incarnation_word(header.identity.incarnation);
    LaneWriter::new(resting, control, data, clock.clone(), incarnation, life)
}

fn is_disk_full(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
}

fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::WouldBlock)
}

/// The dead ring that stands under an exact name; `None` where nothing does.
///
/// # Errors
///
/// [`Error::Owned`] where its owner lives; what [`crate::RingReader::open`] says where something else stands there.
fn dead_under(inside: &SlowPath, dir: &Path, name: &OsStr) -> Result<Option<Incarnation>, Error> {
    let path = dir.join(name);
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("cannot look at ring", &path)(error)),
        // Looked at before it is opened: closing a descriptor of our own ring would drop its lock.
        Ok(meta) if is_ours(inside, FileId::of(&meta)) => {
            return Err(Error::Owned { path, pid: std::process::id() });
        }
        Ok(_) => {}
    }
    let found = match UnmappedRing::open(&path) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if found.owner() == Owner::Alive && !found.is_before_exec() {
        return Err(Error::Owned { path, pid: found.identity().pid });
    }
    Ok(Some(found.identity().incarnation))
}

/// Gives a dead ring its sibling's name, so that the exact one is free. The name's lock is held.
fn move_aside(inside: &SlowPath, dir: &Path, name: &OsStr) -> Result<(), Error> {
    let Some(incarnation) = dead_under(inside, dir, name)? else { return Ok(()) };
    let aside = dir.join(ring_name(name, incarnation));
    sys::rename_no_replace(&dir.join(name), &aside)
        .map_err(Error::io("cannot move dead ring aside to", &aside))
}

const _: () = assert!(BLOCK_BYTES == 4096, "lanes and pages go together");
