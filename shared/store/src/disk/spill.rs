//! Bytes that are written once and read back once: in memory while they are few, then in a file without a name.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read, Seek, SeekFrom};
use std::path::PathBuf;

use crate::disk::layout::{Folder, Layout};
use crate::error::Error;

/// How many bytes are kept in memory before they go to the file.
const MEMORY_BYTES: usize = 256 << 10;

/// Bytes in the order in which they were appended.
pub(crate) struct Spill {
    layout: Layout,
    memory: Vec<u8>,
    file: Option<(PathBuf, File)>,
    filed: u64,
}

impl Spill {
    pub(crate) fn new(layout: &Layout) -> Spill {
        Spill { layout: layout.clone(), memory: Vec::new(), file: None, filed: 0 }
    }

    /// Bytes appended so far.
    pub(crate) fn len(&self) -> u64 {
        self.filed + self.memory.len() as u64
    }

    /// Appends what `fill` appends to the vector that it gets.
    pub(crate) fn append(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        fill(&mut self.memory);
        if self.memory.len() < MEMORY_BYTES { Ok(()) } else { self.put_aside() }
    }

    /// Moves all bytes to the file, so that none is in memory.
    pub(crate) fn put_aside(&mut self) -> Result<(), Error> {
        if self.memory.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            // No process needs the name, and a file without one is never left behind.
            self.file = Some(self.layout.make(Folder::Seg, "spill")?.into_nameless()?);
        }
        let (path, file) = self.file.as_mut().expect("it was just made");
        self.layout.disk.write(file, path, &self.memory, self.filed).map_err(Error::io("write", path))?;
        self.filed += self.memory.len() as u64;
        self.memory.clear();
        Ok(())
    }

    /// Reads all bytes, from the first on.
    pub(crate) fn into_reader(self) -> Result<SpillReader, Error> {
        let file = match self.file {
            None => None,
            Some((path, mut file)) => {
                file.seek(SeekFrom::Start(0)).map_err(Error::io("read", &path))?;
                Some(BufReader::with_capacity(64 << 10, file))
            }
        };
        Ok(Maybe(file).chain(Cursor::new(self.memory)))
    }
}

/// The bytes of a [`Spill`].
pub(crate) type SpillReader = Chain<Maybe, Cursor<Vec<u8>>>;

/// A file, or nothing.
pub(crate) struct Maybe(Option<BufReader<File>>);

impl Read for Maybe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(0), |file| file.read(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_bytes_and_many_come_back_and_leave_no_file() {
        for count in [0_u32, 10, 11, 40_000, 200_000, 200_001] {
            let dir = tempfile::tempdir().unwrap();
            let layout = Layout::new(dir.path());
            layout.create().unwrap();
            let mut spill = Spill::new(&layout);
            for number in 0..count {
                spill.append(|out| out.extend_from_slice(&number.to_le_bytes())).unwrap();
                assert!(spill.memory.len() <= MEMORY_BYTES);
            }
            if count % 4 == 0 {
                spill.put_aside().unwrap();
                assert!(spill.memory.is_empty());
            }
            assert_eq!(spill.len(), count as u64 * 4);
            assert_eq!(std::fs::read_dir(dir.path().join("seg")).unwrap().count(), 0);
            let mut back = Vec::new();
            spill.into_reader().unwrap().read_to_end(&mut back).unwrap();
            assert!(back.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).eq(0..count));
        }
    }
}
