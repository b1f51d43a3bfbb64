//! A ring as a reader sees it: one mapped file, read-only, believed in nothing; or what is left of one that
//! had to make room, all of whose records are lost.
//!
//! Always true: the header was copied once and checked before anything else was looked at; no byte of the
//! file can make a reader panic, loop or read outside of it. Where the file was cut short under the
//! reader, [`RingReader::is_intact`] says so before a page that is gone is touched; every pass asks it, and
//! [`crate::survive_truncation`] is there for what happens between asking and touching.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use dotter_dot::Incarnation;

use crate::clock::{ClockKind, Pair, own_pair};
use crate::error::Error;
use crate::gone::{self, Gone, GoneLane};
use crate::header::{Header, Identity};
use crate::lane::incarnation_word;
use crate::layout::{
    CONTROL_OTHER, CONTROL_OVERSIZE, CONTROL_REENTRANT, Geometry, HEADER_CHECKED_BYTES,
    HEADER_REFUSED_SERIES, HEADER_STATE, STATE_CLOSED, word,
};
use crate::life::{self, Descriptor, FileId, Owner};
use crate::map::{Map, Span};
use crate::newest;
use crate::process;
use crate::protocol::{Block, Lane};
use crate::registry::{self, SeriesEntry};
use crate::sync::{Acquire, AtomicU64, Relaxed};
use crate::sys::{self, Status};

/// Dots that were refused inside the publishing process, as totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// On a series that the registry had no room for: [`dotter_dot::Reason::REGISTRY_FULL`].
    pub series: u64,
    /// From inside a signal handler: [`dotter_dot::Reason::SIGNAL_HANDLER`].
    pub signal_handler: u64,
    /// Larger than a block: [`dotter_dot::Reason::TOO_BIG`].
    pub too_big: u64,
    /// [`dotter_dot::Reason::OTHER`].
    pub other: u64,
}

/// One mapped ring, read-only.
pub struct RingReader {
    path: PathBuf,
    descriptor: Descriptor,
    header: Header,
    content: Content,
    registry: registry::Reader,
    /// The owner was found dead once; the dead do not come back.
    dead: AtomicBool,
}

/// What is behind the header.
enum Content {
    /// The whole file.
    Mapped(Span),
    /// A stub says how many records there were.
    Gone(Gone),
}

