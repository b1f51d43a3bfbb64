//! Rules that follow their files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dotter_dot::Timestamp;

use super::Rules;
use crate::error::Error;
use crate::layout::Layout;

/// Which files of rules the last pass went by. Only whether it is still the same text is ever asked of it; where it is
/// not there, the next pass announces once more.
const ANNOUNCED: &str = "retention.announced";

/// The rules of a store, read anew when their files have changed.
#[derive(Debug)]
pub struct WatchedRules {
    dir: PathBuf,
    /// The files that `rules` were read from; `None` before the first look.
    stamps: Option<Stamps>,
    rules: Arc<Rules>,
}

impl WatchedRules {
    /// No rules, until the first look.
    pub fn new(dir: &Path) -> WatchedRules {
        WatchedRules { dir: dir.to_owned(), stamps: None, rules: Arc::default() }
    }

    /// Looks at the files; whether the rules were read, which they are at the first look and after each change.
    pub fn look(&mut self) -> bool {
        let stamps = Stamps::of(&self.dir);
        if self.stamps.as_ref() == Some(&stamps) {
            return false;
        }
        self.rules = Arc::new(Rules::read(&self.dir));
        // What changes while it is read is read once more.
        self.stamps = (Stamps::of(&self.dir) == stamps).then_some(stamps);
        true
    }

    /// As of the last look.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }
}

/// Tells the files of rules from what they were before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamps(Vec<Stamp>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    /// When the file or its name changed last; nobody can set it back.
    changed: Timestamp,
}

impl Stamps {
    /// Those of a store, now.
    pub(crate) fn of(dir: &Path) -> Stamps {
        let stamp = |meta: std::io::Result<fs::Metadata>| match meta {
            Ok(meta) => {
                let since = meta.ctime() as i128 * 1_000_000_000 + meta.ctime_nsec() as i128;
                let changed = Timestamp::from_nanos(since.clamp(0, u64::MAX.into()) as u64);
                Some(Stamp { inode: meta.ino(), bytes: meta.len(), changed })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            // Nobody knows when.
            Err(_) => Some(Stamp { inode: 0, bytes: 0, changed: Timestamp::MAX }),
        };
        // A link may be changed, or the file that it leads to.
        let of = |path: PathBuf| [fs::symlink_metadata(&path), fs::metadata(&path)].map(stamp);
        Stamps(Rules::files(dir).flat_map(of).flatten().collect())
    }

    /// Whether these are the files that the last pass of any process went by, as far as it could say.
    pub(crate) fn were_noted(&self, dir: &Path) -> bool {
        fs::read(dir.join(ANNOUNCED)).is_ok_and(|noted| noted == self.text().into_bytes())
    }

    /// Says so of these, for processes that come after this one.
    pub(crate) fn note(&self, dir: &Path) -> Result<(), Error> {
        if self.were_noted(dir) {
            return Ok(());
        }
        let layout = Layout::new(dir);
        let (temporary, _file) = layout.temporary_with(self.text().as_bytes())?;
        let path = dir.join(ANNOUNCED);
        layout.disk.rename(&temporary, &path).map_err(Error::io("rename", &path))
    }

    fn text(&self) -> String {
        let line = |stamp: &Stamp| format!("{} {} {}\n", stamp.inode, stamp.bytes, stamp.changed.nanos());
        self.0.iter().map(line).collect()
    }

    /// When the last of them changed.
    pub(crate) fn changed(&self) -> Timestamp {
        self.0.iter().map(|stamp| stamp.changed).max().unwrap_or(Timestamp::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_when_their_files_change_and_not_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("retention.toml");
        let mut watched = WatchedRules::new(dir.path());
        assert!(watched.look() && watched.rules().is_empty() && !watched.look());
        fs::write(&path, "[[rule]]\npattern = \"%\"\nkeep = \"raw:1d\"\n").unwrap();
        assert!(watched.look() && watched.rules().of("x").is_some() && !watched.look());
        let other = dir.path().join("other");
        fs::write(&other, "[[rule]]\npattern = \"%\"\nkeep = \"raw\"\n").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(watched.look() && watched.rules().skipped().len() == 1 && !watched.look());
        fs::remove_file(&path).unwrap();
        assert!(watched.look() && watched.rules().is_empty() && !watched.look());
    }
}
