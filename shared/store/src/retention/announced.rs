//! What a process knows of the rules it goes by: nothing goes by rules that were never announced.
//!
//! Always true: the first pass after the files of the rules have changed only reports what they would remove. Files
//! that have not changed since the last pass of any process were announced by that one, whose time is what the
//! retention clock shows.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use dotter_dot::Timestamp;

use super::{Machine, Retained, Rules, run};
use crate::error::Error;

/// The passes of retention of one store by one process.
#[derive(Debug, Default)]
pub struct Retention {
    /// The files of the rules at the last pass.
    seen: Option<Stamps>,
}

/// Tells the files of rules from what they were before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamps(Vec<Stamp>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    /// When the file or its name changed last; nobody can set it back.
    changed: Timestamp,
}

impl Retention {
    /// One pass: computes the windows of archives that have closed or changed, then removes what is too old; or says
    /// what it would remove, where that has not been said before. Nothing is done in a store that never had rules.
    ///
    /// - `machine`: what its clocks say, [`Machine::now`]
    ///
    /// # Errors
    ///
    /// [`Error::Rules`] where a rule cannot be read; else as [`crate::compact`], whose lock it takes.
    pub fn pass(
        &mut self,
        dir: &Path,
        machine: &Machine,
        cancel: &dyn Fn() -> bool,
    ) -> Result<Retained, Error> {
        let stamps = Stamps::of(dir)?;
        let rules = Rules::read(dir)?;
        let is_settled = Stamps::of(dir)? == stamps;
        let announced = |last: Timestamp| {
            is_settled
                && match &self.seen {
                    Some(seen) => *seen == stamps,
                    None => stamps.0.iter().all(|stamp| stamp.changed <= last),
                }
        };
        let retained = run(dir, &rules, machine, &announced, cancel)?;
        self.seen = Some(stamps);
        Ok(retained)
    }
}

impl Stamps {
    /// Those of a store, now.
    fn of(dir: &Path) -> Result<Stamps, Error> {
        let mut stamps = Vec::new();
        for path in Rules::files(dir) {
            // A link may be changed, or the file that it leads to.
            for meta in [fs::symlink_metadata(&path), fs::metadata(&path)] {
                match meta {
                    Ok(meta) => {
                        let since = meta.ctime() as i128 * 1_000_000_000 + meta.ctime_nsec() as i128;
                        let changed = Timestamp::from_nanos(since.clamp(0, u64::MAX.into()) as u64);
                        stamps.push(Stamp { inode: meta.ino(), bytes: meta.len(), changed });
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(Error::io("look at", &path)(error)),
                }
            }
        }
        Ok(Stamps(stamps))
    }
}