impl RingReader {
    /// Opens and maps a ring, or reads the stub of one.
    ///
    /// # Errors
    ///
    /// [`Error::File`] where it is no regular file, belongs to another user than us or root, or has another
    /// size than its header says; [`Error::NotARing`], [`Error::Version`] or [`Error::Header`] where the
    /// header is not one this build reads; [`Error::Io`] where it cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<RingReader, Error> {
        let Opened { descriptor, file_bytes, start } = Opened::open(path)?;
        let file = descriptor.file().map_err(Error::io("cannot read ring", path))?;
        let registry = registry::Reader::default();
        if gone::is_stub(&start) {
            let (header, gone) = gone::read(&file, &start, path)?;
            let (path, content, dead) = (path.to_owned(), Content::Gone(gone), AtomicBool::new(true));
            return Ok(RingReader { path, descriptor, header, content, registry, dead });
        }
        let header = header_of(&start, file_bytes, path)?;
        let map = Map::readable(&file, file_bytes).map_err(Error::io("cannot map ring", path))?;
        Ok(RingReader {
            path: path.to_owned(),
            descriptor,
            content: Content::Mapped(Span::new(&map, 0, file_bytes)),
            header,
            registry,
            dead: AtomicBool::new(false),
        })
    }

    /// The random name of this life of the ring.
    pub fn incarnation(&self) -> Incarnation {
        self.header.identity.incarnation
    }

    /// Who publishes.
    pub fn application(&self) -> &str {
        &self.header.application
    }

    /// Who made it, when, where.
    pub fn identity(&self) -> &Identity {
        &self.header.identity
    }

    /// The name it was found under.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A ring is known by its incarnation; its name may change under it.
    pub fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Which file it is.
    pub fn file_id(&self) -> FileId {
        self.descriptor.id()
    }

    /// Whether the file still has all its bytes. Without them nothing here may be trusted any more: the
    /// lanes then look empty.
    pub fn is_intact(&self) -> bool {
        let Content::Mapped(words) = &self.content else { return true };
        let whole = |status: Status| status.bytes >= self.header.geometry.file_bytes;
        !words.is_broken() && self.descriptor.status().is_some_and(whole)
    }

    /// Whether it was cut short between a look at its size and a load: see [`crate::survive_truncation`].
    #[inline]
    pub(crate) fn was_cut(&self) -> bool {
        matches!(&self.content, Content::Mapped(words) if words.is_broken())
    }

    /// Lanes to look at: every lane with a dot in it has a lower number.
    pub fn lanes_used(&self) -> u32 {
        if let Content::Gone(gone) = &self.content {
            return gone.lanes_used;
        }
        if !self.is_intact() {
            return 0;
        }
        ((self.state() >> 32) as u32).min(self.header.geometry.lanes_max)
    }

    /// Bytes of a lane.
    pub fn lane_capacity_bytes(&self) -> u64 {
        self.header.geometry.lane_bytes()
    }

    /// The series numbered `id`; `None` where the registry does not have it, or has it damaged, or is gone.
    pub fn series(&mut self, id: u32) -> Option<&SeriesEntry> {
        if !self.is_intact() {
            return None;
        }
        let Content::Mapped(words) = &self.content else { return None };
        self.registry.series(self.header.geometry.registry(words), id)
    }

    /// Whether the publisher has closed it: no dot will follow.
    pub fn is_closed(&self) -> bool {
        self.is_intact() && self.state() as u32 == STATE_CLOSED
    }

    /// Whether the publisher can still write.
    ///
    /// Where its process cannot be seen from here, the answer leans on its lock alone; before a ring is
    /// finished its [`RingReader::heads`] should also have stood still for two seconds.
    pub fn owner(&self) -> Owner {
        if self.dead.load(Relaxed) {
            return Owner::Dead;
        }
        let state = if self.is_intact() { self.state() as u32 } else { 0 };
        let owner = life::owner(&self.descriptor, &self.header.identity, state);
        // Relaxed: whoever asks next may ask the system again.
        self.dead.store(owner == Owner::Dead, Relaxed);
        owner
    }

    /// Whether nobody will write any more, as far as was noticed so far.
    pub(crate) fn is_over(&self) -> bool {
        self.dead.load(Relaxed) || self.state() as u32 == STATE_CLOSED
    }

    /// Bytes ever committed, lane by lane: for seeing whether anything moves.
    pub fn heads(&self) -> Vec<u64> {
        match &self.content {
            Content::Mapped(_) => (0..self.lanes_used()).map(|lane| self.lane(lane).head()).collect(),
            Content::Gone(gone) => gone.lanes.iter().map(|lane| lane.next).collect(),
        }
    }

    /// What the publisher refused, as totals over all lanes.
    pub fn refusals(&self) -> Refusals {
        if !self.is_intact() {
            return Refusals::default();
        }
        let found = match &self.content {
            Content::Mapped(words) => refusals(words, &self.header.geometry),
            Content::Gone(gone) => gone.refusals(),
        };
        if self.was_cut() { Refusals::default() } else { found }
    }

    /// The number the next record of a lane has: how many were ever committed in it.
    ///
    /// Where the newest block is damaged this is the most they can have been.
    pub fn next_record(&self, lane: u32) -> u64 {
        if lane >= self.header.geometry.lanes_max || !self.is_intact() {
            return 0;
        }
        if let Some(gone) = self.gone(lane) {
            return gone.next;
        }
        let next = newest::next_record(&self.lane(lane), self.incarnation_word());
        if self.was_cut() { 0 } else { next }
    }

    /// What is left of a lane that is gone.
    pub(crate) fn gone(&self, lane: u32) -> Option<&GoneLane> {
        match &self.content {
            Content::Mapped(_) => None,
            Content::Gone(gone) => gone.lanes.get(lane as usize),
        }
    }

    /// A lane's words. The caller has made sure that the file is intact, not a stub, and the lane one of the
    /// ring's.
    pub(crate) fn lane(&self, lane: u32) -> Lane<'_, Block> {
        match &self.content {
            Content::Mapped(words) => self.header.geometry.view(words, lane),
            Content::Gone(_) => unreachable!("nothing is read from the lanes of a stub"),
        }
    }

    pub(crate) fn lanes_max(&self) -> u32 {
        self.header.geometry.lanes_max
    }

    pub(crate) fn incarnation_word(&self) -> u64 {
        incarnation_word(self.header.identity.incarnation)
    }

    pub(crate) fn clock(&self) -> ClockKind {
        self.header.clock
    }

    pub(crate) fn tick_hz(&self) -> u64 {
        self.header.tick_hz
    }

    /// Both clocks now, where this machine's ticks are the ring's: the same boot, the same counter.
    pub(crate) fn own_pair(&self) -> Option<Pair> {
        let same = self.header.identity.boot_id == process::boot_id_cached();
        if same { own_pair(self.header.clock) } else { None }
    }

    fn state(&self) -> u64 {
        match &self.content {
            // Acquire, pair "ring state": the Release halves are in `Ring::publish_state` and `Ring::close`.
            Content::Mapped(words) => words[word(HEADER_STATE)].load(Acquire),
            Content::Gone(gone) => STATE_CLOSED as u64 | (gone.lanes_used as u64) << 32,
        }
    }
}

