//! Opening files of finished rings: they are mapped, so what nobody asks for stays on disk.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use nix::libc::{EIO, O_CLOEXEC, O_NOFOLLOW};

use crate::disk::layout::{Layout, NewFile};
use crate::disk::map::Map;
use crate::error::Error;
use crate::format::ledger::files::{FinishedFiles, LedgerFile};
use crate::format::ledger::finished::{Content, FinishedFile, HEADER_BYTES, Header, VERSION};
use crate::format::listing::{StoreId, words_and_number};
use crate::format::manifest::Manifest;

impl Content for Map {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn is_broken(&self) -> bool {
        Map::is_broken(self)
    }
}

/// Opens the files that a list names, those of `known` without looking at the disk. Also says whether all are there;
/// one that is not stands for itself, and what is asked of it nobody knows.
///
/// # Errors
///
/// [`Error::Version`], and the system's where another try may succeed.
pub(crate) fn open_all(
    layout: &Layout,
    manifest: &Manifest,
    known: &FinishedFiles,
) -> Result<(FinishedFiles, bool), Error> {
    let mut files = FinishedFiles::default();
    let mut are_there = true;
    for listing in &manifest.ledger_files {
        if let Some(file) = known.0.iter().find(|file| file.listing == *listing) {
            files.0.push(file.clone());
            continue;
        }
        let file = open(&layout.ledger(&listing.name), listing.clone(), manifest.store)?;
        are_there &= file.is_some();
        let missing = || FinishedFile::missing(listing.clone(), "listed in MANIFEST and missing".to_owned());
        files.0.push(Arc::new(file.unwrap_or_else(missing)));
    }
    Ok((files, are_there))
}

/// Opens a file; `None` where it is not there. A bad sector counts as damage.
fn open(path: &Path, listing: LedgerFile, store: StoreId) -> Result<Option<FinishedFile>, Error> {
    let opened = open_file(path).and_then(|file| {
        // An empty file cannot be mapped.
        let is_empty = file.metadata()?.len() == 0;
        Ok(if is_empty { Box::new(Vec::new()) as Box<dyn Content> } else { Box::new(Map::new(&file)?) })
    });
    let content = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(EIO) => {
            return Ok(Some(FinishedFile::missing(listing, format!("cannot be read: {error}"))));
        }
        other => other.map_err(Error::io("map", path))?,
    };
    if let Some(version) = Header::version(content.bytes())
        && version != VERSION
    {
        return Err(Error::Version { path: path.to_owned(), found: version, reads: VERSION });
    }
    Ok(Some(FinishedFile::new(listing, store, number(path), content)))
}

/// Opens a file that was just made.
///
/// # Errors
///
/// The system's.
pub(crate) fn open_new(
    new: &NewFile,
    listing: LedgerFile,
    store: StoreId,
) -> Result<Arc<FinishedFile>, Error> {
    let content = Map::new(&new.file).map_err(Error::io("map", &new.path))?;
    Ok(Arc::new(FinishedFile::new(listing, store, Some(new.number), Box::new(content))))
}

fn open_file(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(O_NOFOLLOW | O_CLOEXEC).open(path)
}

fn number(path: &Path) -> Option<u64> {
    words_and_number(path.file_name()?.to_str()?).map(|(_, number)| number)
}

/// What a file says of itself, for a list that is rebuilt; `None` where it is none of this store, or damaged.
pub(crate) fn listing(path: &Path, store: StoreId) -> Option<LedgerFile> {
    let mut bytes = [0; HEADER_BYTES];
    let mut file = open_file(path).ok()?;
    file.read_exact(&mut bytes).ok()?;
    let header = Header::decode(&bytes).filter(|header| header.store == store)?;
    let listing = LedgerFile {
        name: path.file_name()?.to_str()?.to_owned(),
        bytes: file.metadata().ok()?.len(),
        rings: header.rings,
        first: header.first,
        last: header.last,
    };
    // A copy under another name is left out.
    (number(path) == Some(header.number)).then_some(listing)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::format::ledger::finished::Found;
    use crate::format::ledger::finished::tests::{bytes, listing as listing_of, ring};

    const STORE: StoreId = StoreId([3; 16]);

    #[test]
    fn what_another_try_may_read_is_not_called_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("20261120-0000000000000005");
        let link = dir.path().join("20261120-0000000000000002");
        let bytes = bytes(300);
        let expected = listing_of(&bytes, 300);
        assert!(open(&path, expected.clone(), STORE).unwrap().is_none());
        fs::write(&path, &bytes).unwrap();
        assert_eq!(listing(&path, STORE), Some(expected.clone()));
        assert_eq!(listing(&path, StoreId([4; 16])), None);
        let file = open(&path, expected.clone(), STORE).unwrap().expect("it is there");
        assert!(file.damage().is_empty());
        assert_eq!((file.find(&ring(4)), file.find(&ring(5))), (Found::Yes, Found::No));
        let moved = dir.path().join("20261120-0000000000000003");
        fs::copy(&path, &moved).unwrap();
        assert_eq!(listing(&moved, STORE), None);
        let moved = open(&moved, expected.clone(), STORE).unwrap().expect("it is there");
        assert!(moved.damage()[0].1.starts_with("number 0000000000000005, expected 0000000000000003"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(open(&link, expected.clone(), STORE), Err(Error::Io { .. })));
        fs::write(&path, b"").unwrap();
        assert_eq!(open(&path, expected, STORE).unwrap().expect("it is there").damage().len(), 1);
    }

    #[test]
    fn a_file_of_another_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("20261120-0000000000000005");
        let mut bytes = bytes(3);
        bytes[8] = 7;
        let checksum =
            crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..HEADER_BYTES]).to_le_bytes();
        bytes[12..16].copy_from_slice(&checksum);
        fs::write(&path, &bytes).unwrap();
        let outcome = open(&path, listing_of(&bytes, 3), STORE);
        assert!(matches!(outcome, Err(Error::Version { found: 7, .. })));
    }
}
