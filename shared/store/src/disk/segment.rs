//! Looking at a segment file: meta, top index and tail, which are at its end, and how old it is.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use dotter_dot::Shape;
use nix::libc::{O_CLOEXEC, O_NOFOLLOW};

use crate::disk::layout::Layout;
use crate::error::Error;
use crate::format::segment::keys::Top;
use crate::format::segment::tail::{TAIL_BYTES, Tail};

impl Tail {
    /// Reads tail and meta of a segment file, and checks the top index too.
    pub(crate) fn read(path: &Path) -> Result<Tail, Error> {
        let file = open(path)?;
        let length = file.metadata().map_err(Error::io("look at", path))?.len();
        Ok(read_end(length, path, &|bytes, at| file.read_exact_at(bytes, at))?.0)
    }
}

/// Reads the end of a segment: its tail with the meta, its shapes and its key blocks.
///
/// - `read_at`: fills a buffer with the bytes of the file from an offset on
pub(crate) fn read_end(
    length: u64,
    path: &Path,
    read_at: &dyn Fn(&mut [u8], u64) -> io::Result<()>,
) -> Result<(Tail, Vec<Shape>, Top), Error> {
    let mut bytes = [0; TAIL_BYTES];
    let Some(at) = length.checked_sub(TAIL_BYTES as u64) else {
        return Err(Error::damaged(path, 0, format!("{length} bytes are too few for a segment")));
    };
    read_at(&mut bytes, at).map_err(Error::io("read", path))?;
    let mut tail = Tail::decode(&bytes, path, length)?;
    let mut rest = vec![0; (at - tail.meta_at) as usize];
    read_at(&mut rest, tail.meta_at).map_err(Error::io("read", path))?;
    let (shapes, top) = tail.take_end(&rest, path)?;
    Ok((tail, shapes, top))
}

pub(crate) fn open(path: &Path) -> Result<File, Error> {
    File::options()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_CLOEXEC)
        .open(path)
        .map_err(Error::io("open segment", path))
}

impl Layout {
    /// How long ago a segment was made, by the time its file was changed last; zero where that cannot be told.
    pub(crate) fn segment_age(&self, name: &str) -> Duration {
        let modified = self.segment(name).symlink_metadata().and_then(|meta| meta.modified());
        modified.ok().and_then(|modified| modified.elapsed().ok()).unwrap_or_default()
    }
}