impl std::fmt::Debug for RingReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (application, incarnation) = (self.application(), self.incarnation());
        write!(f, "RingReader({} of {application}, {incarnation})", self.path.display())
    }
}

/// A ring's file, or a stub, opened and not yet believed in anything but that it may be one.
pub(crate) struct Opened {
    pub(crate) descriptor: Descriptor,
    pub(crate) file_bytes: u64,
    /// Its beginning.
    pub(crate) start: [u8; HEADER_CHECKED_BYTES],
}

impl Opened {
    /// As [`RingReader::open`].
    pub(crate) fn open(path: &Path) -> Result<Opened, Error> {
        // Not following links keeps us in the directory; not blocking keeps a FIFO from holding us up.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .map_err(Error::io("cannot open ring", path))?;
        let meta = file.metadata().map_err(Error::io("cannot look at ring", path))?;
        let descriptor = Descriptor::new(file, FileId::of(&meta));
        let wrong = |found: String, expected: &str| Error::File {
            path: path.to_owned(),
            found,
            expected: expected.to_owned(),
        };
        if !meta.is_file() {
            return Err(wrong(kind_of(&meta).to_owned(), "a regular file"));
        }
        let us = sys::effective_user();
        if meta.uid() != us && meta.uid() != 0 {
            return Err(wrong(
                format!("belongs to user {}", meta.uid()),
                &format!("one of user {us} or of root"),
            ));
        }
        let file = descriptor.file().map_err(Error::io("cannot read ring", path))?;
        let start = read_start(&file, path)?;
        Ok(Opened { descriptor, file_bytes: meta.len(), start })
    }
}

/// The header of a ring, not a stub, whose file has so many bytes.
pub(crate) fn header_of(
    start: &[u8; HEADER_CHECKED_BYTES],
    file_bytes: u64,
    path: &Path,
) -> Result<Header, Error> {
    let header = Header::decode(start, path)?;
    if file_bytes != header.geometry.file_bytes {
        return Err(Error::File {
            path: path.to_owned(),
            found: format!("has {file_bytes} bytes"),
            expected: format!("the {} its header says", header.geometry.file_bytes),
        });
    }
    Ok(header)
}

