//! Claims: a small transaction that is handed to the log's writer is committed once, by the writer or by its sender.
//!
//! A claim is an empty file: `claim/` and 16 random hex digits. The sender makes it, keeps it locked while it waits,
//! and sends its name with the transaction. The writer unlinks it just before it appends. A sender that gives up
//! waiting unlinks it before it commits in another way. Only one of the two can unlink it.
//!
//! Always true: a writer appends a transaction only if it has unlinked the claim and the claim was still locked by
//! the sender. So the transaction never comes behind commits that were made after its sender chose another way or was
//! killed.
//!
//! Nothing here is synced. A power cut ends both sender and request, so no process asks for the claim again; a file
//! that is left is litter.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc::{O_CLOEXEC, O_NOFOLLOW};

use crate::disk::layout::{Layout, random_bytes};
use crate::error::Error;

/// How many hex digits a name has.
const DIGITS: usize = 16;

/// The name of a claim: 16 hex digits, 0 to 9 and a to f, so never a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimName(u64);

impl ClaimName {
    /// Reads a name as [`Display`](fmt::Display) writes it; `None` where it is no such name.
    pub fn parse(text: &str) -> Option<ClaimName> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_name = text.len() == DIGITS && text.bytes().all(is_digit);
        is_name.then(|| u64::from_str_radix(text, 16).ok().map(ClaimName)).flatten()
    }

    fn path(self, layout: &Layout) -> PathBuf {
        layout.dir.join("claim").join(self.to_string())
    }
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0digits$x}", self.0, digits = DIGITS)
    }
}

/// The sender's side of a claim. Dropping it withdraws it.
#[derive(Debug)]
pub struct Claim {
    layout: Layout,
    name: ClaimName,
    /// Locked while the sender lives.
    _file: File,
}

impl Claim {
    /// Makes a claim in the store at `dir`, which must exist.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn make(dir: &Path) -> Result<Claim, Error> {
        let layout = Layout::new(dir);
        let folder = dir.join("claim");
        loop {
            let name = ClaimName(u64::from_le_bytes(random_bytes()?));
            let path = name.path(&layout);
            let file = match layout.disk.create(&path) {
                // The folder is made with the first claim of a store.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let made = DirBuilder::new().mode(0o700).create(&folder);
                    match made {
                        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                            return Err(Error::io("create directory", &folder)(error));
                        }
                        _ => continue,
                    }
                }
                // The name is taken: try another.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                other => other.map_err(Error::io("create", &path))?,
            };
            // From here on the file is removed if anything fails.
            let claim = Claim { layout, name, _file: file };
            claim._file.lock().map_err(Error::io("lock", &path))?;
            return Ok(claim);
        }
    }

    /// The name that goes with the transaction.
    pub fn name(&self) -> ClaimName {
        self.name
    }

    /// Takes the transaction back. `true`: the writer will never append it. `false`: the writer has taken the claim,
    /// and appends the transaction or has done so.
    ///
    /// # Errors
    ///
    /// The system's; then it is not known which of the two is the case.
    pub fn withdraw(self) -> Result<bool, Error> {
        remove(&self.layout, self.name)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // In most cases the file is unlinked already. A file that stays is litter.
        let _ = remove(&self.layout, self.name);
    }
}

/// The writer's side: takes the claim of a transaction that is to be appended next. `false`: the transaction must not
/// be appended, since its sender has withdrawn it or has ended.
///
/// # Errors
///
/// The system's; then the transaction must not be appended either.
pub fn take_claim(dir: &Path, name: ClaimName) -> Result<bool, Error> {
    let layout = Layout::new(dir);
    let path = name.path(&layout);
    let file = match OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_CLOEXEC).open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        other => other.map_err(Error::io("open", &path))?,
    };
    let waits = match file.try_lock_shared() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
    };
    Ok(remove(&layout, name)? && waits)
}

/// Unlinks a claim; returns whether it was there.
fn remove(layout: &Layout, name: ClaimName) -> Result<bool, Error> {
    let path = name.path(layout);
    match layout.disk.remove(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("remove", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Barrier;

    use super::*;

    fn left(dir: &Path) -> usize {
        fs::read_dir(dir.join("claim")).unwrap().count()
    }

    #[test]
    fn the_one_who_unlinks_a_claim_has_the_transaction_and_the_other_has_not() {
        let dir = tempfile::tempdir().unwrap();
        let claim = Claim::make(dir.path()).unwrap();
        let name = claim.name();
        assert_eq!(fs::metadata(dir.path().join(format!("claim/{name}"))).unwrap().len(), 0);
        assert!(take_claim(dir.path(), name).unwrap());
        assert!(!take_claim(dir.path(), name).unwrap(), "a request that comes again");
        assert!(!claim.withdraw().unwrap());

        let claim = Claim::make(dir.path()).unwrap();
        let name = claim.name();
        assert!(claim.withdraw().unwrap());
        assert!(!take_claim(dir.path(), name).unwrap());
        assert_eq!(left(dir.path()), 0);
    }

    #[test]
    fn of_a_writer_and_a_sender_at_the_same_moment_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..200 {
            let claim = Claim::make(dir.path()).unwrap();
            let (name, both) = (claim.name(), Barrier::new(2));
            let (taken, withdrawn) = std::thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    both.wait();
                    take_claim(dir.path(), name).unwrap()
                });
                both.wait();
                let withdrawn = claim.withdraw().unwrap();
                (writer.join().unwrap(), withdrawn)
            });
            // The sender may win between the writer's look and its unlink, never both.
            assert_ne!(taken, withdrawn);
        }
        assert_eq!(left(dir.path()), 0);
    }

    #[test]
    fn the_claim_of_a_sender_that_was_killed_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        drop(Claim::make(dir.path()).unwrap());
        assert_eq!(left(dir.path()), 0, "one that was dropped is withdrawn");
        // What kill -9 leaves: the file, which nobody has locked.
        let name = ClaimName::parse("00000000000000ff").unwrap();
        let path = dir.path().join("claim/00000000000000ff");
        fs::write(&path, "").unwrap();
        assert!(!take_claim(dir.path(), name).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_name_is_sixteen_hex_digits_and_never_a_path() {
        for text in ["0123456789abcdef", "ffffffffffffffff", "0000000000000000"] {
            assert_eq!(ClaimName::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789ABCDEF",
            "+123456789abcdef",
            "../../MANIFEST123",
        ] {
            assert_eq!(ClaimName::parse(text), None, "{text}");
        }
    }
}
