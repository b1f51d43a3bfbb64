//! Reading the file of finished rings.

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc::{EIO, O_CLOEXEC, O_NOFOLLOW};

use crate::error::Error;
use crate::format::ledger::Finished;
use crate::format::ledger::finished::{VERSION, version};
use crate::format::listing::{StoreId, words_and_number};

impl Finished {
    /// Reads a file of `bytes` bytes; `None` where it is not there. A bad sector counts as damage.
    ///
    /// # Errors
    ///
    /// [`Error::Version`], and the system's where another try may succeed.
    pub(crate) fn read(path: &Path, bytes: u64, store: StoreId) -> Result<Option<Finished>, Error> {
        let mut found = Vec::new();
        let read = fs::OpenOptions::new()
            .read(true)
            .custom_flags(O_NOFOLLOW | O_CLOEXEC)
            .open(path)
            .and_then(|mut file| file.read_to_end(&mut found));
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(EIO) => {
                return Ok(Some(Finished::missing(format!("cannot be read: {error}"))));
            }
            Err(error) => return Err(Error::io("read", path)(error)),
            Ok(_) => {}
        }
        if let Some(version) = version(&found)
            && version != VERSION
        {
            return Err(Error::Version { path: path.to_owned(), found: version, reads: VERSION });
        }
        let missing = if found.len() as u64 != bytes {
            Some(format!("{} bytes, expected {bytes}", found.len()))
        } else {
            let other = version(&found).is_some() && found[16..32] != store.0;
            other.then(|| "a file of another store".to_owned())
        };
        let mut finished = Finished::of(found);
        let name = path.file_name().and_then(|name| name.to_str());
        let expected = name.and_then(words_and_number).map(|(_, number)| number);
        let another = match (finished.number(), expected) {
            (Some(found), Some(expected)) if found != expected => {
                Some(format!("number {found:016x}, expected {expected:016x}"))
            }
            _ => None,
        };
        finished.missing = missing.or(another);
        Ok(Some(finished))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ledger::finished::tests::records;

    #[test]
    fn what_another_try_may_read_is_not_called_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) =
            (dir.path().join("20261120-0000000000000001"), dir.path().join("20261120-0000000000000002"));
        let store = StoreId([3; 16]);
        assert!(Finished::read(&path, 40, store).unwrap().is_none());
        let bytes = Finished::encode(&records(), store, 1);
        let length = bytes.len() as u64;
        fs::write(&path, &bytes).unwrap();
        let read = |path: &Path, length, store| Finished::read(path, length, store);
        assert!(read(&path, length, store).unwrap().expect("it is there").damage().is_empty());
        assert!(!read(&path, length + 8, store).unwrap().expect("it is there").damage().is_empty());
        let other = read(&path, length, StoreId([4; 16])).unwrap().expect("it is there");
        assert_eq!(other.damage(), [(0, "a file of another store".to_owned())]);
        let moved = dir.path().join("20261120-0000000000000003");
        fs::copy(&path, &moved).unwrap();
        let moved = read(&moved, length, store).unwrap().expect("it is there");
        assert_eq!(moved.damage(), [(0, "number 0000000000000001, expected 0000000000000003".to_owned())]);
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(read(&link, length, store), Err(Error::Io { .. })));
    }
}
