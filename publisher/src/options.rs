//! How a ring is to be made.

use std::path::{Path, PathBuf};

use dotter_ring::directory::{self, Place};
use dotter_ring::{Clock, Error, RingOptions, lane_bytes_for};

use crate::Publisher;

/// How a ring is to be made; all of it can be left as it is.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// use dotter_publisher::Publisher;
///
/// let publisher = Publisher::options().application("shop").lane_bytes(1 << 20).lanes_max(8).path(path).open()?;
/// assert!(publisher.path().file_name().is_some_and(|name| name.to_string_lossy().starts_with("shop.")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    ring: RingOptions,
    path: Option<PathBuf>,
}

impl Options {
    pub(crate) fn new() -> Options {
        Options { ring: RingOptions::new(&program_name()), path: None }
    }

    /// Who publishes: 1 to 64 bytes, no slash. The program's name unless told otherwise.
    pub fn application(mut self, name: &str) -> Options {
        self.ring.application = name.to_owned();
        self
    }

    /// Bytes of a lane: a power of two, 64 KiB at least; anything else is rounded up. 4 MiB unless told
    /// otherwise, which holds 258,048 dots.
    pub fn lane_bytes(mut self, bytes: u64) -> Options {
        self.ring.lane_bytes = bytes;
        self
    }

    /// The same, as a count of dots.
    pub fn lane_dots(self, dots: u64) -> Options {
        self.lane_bytes(lane_bytes_for(dots).unwrap_or(u64::MAX))
    }

    /// Lanes, of which the last is shared by all threads that find no other. 64 unless told otherwise.
    pub fn lanes_max(mut self, lanes: u32) -> Options {
        self.ring.lanes_max = lanes;
        self
    }

    /// Bytes for the names of series. 1 MiB unless told otherwise, which holds about 20,000 names of 24
    /// bytes; dots on a series that finds no room are counted as refused.
    pub fn registry_bytes(mut self, bytes: u64) -> Options {
        self.ring.registry_bytes = bytes;
        self
    }

    /// Where times come from; the cheapest clock this machine can trust unless told otherwise.
    pub fn clock(mut self, clock: Clock) -> Options {
        self.ring.clock = clock;
        self
    }

    /// Bytes on the disk that dead rings at the same place may take; 1 GiB unless told otherwise. Where it is
    /// more, or where there is no room for this ring, the oldest go; what they held and no broker has taken is
    /// lost, and counted as that.
    pub fn dead_bytes_max(mut self, bytes: u64) -> Options {
        self.ring.dead_bytes_max = bytes;
        self
    }

    /// A directory of rings (one that exists, or a path that ends in a slash), or the exact name of this one.
    /// The default directory unless told otherwise.
    pub fn path(mut self, path: &Path) -> Options {
        self.path = Some(path.to_owned());
        self
    }

    /// Makes the ring.
    ///
    /// # Errors
    ///
    /// [`Error::Owned`] where a living process publishes under that exact name; sizes and names that cannot
    /// be; whatever the system refuses, a full disk above all.
    pub fn open(self) -> Result<Publisher, Error> {
        let place = match &self.path {
            Some(path) => Place::of(path),
            None => Place::Directory(directory::default_directory()),
        };
        Publisher::new(self.ring, place)
    }
}

/// The program's file name, as far as it can name an application.
fn program_name() -> String {
    let program = std::env::current_exe().unwrap_or_default();
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name.trim_start_matches('.').chars().filter(|c| !c.is_control()).take(16).collect();
    if name.is_empty() { "application".to_owned() } else { name }
}
