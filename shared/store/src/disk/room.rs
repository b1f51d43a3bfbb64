//! Room on the disk that is set aside for what is about to be written, so that a full disk is noticed before the work
//! and not in the middle of it.

use std::fs::File;
use std::path::PathBuf;

use crate::disk::layout::{Folder, Layout};
use crate::error::Error;

/// Room that is set aside; given back when the value is dropped. The file that holds it has no name.
///
/// Where the file system cannot set room aside, there is none, and a full disk is noticed when it is written to.
pub(crate) struct Room {
    layout: Layout,
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// Room is given back in parts of so many bytes.
const PART_BYTES: u64 = 8 << 20;

impl Room {
    /// Sets room aside.
    ///
    /// # Errors
    ///
    /// The system's; [`Error::is_disk_full`] tells whether there is too little.
    pub(crate) fn set_aside(layout: &Layout, bytes: u64) -> Result<Room, Error> {
        let (path, file) = layout.make(Folder::Seg, "room")?.into_nameless()?;
        layout
            .disk
            .allocate(&file, &path, bytes.max(1))
            .map_err(Error::io("set room aside in", &layout.dir))?;
        Ok(Room { layout: layout.clone(), path, file, bytes })
    }

    /// Gives back what is above `bytes`, as they are written elsewhere.
    pub(crate) fn leave(&mut self, bytes: u64) -> Result<(), Error> {
        if bytes + PART_BYTES > self.bytes {
            return Ok(());
        }
        self.bytes = bytes;
        let shortened = self.layout.disk.shorten(&self.file, &self.path, bytes);
        shortened.map_err(Error::io("give room back in", &self.layout.dir))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn room_is_there_until_it_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        let mut room = Room::set_aside(&layout, 20 << 20).unwrap();
        let taken = |room: &Room| room.file.metadata().unwrap().blocks() * 512;
        let all = taken(&room);
        room.leave(19 << 20).unwrap();
        assert_eq!(taken(&room), all, "so little is not worth a call");
        room.leave(4 << 20).unwrap();
        assert!(all == 0 || taken(&room) <= 5 << 20, "{all} {}", taken(&room));
        assert_eq!(std::fs::read_dir(dir.path().join("seg")).unwrap().count(), 0);
    }

    #[test]
    fn more_room_than_there_is_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        let refused = Room::set_aside(&layout, 1 << 60).map(drop).unwrap_err();
        assert!(refused.to_string().starts_with("cannot set room aside in "), "{refused}");
    }
}
