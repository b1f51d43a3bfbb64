//! Reading the tail and the meta of a segment file, which are at its end.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::{O_CLOEXEC, O_NOFOLLOW};

use crate::error::Error;
use crate::format::segment::tail::{TAIL_BYTES, Tail};

impl Tail {
    /// Reads tail and meta of a segment file, and checks the index too.
    pub(crate) fn read(path: &Path) -> Result<Tail, Error> {
        let file = open(path)?;
        let length = file.metadata().map_err(Error::io("look at", path))?.len();
        let mut bytes = [0; TAIL_BYTES];
        let Some(at) = length.checked_sub(TAIL_BYTES as u64) else {
            return Err(Error::damaged(path, 0, format!("{length} bytes are too few for a segment")));
        };
        file.read_exact_at(&mut bytes, at).map_err(Error::io("read", path))?;
        let (mut tail, checksum) = Tail::decode(&bytes, path, length)?;
        let mut rest = vec![0; (at - tail.index_at) as usize];
        file.read_exact_at(&mut rest, tail.index_at).map_err(Error::io("read", path))?;
        tail.meta = tail.check(&rest, checksum, path)?;
        Ok(tail)
    }
}

pub(crate) fn open(path: &Path) -> Result<File, Error> {
    File::options()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_CLOEXEC)
        .open(path)
        .map_err(Error::io("open segment", path))
}
