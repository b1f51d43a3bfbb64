//! A ring of somebody else that is looked at, not read: whether it is over, and what a stub is to say of it.
//!
//! Always true: nothing of it is mapped. A page that is missing, because the file was cut short or has a hole on a
//! full disk, is an error of a system call here; in a mapping it would be a SIGBUS, which ends an application that
//! only makes room for a ring of its own.

use std::cell::Cell;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::gone::{self, GoneLane};
use crate::header::{Header, Identity};
use crate::lane::incarnation_word;
use crate::layout::{
    BLOCK_BYTES, BLOCK_WORDS, CONTROL_BYTES, CONTROL_CLAIM, CONTROL_HEAD, CONTROL_OTHER, CONTROL_OVERSIZE,
    CONTROL_REENTRANT, HEADER_BYTES, HEADER_STATE, STATE_CLOSED, word,
};
use crate::life::{self, Descriptor, FileId, Owner};
use crate::newest::{self, Blocks};
use crate::process;
use crate::protocol::Torn;
use crate::reader::{Opened, Refusals, header_of};

/// Damaged blocks that are read of one ring: as many as a ring of usual size has. In each lane, two looks find a
/// sound one. A ring that is worse than that is left alone, for its reader: nobody waits here until it is searched.
const DAMAGED_BLOCKS_MAX: u32 = 1 << 16;

/// One ring, opened.
pub(crate) struct UnmappedRing {
    path: PathBuf,
    descriptor: Descriptor,
    header: Header,
}

impl UnmappedRing {
    /// Opens a ring; a stub is an error.
    ///
    /// # Errors
    ///
    /// As [`crate::RingReader::open`].
    pub(crate) fn open(path: &Path) -> Result<UnmappedRing, Error> {
        let Opened { descriptor, file_bytes, start } = Opened::open(path)?;
        if gone::is_stub(&start) {
            return Err(Error::NotARing { path: path.to_owned() });
        }
        let header = header_of(&start, file_bytes, path)?;
        Ok(UnmappedRing { path: path.to_owned(), descriptor, header })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file_id(&self) -> FileId {
        self.descriptor.id()
    }

    /// Who made it, when, where.
    pub(crate) fn identity(&self) -> &Identity {
        &self.header.identity
    }

    /// Fills `bytes` from the file.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.descriptor.file()?.read_exact_at(bytes, offset)
    }

    /// The ring's own word on whether it is closed; none of the known ones where it cannot be read.
    fn state(&self) -> u32 {
        let mut bytes = [0; 4];
        self.read(HEADER_STATE as u64, &mut bytes).map_or(0, |()| u32::from_le_bytes(bytes))
    }

    /// Whether the publisher can still write, as [`crate::RingReader::owner`].
    pub(crate) fn owner(&self) -> Owner {
        life::owner(&self.descriptor, &self.header.identity, self.state())
    }

    /// Whether nobody can write to it any more, without another look at its heads: its end is its own word, or
    /// this machine's process numbers say so.
    pub(crate) fn is_surely_over(&self) -> bool {
        let identity = &self.header.identity;
        let known = identity.pid_namespace == process::pid_namespace()
            || identity.boot_id != process::boot_id_cached();
        self.state() == STATE_CLOSED || (known && self.owner() == Owner::Dead)
    }

    pub(crate) fn is_before_exec(&self) -> bool {
        life::is_before_exec(&self.descriptor, &self.header.identity)
    }

    /// What a stub is to say of it: its header's bytes and its lanes.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, for one because it was cut short.
    pub(crate) fn remains(&self) -> io::Result<([u8; HEADER_BYTES as usize], Vec<GoneLane>)> {
        let geometry = &self.header.geometry;
        let mut head = [0; HEADER_BYTES as usize];
        self.read(0, &mut head)?;
        let incarnation = incarnation_word(self.header.identity.incarnation);
        let budget = Cell::new(2 * geometry.lanes_max + DAMAGED_BLOCKS_MAX);
        let mut lanes = Vec::with_capacity(geometry.lanes_max as usize);
        for lane in 0..geometry.lanes_max {
            let mut control = [0; CONTROL_BYTES as usize];
            self.read(geometry.control(lane), &mut control)?;
            let words = words_of(&control);
            let file =
                FileLane { ring: self, lane, control: words, budget: &budget, failed: Cell::new(None) };
            let next = newest::next_record(&file, incarnation);
            let last = newest::last_realtime(&file, incarnation);
            if let Some(error) = file.failed.take() {
                return Err(error);
            }
            let refusals = Refusals {
                series: 0,
                signal_handler: words[word(CONTROL_REENTRANT)],
                too_big: words[word(CONTROL_OVERSIZE)],
                other: words[word(CONTROL_OTHER)],
            };
            lanes.push(GoneLane { next, refusals, last });
        }
        Ok((head, lanes))
    }
}

/// Bytes of a file as its words.
fn words_of<const BYTES: usize, const WORDS: usize>(bytes: &[u8; BYTES]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// One lane of a ring to which nobody writes any more.
struct FileLane<'a> {
    ring: &'a UnmappedRing,
    lane: u32,
    control: [u64; CONTROL_BYTES as usize / 8],
    /// How many blocks of the ring may still be read.
    budget: &'a Cell<u32>,
    /// Why a block could not be read.
    failed: Cell<Option<io::Error>>,
}

impl Blocks for FileLane<'_> {
    fn head(&self) -> u64 {
        self.control[word(CONTROL_HEAD)]
    }

    fn capacity(&self) -> u64 {
        self.ring.header.geometry.lane_bytes()
    }

    fn copy_block(
        &self,
        start: u64,
        _until: u64,
        head: u64,
        words: &mut [u64; BLOCK_WORDS],
    ) -> Result<(), Torn> {
        let fail = |error| {
            self.failed.set(Some(error));
            Err(Torn::Nonsense)
        };
        let left = self.budget.get();
        if left == 0 {
            return fail(io::Error::other("too many of its blocks are damaged"));
        }
        self.budget.set(left - 1);
        let mut bytes = [0; BLOCK_BYTES as usize];
        let offset = self.ring.header.geometry.lane(self.lane) + (start & (self.capacity() - 1));
        if let Err(error) = self.ring.read(offset, &mut bytes) {
            return fail(error);
        }
        *words = words_of(&bytes);
        // As a reader of the mapped lane looks at it.
        match self.control[word(CONTROL_CLAIM)] {
            claim if claim < head => Err(Torn::Nonsense),
            claim if claim - start > self.capacity() => Err(Torn::Lapped(claim)),
            _ => Ok(()),
        }
    }
}