fn kind_of(meta: &std::fs::Metadata) -> &'static str {
    let kind = meta.file_type();
    match kind {
        _ if kind.is_dir() => "is a directory",
        _ if kind.is_fifo() => "is a FIFO",
        _ if kind.is_socket() => "is a socket",
        _ => "is a device",
    }
}

/// Reads the header through the descriptor, not through the map, so that a short file is an error here.
fn read_start(file: &File, path: &Path) -> Result<[u8; HEADER_CHECKED_BYTES], Error> {
    use std::os::unix::fs::FileExt;
    let mut bytes = [0; HEADER_CHECKED_BYTES];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(Error::NotARing { path: path.to_owned() })
        }
        Err(error) => Err(Error::io("cannot read ring", path)(error)),
    }
}

/// The refusal counters in the words of a whole file.
pub(crate) fn refusals(words: &[AtomicU64], geometry: &Geometry) -> Refusals {
    // Relaxed: totals that only grow, each for itself.
    let series = words[word(HEADER_REFUSED_SERIES)].load(Relaxed);
    let mut total = Refusals { series, ..Refusals::default() };
    for lane in 0..geometry.lanes_max {
        let lane = lane_refusals(words, geometry, lane);
        total.signal_handler = total.signal_handler.saturating_add(lane.signal_handler);
        total.too_big = total.too_big.saturating_add(lane.too_big);
        total.other = total.other.saturating_add(lane.other);
    }
    total
}

/// The same for one lane, which knows nothing of refused series.
fn lane_refusals(words: &[AtomicU64], geometry: &Geometry, lane: u32) -> Refusals {
    let control = (geometry.control(lane) / 8) as usize;
    let at = |offset| words[control + word(offset)].load(Relaxed);
    Refusals {
        series: 0,
        signal_handler: at(CONTROL_REENTRANT),
        too_big: at(CONTROL_OVERSIZE),
        other: at(CONTROL_OTHER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Place;
    use crate::layout::BLOCK_INCARNATION;
    use crate::{Drained, LANE_BYTES_MIN, LaneCursor, Ring, RingOptions, SlowPath};

    #[test]
    fn a_page_that_goes_between_a_look_and_a_load_is_zeros_and_the_ring_looks_empty_for_good() {
        crate::survive_truncation().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let place = Place::Directory(dir.path().to_owned());
        let options = RingOptions { lane_bytes: LANE_BYTES_MIN, lanes_max: 1, ..RingOptions::new("cut") };
        let inside = SlowPath::enter().unwrap();
        let identity = Identity::of_this_process().unwrap();
        let ring = Ring::create(&inside, &options, identity, &place, false).unwrap();
        ring.shared(&inside, |lane| (0..500).try_for_each(|number| lane.dot(0, f64::from(number)))).unwrap();
        drop(inside);
        let path = dir.path().join("copy");
        std::fs::copy(ring.path(), &path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let mut reader = RingReader::open(&path).unwrap();
        let (lane, file) = (reader.header.geometry.lane(0) as usize, File::options().write(true).open(&path));
        let file = file.unwrap();
        assert_eq!(reader.next_record(0), 500);
        let first_block = |reader: &RingReader| match &reader.content {
            Content::Mapped(words) => words[word(lane + 8 * BLOCK_INCARNATION)].load(Relaxed),
            Content::Gone(_) => unreachable!(),
        };
        assert_ne!(first_block(&reader), 0);
        file.set_len(4096).unwrap();
        // The look at the size lies behind us.
        assert_eq!(first_block(&reader), 0);
        assert!(reader.was_cut());
        // Its size comes back; what was read of it stays gone.
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
        assert_eq!(cursor.drain(&mut reader, usize::MAX, &mut out), 0);
        assert!(!reader.is_intact());
        assert_eq!((reader.next_record(0), reader.lanes_used()), (0, 0));
        // Who opens it again sees what is there now.
        let mut again = RingReader::open(&path).unwrap();
        assert_eq!(cursor.drain(&mut again, usize::MAX, &mut out), 500);
    }
}
