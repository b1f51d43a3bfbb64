//! Taking the rules: what the files of rules say is copied into the list, from which every process reads it.

use std::path::Path;
use std::sync::Arc;

use crate::disk::layout::Layout;
use crate::disk::manifest;
use crate::error::Error;
use crate::format::rules::{Rules, SkippedRule};
use crate::read::reader::Reader;

/// What came of taking the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Whether the store has other rules than before.
    pub changed: bool,
    /// What could not be read, in the order of the files.
    pub skipped: Vec<SkippedRule>,
}

/// Gives a store the rules that its files say: `retention.toml`, then Graphite's `storage-schemas.conf` and
/// `storage-aggregation.conf`. Where they say what the store has already, nothing changes.
///
/// # Errors
///
/// [`Error::NoStore`], and the system's. What is wrong in a file is no error: it is skipped and named.
pub fn take_rules(dir: &Path) -> Result<Taken, Error> {
    let layout = Layout::new(dir);
    let rules = Rules::read(dir);
    let skipped = rules.skipped().to_vec();
    let before = manifest::read(&layout)?;
    if rules.clone().dated(Some(&before.rules), 0) == *before.rules {
        return Ok(Taken { changed: false, skipped });
    }
    // In a store that has nothing yet, nothing lies in another tier by the new rules.
    let inner = Reader::open(dir)?.snapshot().inner;
    let is_new = inner.manifest.segments.is_empty() && inner.head.iter().all(|part| part.dots == 0);
    manifest::change(&layout, |manifest| {
        let running = u64::try_from(manifest.clock.running().as_nanos()).unwrap_or(u64::MAX);
        let before = (!is_new).then(|| manifest.rules.clone());
        manifest.rules = Arc::new(rules.dated(before.as_deref(), running.max(1)));
        Ok(())
    })?;
    Ok(Taken { changed: true, skipped })
}
